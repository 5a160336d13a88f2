"""The jobs that wait in Redis: the form there of `WaitingJobs`. Resque's own lists and delayed keys among them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from spoolq import wire
from spoolq.errors import PayloadError
from spoolq.store.effects import NONE, Effects
from spoolq.store.redis import encoding
from spoolq.store.redis.names import Names
from spoolq.store.waiting import Page, WaitingJob

_PAGE = 500
_AGAIN = 200  # entries that a page looks at once more: so many may be removed behind it meanwhile, and the rest move up

Scan = Callable[..., Iterator[Any]]
Scripted = Callable[[str, Sequence[bytes], Callable[[Any], bool]], Any]
Command = Callable[..., Any]


class RedisWaitingJobs:
    """`WaitingJobs` of one namespace. The place of a job is a kind (`queue`, `delayed`, `resque`), the name of the queue or the
    second, and the exact entry there."""

    def __init__(
        self,
        scan: Scan,
        scripted: Scripted,
        command: Command,
        queues: Callable[[], list[str]],
        names: Names,
        clock: Callable[[], float],
    ) -> None:
        self._scan, self._scripted, self._command = scan, scripted, command
        self._queues, self._names, self._clock = queues, names, clock

    def find(self, id: str) -> list[WaitingJob]:
        """See `WaitingJobs.find`. First what waits for its time, then the queues: what comes due meanwhile goes that way."""
        needle = json.dumps(id, ensure_ascii=False)[1:-1].encode()
        found = []
        pattern = b"*" + b"".join(b"\\" + bytes([c]) if c in b"*?[]\\" else bytes([c]) for c in needle) + b"*"
        for some in self._scan(b"ZSCAN", self._names.delayed, b"MATCH", pattern):
            found += [_delayed(member, at) for member, at in _scored(some)]
        for queue in self._queues():
            found += [WaitingJob(queue, payload, 0.0, ("queue", queue, payload)) for payload in self._listed(queue, needle)]
        return [job for job in found if _is_of(job.payload, job.queue, id)]

    def _listed(self, queue: str, needle: bytes) -> Iterator[bytes]:
        start, over = 0, 0
        while not over:
            seen, over, found = self._scripted("find", (b"queue:" + queue.encode(), b"%d" % start, needle), _three)
            yield from found
            start = seen - min(_AGAIN, (seen - start) // 2)

    def page(self, queue: str | None = None, *, scheduled: bool = False, after: Any = None, limit: int = 100) -> Page:
        """See `WaitingJobs.page`. Of those scheduled first ours, then Resque's own."""
        limit = max(1, limit)
        if not scheduled:
            start = after or 0
            key = self._names.queue(queue or "")
            payloads = self._command(b"LRANGE", key, b"%d" % start, b"%d" % (start + limit - 1))
            jobs = [WaitingJob(queue or "", payload, 0.0, ("queue", queue or "", payload)) for payload in payloads]
            return jobs, start + len(jobs) if jobs else None
        kind, start = after or ("delayed", 0)
        if kind == "delayed":
            rows = self._command(b"ZRANGE", self._names.delayed, b"%d" % start, b"%d" % (start + limit - 1), b"WITHSCORES")
            jobs = [_delayed(member, at) for member, at in _scored(rows)]
            if jobs:
                return [job for job in jobs if queue in (None, job.queue)], ("delayed", start + len(jobs))
            start = 0
        seconds = self._command(b"ZRANGE", self._names.schedule, b"%d" % start, b"%d" % (start + 9))
        jobs = [job for second in seconds for job in self._of_second(second)]
        shown = [job for job in jobs if queue in (None, job.queue)]
        return shown, ("resque", start + len(seconds)) if seconds else None

    def _of_second(self, second: bytes) -> list[WaitingJob]:
        payloads = self._command(b"LRANGE", self._names.prefix + b"delayed:" + second, b"0", b"-1")
        at = float(second) if second.isdigit() else 0.0
        return [WaitingJob(_queue(payload), payload, at, ("resque", second.decode(), payload)) for payload in payloads]

    def remove(self, job: WaitingJob, effects: Effects = NONE) -> bool:
        """See `WaitingJobs.remove`."""
        kind, name, entry = job.place
        args = [kind.encode(), name.encode(), entry, *encoding.effects(effects, resque_delayed=False)]
        return bool(self._scripted("remove", args, _two)[1])

    def held(self, id: str) -> bool:
        """See `WaitingJobs.held`."""
        needle = json.dumps(id, ensure_ascii=False)[1:-1].encode()
        return any(_is_of(payload, "", id) for payload in self._scripted("held", (needle,), _a_list))

    def refuse(self, id: str) -> bool:
        """See `WaitingJobs.refuse`. By a marker, as a put leaves it (docs/hand-off.md)."""
        return bool(self._command(b"ZADD", self._names.markers, b"NX", b"%d" % self._clock(), id.encode()))


def _scored(flat: Any) -> Iterator[tuple[bytes, float]]:
    """Members and their scores, as either protocol says them."""
    if flat and isinstance(flat[0], list | tuple):
        return ((member, float(at)) for member, at in flat)
    return ((member, float(at)) for member, at in zip(flat[::2], flat[1::2], strict=True))


def _delayed(member: bytes, at: float) -> WaitingJob:
    queue, _, rest = member.partition(b"\n")
    name = queue.decode("utf-8", "replace")
    return WaitingJob(name, rest.partition(b"\n")[2], at, ("delayed", name, member))


def _queue(payload: bytes) -> str:
    try:
        named = json.loads(payload).get("queue")
    except (ValueError, AttributeError):
        return "default"
    return named if isinstance(named, str) and named else "default"


def _is_of(payload: bytes, queue: str, id: str) -> bool:
    try:
        return wire.decode(payload, queue).id == id
    except PayloadError:
        return False


def _a_list(reply: Any) -> bool:
    return isinstance(reply, list)


def _two(reply: Any) -> bool:
    return isinstance(reply, list) and len(reply) == 2


def _three(reply: Any) -> bool:
    return isinstance(reply, list) and len(reply) == 3
