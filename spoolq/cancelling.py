"""Calling a job back by its id: out of the spool and the primary where it waits, by a wish to stop where it runs.

A job that is reported as removed never runs again. What makes it so, beside removals that are one step each: from the start of
the search on the primary answers every put of the id as if the job were there, as for any id that was put (docs/hand-off.md). So
an attempt that is still on its way, or a row in a drainer's hands, queues nothing; and whether one was applied before is what the
primary says to that refusal.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from spoolq import chains, guards, tracking, wire
from spoolq.errors import PayloadError, StoreFull, StoreUnavailable
from spoolq.store.base import CANCELS, Spool, Store
from spoolq.store.effects import Effects
from spoolq.store.waiting import WaitingJob

_PATIENCE = 3.0  # seconds for which a row in a drainer's hands is waited for: about as long as one put may take
_ROUNDS = 5  # of a search for what others move

Outcome = Literal["removed", "asked", "late", "away"]


@dataclass(frozen=True, slots=True)
class Cancellation:
    """What became of a wish that a job not run.

    removed   it waited, and is gone: it does not run (any more)
    asked     it is in a worker's hands, or in those of a drainer: it is asked to stop, and is not tried again
    late      it doesn't wait: it has ended, or was never there. Should it be on its way, it is not queued any more
    away      a store could not be asked: see `detail`

    A result is true for `removed` and `asked`.
    """

    id: str
    outcome: Outcome
    detail: str = ""

    def __bool__(self) -> bool:
        return self.outcome in ("removed", "asked")


class Canceller:
    """Cancels jobs of one primary and this host's spool, where there is one."""

    def __init__(
        self,
        primary: Store,
        spool: Spool | None,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._primary, self._spool = primary, spool
        self._clock, self._monotonic, self._sleep = clock, monotonic, sleep

    def cancel(self, id: str) -> Cancellation:
        """Have the job not run, or stop."""
        try:
            spooled = None if self._spool is None else self._from_spool(self._spool, id)
        except StoreUnavailable as error:
            found = self.from_primary(id)
            return found or Cancellation(id, "away", f"the spool: {error}. It may still run; cancel it again")
        return self.from_primary(id) if spooled is None else spooled

    def remove(self, store: Store, job: WaitingJob) -> bool:
        """Take away this one job that waits, whatever its id, or without one. Returns whether it was there still."""
        return store.waiting_jobs.remove(job, self._effects(job))

    def take_back(self, store: Store, job: WaitingJob) -> bool:
        """Take away this job that was found to wait there; where the primary may have it too, by its id, wherever it is. Returns
        whether it was there still, or was asked to stop."""
        if not job.in_doubt and self.remove(store, job):  # first: by its id all queues are searched
            return True
        try:
            id = wire.decode(job.payload, job.queue).id if wire.has_id(job.payload) else ""
        except PayloadError:
            return False
        return bool(id and self.cancel(id))

    def from_primary(self, id: str, *, refused: bool | None = None) -> Cancellation:
        """The same in the primary alone. `refused`: its answer when it was told to take no put of the id; None: it wasn't."""
        try:
            return self._from_primary(id, refused)
        except StoreUnavailable as error:
            return Cancellation(id, "away", f"{error}. It may still run; cancel it again")

    def _from_primary(self, id: str, refused: bool | None) -> Cancellation:
        jobs = self._primary.waiting_jobs
        full: StoreFull | None = None
        runs = bool(jobs.held(id))  # before it hears of the wish, by which it may end at once
        try:
            self._primary.put((), self._wish(id), hold=True)
            new = jobs.refuse(id) if refused is None else refused
        except StoreFull as error:  # what waits can be taken away all the same
            full, new = error, False
        for _ in range(_ROUNDS):
            before = full is None and jobs.held(id)
            found = jobs.find(id)
            removed = [jobs.remove(job, self._effects(job)) for job in found if not (job.holder or job.aside)]
            if any(removed):
                return Cancellation(id, "removed")
            if full is not None:
                raise full
            if jobs.held(id):
                return Cancellation(id, "asked", "it runs, or is about to")
            if not (found or before):  # else it may have gone back to where was looked already
                break
        if refused and new:
            return Cancellation(id, "removed")  # of a row that was in doubt: nothing of it was ever applied
        if runs:
            return Cancellation(id, "asked", "it ran, and has ended meanwhile")
        return Cancellation(id, "late", "it has ended, or was never there")

    def _from_spool(self, spool: Spool, id: str) -> Cancellation | None:
        """What became of it there; None where the primary has the last word."""
        until = self._monotonic() + _PATIENCE
        refused: bool | None = None
        while rows := spool.waiting_jobs.find(id):
            row = rows[0]
            if row.aside:
                return Cancellation(id, "late", "it was set aside in the spool: see `spoolq spool quarantine`")
            if row.holder == "worker":
                self._leave_word(spool, id)  # it may go back to its queue, and be handed over
                return Cancellation(id, "asked", "it runs on this host")
            if row.holder == "drainer":
                if self._monotonic() < until:
                    self._sleep(0.05)
                    continue
                self._leave_word(spool, id)
                return Cancellation(id, "asked", "a drainer has it in its hands: it is called back when it is handed over")
            if row.in_doubt and refused is None:
                try:
                    refused = self._primary.waiting_jobs.refuse(_put_id(row, id), self._effects(row))
                except StoreUnavailable as error:
                    self._leave_word(spool, id)
                    why = "the primary may have it and can't be asked: it is called back when it is handed over"
                    return Cancellation(id, "asked", f"{why} ({error})")
            ours = refused is None  # else what its end carries happened with the refusal, or is the primary's own to say
            if spool.waiting_jobs.remove(
                row, self._effects(row) if ours else elsewhere(bool(refused)) | guards.freed(row.payload, row.queue)
            ):
                return Cancellation(id, "removed") if ours or refused else self.from_primary(id, refused=False)
        # a drainer was quicker: its put was answered as one of a job that is there
        return None if refused is None else self.from_primary(id, refused=refused)

    def _leave_word(self, spool: Spool, id: str) -> None:
        """For drainers of this spool, who look for such words only where there may be some."""
        spool.put((), self._wish(id), hold=True)
        spool.set_meta(CANCELS, str(self._clock() + tracking.ASKED_FOR))

    def _wish(self, id: str) -> Effects:
        return Effects(values=((tracking.cancel_key(id), b"1", tracking.ASKED_FOR),))

    def _effects(self, row: WaitingJob) -> Effects:
        return cancelled(row.payload, row.queue, self._clock())


def _put_id(row: WaitingJob, id: str) -> str:
    """Under which the primary knows it: a re-run has one of its own."""
    with suppress(PayloadError):
        return wire.decode(row.payload, row.queue).put_id
    return id


def elsewhere(refused: bool) -> Effects:
    """What the end of a spool's row is counted as, by the spool's tally, whose job the primary was told to take no more: refused,
    the primary has counted it as cancelled, and it was nowhere but here; else it is the primary's, which has the last word."""
    return Effects(counters=(("cancelled", 0) if refused else ("duplicates", 1),))


def cancelled(payload: bytes, queue: str, now: float) -> Effects:
    """What the removal of a cancelled job carries: it is counted, and its status says so."""
    effects = Effects(counters=(("cancelled", 1),)) | tracking.over(payload, queue, "cancelled", now)
    effects |= guards.freed(payload, queue)
    with suppress(PayloadError):  # nobody can read what was to follow
        effects |= chains.following(wire.decode(payload, queue), "dropped", now)
    return effects
