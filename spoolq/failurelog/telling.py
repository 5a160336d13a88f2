"""What goes wrong again and again is told at once, then rarely, with how often it was, and when it is over."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger("spoolq.failures")

SILENT = 300.0
"""Seconds until the same is told again."""


class Telling:
    """Of one place. Safe to use by several threads."""

    def __init__(self, place: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._place, self._clock = place, clock
        self._lock = threading.Lock()
        self._reason, self._told_at, self._count = "", float("-inf"), 0

    def trouble(self, reason: str, text: str, count: int = 0) -> None:
        """Something is wrong: `text` is told where `reason` is a new one, or was told long ago. `count`: failures not written."""
        with self._lock:
            self._count += count
            now = self._clock()
            if reason == self._reason and now - self._told_at < SILENT:
                return
            self._reason, self._told_at = reason, now
            total = self._count
        lost = f" ({total:,} failure(s) so far: they are in the store's failure list)" if total else ""
        log.error("%s: %s%s", self._place, text, lost)

    def fine(self) -> None:
        """It works."""
        if not self._reason:
            return
        with self._lock:
            reason, count = self._reason, self._count
            self._reason, self._count, self._told_at = "", 0, float("-inf")
        if reason:
            lost = f"; {count:,} failure(s) were not written there, they are in the store's failure list" if count else ""
            log.warning("%s: failures are written there again%s", self._place, lost)
