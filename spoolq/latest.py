"""The latest that was found out, for who must answer soon, however long it takes to look."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")

log = logging.getLogger("spoolq.latest")


class Latest(Generic[T]):
    """What `look` returned last. It looks on a thread aside, called `name`, one look at a time. Safe to share between threads; a
    forked child looks for itself.

    look     may take long, or hang with a disk. What it raises is logged, and what was found before stays the latest
    fresh    seconds, from its begin, for which a look serves: then the next who asks begins a new one
    """

    def __init__(self, look: Callable[[], T], *, fresh: float, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._look, self._fresh, self._name, self._clock = look, fresh, name, clock
        self._begin_anew()
        _all.add(self)

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()
        self._under_way: threading.Event | None = None
        self._found: tuple[float, T] | None = None

    def get(self, wait: float) -> tuple[float, T] | None:
        """When the latest look began (by `clock`), and what it found; None where none has come to its end. For a look that is
        due it waits up to `wait` seconds; one that takes longer goes on."""
        over = self._begin()
        if over is not None:
            over.wait(wait)
        return self._found

    def _begin(self) -> threading.Event | None:
        """The end of the look that is under way, begun where one is due; None where the last one serves."""
        with self._lock:
            if self._under_way is not None:
                return self._under_way
            if self._found is not None and self._clock() - self._found[0] <= self._fresh:
                return None
            over = self._under_way = threading.Event()
        try:
            threading.Thread(target=self._run, args=(over,), name=self._name, daemon=True).start()
        except (RuntimeError, MemoryError):  # no memory for a thread, just now: the next who asks tries again
            log.exception("%s could not look", self._name)
            self._end(over, self._found)
        return over

    def _run(self, over: threading.Event) -> None:
        began, found = self._clock(), self._found
        try:
            found = began, self._look()
        except Exception:
            log.exception("%s: an error of our own; what was found before stays", self._name)
        self._end(over, found)

    def _end(self, over: threading.Event, found: tuple[float, T] | None) -> None:
        with self._lock:
            self._found, self._under_way = found, None
        over.set()


_all: weakref.WeakSet[Latest[Any]] = weakref.WeakSet()


def _after_fork() -> None:
    for one in list(_all):
        one._begin_anew()  # a look that is under way is the parent's, and never ends here


os.register_at_fork(after_in_child=_after_fork)
