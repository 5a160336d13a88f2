"""Jobs for later become claimable when they are due."""

from __future__ import annotations

import random

from spoolq.store.base import Store


class Scheduler:
    """Promotes what is due in one store. Any number may run: each job is promoted once."""

    def __init__(self, store: Store, *, batch: int = 500, every: float = 1.0, rng: random.Random | None = None) -> None:
        self._store = store
        self._batch = batch
        self._every = every
        self._rng = rng or random.Random()

    def turn(self) -> float:
        """Promote one batch. Returns the seconds to the next turn: none while there is more, else about a second, with
        jitter."""
        if self._store.due() and self._store.promote(self._batch) >= self._batch:
            return 0.0
        return self._every * self._rng.uniform(0.8, 1.2)
