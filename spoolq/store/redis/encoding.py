"""Values as the arguments that the scripts read, one after the other (`arg()` and `num()` in lib.lua)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter

from spoolq import wire
from spoolq.errors import PayloadError
from spoolq.job import Claim, Message
from spoolq.store.base import WorkerInfo
from spoolq.store.effects import NONE, Effects
from spoolq.store.quota import Quota

Args = list[bytes]


def text(value: object) -> bytes:
    """A short value in UTF-8."""
    return str(value).encode()


def moment(at: float) -> bytes:
    """Epoch seconds to the microsecond, of a fixed width."""
    return b"%017.6f" % at


def messages(several: Sequence[Message], *, resque_delayed: bool = False, marked: bool | None = None) -> Args:
    """How many groups; of each queue, run_at and flags, which its messages have in common, and how many these are; then all their
    ids, and all their payloads. Only neighbours are grouped: their order is kept. Flags: `m` the id is remembered, `r` Resque's
    delayed keys, `f` at the front. Resque's schedulers keep what is bare alone: another's job would lose its id there, and all
    that follows."""
    groups: list[tuple[Args, Args, Args]] = []
    last: tuple[str, float, bytes] | None = None
    ids: Args = []
    payloads: Args = []
    for id, queue, payload, run_at, given, _, front, _ in several:
        flags = b"m" if (given if marked is None else marked) else b""
        if resque_delayed and run_at and wire.bare(payload):
            flags += b"r"
        if front:
            flags += b"f"
        if last != (queue, run_at, flags) or "\n" in id:
            check(queue, id)
            last = queue, run_at, flags
            ids, payloads = [], []
            groups.append(([queue.encode(), moment(run_at) if run_at else b"0", flags], ids, payloads))
        ids.append(id.encode())
        payloads.append(payload)
    args: Args = [b"%d" % len(groups)]
    for common, ids, payloads in groups:
        args += (*common, b"%d" % len(ids), *ids, *payloads)
    return args


def check(queue: str, id: str) -> None:
    """Refuse what the keys can't carry: the names are joined with the payload by line feeds."""
    if not queue or "\n" in queue or "\n" in id:
        raise PayloadError(f"queue {queue!r}, id {id!r}: a queue has a name, and neither has a line feed")


def effects(these: Effects) -> Args:
    """Six lists, each with its length in front: puts, acquired and released guards, values, counters, countdowns."""
    if these is NONE:  # as with nearly all calls
        return [b"0"] * 6
    args = messages(these.put)
    args.append(b"%d" % len(these.acquire))
    for key, holder, ttl in these.acquire:
        args += (key.encode(), holder.encode(), _millis(ttl) if ttl else b"0")
    args.append(b"%d" % len(these.release))
    for key, holder in these.release:
        args += (key.encode(), holder.encode())
    args.append(b"%d" % len(these.values))
    for key, value, ttl in these.values:
        args += (key.encode(), value, _millis(ttl))
    args.append(b"%d" % len(these.counters))
    for name, by in these.counters:
        args += (name.encode(), b"%d" % by)
    args.append(b"%d" % len(these.countdown))
    for key, member, size, then, ttl in these.countdown:
        args += (key.encode(), member.encode(), b"%d" % size, _millis(ttl))
        args += messages((then,))
    return args


def _millis(seconds: float) -> bytes:
    return b"%d" % max(1, round(seconds * 1000))


def claims(several: Iterable[Claim]) -> Args:
    """How many groups; of each the worker and the queue that its claims have in common, how many these are, and their tokens.
    Only neighbours are grouped: their order is kept."""
    groups: list[tuple[str, str, Args]] = []
    last: tuple[str, str] | None = None
    tokens: Args = []
    for token, worker, queue, _ in several:
        if last != (worker, queue):
            last, tokens = (worker, queue), []
            groups.append((worker, queue, tokens))
        tokens.append(token.encode())
    args: Args = [b"%d" % len(groups)]
    for worker, queue, tokens in groups:
        args += (worker.encode(), queue.encode(), b"%d" % len(tokens), *tokens)
    return args


def words(several: Sequence[str]) -> Args:
    """How many, then each."""
    return [b"%d" % len(several), *(word.encode() for word in several)]


def quotas(several: Sequence[Quota]) -> Args:
    """How many, then queue, most, interval and ahead of each."""
    args: Args = [b"%d" % len(several)]
    for queue, most, interval, ahead in several:
        args += (queue.encode(), b"%d" % most, b"%.6f" % interval, b"%.6f" % ahead)
    return args


def frees(several: Sequence[tuple[str, float]]) -> Args:
    """How many times; of each the time, and the ids that may go past it."""
    groups = [(after, [id for id, _ in ids]) for after, ids in groupby(several, itemgetter(1))]
    args: Args = [b"%d" % len(groups)]
    for after, ids in groups:
        args += (moment(after) if after else b"0", *words(ids))
    return args


@lru_cache(maxsize=64)
def worker(info: WorkerInfo) -> tuple[bytes, ...]:
    """What makes a worker known to the scripts: key, lease, facts for people, started, and Resque's ids of its threads."""
    ids = [info.resque_id(slot).encode() for slot in range(info.threads)] if info.kind == "worker" else []
    facts = json.dumps(
        {
            "key": info.key,
            "host": info.host,
            "pid": info.pid,
            "queues": info.queues,
            "threads": info.threads,
            "started_at": info.started_at,
            "lease": info.lease,
            "kind": info.kind,
        },
        separators=(",", ":"),
    )
    return (info.key.encode(), b"%f" % info.lease, facts.encode(), b"%d" % info.started_at, b"%d" % len(ids), *ids)


def worker_info(facts: bytes, key: str) -> WorkerInfo:
    """The worker that `worker` wrote; what can't be read is left empty, so that a list of workers can always be shown."""
    try:
        fields = json.loads(facts)
        started_at, lease = float(fields.get("started_at", 0.0)), float(fields.get("lease", 30.0))
        if not math.isfinite(started_at + lease):
            raise ValueError(facts)
        return WorkerInfo(
            key=key,
            host=str(fields["host"]),
            pid=int(fields["pid"]),
            queues=tuple(map(str, fields["queues"])),
            threads=int(fields.get("threads", 1)),
            started_at=started_at,
            lease=lease,
            kind="drainer" if fields.get("kind") == "drainer" else "worker",
        )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return WorkerInfo(key=key, host="?", pid=0, queues=())
