"""A doctor's round on a thread of its own: it takes longer than a page may wait."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from spoolq.doctor import Finding, check

if TYPE_CHECKING:
    from spoolq.app import SpoolQ

log = logging.getLogger("spoolq.dashboard")

OLD = 60.0
"""Seconds after which who looks has another round made."""


class Examination:
    """The last round, and whether one is under way."""

    def __init__(self, q: SpoolQ) -> None:
        self._q = q
        self._lock = threading.Lock()
        self.findings: list[Finding] = []
        self.at: float | None = None
        self.running = False

    def look(self, older: float = OLD) -> None:
        """Begin a round where the last one is older than that, in seconds; one at a time."""
        with self._lock:
            if self.running or (self.at is not None and time.time() - self.at < older):
                return
            self.running = True
        threading.Thread(target=self._round, name="spoolq-doctor", daemon=True).start()

    def _round(self) -> None:
        try:
            found = check(self._q)
        except Exception:
            log.exception("the doctor's round failed")
            found = [Finding("doctor", "unknown", "the round failed", "the dashboard's log says why; try `spoolq doctor`")]
        with self._lock:
            self.findings, self.at, self.running = found, time.time(), False
