"""When a burst is over: a worker that is to end when nothing is left to do here."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from spoolq.consumer import Consumer
from spoolq.drain import Drainer
from spoolq.errors import StoreUnavailable
from spoolq.store.base import Spool

log = logging.getLogger("spoolq.worker")

OUT_OF_REACH, TRY_LATER = 69, 75
_FAILURES = 3  # calls running that must find the primary away: one that is cut says little
_PATIENCE = 3.0  # seconds for which the primary may refuse what the spool holds


class Burst:
    """Looks, turn by turn, whether all is done: nothing ready in the primary, nothing held, nothing left to drain.

    Jobs for later, retries among them, are not waited for. `tidy` is done before the last look: what is due, and what dead
    workers left, becomes work.
    """

    def __init__(
        self,
        primary: Consumer,
        local: Consumer | None,
        drained: tuple[Spool, Drainer] | None,
        tidy: Sequence[Callable[[], object]] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._primary, self._local, self._drained, self._tidy, self._clock = primary, local, drained, tidy, clock
        self._asked: int | None = None
        self._refused_since: float | None = None
        self._unread_since: float | None = None

    def turn(self) -> int | None:
        """The exit code when nothing is left to do here, else None: 0; 69 when the primary is out of reach (and, with local
        work, the spool has nothing that may run here); 75 when it answers, but doesn't take what the spool holds, or has a
        queue that can't be read, or jobs in one that is paused."""
        if self._primary.reach.available is False:
            self._asked = None
            local = self._local
            nothing_here = local is None or (local.idle and not local.waits) or local.reach.available is False
            if self._primary.reach.failures < _FAILURES or not nothing_here:
                return None
            log.error("the burst ends: the primary can't be reached, and nothing is left that may run here without it")
            return OUT_OF_REACH
        held = 0 if self._local is None else self._local.count
        refusal = self._primary.reach.refusal
        if refusal is not None and not self._primary.count and not held:
            return self._end_refused(refusal)
        self._unread_since = None
        if not self._primary.idle or self._primary.waits or held:
            self._asked = None
            return None
        if self._drained is not None and (code := self._spool_is_empty(*self._drained)) != 0:
            self._asked = None
            return code
        if self._asked is None:  # a look once more: what was drained or due may have come since the last one
            self._make_tidy()
            self._asked = self._primary.look()
            return None
        return self._end() if self._primary.looked(self._asked) else None

    def _end(self) -> int:
        """All that may run is done."""
        paused = 0
        with suppress(StoreUnavailable):
            paused = self._primary.lineup.behind_a_pause()
        if paused:
            log.error("the burst ends; ready jobs that are left in queues that are paused: %d (`spoolq queues list`)", paused)
        return TRY_LATER if paused else 0

    def _make_tidy(self) -> None:
        with suppress(StoreUnavailable):
            for tidy in self._tidy:
                tidy()

    def _end_refused(self, refusal: StoreUnavailable) -> int | None:
        """A claim is refused only where no other queue has a job: what is left is behind what can't be read."""
        self._asked = None
        if self._unread_since is None:
            self._unread_since = self._clock()
            self._make_tidy()
        if self._clock() - self._unread_since < _PATIENCE:
            return None
        if self._drained is not None and (code := self._spool_is_empty(*self._drained)) != 0:
            return code
        log.error("the burst ends, though jobs may be left that can't be read; what can be is done: %s", refusal)
        return TRY_LATER

    def _spool_is_empty(self, spool: Spool, drainer: Drainer) -> int | None:
        try:
            if not spool.waiting(1):
                return 0
        except StoreUnavailable:
            return 0  # what can't be read can't be drained; whoever drains has said so
        if drainer.progress.error is None:
            self._refused_since = None
            return None
        if self._refused_since is None:
            self._refused_since = self._clock()
        if self._clock() - self._refused_since < _PATIENCE:
            return None
        log.error("jobs are left in this host's spool, they stay safe there: %s", drainer.progress.error)
        return TRY_LATER
