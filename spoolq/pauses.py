"""Schedules that are paused: an operator's word, kept in the primary, with a copy in each host's spool."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextlib import suppress

from spoolq.errors import ConfigError, StoreUnavailable
from spoolq.store.base import Store

PAUSED = "periodic-paused"
"""The key in a store's meta under which the pauses are: a JSON object of names, and since when in epoch seconds."""

_COPY = 60.0  # seconds after which a pause is known here, for an outage


class Pauses:
    """What is paused, for who enqueues. `spool` keeps a copy, for who starts while the primary is away."""

    def __init__(self, primary: Store, spool: Store | None) -> None:
        self._primary, self._spool = primary, spool
        self._found: str | None = None
        self._copied, self._looked_at = False, float("-inf")

    def ask(self) -> Collection[str]:
        """Their names, from the primary. Raises StoreUnavailable."""
        found = self._primary.meta(PAUSED)
        if self._spool is not None and not (self._copied and found == self._found):
            with suppress(StoreUnavailable, ConfigError):
                if self._spool.meta(PAUSED) != found:
                    self._spool.set_meta(PAUSED, found)
                self._copied = True
        self._found = found
        return _names(found)

    def look(self, now: float) -> None:
        """Ask from time to time, where there is a spool to go on with."""
        if self._spool is not None and not 0 <= now - self._looked_at < _COPY:
            self._looked_at = now
            with suppress(StoreUnavailable):
                self.ask()

    def known(self) -> Collection[str]:
        """Their names as they were known last, or by the copy."""
        if self._spool is not None and not self._copied:
            with suppress(StoreUnavailable, ConfigError):
                self._found = self._spool.meta(PAUSED)
        return _names(self._found)


def paused(store: Store) -> Mapping[str, float]:
    """The schedules that are paused, and since when (epoch seconds)."""
    return _names(store.meta(PAUSED))


def pause(store: Store, name: str, at: float) -> bool:
    """Let its ticks pass without a job, until `resume`. Returns False when it was paused already."""
    return _change(store, name, at)


def resume(store: Store, name: str) -> bool:
    """Go on with the next tick. Returns False when it wasn't paused."""
    return _change(store, name, None)


def _change(store: Store, name: str, at: float | None) -> bool:
    while True:
        found = store.meta(PAUSED)
        names = dict(_names(found))
        if (name in names) == (at is not None):
            return False
        if at is None:
            del names[name]
        else:
            names[name] = at
        if store.set_meta(PAUSED, json.dumps(names) if names else None, expected=found):
            return True


def _names(text: str | None) -> Mapping[str, float]:
    try:
        found = json.loads(text or "{}")
        return {str(name): float(at) for name, at in found.items()}
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):  # somebody else's hand was in it
        return {}
