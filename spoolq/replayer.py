"""What workers of this host wrote down before they ended, told to the primary by one that lives."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from spoolq.errors import StoreUnavailable
from spoolq.job import Claim, Failure
from spoolq.journal import LEASE, owed
from spoolq.settler import Settler
from spoolq.store.base import Store, WorkerInfo
from spoolq.store.journal import Settlement, Settlements

log = logging.getLogger("spoolq.worker")

_BATCH = 100
_REFUSED = 30.0  # seconds until what the primary refused for its own sake is tried again


class Replayer:
    """Takes entries of `book` that nobody holds any more, and tells `primary`, each with its own verb. Safe beside others, and to
    be killed anywhere: what it didn't come to is free again after a moment.

    answers   whether the primary does, as far as is known; while it doesn't nothing is taken
    idle      seconds between looks
    record    gets every failure before the primary is told of it
    """

    def __init__(
        self,
        book: Settlements,
        primary: Store,
        worker: WorkerInfo,
        *,
        answers: Callable[[], bool] = lambda: True,
        idle: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        record: Callable[[Sequence[Failure]], None] | None = None,
    ) -> None:
        self._book, self._primary, self._worker, self._record = book, primary, worker, record
        self._holder = f"{worker.key}-replayer"  # apart from what the worker itself has to tell
        self._answers, self._idle = answers, idle
        self._clock = clock
        self._came, self._wait_until = False, float("-inf")
        self._one = threading.Lock()

    @property
    def waits(self) -> bool:
        """Whether entries that somebody held when we came may come free yet: that one may be dead, and its jobs done."""
        return self._clock() < self._wait_until

    def turn(self) -> float:
        """Tell all that may be told now. Returns the seconds to the next look. Raises StoreUnavailable."""
        if not self._answers():
            return self._idle / 5
        with self._one:  # whoever is about to rescue waits here until what was done is told
            if not self._came and self._book.held():
                self._wait_until = self._clock() + LEASE
            self._came = True
            while taken := self._book.take(self._holder, _BATCH, LEASE):
                self._tell(taken)
        return self._idle

    def _tell(self, taken: list[Settlement]) -> None:
        log.info("the primary is told what became of %d job(s) of workers that have ended", len(taken))
        settler = Settler(self._primary, self._worker, "journal", record=self._record)
        released: list[Claim] = []
        unknown: set[str] = set()
        for entry in taken:
            try:
                claim, outcome = owed(entry)
            except ValueError as error:
                log.warning("what became of a job of queue %s can't be told: %s", entry.claim.queue, error)
                unknown.add(entry.claim.token)
                continue
            if outcome is None:
                released.append(claim)
            else:
                settler.add(claim, outcome)
        settler.put_back(released)
        later = 0.0
        try:
            settler.send()
            later = _REFUSED
        finally:
            told = {entry.claim.token for entry in taken} - settler.tokens - unknown
            try:
                self._book.keep(self._holder, (), told, later)  # told first, struck out then
            except StoreUnavailable as error:
                log.info("what was told to the primary stays in the journal, and is told again to no effect: %s", error)
