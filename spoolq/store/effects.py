"""What else happens in the same atomic step as a put or a settling verb: unique jobs, results, chains and statistics are made of
effects, never of new verbs."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from spoolq.job import Message


class Countdown(NamedTuple):
    """One of `size` different members is done: with the last of them `then` is put. What was counted under `key` is forgotten
    then, or `ttl` seconds after it at the earliest."""

    key: str
    member: str
    size: int
    then: Message
    ttl: float


@dataclass(frozen=True, slots=True)
class Effects:
    """What else happens in the same atomic step as a put or a settling verb.

    put       messages to put (idempotent on the id only where `given`; the step itself is fenced, so it happens once)
    acquire   (key, holder, ttl seconds): set if absent. One that somebody else holds refuses the whole call: `GuardHeld`.
              Acquiring what one holds already succeeds and renews the ttl; with a ttl of 0 it is only looked at. A put all of
              whose messages were there leaves guards alone: whoever put them has acquired what goes with them.
              In Redis a key that begins with `lock:` or `workerslock:` is node-resque's own lock of that name, held by
              "node-resque" where that wrote it, and `timestamps:JOB` is held while that job waits in Resque's delayed keys
    release   (key, holder): deleted if that holder has it, else left alone
    values    (key, value, ttl seconds): set, readable by `Store.value` until the ttl has passed. A put sets none whose key is a
              word, a colon and the id of a message of it that was there: that may have ended long ago
    counters  (name, by): added up, readable by `Store.counters`. One that can't be (in Redis: a key of that name which is no
              number, or at its end) is left as it is; the rest of the step happens
    countdown a member that was counted already is not counted again. In a spool, where others of them may be counted in the
              primary, each waits to be told to it as well: `then` is put here only where all were counted here and none was told
    """

    put: tuple[Message, ...] = ()
    acquire: tuple[tuple[str, str, float], ...] = ()
    release: tuple[tuple[str, str], ...] = ()
    values: tuple[tuple[str, bytes, float], ...] = ()
    counters: tuple[tuple[str, int], ...] = ()
    countdown: tuple[Countdown, ...] = ()

    def __or__(self, other: Effects) -> Effects:
        """Both, these first."""
        if not other:
            return self
        return Effects(*(getattr(self, name) + getattr(other, name) for name in _NAMES))

    def __bool__(self) -> bool:
        """Whether there is any."""
        return self is not NONE and any(getattr(self, name) for name in _NAMES)  # of nearly all jobs it is just that one


RELAY = "spoolq:relay"
"""The queue of a spool's rows that are no jobs: their payload is effects, which happen in the primary where a job would be put
there. No job's queue has such a name, and no worker takes from it."""

_NAMES = tuple(field.name for field in fields(Effects))
NONE = Effects()


def encode(effects: Effects) -> bytes:
    """As a journal keeps them; empty where there are none."""
    if not effects:
        return b""
    named = {name: getattr(effects, name) for name in _NAMES if getattr(effects, name)}
    return json.dumps(named, default=_written, separators=(",", ":")).encode()


def decode(data: bytes) -> Effects:
    """What `encode` made. Raises ValueError for effects that a newer spoolq wrote, and for what are none."""
    try:
        return _decoded(data) if data else NONE
    except (TypeError, AttributeError, KeyError, RecursionError) as error:
        raise ValueError(f"these are no effects: {error}") from error


def _decoded(data: bytes) -> Effects:
    named = json.loads(data, object_hook=lambda found: b64decode(found["bytes"]) if found.keys() == {"bytes"} else found)
    if strange := sorted(named.keys() - set(_NAMES)):
        raise ValueError(f"the effect {strange[0]!r} isn't known here")
    found: dict[str, Any] = {name: tuple(map(tuple, entries)) for name, entries in named.items()}
    found["put"] = tuple(Message(*entry) for entry in found.get("put", ()))
    counted = found.get("countdown", ())
    found["countdown"] = tuple(Countdown(key, member, size, Message(*then), ttl) for key, member, size, then, ttl in counted)
    return Effects(**found)


def _written(value: bytes) -> object:
    return {"bytes": b64encode(value).decode()}
