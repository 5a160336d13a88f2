"""The claims that a worker knows of and those that the store has for it, kept the same, whatever answers were lost."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from spoolq.errors import StaleCall, StoreUnavailable
from spoolq.hold import Hold
from spoolq.reach import Reach
from spoolq.runner import Runner
from spoolq.settler import Settler
from spoolq.store.base import Store, WorkerInfo

log = logging.getLogger("spoolq.worker")

_COMPARE_AFTER = 10  # heartbeats that found the worker too busy to compare its claims with the store's


class Reconciler:
    """Keeps the leases and takes over claims of others, and tells when (`due`) the store's claims and ours must be compared.

    resting   the number of the loop's last turn, None while one is under way or a call unanswered
    count     how many claims the worker holds
    ring      called when there is something to do for the loop
    kept      called when the store has heard of us: our leases last from then on
    """

    def __init__(
        self,
        store: Store,
        worker: WorkerInfo,
        name: str,
        runner: Runner,
        hold: Hold,
        settler: Settler,
        reach: Reach,
        *,
        clock: Callable[[], float],
        resting: Callable[[], int | None],
        count: Callable[[], int],
        ring: Callable[[], object],
        kept: Callable[[], None],
    ) -> None:
        self.due = False
        self._store, self._worker, self._name, self._runner = store, worker, name, runner
        self._hold, self._settler, self._reach, self._clock = hold, settler, reach, clock
        self._resting, self._count, self._ring, self._kept = resting, count, ring, kept
        self._rescuing = threading.Lock()
        self._rescues = 0  # odd: one is under way
        self._rescue_in_doubt = False
        self._mismatches = self._uncompared = 0

    @property
    def lapsed(self) -> bool:
        """Whether the lease may be over."""
        return self._clock() > self._hold.good_until

    def prolong(self, sent: float) -> None:
        """The store has heard of us. After a lease has lapsed that isn't enough: others may have what is here."""
        self._kept()
        if sent <= self._hold.good_until:
            self._hold.good_until = sent + self._worker.lease
        elif not self.due:
            self.due = True
            self._ring()

    def heartbeat(self) -> None:
        """Keep the leases. Raises StoreUnavailable."""
        before, ours, sent = (self._resting(), self._rescues), self._count(), self._clock()
        try:
            theirs = self._store.heartbeat(self._worker, self._hold.working)
        except StoreUnavailable:
            self._reach.suspect = True  # the loop finds out, also when no thread is free and it would ask for nothing
            self._ring()
            raise
        self.prolong(sent)
        if before != (self._resting(), self._rescues) or before[0] is None or before[1] % 2:
            self._uncompared += 1  # something was on its way: the two numbers can't be compared
            self.due = self.due or self._uncompared >= _COMPARE_AFTER
            return
        self._uncompared = 0
        self._mismatches = 0 if ours == theirs else self._mismatches + 1
        if self._mismatches >= 2:  # the store holds claims that we don't know of, or no longer those that we do
            self._mismatches, self.due = 0, True
            self._ring()

    def rescue(self, limit: int) -> int:
        """Take over up to `limit` claims of workers whose lease ran out, to be settled as the retry policy has it. Returns how
        many. Raises StoreUnavailable."""
        with self._rescuing:  # a comparison meanwhile would take them for claims that nobody knows of
            self._rescues += 1
            try:
                claims = self._store.rescue(self._worker, limit)
                for claim in claims:
                    self._settler.add(claim, self._runner.died(claim))
            except StoreUnavailable as error:
                self._reach.suspect = True
                if error.maybe_applied:
                    self._rescue_in_doubt = self.due = True
                raise
            finally:
                self._rescues += 1
                self._ring()
        return len(claims)

    def compare(self, number: int, done: set[str]) -> None:
        """Call number `number`: what the store holds for us and we don't know of is settled; what it no longer holds isn't ours.
        `done` are the tokens of claims that are about to be acknowledged. Raises StoreUnavailable."""
        with self._rescuing:
            sent = self._clock()
            known = self._hold.tokens | self._settler.tokens | done
            try:
                theirs = {claim.token: claim for claim in self._store.reconcile(self._worker, number, known)}
            except StaleCall as error:
                log.info("%s: %s", self._name, error)
                return
            self.due, rescued, self._rescue_in_doubt = False, self._rescue_in_doubt, False
            self._uncompared = 0
            self._hold.good_until = sent + self._worker.lease
            self._reach.answered()
            held = self._hold.tokens
            known |= held | self._settler.tokens
            unknown = [claim for token, claim in theirs.items() if token not in known]
            if unknown and rescued:
                for claim in unknown:
                    self._settler.add(claim, self._runner.died(claim))
            elif unknown:
                log.warning("%s: %d claim(s) that nobody here knows of are put back", self._name, len(unknown))
                self._settler.put_back(unknown)
            if lost := self._hold.forget(held - theirs.keys()):
                log.warning("%s: %d job(s) were taken over while they could not be kept; they run again", self._name, lost)
