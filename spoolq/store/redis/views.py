"""What the scripts answer, as the contract's values."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from spoolq import wire
from spoolq.job import Claim
from spoolq.store.base import WorkerView, Working
from spoolq.store.looking import Depth, Guard, ServerFacts
from spoolq.store.redis.encoding import worker_info

_ENQUEUED = re.compile(rb'.*(,\s*"enqueued_at"\s*:)', re.S)
_NUMBER = re.compile(rb"-?\d{1,19}")  # Redis counts in 64 bits
_EVER = 1e9  # seconds, for a lease without an end
_PERSISTING = ("rdb_last_bgsave_status", "aof_last_write_status", "aof_last_bgrewrite_status")
Values = Callable[[str, Sequence[str]], list[bytes | None]]


def claims(flat: Sequence[bytes], worker: str) -> tuple[Claim, ...]:
    """From token, value, token, value …, where a value is queue, line feed, payload. In this order."""
    return tuple([_claim(token.decode(), value, worker) for token, value in zip(flat[::2], flat[1::2], strict=True)])


def claimed(front: bytes, values: Sequence[bytes | None], worker: str) -> tuple[Claim, ...]:
    """Of one call, whose tokens begin with `front` and end in their place; None is no longer held."""
    text = front.decode()
    return tuple([_claim(f"{text}{place}", value, worker) for place, value in enumerate(values, 1) if value is not None])


def _claim(token: str, value: bytes, worker: str) -> Claim:
    queue, _, payload = value.partition(b"\n")
    return Claim(token, worker, _queue(queue), payload)


@lru_cache(maxsize=1024)
def _queue(name: bytes) -> str:
    return name.decode("utf-8", "replace")


def in_order(claims: Iterable[Claim]) -> tuple[Claim, ...]:
    """As they were taken: a hash keeps none."""
    return tuple(sorted(claims, key=_taken))


def _taken(claim: Claim) -> tuple[float, int]:
    """A token ends in the call's number and the claim's place in it; a rescue has its time in place of the number."""
    _, number, place = claim.token.rsplit(":", 2)
    return float(number.lstrip("r")), int(place)


def pages(listed: Sequence[Any], most: int) -> Iterator[list[bytes]]:
    """The tokens of token, size, token, size …, in lists of up to `most` bytes or one token. Negative sizes are left out."""
    page: list[bytes] = []
    bytes_ = 0
    for token, size in zip(listed[::2], listed[1::2], strict=True):
        if size < 0:
            continue
        if page and bytes_ + size > most:
            yield page
            page, bytes_ = [], 0
        page.append(token)
        bytes_ += size
    if page:
        yield page


def queue(name: bytes) -> str | None:
    """A queue by its name; None for one that no claim can carry."""
    try:
        return name.decode() if name and b"\n" not in name else None
    except UnicodeDecodeError:
        return None


def guard(name: bytes, holder: bytes, left: int) -> Guard:
    """From a row of guards.lua."""
    return Guard(name.decode("utf-8", "replace"), holder.decode("utf-8", "replace"), math.inf if left < 0 else left / 1000)


def depth(row: Sequence[Any], now: float) -> Depth:
    """A row of depths.lua."""
    name, ready, head, scheduled, claimed = row
    return Depth(
        queue=name.decode("utf-8", "replace"),
        ready=ready,
        scheduled=_count(scheduled),
        claimed=_count(claimed),
        oldest=_age(head, now) if ready else None,
    )


def _count(value: bytes) -> int:
    return max(0, int(value)) if number(value) else 0


def _age(end: bytes, now: float) -> float | None:
    """From a payload, or the end of one. What follows a comma there is the end of the job itself if with a brace in front it is
    an object: one that is nested in another would leave braces over."""
    at = wire.enqueued_at(end)
    if at is None and (found := _ENQUEUED.match(end)) is not None:
        at = wire.enqueued_at(b'{"class":"-"' + end[found.start(1) :])
    return None if at is None else max(0.0, now - at)


def worker(row: Sequence[Any], now: float, values: Values) -> WorkerView:
    """A row of workers.lua; `values` fetches the claims that its threads work on. Whatever stands there, it can be shown."""
    key, until, facts, held, working = row
    name, left = key.decode("utf-8", "replace"), float(until) - now
    on = _working(working)
    found = values(name, [token for _, token, _ in on]) if on else []
    shown = [
        Working(slot, _claim(token, value, name), since)
        for (slot, token, since), value in zip(on, found, strict=True)
        if value is not None
    ]
    return WorkerView(worker_info(facts, name), max(-_EVER, min(left, _EVER)), held, tuple(shown))


def _working(facts: bytes) -> list[tuple[int, str, float]]:
    try:
        on = [(int(slot), str(token), float(since)) for slot, token, since in json.loads(facts or b"[]")]
    except (ValueError, TypeError, OverflowError, RecursionError):
        return []
    return [one for one in on if one[1].isascii() and math.isfinite(one[2])]


def fields(info: bytes | Mapping[str, Any]) -> Mapping[str, Any]:
    """What `INFO` answered (a client that was handed in has parsed it)."""
    if isinstance(info, bytes):
        return dict(line.split(":", 1) for line in info.decode("utf-8", "replace").split("\r\n") if ":" in line)
    return info


def pair(reply: Any) -> tuple[str, str] | None:
    """The one setting that `CONFIG GET` answered with, if it did: a flat pair, or a mapping from a client that was handed in."""
    flat = [part for item in reply.items() for part in item] if isinstance(reply, dict) else reply
    if not isinstance(flat, list) or len(flat) != 2:
        return None
    name, value = (part.decode("utf-8", "replace") if isinstance(part, bytes) else str(part) for part in flat)
    return name, value


def server_facts(info: Mapping[str, Any], config: Mapping[str, str], unasked: str) -> ServerFacts:
    """From `INFO` and `CONFIG GET`, either of which may be empty."""

    def whole(name: str) -> int | None:
        found = str(info.get(name, ""))
        return int(found) if found.isdigit() else None

    def text(name: str) -> str | None:
        found = info.get(name)
        return None if found is None else str(found)

    def flag(name: str, yes: str) -> bool | None:
        found = text(name)
        return None if found is None else found == yes

    least = config.get("min-replicas-to-write", "")
    return ServerFacts(
        policy=text("maxmemory_policy"),
        used=whole("used_memory"),
        limit=whole("maxmemory"),
        appendonly=flag("aof_enabled", "1"),
        appendfsync=config.get("appendfsync"),
        save=config.get("save"),
        role=text("role"),
        unasked=unasked,
        product="redis" if text("server_name") is None else str(text("server_name")),
        version=text("valkey_version") or text("redis_version"),
        cluster=flag("cluster_enabled", "1"),
        replicas=whole("connected_slaves"),
        min_replicas=int(least) if least.isdigit() else None,
        linked=flag("master_link_status", "up"),
        failing=tuple(name for name in _PERSISTING if flag(name, "ok") is False),
        clients=whole("connected_clients"),
        max_clients=whole("maxclients"),
        evicted=whole("evicted_keys"),
        host_memory=whole("total_system_memory"),
    )


def memory(info: bytes | Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Bytes used and the limit, from `INFO memory` (a client that was handed in has parsed it); None where there is no limit.

    As Redis counts before it refuses: without the buffers for replicas and the append-only file (evict.c).
    """
    info = fields(info)
    try:
        limit = int(info["maxmemory"])
        used = int(info["used_memory"]) - int(info.get("mem_not_counted_for_evict", 0))
    except (KeyError, ValueError, TypeError):
        return None, None
    return (used, limit) if limit else (None, None)


def number(value: bytes | None) -> bool:
    """Whether a counter's value is one: other writers' keys may lie beside them."""
    return value is not None and _NUMBER.fullmatch(value) is not None
