"""What the dashboard itself does for a spool: drain it once when asked to, and see how fast it empties."""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING

from spoolq.errors import SpoolqError

if TYPE_CHECKING:
    from spoolq.app import SpoolQ

log = logging.getLogger("spoolq.dashboard")

WINDOW = 30.0  # seconds over which a rate is told


class Drainage:
    """Drains this host's spool in a thread of its own, once at a time."""

    def __init__(self, q: SpoolQ) -> None:
        self._q = q
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.error = ""

    @property
    def busy(self) -> bool:
        """Whether it drains now."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> bool:
        """Begin. Returns False where it drains already."""
        with self._lock:
            if self.busy:
                return False
            self._thread = threading.Thread(target=self._run, name="spoolq-dashboard-drain", daemon=True)
            self._thread.start()
            return True

    def _run(self) -> None:
        try:
            drainer = self._q.drainer()
            try:
                done = drainer.run_once()
                self.error = str(done.error) if done.error is not None and done.left else ""
            finally:
                drainer.close()
        except SpoolqError as error:
            self.error = str(error)
            log.warning("draining from the dashboard ended: %s", error)


class Rate:
    """How fast a number of rows that left grows, from what was seen of it."""

    def __init__(self, window: float = WINDOW) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self._window = window

    def see(self, at: float, gone: int) -> None:
        """At that time (monotonic) so many had left."""
        if self._seen and gone < self._seen[-1][1]:  # another spool, or one begun anew
            self._seen.clear()
        self._seen.append((at, gone))
        while self._seen[0][0] < at - self._window and len(self._seen) > 2:
            self._seen.popleft()

    def value(self) -> float | None:
        """Rows a second, None where it isn't known."""
        if len(self._seen) < 2:
            return None
        (began, first), (ended, last) = self._seen[0], self._seen[-1]
        return (last - first) / (ended - began) if ended > began else None
