"""Is it worth asking the primary now? One failure that speaks for the whole server opens it; an answered probe closes it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Breaker:
    """Closed while the primary answers, open from the first failure until a probe succeeds.

    Callers only ask `allows()`, which reads one attribute. Probing is somebody else's work (a background thread, a drainer),
    never a caller's. `changed(open, reason)` is called once a transition, outside the lock.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        changed: Callable[[bool, str], None] = lambda open, reason: None,
    ) -> None:
        self._clock = clock
        self._changed = changed
        self._lock = threading.Lock()
        self.open_since: float | None = None
        self.reason: str | None = None

    def allows(self) -> bool:
        """Whether a caller should ask the primary."""
        return self.open_since is None

    def failed(self, reason: str) -> None:
        """The primary failed for everybody, for this reason."""
        with self._lock:
            opened = self.open_since is None
            if opened:
                self.open_since = self._clock()
            self.reason = reason
        if opened:
            self._changed(True, reason)

    def succeeded(self) -> None:
        """The primary answered."""
        if self.open_since is None:
            return
        with self._lock:
            closed = self.open_since is not None
            self.open_since, reason, self.reason = None, self.reason or "", None
        if closed:
            self._changed(False, reason)

    def after_fork(self) -> None:
        """In a forked child: the parent's lock may have been held by a thread that is gone. The state is kept."""
        self._lock = threading.Lock()
