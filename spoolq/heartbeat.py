"""A worker's word that it lives, and what it works on."""

from __future__ import annotations

import random
import time

from spoolq.consumer import Consumer
from spoolq.errors import StoreUnavailable

_SHOWN_AFTER = 0.05  # seconds that a job must have run before others are told what the worker does
_SHOWN_EVERY = 0.25


class Heartbeat:
    """Keeps the leases of one consumer, three times a lease, and shows what is worked on soon after it has begun."""

    def __init__(self, consumer: Consumer, lease: float, rng: random.Random) -> None:
        self._consumer, self._every, self._rng = consumer, lease / 3, rng
        self._last = float("-inf")
        self._shown: frozenset[str] = frozenset()

    def turn(self) -> float:
        """Returns the seconds to the next look."""
        consumer, every = self._consumer, self._every
        if not consumer.active:
            return 0.5
        now, clock = time.monotonic(), time.time()
        working = consumer.working
        running = frozenset(one.claim.token for one in working if clock - one.since > _SHOWN_AFTER)
        if now - self._last >= every or (running - self._shown and now - self._last >= _SHOWN_EVERY):
            consumer.known = True
            try:
                consumer.reconciler.heartbeat()
                consumer.keep_guards()
            except StoreUnavailable:  # the consumer tells; a lease may be short, and is to be saved as soon as it's back
                return self._rng.uniform(0.5, 1.0) * min(1.0, every)
            self._last, self._shown = now, running
        return min(every, 0.1 if working else 0.5)
