"""Workers in Resque's own list that aren't spoolq's: Ruby's, node-resque's, and what is left there of those that are gone."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from typing import Any

from spoolq import stamps
from spoolq.store.looking import Stranger
from spoolq.store.redis.names import Names


def strangers(
    scan: Callable[..., Iterator[Any]],
    command: Callable[..., Any],
    names: Names,
    own: Collection[str],
    limit: int,
) -> list[Stranger]:
    """See `Store.strangers`. Ruby's workers tell that they live in the hash `workers:heartbeat`, as a date; node-resque's in
    `worker:ping:ID`, as JSON."""
    found: list[bytes] = []
    for some in scan(b"SSCAN", names.prefix + b"workers"):
        found += [id for id in some if id.decode("utf-8", "replace") not in own]
        if len(found) >= limit:
            break
    ids = sorted(set(found))[:limit]
    if not ids:
        return []
    beats = command(b"HMGET", names.prefix + b"workers:heartbeat", *ids)
    pings = command(b"MGET", *(names.prefix + b"worker:ping:" + id for id in ids))
    return [
        Stranger(id.decode("utf-8", "replace"), _ruby(beat) or _node(ping))
        for id, beat, ping in zip(ids, beats, pings, strict=True)
    ]


def _ruby(beat: bytes | None) -> float | None:
    return None if beat is None else stamps.epoch(beat.decode("utf-8", "replace")) or None


def _node(ping: bytes | None) -> float | None:
    try:
        return None if ping is None else stamps.epoch(json.loads(ping)["time"]) or None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
