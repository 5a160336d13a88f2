"""The jobs that wait in Redis: the form there of `WaitingJobs`. Resque's own lists and delayed keys among them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from spoolq import wire
from spoolq.errors import PayloadError
from spoolq.job import new_id
from spoolq.store.effects import NONE, Effects
from spoolq.store.redis import encoding
from spoolq.store.redis.names import Names
from spoolq.store.tally import ending
from spoolq.store.waiting import Move, Page, WaitingJob, placed

_AGAIN = 200  # entries that a page looks at once more: so many may be removed behind it meanwhile, and the rest move up

Scripted = Callable[[str, Sequence[bytes], Callable[[Any], bool]], Any]
Command = Callable[..., Any]


class RedisWaitingJobs:
    """`WaitingJobs` of one namespace. The place of a job is a kind (`queue`, `delayed`, `resque`), the name of the queue or the
    second, and the exact entry there."""

    def __init__(
        self,
        scripted: Scripted,
        command: Command,
        queues: Callable[[], list[str]],
        names: Names,
        clock: Callable[[], float],
    ) -> None:
        self._scripted, self._command = scripted, command
        self._queues, self._names, self._clock = queues, names, clock

    def find(self, id: str) -> list[WaitingJob]:
        """See `WaitingJobs.find`."""
        found, after = self.search(id)
        while after is not None:
            some, after = self.search(id, after)
            found += some
        return found

    def search(self, id: str, after: Any = None) -> Page:
        """See `WaitingJobs.search`. First what waits for its time, then the queues: what comes due meanwhile goes that way."""
        needle = json.dumps(id, ensure_ascii=False)[1:-1].encode()
        kind, name, start = ("delayed", "", 0) if after is None else placed(after, str, str, int)
        if kind == "delayed":
            found, then = self._in_delayed(needle, start)
        else:
            found, then = self._in_queue(needle, name, start)
        if then is None:
            following = sorted(queue for queue in self._queues() if kind == "delayed" or queue > name)
            then = ("queue", following[0], 0) if following else None
        return [job for job in found if _is_of(job.payload, job.queue, id)], then

    def _in_delayed(self, needle: bytes, cursor: int) -> Page:
        pattern = b"*" + b"".join(b"\\" + bytes([c]) if c in b"*?[]\\" else bytes([c]) for c in needle) + b"*"
        args = (b"%d" % cursor, b"MATCH", pattern, b"COUNT", b"1000")
        then, some = self._command(b"ZSCAN", self._names.delayed, *args)
        return [_delayed(member, at) for member, at in _scored(some)], ("delayed", "", int(then)) if int(then) else None

    def _in_queue(self, needle: bytes, queue: str, start: int) -> Page:
        seen, over, found = self._scripted("find", (b"queue:" + queue.encode(), b"%d" % start, needle), _three)
        jobs = [_ready(queue, payload) for payload in found]
        return jobs, None if over else ("queue", queue, seen - min(_AGAIN, (seen - start) // 2))

    def page(self, queue: str | None = None, *, scheduled: bool = False, after: Any = None, limit: int = 100) -> Page:
        """See `WaitingJobs.page`. Of those scheduled first ours, then Resque's own."""
        first = "delayed" if scheduled else "queue"
        kind, start, inside = (first, 0, 0) if after is None else placed(after, str, int, int)
        if (kind != first and (first, kind) != ("delayed", "resque")) or min(start, inside) < 0:
            raise ValueError(f"{after!r:.100} is no place in this list")
        args = (kind.encode(), (queue or "").encode(), b"%d" % start, b"%d" % inside, b"%d" % max(1, limit))
        start, inside, flat = self._scripted("page", args, _three)
        then = (kind, start, inside) if start >= 0 else ("resque", 0, 0) if kind == "delayed" else None
        if kind == "queue":
            return [_ready(queue or "", payload) for payload in flat], then
        pairs = zip(flat[::2], flat[1::2], strict=True)
        read = _delayed if kind == "delayed" else _of_second
        return [job for entry, at in pairs if queue in (None, (job := read(entry, at)).queue)], then

    def claimed(self, after: Any = None, limit: int = 100) -> Page:
        """See `WaitingJobs.claimed`."""
        start, inside = (0, 0) if after is None else placed(after, int, int)
        args = (b"%d" % start, b"%d" % inside, b"%d" % max(1, limit))
        start, inside, flat = self._scripted("claimed", args, _three)
        fours = zip(flat[::4], flat[1::4], flat[2::4], flat[3::4], strict=True)
        jobs = [_held(worker, queue, payload, ("claimed", token.decode())) for worker, token, queue, payload in fours]
        return jobs, (start, inside) if start >= 0 else None

    def remove(self, job: WaitingJob, effects: Effects = NONE) -> bool:
        """See `WaitingJobs.remove`."""
        kind, name, entry = job.place
        word = ending(effects.counters, "purged").encode()
        args = [kind.encode(), name.encode(), entry, word, *encoding.effects(effects)]
        return bool(self._scripted("remove", args, _two)[1])

    def move(self, moves: Sequence[Move]) -> list[bool]:
        """See `WaitingJobs.move`."""
        args: list[bytes] = []
        for job, queue, payload, run_at, front in moves:
            encoding.check(queue, _id(job))
            kind, name, entry = job.place
            args += (kind.encode(), name.encode(), entry, queue.encode(), _id(job).encode(), encoding.moment(run_at))
            args += (b"1" if front else b"0", payload)
        reply = self._scripted("move", (b"%d" % len(moves), *args), _two) if moves else (b"ok", b"")
        return [flag == 49 for flag in reply[1]]  # the digit 1

    def held(self, id: str) -> list[WaitingJob]:
        """See `WaitingJobs.held`."""
        needle = json.dumps(id, ensure_ascii=False)[1:-1].encode()
        flat = self._scripted("held", (needle,), _a_list)
        jobs = [_held(worker, queue, payload, None) for worker, queue, payload in zip(*[iter(flat)] * 3, strict=True)]
        return [job for job in jobs if _is_of(job.payload, job.queue, id)]

    def refuse(self, id: str, effects: Effects = NONE) -> bool:
        """See `WaitingJobs.refuse`. By a marker, as a put leaves it (docs/hand-off.md)."""
        args = [id.encode(), *encoding.effects(effects)]
        return bool(self._scripted("refuse", args, _two)[1])


def _scored(flat: Any) -> Iterator[tuple[bytes, float]]:
    """Members and their scores, as either protocol says them."""
    if flat and isinstance(flat[0], list | tuple):
        return ((member, float(at)) for member, at in flat)
    return ((member, float(at)) for member, at in zip(flat[::2], flat[1::2], strict=True))


def _ready(queue: str, payload: bytes) -> WaitingJob:
    return WaitingJob(queue, payload, 0.0, ("queue", queue, payload))


def _delayed(member: bytes, at: float | bytes) -> WaitingJob:
    queue, _, rest = member.partition(b"\n")
    name = queue.decode("utf-8", "replace")
    return WaitingJob(name, rest.partition(b"\n")[2], float(at), ("delayed", name, member))


def _of_second(payload: bytes, second: bytes) -> WaitingJob:
    at = float(second) if second.isdigit() else 0.0
    return WaitingJob(_queue(payload), payload, at, ("resque", second.decode("utf-8", "replace"), payload))


def _held(worker: bytes, queue: bytes, payload: bytes, place: Any) -> WaitingJob:
    return WaitingJob(queue.decode("utf-8", "replace"), payload, 0.0, place, "worker", worker=worker.decode("utf-8", "replace"))


def _queue(payload: bytes) -> str:
    try:
        named = json.loads(payload).get("queue")
    except (ValueError, AttributeError, RecursionError):
        return "default"
    return named if isinstance(named, str) and named else "default"


def _id(job: WaitingJob) -> str:
    """Under which it is among our delayed jobs: what makes equal payloads two."""
    kind, _, entry = job.place
    if kind == "delayed":
        return str(entry.split(b"\n", 2)[1].decode("utf-8", "replace"))
    with suppress(PayloadError):
        if wire.has_id(job.payload):
            return wire.decode(job.payload, job.queue).put_id
    return new_id()


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
