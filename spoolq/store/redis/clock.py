"""Redis's own clock, known without asking: its offset to our monotonic clock, so that a jump of the wall clock doesn't matter."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from spoolq.store.redis.resp import GarbageError

FRESH = 60.0  # seconds after which the offset is measured again: clocks drift apart by up to 50 ms in that time, mostly far less


class RedisClock:
    """Tells Redis's time. Until it was measured, the host's wall clock stands in."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self.monotonic = monotonic
        self._wall = wall
        self.offset: float | None = None
        self._stale_at = 0.0

    @property
    def stale(self) -> bool:
        """Whether it should be measured (again)."""
        return self.monotonic() >= self._stale_at

    def now(self) -> float:
        """Epoch seconds on Redis's clock."""
        return self._wall() if self.offset is None else self.monotonic() + self.offset

    def at(self, moment: float) -> float:
        """Epoch seconds on Redis's clock when our monotonic clock shows `moment`."""
        return moment + (self._wall() - self.monotonic() if self.offset is None else self.offset)

    def doubt(self) -> None:
        """Measure at the next occasion: an attempt was answered "late" that shouldn't have been."""
        self._stale_at = 0.0

    def measured(self, sent: float, reply: Any) -> None:
        """Take what `TIME` answered, asked at `sent` on the monotonic clock and answered now. Raises GarbageError."""
        try:
            seconds, micros = (int(part) for part in ([] if isinstance(reply, bytes) else reply))
        except (TypeError, ValueError) as error:
            raise GarbageError(f"TIME answered {str(reply)[:60]}") from error
        received = self.monotonic()
        doubt = (received - sent) / 2  # no measurement is better than this
        offset = seconds + micros / 1e6 - (sent + received) / 2
        if self.offset is None or abs(offset - self.offset) > doubt:
            self.offset = offset  # else what we had fits as well, and our idea of the time goes on without a step
        self._stale_at = received + FRESH
