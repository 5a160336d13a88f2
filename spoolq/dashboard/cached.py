"""What was asked a moment ago is not asked again: for pages that several people have open."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")

_MOST = 200


class Cached:
    """Answers by their names, each for `fresh` seconds. Of several who ask for the same, one asks the store."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._locks: OrderedDict[Hashable, threading.Lock] = OrderedDict()
        self._found: dict[Hashable, tuple[float, Any]] = {}
        self._changes = 0

    def get(self, name: Hashable, fresh: float, ask: Callable[[], T]) -> T:
        """The answer. What `ask` raises is raised, and not kept."""
        with self._lock:
            lock = self._locks.setdefault(name, threading.Lock())
            self._locks.move_to_end(name)
            while len(self._locks) > _MOST:
                self._found.pop(self._locks.popitem(last=False)[0], None)
        with lock:
            at, answer = self._found.get(name, (float("-inf"), None))
            if self._clock() - at > fresh:
                before = self._changes
                answer = ask()
                with self._lock:
                    if before == self._changes:  # else it is of a time before a change, for those who asked then
                        self._found[name] = self._clock(), answer
            found: T = answer
            return found

    def forget(self) -> None:
        """Something was changed: everything is asked anew."""
        with self._lock:
            self._changes += 1
            self._found.clear()
