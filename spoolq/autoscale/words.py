"""An operator's word on the size of a pool: kept in the stores, so that it outlives the pool, and reaches all hosts.

It stands in the meta of the primary and of the host's spool. Of several words the newest counts, wherever it stands and whether
it was meant for one pool or for all. Who obeys one carries it to the other store.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from spoolq.autoscale.sample import MOST_PROCESSES, Bounds
from spoolq.errors import ConfigError, StoreUnavailable
from spoolq.store.base import Store

log = logging.getLogger("spoolq.pool")

EVERY_POOL = "*"
"""In the place of a pool's address (`host/name`): all, also those to come."""

_PREFIX = "pool-scale:"


class Word(NamedTuple):
    """`bounds` None: the pool's own (`auto`). `at`: when it was said, in epoch seconds."""

    bounds: Bounds | None
    at: float

    def __str__(self) -> str:
        return "auto" if self.bounds is None else str(self.bounds)


def parse(text: str) -> Bounds | None:
    """What an operator asks for: `auto` (None), `4`, `2:8`. Raises ConfigError."""
    if text == "auto":
        return None
    least, colon, most = text.partition(":")
    try:
        low, high = int(least), int(most if colon else least)
    except ValueError:
        low = high = -1
    if (low, high) == (0, 0):
        raise ConfigError("a pool of no process would run nothing: `spoolq queues pause --all` has it take no jobs, TERM ends it")
    if not 1 <= low <= high <= MOST_PROCESSES:
        raise ConfigError(f"{text!r}: a number of processes, MIN:MAX or auto is needed, with 1 <= MIN <= MAX <= {MOST_PROCESSES}")
    return Bounds(low, high, "an operator")


def address(host: str, name: str) -> str:
    """The name by which an operator means one pool."""
    return f"{host}/{name}"


def named(name: object) -> str:
    """A pool's own name. Raises ConfigError."""
    if not isinstance(name, str) or not 1 <= len(name) <= 64 or not name.isprintable() or set(name) & set("/*,: "):
        raise ConfigError(f"name={name!r}: 1 to 64 printable characters without a space and none of / * , : are needed")
    return name


def heard(store: Store, pools: Iterable[str]) -> Word | None:
    """The newest word that this store has on any of these addresses. Raises StoreUnavailable."""
    return newest(_decoded(store.meta(_PREFIX + pool)) for pool in pools)


def newest(words: Iterable[Word | None]) -> Word | None:
    """The one that counts."""
    return max((word for word in words if word is not None), key=lambda word: word.at, default=None)


def say(stores: Sequence[Store], pool: str, bounds: Bounds | None, now: float) -> Word:
    """Put it into these stores, as the newest that they know. Raises StoreUnavailable where one of them is away."""
    known = newest(heard(store, {pool, EVERY_POOL}) for store in stores)
    word = Word(bounds, now if known is None else max(now, known.at + 0.001))
    for store in stores:
        store.set_meta(_PREFIX + pool, _encoded(word))
    return word


class Ear:
    """Hears what is said to one pool, in the primary and in this host's spool.

    stores   what gives them, None where there is none; one that is away is passed over
    """

    def __init__(self, pool: str, stores: Sequence[Callable[[], Store | None]]) -> None:
        self._pools, self._stores = (pool, EVERY_POOL), stores
        self.word: Word | None = None

    def listen(self, *, without_first: bool = False) -> Word | None:
        """The word that counts now. What one store knows and another doesn't is carried there. `without_first`: it is known to be
        away, and not waited for."""
        found: list[tuple[Store, str, str | None, Word | None]] = []
        for opened in self._stores[without_first:]:
            with suppress(StoreUnavailable, ConfigError):
                if (store := opened()) is not None:
                    for pool in self._pools:
                        text = store.meta(_PREFIX + pool)
                        found.append((store, pool, text, _decoded(text)))
        for pool in self._pools:
            best = newest(word for _, at, _, word in found if at == pool)
            for store, at, text, word in found:
                if best is not None and at == pool and word != best:
                    with suppress(StoreUnavailable, ConfigError):  # another is perhaps newer by now
                        store.set_meta(_PREFIX + pool, _encoded(best), expected=text)
        self.word = newest([self.word, *(word for *_, word in found)])
        return self.word


def _encoded(word: Word) -> str:
    return json.dumps({"scale": str(word), "at": round(word.at, 6)})


def _decoded(text: str | None) -> Word | None:
    """A word that can't be read is none."""
    if text is None:
        return None
    try:
        found = json.loads(text)
        bounds, at = parse(found["scale"]), float(found["at"])
    except (ConfigError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    return Word(bounds, at) if math.isfinite(at) else None
