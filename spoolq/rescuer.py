"""Claims of workers that died are taken over and settled by the retry policy, so that somebody runs the job again."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

log = logging.getLogger("spoolq.worker")


class Rescuer:
    """Takes over expired claims of one store.

    rescue    takes over up to so many under this worker's name, sees to their settling, and returns how many there were
    hold_off  seconds for which nothing may be taken over: while the store was away no worker could say that it lives, and each
              gets the time to say so before its jobs run a second time
    lease     of this worker, in seconds; dead ones are looked for three times as often, and every 10 s at least
    """

    def __init__(
        self,
        rescue: Callable[[int], int],
        lease: float,
        *,
        hold_off: Callable[[], float] = lambda: 0.0,
        batch: int = 100,
        rng: random.Random | None = None,
    ) -> None:
        self._rescue = rescue
        self._hold_off = hold_off
        self._batch = batch
        self._every = min(10.0, max(0.2, lease / 3))
        self._rng = rng or random.Random()

    def turn(self) -> float:
        """Take over one batch. Returns the seconds to the next turn: none while there may be more."""
        if (wait := self._hold_off()) > 0:
            return min(wait, self._every)
        count = self._rescue(self._batch)
        if count:
            log.warning("%d job(s) of a worker that stopped answering are taken over", count)
        return 0.0 if count else self._every * self._rng.uniform(0.7, 1.3)
