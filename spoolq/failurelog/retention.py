"""What keeps a store's failure list from growing for ever, where the settings ask for it: the oldest go, by age and by count."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

from spoolq.store.failures import FailureLog
from spoolq.units import say_duration

log = logging.getLogger("spoolq.failures")

_BATCH = 500
_EVERY = 60.0


class Retention:
    """Of one store. Any number may run.

    where     the store, for people
    failures  its failure log; `now` is its clock
    keep      the newest so many stay; None: all
    max_age   seconds after which a failure goes; None: never
    """

    def __init__(
        self,
        where: str,
        failures: Callable[[], FailureLog],
        now: Callable[[], float],
        *,
        keep: int | None,
        max_age: float | None,
        rng: random.Random | None = None,
    ) -> None:
        self._where, self._failures, self._now = where, failures, now
        self._keep, self._max_age = keep, max_age
        self._rng = rng or random.Random()
        self._gone = 0

    def turn(self) -> float:
        """Delete one batch. Returns the seconds to the next turn. Raises StoreUnavailable."""
        before = 0.0 if self._max_age is None else self._now() - self._max_age
        gone = self._failures().retire(before=before, keep=self._keep, limit=_BATCH)
        self._gone += gone
        if gone >= _BATCH:
            return 0.05
        if self._gone:
            why = [] if self._max_age is None else [f"older than {say_duration(self._max_age)} (failures_max_age)"]
            why += [] if self._keep is None else [f"beyond the newest {self._keep:,} (failures_keep)"]
            log.warning("%s: %d failure(s) were deleted from the failure list: %s", self._where, self._gone, ", or ".join(why))
            self._gone = 0
        return _EVERY * self._rng.uniform(0.8, 1.2)
