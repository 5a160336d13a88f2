"""What threads and signal handlers leave for a loop, which sleeps until there is something."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Anybody puts, one loop takes, in that order. `put` is safe in a signal handler, which an Event's `set` isn't: that may be
    held by the very code that was interrupted.

    Not a SimpleQueue: in CPython 3.11 and 3.12 its `get` with a timeout may wait for ever where a signal comes as the timeout has
    passed, as the SIGCONT does for which a stopped process waits.
    """

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._empty = threading.Lock()  # let go by each put
        self._empty.acquire()

    def __bool__(self) -> bool:
        return bool(self._items)

    def put(self, item: T) -> None:
        """Leave it."""
        self._items.append(item)
        with suppress(RuntimeError):  # it is open already: the loop hasn't come to it yet
            self._empty.release()

    def take(self, timeout: float) -> T | None:
        """The oldest item, waited for up to `timeout` seconds; None where there is none by then."""
        until = time.monotonic() + timeout
        while not self._items and (left := until - time.monotonic()) > 0:
            self._empty.acquire(timeout=left)
        return self._items.popleft() if self._items else None
