"""What of a drainer's rows is not to be put into the primary, and where it goes instead."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from spoolq import chains, stamps, tracking, wire
from spoolq.cancelling import Canceller, cancelled, elsewhere
from spoolq.counts import Counts
from spoolq.errors import GuardHeld, LeaseLost, PayloadError, StoreUnavailable
from spoolq.handoffs import relayed, released, shown
from spoolq.job import RERUN, Handoff, sendable_for
from spoolq.middleware import Hooks
from spoolq.store.base import CANCELS, Spool, Store
from spoolq.store.effects import Effects

log = logging.getLogger("spoolq.drain")

DAY = 86_400.0

End = Literal["already_there", "expired", "quarantined", "cancelled", "unique"]


@dataclass
class Drained:
    """What a drainer has done so far: rows by their end; `unique` were dropped, since an equal job was there,
    `cancelled` called back. `error` is why it can't go on now, None when it can; `left` how many rows waited when `run_once`
    ended, 0 once it has seen the spool empty."""

    moved: int = 0
    already_there: int = 0
    expired: int = 0
    quarantined: int = 0
    cancelled: int = 0
    unique: int = 0
    error: StoreUnavailable | None = None
    left: int | None = None
    began: float = field(default_factory=time.monotonic)
    counts: Counts = field(default_factory=Counts, repr=False, compare=False)

    def ended(self, how: End, queue: str) -> None:
        """A row left the spool's queue like this. What was moved the primary counts, as it takes it."""
        setattr(self, how, getattr(self, how) + 1)
        self.counts.add("spoolq_drained_jobs_total", self.counts.bounded(queue), how)

    @property
    def rows(self) -> int:
        """Rows that left the spool's queue, whichever way."""
        return self.moved + self.already_there + self.expired + self.quarantined + self.cancelled + self.unique


class Sieve:
    """Takes out of a drainer's hands the rows that end otherwise: stale, called back, in doubt for too long, kept out by an equal
    job, or refused for their own sake. It counts them in `progress`."""

    def __init__(
        self,
        spool: Spool,
        primary: Store,
        progress: Drained,
        hooks: Hooks,
        *,
        timeout: float,
        horizon: float,
        wall: Callable[[], float],
    ) -> None:
        self._spool, self._primary, self._progress, self._hooks = spool, primary, progress, hooks
        self._timeout, self._horizon, self._wall = timeout, horizon, wall

    def sift(self, handoffs: Sequence[Handoff], said: bytes) -> Sequence[Handoff]:
        """Those that are to be sent. `said` is all that their payloads say."""
        left = self._not_called_back(handoffs)
        if b'"expires_at"' in said or any(handoff.in_doubt for handoff in left):
            return [handoff for handoff in left if self._sendable(handoff)]
        return left

    def _sendable(self, handoff: Handoff) -> bool:
        """Expired jobs end here; rows in doubt for too long are set aside, since the primary may have forgotten their ids."""
        expires_at = wire.expires_at(handoff.message.payload)
        # One in doubt may have run there already, or have been counted in its batch: it ends there
        if expires_at is not None and self._wall() >= expires_at and not handoff.in_doubt:
            self._expire(handoff)
            return False
        if handoff.in_doubt and not relayed(handoff) and handoff.age > sendable_for(self._horizon):
            self.set_aside(
                handoff,
                f"in doubt for {handoff.age / DAY:.1f} days: Redis may have this job already and no longer remember its id. "
                "Look for it there before you run it again",
            )
            return False
        return True

    def _not_called_back(self, handoffs: Sequence[Handoff]) -> Sequence[Handoff]:
        """Those that nobody has cancelled. Of the others the primary may have some already: it has the last word on them."""
        until = self._spool.meta(CANCELS)
        if until is None:
            return handoffs
        if self._wall() >= stamps.moment(until):
            self._spool.set_meta(CANCELS, None, expected=until)
            return handoffs
        ids = [handoff.message.id.partition(RERUN)[0] for handoff in handoffs]
        marks = self._spool.values([tracking.cancel_key(id) for id in ids])
        for handoff, id, mark in zip(handoffs, ids, marks, strict=True):
            if mark is not None:
                self._call_back(handoff, id)
        return [handoff for handoff, mark in zip(handoffs, marks, strict=True) if mark is None]

    def _call_back(self, handoff: Handoff, id: str) -> None:
        message = handoff.message
        ended = cancelled(message.payload, message.queue, self._wall())  # in the same step: nobody could tell later whose it was
        try:
            new = self._primary.waiting_jobs.refuse(message.id, ended)
        except StoreUnavailable:
            self._spool.give_back([handoff], applied="no")
            return
        ours = Canceller(self._primary, None).from_primary(id, refused=new)
        if ours.outcome == "away":
            self._spool.give_back([handoff], applied="no")
            return
        with suppress(LeaseLost):
            self._spool.ack([handoff.claim], elsewhere(new) | released([handoff]))
            self._progress.ended("cancelled", handoff.message.queue)

    def _expire(self, handoff: Handoff) -> None:
        message, now = handoff.message, self._wall()
        said = tracking.over(message.payload, message.queue, "expired", now)
        effects = said | Effects(counters=(("expired", 1),))
        with suppress(PayloadError):  # nobody can read what was to follow
            effects |= chains.following(wire.decode(message.payload, message.queue), "dropped", self._spool.now())
        try:
            if said:  # also where others look, who see no spool of another host
                self._primary.put((), said, timeout=self._timeout, hold=True)
            self._spool.ack([handoff.claim], effects | released([handoff]))
        except LeaseLost:
            return
        except StoreUnavailable:
            self._spool.give_back([handoff], applied="no")
            return
        self._progress.ended("expired", handoff.message.queue)

    def kept_out(self, handoff: Handoff, refused: GuardHeld) -> None:
        """An equal job is queued already: this one was to be unique, and isn't needed."""
        message = handoff.message
        said = tracking.over(message.payload, message.queue, "discarded", self._wall())
        dropped = said | Effects(counters=(("unique", 1),)) | released([handoff])
        try:
            self._spool.ack([handoff.claim], dropped)
        except LeaseLost:
            return
        log.warning(
            "%s is dropped as it is unique, and an equal one is queued already: that of %s",
            wire.named(handoff.message.payload, handoff.message.queue),
            refused.holder,
        )
        self._progress.ended("unique", handoff.message.queue)

    def set_aside(self, handoff: Handoff, reason: str) -> None:
        try:
            self._spool.quarantine(handoff, reason)
            if effects := released([handoff]):
                self._spool.put((), effects)
        except LeaseLost:
            return
        named = wire.named(handoff.message.payload, handoff.message.queue, handoff.message.id)
        log.error("%s was set aside in the spool's quarantine: %s", named, reason)
        self._progress.ended("quarantined", handoff.message.queue)
        if self._hooks.has("on_quarantined"):
            self._hooks.tell("on_quarantined", shown(handoff.message), reason)
