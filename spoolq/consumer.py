"""The loop over one store: settle what is done, claim what can soon run, and keep asking while the store is away.

One thread does all of it, so that the calls of a worker have an order and a number. Done jobs are acknowledged together with
the
next claim, in one round trip.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from queue import Empty, SimpleQueue

from spoolq.errors import LeaseLost, StaleCall, StoreUnavailable
from spoolq.job import Claim
from spoolq.runner import Done, Failed, Outcome, RetryLater, Runner
from spoolq.store.base import Effects, Store, WorkerInfo, Working

log = logging.getLogger("spoolq.worker")

_LOOK_AHEAD = 0.02  # seconds of work that may be claimed beyond what is running: what a slow job holds, nobody else can run
_HAND_OUT = 0.005  # seconds of work that one thread is given at a time
_GATHER = 0.01  # seconds: a job that took longer is acknowledged at once, shorter ones wait for each other
_BUSY = 0.05  # seconds for which they may wait
_LOOK = 1.0  # seconds that one idle wait lasts
_MOST = 1000  # of one claim


@dataclass(slots=True)
class _Call:
    """A claim that was sent, kept until it is answered: after a lost reply it is sent again as it was."""

    number: int
    acks: list[Claim]
    effects: Effects
    limit: int
    sent: bool = False


Batch = tuple["Consumer", list[Claim]]


class Consumer:
    """Claims from `store` for the threads that take batches from `todo`, and settles what they report.

    `wanted` says whether it should claim now (an outage's local work is wanted only during one). `max_prefetch` bounds the
    claims
    held beyond one for each thread; it is reached only by jobs of microseconds, slow ones are claimed one for each thread.
    """

    def __init__(
        self,
        store: Store,
        worker: WorkerInfo,
        runner: Runner,
        todo: SimpleQueue[Batch | None],
        *,
        name: str,
        max_prefetch: int = 100,
        wanted: Callable[[], bool] = lambda: True,
        rng: random.Random | None = None,
        hook: Callable[[str], None] = lambda point: None,
    ) -> None:
        self.store = store
        self.worker = worker
        self.runner = runner
        self.name = name
        self.available: bool | None = None  # None: not asked yet
        self.why: StoreUnavailable | None = None
        self.empty = False  # the last claim that had room came back with nothing
        self.paused = False
        self._todo = todo
        self._wanted = wanted
        self._max_prefetch = max_prefetch
        self._rng = rng or random.Random()
        self._hook = hook
        self._bell = threading.Event()
        self._nothing = threading.Event()  # nothing to claim: the waiter's turn
        self._stopping = self._ended = False
        self._held: dict[str, Claim] = {}
        self._handed = self._begun = self._low = 0
        self._begin = count(1)
        self._working: dict[int, Working] = {}
        self._done: deque[tuple[Claim, Outcome | None, float]] = deque()  # None: put it back
        self._unsent: deque[tuple[Claim, Outcome | None]] = deque()
        self._acks: list[Claim] = []
        self._counts: Counter[str] = Counter()
        self._call: _Call | None = None
        self._number = 0
        self._failures = 0
        self._mismatch = 0
        self._reconcile = False
        self._mean = 1.0  # seconds that a job takes
        self._threads = [
            threading.Thread(target=self._loop, name=f"spoolq-{name}", daemon=True),
            threading.Thread(target=self._await_work, name=f"spoolq-{name}-wait", daemon=True),
        ]

    # for the worker

    def start(self) -> None:
        """Begin to claim."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Look again now."""
        self._bell.set()

    @property
    def idle(self) -> bool:
        """Whether there was nothing to claim at the last look, and nothing is held."""
        return self.empty and not self._held and self._call is None

    @property
    def working(self) -> list[Working]:
        """What the threads are doing for this store."""
        return list(self._working.values())

    def stop_claiming(self) -> None:
        """Take no more, and give back what no thread has begun."""
        self._stopping = True
        self._bell.set()

    def settle_rest(self, until: float) -> bool:
        """After `stop_claiming`: wait for running jobs until `until` (monotonic), then put back what still runs. Returns
        whether
        everything could be settled; what could not is left to the lease."""
        pause = threading.Event()
        while self._held and time.monotonic() < until and not self._ended:
            self._bell.set()
            pause.wait(0.02)
        self._ended = True
        self._bell.set()
        self._threads[0].join(min(5.0, self.worker.lease / 3))
        return not self._held

    def adopt(self, settled: Sequence[tuple[Claim, Outcome]]) -> None:
        """Settle these claims, rescued under this worker's name, as if its threads had reported them."""
        self._held.update((claim.token, claim) for claim, _ in settled)
        self._done.extend((claim, outcome, 0.0) for claim, outcome in settled)
        self._bell.set()

    def heartbeat(self) -> None:
        """Keep the leases. Raises StoreUnavailable."""
        before = self._number, len(self._held)
        count = self.store.heartbeat(self.worker, self.working)
        if (self._number, len(self._held)) != before or self._call is not None:
            self._mismatch = 0  # a call came between: the two numbers can't be compared
        elif count == before[1]:
            self._mismatch = 0
        else:
            self._mismatch += 1
            if self._mismatch >= 2:  # a lost answer: the store holds claims that we don't know, or no longer those that we do
                self._mismatch, self._reconcile = 0, True
                self._bell.set()

    # for the threads

    def begin(self, slot: int, claim: Claim) -> bool:
        """A thread begins a claim; False: it must not, the claim was given back."""
        if self._stopping:
            self._done.append((claim, None, 0.0))
            self._bell.set()
            return False
        self._working[slot] = Working(slot, claim, time.time())
        self._begun = next(self._begin)
        return True

    def finish(self, slot: int, claim: Claim, outcome: Outcome, took: float) -> None:
        """A thread is done with a claim after `took` seconds."""
        self._working.pop(slot, None)
        self._done.append((claim, outcome, took))
        if took > _GATHER or self._handed - self._begun <= self._low:
            self._bell.set()

    # the loop

    def _loop(self) -> None:
        while True:
            try:
                delay = self._turn()
            except StoreUnavailable as error:
                delay = self._away(error)
            except Exception:
                log.exception("%s: an error of our own; the claims are kept and it goes on", self.name)
                delay = 1.0
            if self._ended and not (self._done or self._unsent or self._acks or self._held):
                break
            if self._ended and delay and self.available is False:
                break  # what can't be settled now is left to the lease
            if delay is None:
                delay = _BUSY if self._held else _LOOK
            if delay > 0:
                self._bell.wait(delay)
            self._bell.clear()

    def _turn(self) -> float | None:
        """Settle, then claim. Returns the seconds until the next turn makes sense, None for when the bell rings."""
        if self._stopping:
            self._give_back_unbegun()
        if self._ended:
            for working in self.working:
                log.warning("%s: a job is still running after the grace; it is put back and will run again", self.name)
                self._done.append((working.claim, None, 0.0))
            self._working.clear()
        if self._reconcile:
            self._compare()
        self._collect()
        self._send()
        if self._call is None and not self._worth_calling():
            return None
        return self._claim()

    def _worth_calling(self) -> bool:
        if self._acks:
            return True
        return self._may_claim() and self._room() > 0 and not self.empty

    def _may_claim(self) -> bool:
        return not (self._stopping or self.paused) and self._wanted()

    def _room(self) -> int:
        return max(0, min(_MOST, self.worker.threads + self._prefetch() - len(self._held) + len(self._acks)))

    def _prefetch(self) -> int:
        return min(self._max_prefetch, int(_LOOK_AHEAD / max(self._mean, 1e-7)) * self.worker.threads)

    def _claim(self) -> float | None:
        call = self._call
        if call is None:
            self._number += 1
            limit = self._room() if self._may_claim() else 0
            effects = Effects(counters=tuple(self._counts.items()))
            call = self._call = _Call(self._number, self._acks, effects, limit)
            self._acks, self._counts = [], Counter()
        try:
            claimed = self.store.claim(
                self.worker, call.number, self.worker.queues, call.limit, ack=call.acks, effects=call.effects
            )
        except StaleCall as error:
            # The store went on without us: find out where we stand. The acks of this call are sent anew, fenced by their
            # tokens.
            log.info("%s: %s", self.name, error)
            self._call, self._acks = None, [*call.acks, *self._acks]
            self._counts.update(dict(call.effects.counters))
            self._compare()
            return 0.0
        self._call = None
        self._back()
        for claim in call.acks:
            self._held.pop(claim.token, None)
        if claimed.lost:
            log.warning(
                "%s: %d done job(s) had been taken over before they were acknowledged; they run again: %s",
                self.name,
                len(claimed.lost),
                ", ".join(claimed.lost[:3]),
            )
        if claimed.claims:
            self._hand_out(claimed.claims)
        if call.limit:
            self.empty = len(claimed.claims) < call.limit
            if self.empty:
                self._nothing.set()
                self._hook("idle")
        return None if self.empty or not self._worth_calling() else 0.0

    def _hand_out(self, claims: Sequence[Claim]) -> None:
        self._held.update((claim.token, claim) for claim in claims)
        self._handed += len(claims)
        self._low = len(claims) // 2 if len(claims) > self.worker.threads else 0
        size = max(1, min(len(claims) // self.worker.threads, int(_HAND_OUT / max(self._mean, 1e-7))))
        for start in range(0, len(claims), size):
            self._todo.put((self, list(claims[start : start + size])))
        self._hook("claimed")

    def _collect(self) -> None:
        """Sort what the threads reported."""
        spent, ran = 0.0, 0
        while self._done:
            claim, outcome, took = self._done.popleft()
            spent, ran = spent + took, ran + 1
            if claim.token not in self._held:
                continue  # put back meanwhile, or known to be lost
            if isinstance(outcome, Done):
                self._acks.append(claim)
                self._counts.update(dict(self._counters(outcome.counter)))
            else:
                self._unsent.append((claim, outcome))
        if ran:
            self._mean += (spent / ran - self._mean) * (0.5 if self._mean < 1.0 else 1.0)

    def _send(self) -> None:
        """Settle, one by one, what isn't done. Raises StoreUnavailable, and keeps the rest."""
        while self._unsent:
            claim, outcome = self._unsent[0]
            try:
                self._settle(claim, outcome)
            except LeaseLost:
                log.info("%s: a claim of queue %s was taken over before it could be settled", self.name, claim.queue)
            self._unsent.popleft()
            self._held.pop(claim.token, None)
            self._back()

    def _settle(self, claim: Claim, outcome: Outcome | None) -> None:
        if outcome is None:
            self.store.release([claim])
        elif isinstance(outcome, RetryLater):
            log.info("%s: a job of queue %s is tried again: %s", self.name, claim.queue, outcome.reason)
            self.store.retry(claim, outcome.payload, outcome.at, Effects(counters=self._counters("retried")))
        elif isinstance(outcome, Failed):
            failure = outcome.failure
            log.error(
                "job %s of queue %s failed for good after %d attempt(s), it is in the failure log: %s",
                failure.id,
                failure.queue,
                failure.attempts,
                failure.exception,
            )
            self.store.fail(claim, failure, Effects(counters=self._counters("failed")))

    def _counters(self, name: str) -> tuple[tuple[str, int], ...]:
        """Resque counts by worker beside the whole; node-resque's names: successes and failures, `host:pid`."""
        if name in ("processed", "failed"):
            return (name, 1), (f"{name}:{self.worker.host}:{self.worker.pid}", 1)
        return ((name, 1),)

    def _give_back_unbegun(self) -> None:
        """What no thread has taken, in one step and in order."""
        mine: list[Claim] = []
        others: list[Batch | None] = []
        with suppress(Empty):
            while True:
                batch = self._todo.get_nowait()
                if batch is not None and batch[0] is self:
                    mine += batch[1]
                else:
                    others.append(batch)
        for batch in others:
            self._todo.put(batch)
        self._handed = self._begun
        self._done.extend((claim, None, 0.0) for claim in reversed(mine))  # each goes to the front: the last one first

    def _compare(self) -> None:
        """Reconcile: what the store holds for us and we don't know is put back; what it no longer holds is not ours."""
        self._number += 1
        theirs = {claim.token: claim for claim in self.store.reconcile(self.worker, self._number)}
        self._reconcile = False
        self._back()
        if unknown := [claim for token, claim in theirs.items() if token not in self._held]:
            log.warning("%s: %d claim(s) whose answer was lost are put back", self.name, len(unknown))
            with suppress(LeaseLost):
                self.store.release(unknown)
        if gone := [token for token in list(self._held) if token not in theirs]:
            log.warning("%s: %d claim(s) were taken over; they run again", self.name, len(gone))
            running = {working.claim.token for working in self.working}
            for token in gone:
                if token not in running:
                    self._held.pop(token, None)

    def _away(self, error: StoreUnavailable) -> float:
        if self.available is not False:
            log.warning("%s: %s; claims and results are kept, it is asked again", self.name, error)
            self._hook("away")
        self.available, self.why, self.empty = False, error, False
        self._failures += 1
        return self._rng.uniform(0.05, min(2.0, 0.1 * 2.0 ** min(self._failures, 10)))

    def _back(self) -> None:
        if self.available is not True:
            if self.available is False:
                log.warning("%s: the store answers again", self.name)
            self.available, self.why, self._failures = True, None, 0
            self._hook("registered")

    # waiting for work

    def _await_work(self) -> None:
        """Waits in the store while there is nothing to claim, so that the loop stays free to settle."""
        pause = threading.Event()
        while not self._stopping:
            if not self._nothing.wait(_LOOK):
                continue
            if not self._may_claim():
                pause.wait(0.1)
                continue
            self._nothing.clear()
            try:
                self.store.wait(self.worker, self.worker.queues, _LOOK)
            except StoreUnavailable:
                pause.wait(0.5)
            except Exception:
                if not self._stopping:
                    log.exception("%s: waiting for work failed; the queues are looked at once a second", self.name)
                pause.wait(1.0)
            self.empty = False
            self._bell.set()
