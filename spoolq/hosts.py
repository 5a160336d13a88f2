"""The spools of all hosts: what each host's drainer tells the primary of its own every few seconds, so that any can show them.

How long ago one was heard of is measured on the primary's clock alone: no host's own has any part in it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from spoolq.breaker import Breaker
from spoolq.errors import ConfigError, StoreUnavailable
from spoolq.store.base import Spool, Store
from spoolq.store.effects import Effects
from spoolq.store.tally import COUNTED
from spoolq.units import MANY, sane
from spoolq.version import VERSION

EVERY = 5.0
"""Seconds between two words of a host."""

SILENT = 30.0
"""Seconds after which a host counts as silent."""

KEPT, QUIET = 7 * 86_400.0, 60.0
"""Seconds for which a word is kept: where jobs were in the spool, and where nothing was, which needs no remembering."""

MOST = 1000
"""Hosts shown at most."""

_KNOWN = "spools"
_AGAIN = 300.0
_TIMEOUT = 1.0
_ERROR = 300
_DEEPEST = 5


@dataclass(frozen=True, slots=True)
class HostSpool:
    """One host's spool as it was told. `away_since` and `heard` in epoch seconds, the latter of the primary's clock; `oldest` in
    seconds; `rate` in rows a second, 0.0 while nothing moves; `used`, `limit` and `disk_free` in bytes, `share` of the nearest
    bound. Rows are counted up to `MANY + 1`. `queues`: those with the most jobs, and how many each. `cause` and `error` are
    empty where there is none."""

    host: str
    path: str
    version: str
    heard: float
    rows: int
    in_doubt: int
    quarantined: int
    used: int
    limit: int
    share: float
    oldest: float | None
    away_since: float | None
    cause: str
    error: str
    paused: bool
    rate: float
    disk_free: int | None = None
    queues: Mapping[str, int] = field(default_factory=dict)

    def silent(self, now: float) -> float:
        """Seconds since it was heard of, at that time of the primary's clock."""
        return max(0.0, now - self.heard)

    def encoded(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self)).encode()


class Publisher:
    """Tells the primary of this host's spool. `progress` is asked for how many rows were moved so far, and why none can be now;
    `name` tells this spool from others of the host."""

    def __init__(
        self,
        spool: Spool,
        primary: Store,
        breaker: Breaker,
        progress: Callable[[], tuple[int, object]],
        *,
        host: str,
        name: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spool, self._primary, self._breaker, self._progress = spool, primary, breaker, progress
        self._host, self._name, self._clock = host, name, clock
        self._moved: tuple[float, int] | None = None
        self._known_at = float("-inf")

    def turn(self) -> float:
        """Say how it is. Returns the seconds to the next time. Raises StoreUnavailable where the spool can't be asked."""
        with suppress(StoreUnavailable):  # the journal's; what else there is to say is said
            self._spool.events.sample()
        info = self._spool.info(MANY + 1)
        rate, error = self._rate()
        self._breaker.allows()  # hears of what others of this host have met
        away = self._breaker.open_since
        state = HostSpool(
            host=self._host,
            path=info.path,
            version=VERSION,
            heard=self._primary.now(),
            rows=info.rows,
            in_doubt=info.in_doubt,
            quarantined=info.quarantined,
            used=info.bytes,
            limit=info.limit_bytes,
            share=info.share,
            oldest=info.oldest,
            away_since=away,
            cause=(self._breaker.reason or "unknown") if away is not None else "",
            error="" if error is None else str(error)[:_ERROR],
            paused=info.drain_paused_at is not None,
            rate=rate,
            disk_free=info.disk_free,
            queues=self._queues(),
        )
        with suppress(StoreUnavailable, ConfigError):
            self._publish(state)
        return EVERY

    def _queues(self) -> dict[str, int]:
        deepest = sorted(self._spool.tally(COUNTED).queues.values(), key=lambda one: (-one.there, one.queue))[:_DEEPEST]
        return {one.queue: one.there for one in deepest if one.there}

    def _rate(self) -> tuple[float, object]:
        now, (moved, error) = self._clock(), self._progress()
        before, self._moved = self._moved, (now, moved)
        if before is None or now <= before[0]:
            return 0.0, error
        return max(0.0, (moved - before[1]) / (now - before[0])), error

    def _publish(self, state: HostSpool) -> None:
        now = self._clock()
        if now >= self._known_at + _AGAIN:
            _know(self._primary, f"{self._host}/{self._name}")
            self._known_at = now
        holds = state.rows or state.in_doubt or state.quarantined
        value = (_key(f"{self._host}/{self._name}"), state.encoded(), KEPT if holds else QUIET)
        self._primary.put([], Effects(values=(value,)), timeout=_TIMEOUT)


def published(store: Store) -> list[HostSpool]:
    """What is known of the spools of all hosts, by host. Raises StoreUnavailable."""
    names = _names(store)[:MOST]
    texts = store.values([_key(name) for name in names]) if names else []
    found = [state for text in texts if text is not None and (state := decoded(text)) is not None]
    return sorted(found, key=lambda state: (state.host, state.path))


def decoded(text: bytes) -> HostSpool | None:
    """What `HostSpool.encoded` made; None for what can't be read. What another version adds or lacks is left out."""
    try:
        found = json.loads(text)
        known = {name: found[name] for name in _TYPES if name in found or name not in _NEWER}
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return HostSpool(**known) if all(_fits(value, _TYPES[name]) for name, value in known.items()) else None


def _fits(value: object, types: tuple[type, ...]) -> bool:
    inside = value.values() if isinstance(value, dict) else ()
    return isinstance(value, types) and sane(value) and all(_fits(one, _KINDS["int"]) for one in inside)


def _names(store: Store) -> list[str]:
    try:
        names: Any = json.loads(store.meta(_KNOWN) or "[]")
    except (ValueError, RecursionError):
        return []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _know(store: Store, name: str) -> None:
    """Put it among the names that are looked for; those of which nothing is left go."""
    for _ in range(10):  # others do so at the same time
        before = store.meta(_KNOWN)
        names = _names(store)
        values = store.values([_key(one) for one in names]) if names else []
        left = [one for one, value in zip(names, values, strict=True) if value is not None and one != name]
        if store.set_meta(_KNOWN, json.dumps([*left, name][-MOST:]), expected=before):
            return


def _key(name: str) -> str:
    return f"spool:{name}"


_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "int | None": (int, type(None)),
    "Mapping[str, int]": (dict,),
    "float | None": (int, float, type(None)),
}
_TYPES = {field.name: _KINDS[str(field.type)] for field in fields(HostSpool)}
_NEWER = frozenset({"disk_free", "queues"})
"""Told by later versions only."""
