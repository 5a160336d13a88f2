"""The drainer: a worker whose work is `primary.put`. Take rows from the spool, put them into the primary, delete them. In
that order."""

from __future__ import annotations

import logging
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from spoolq import cpu, guards, history, tracing, tracking, wire
from spoolq.breaker import Breaker
from spoolq.counts import Counts
from spoolq.errors import GuardHeld, LeaseLost, PayloadError, StoreFull, StoreUnavailable, WorkerDied
from spoolq.events import Witness
from spoolq.hand import Hand
from spoolq.handoffs import effects_of, read, relayed, released, said, shown
from spoolq.importing import importing
from spoolq.job import Handoff, Message, new_id
from spoolq.middleware import NO_HOOKS, Hooks
from spoolq.pace import Pace, Room
from spoolq.sieve import DAY, Drained, Sieve
from spoolq.store.base import DRAIN_PAUSED, DRAINED_AT, MAX_BYTES, MAX_ROWS, Life, Spool, Store, WorkerInfo
from spoolq.store.effects import NONE

log = logging.getLogger("spoolq.drain")

_HELD = 3600.0
_SAID = 5.0  # seconds between two words of what was handed over
_SHORT = 0.05  # seconds: through a pause as short as this rows are held unsent
_ROW = 200  # about what a row takes in the primary beside its payload, in bytes


class _Refused(Exception):
    """The primary did not take a batch; apart from what the spool may raise meanwhile."""

    def __init__(self, error: StoreUnavailable) -> None:
        super().__init__(str(error))
        self.error = error


class Drainer:
    """Empties a spool into a primary, batch by batch. Safe beside other drainers and local workers, and to be killed anywhere.

    batch     rows at most in one put; it begins small and grows while all goes well, halves when a put is cut
    rate      rows a second at most; None for what `Pace` finds
    timeout   seconds that one put may take
    horizon   seconds that the primary remembers an id: a row in doubt for longer (less a day) is set aside, not sent
    keep      whether rows that were written ahead stay until the primary has persisted them. For who watches over the spool it
              must be its own primary: with another one they would be sent to both
    hooks     told of what was drained and quarantined
    counts    counts what became of the rows, and the primary's errors
    """

    def __init__(
        self,
        spool: Spool,
        primary: Store,
        breaker: Breaker,
        worker: WorkerInfo,
        *,
        batch: int = MAX_ROWS,
        rate: float | None = None,
        timeout: float = 2.0,
        horizon: float = 7 * DAY,
        keep: bool = True,
        idle: float = 1.0,
        hooks: Hooks = NO_HOOKS,
        counts: Counts | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        if not 1 <= batch <= 10_000:
            raise ValueError(f"batch={batch}: from 1 to 10000")
        if rate is not None and rate <= 0:
            raise ValueError(f"rate={rate}: more than 0 rows a second")
        self._spool, self._primary, self._breaker, self._worker = spool, primary, breaker, worker
        self._hand, self._busy, self._process = Hand(spool, primary, timeout), threading.Lock(), os.getpid()
        self._most, self._timeout, self._keeps, self._idle = batch, timeout, keep, idle
        self._hooks, self._clock, self._wall = hooks, clock, wall
        self._pace, self._room = Pace(batch, rate, rng), Room()
        self._batch = batch
        self._put_took = 0.0
        self._flows = False  # no pause to speak of was due after the last batch
        self._held = False
        self._life, self._life_until = Life(), float("-inf")
        self._refusals = 0
        self._cut = ("", 0)
        self._proved = float("-inf")
        self._last_not_after = 0.0
        self._drained_at = self._said_at = 0.0
        self._stopping = False
        self.progress = Drained(counts=Counts() if counts is None else counts)
        self._witness = Witness(breaker, lambda: spool.events, monotonic=clock)
        self._sieve = Sieve(spool, primary, self.progress, hooks, timeout=timeout, horizon=horizon, wall=wall)

    def hold(self, held: bool = True) -> None:
        """Move nothing until told to go on. Only this drainer, and for as long as it lives; an operator's pause is kept in the
        spool. Safe in a signal handler."""
        self._held = held

    def turn(self) -> float:
        """Move one batch if there is one and the primary answers. Returns the seconds until the next turn makes sense."""
        self._look_for_fork()
        with self._busy:
            try:
                return self._turn()
            except BaseException:
                # What it holds now isn't known (a take whose answer was lost, rows that could not be given back)
                self._let_go()
                raise

    def _let_go(self) -> None:
        """Its own lease would keep what it holds for as long as it lives. Under another name it lets go of it."""
        self._worker = replace(self._worker, key=new_id())
        self._hand.drop()

    def _look_for_fork(self) -> None:
        """In a child: what is in hand is the parent's, and so is the lock that a turn there held."""
        if self._process != os.getpid():
            self._process, self._busy = os.getpid(), threading.Lock()
            self._let_go()

    def _turn(self) -> float:
        if self._held:
            self._hand.open()
            return _HELD
        waiting = self._waiting
        self._spool.attend()  # beside the file, which is there now
        if not waiting:
            self._say_drained(0.0)
            self._tidy()
            self._witness.empty(lambda: self._primary.ready(self._timeout))
            return self._idle
        if (since := self._spool.meta(DRAIN_PAUSED)) is not None:
            self._hand.open()
            return self._paused(since)
        began = self._clock()
        try:
            # Asked before claiming: a claim that can only be refused would keep local workers off the oldest rows for nothing.
            if not self._breaker.allows() or began - self._proved > 1.0:
                self._breaker.probe(lambda: self._primary.ready(self._timeout))
            self._look_at_load()
            self._note_life(began)
        except StoreUnavailable as error:
            self._hand.open()
            return self._refused(error)
        self._witness.answers()
        taken, not_after = self._hand.next(self._worker, *self._bounds)
        if not taken:  # what waits is in another drainer's or a local worker's hands
            self._take_from_the_dead()
            return self._idle
        words = said(taken)
        handoffs: Sequence[Handoff] = [read(h) for h in taken] if b'"unique"' in words else taken
        self._room.put(len(words) + _ROW * len(taken))
        before, self._put_took = self.progress.rows, 0.0
        handoffs = self._sieve.sift(handoffs, words)
        rows, size = self._bounds
        if self._flows and rows == self._most and size > 0 and not self._stopping:  # so little is held unsent, and not for long
            self._hand.reach(self._worker, rows, size)
        try:
            self._hand_over_all(handoffs, not_after)
        except _Refused as refusal:
            self._hand.open()
            return self._refused(refusal.error)
        self._hand.grasp()
        self.progress.error, self._refusals, self._proved = None, 0, self._clock()
        self._batch = min(self._most, self._batch * 2)
        self._drained_at = self._wall()
        self._say_drained(_SAID)
        pause = self._pace.pause(self.progress.rows - before, self._put_took, self._clock() - began)
        self._flows = pause < _SHORT
        return pause

    @property
    def _waiting(self) -> bool:
        """Whether there is anything to do."""
        return not self._hand.empty or self._spool.waiting(1) > 0

    @property
    def _bounds(self) -> tuple[int, int]:
        """Rows and bytes of the next batch."""
        return min(self._batch, self._pace.batch), int(min(MAX_BYTES, self._room.left))

    def _say_drained(self, every: float) -> None:
        """Leave word of the last batch that was handed over, for monitors, where the last word is older than so many seconds."""
        if self._drained_at - self._said_at > every:
            with suppress(StoreUnavailable):
                self._spool.set_meta(DRAINED_AT, f"{self._drained_at:.3f}")
                self._said_at = self._drained_at

    def _tidy(self) -> None:
        """Let go of ids that need no longer be remembered: in the primary, and, a bounded number a turn, in the spool, which its
        local workers look after in an outage only. A store that can't is no reason to end here."""
        with suppress(StoreUnavailable):
            self._primary.forget(())
        with suppress(StoreUnavailable):
            self._spool.promote(0)

    def run_once(
        self,
        timeout: float = 0.0,
        *,
        wait: Callable[[float], object] = time.sleep,
        report: Callable[[Drained], None] = lambda progress: None,
    ) -> Drained:
        """Turn until no row is left, or until the primary has been out of reach for `timeout` seconds, or `stop` was called.

        `left` in the result is 0 if it saw the spool empty (others may add to it since); `error` says why rows are left when
        the primary was the reason.
        """
        out_since: float | None = None
        while not (empty := not self._waiting) and not self._stopping:
            delay = self.turn()
            report(self.progress)
            if self._held or self.progress.error is None:
                out_since = None
            else:
                out_since = self._clock() if out_since is None else out_since
                left = out_since + timeout - self._clock()
                if left <= 0:
                    break
                delay = min(delay, left)
            if delay and self._waiting:
                wait(delay)
        with self._busy:
            self._hand.open()
        if empty:
            self._witness.end(lambda: self._primary.ready(self._timeout))
        self.progress.left = 0 if empty else self._spool.waiting()
        return self.progress

    def stop(self) -> None:
        """End `run_once` after the batch under way. Safe in a signal handler."""
        self._stopping = True

    def leave(self) -> None:
        """Rows that this drainer still holds may be taken over at once."""
        self._look_for_fork()
        if self._busy.acquire(blocking=False):  # else a turn hangs in another thread, and what it holds is its own
            try:
                self._hand.open()
            except StoreUnavailable as error:
                log.info("rows that were in hand wait until the lease is over: %s", error)
            finally:
                self._busy.release()
        self._spool.leave()
        self._spool.unregister(self._worker)

    def close(self, wait: Callable[[float], object] = time.sleep) -> None:
        """Unregister: rows that this drainer still holds may be taken over at once. Unless it was stopped, wait until the ids
        of its last puts may be forgotten (`timeout` seconds at most), so that nothing of what was drained is left in the
        primary."""
        try:
            self.leave()
            if self.progress.moved and not self._stopping and self.progress.error is None:
                off = 0.6  # the store allows for a clock that is off by half a second
                left = self._last_not_after - self._primary.now() + off
                wait(max(0.0, min(self._timeout + 1.0, left)))
            self._primary.forget(())
        except StoreUnavailable as error:
            log.info("the drainer ends, and leaves what time will clear: %s", error)

    def _take_from_the_dead(self) -> None:
        """Rows that a local worker held when it died: nobody runs the spool's jobs once the outage is over, so they are made
        ready to be sent, the crash counted. What kills its worker each time is ended by the workers of the primary."""
        for claim in self._spool.rescue(self._worker, MAX_ROWS):
            with suppress(LeaseLost):
                try:
                    job = wire.decode(claim.payload, claim.queue)
                    died = history.ended(job, WorkerDied(), self._spool.now())
                    payload = wire.attempted(claim.payload, job, died, crash=True)
                except PayloadError:
                    self._spool.release([claim])
                else:
                    self._spool.retry(claim, payload, 0.0)
                named = wire.named(claim.payload, claim.queue)
                log.warning("%s, held by a local worker that stopped answering, is sent on", named)

    # before a batch

    def _look_at_load(self) -> None:
        """Live traffic first: how long it has to wait now, and whether the memory that is kept for it is touched. Raises
        StoreUnavailable."""
        now = self._clock()
        look = self._room.due(now)
        load = self._primary.load(self._timeout, memory=look)
        self._pace.waited(load.wait, now)
        if look:
            self._room.seen(load.used, load.limit, now)
        if self._room.full:
            raise StoreFull(
                f"the primary is {100 * self._room.share:.0f} % full, and the rest of its memory is left to live traffic: let "
                "workers make room, or raise maxmemory",
                reason="headroom",
                server_wide=False,
            )

    def _paused(self, since: str) -> float:
        if self.progress.error is None or self.progress.error.reason != "paused":
            log.warning("draining is paused by an operator; `spoolq drain resume` lets it go on")
        self.progress.error = StoreUnavailable(
            f"draining is paused since {_when(since)} by an operator: `spoolq drain resume` lets it go on",
            reason="paused",
            server_wide=False,
        )
        return self._idle

    # one batch

    def _note_life(self, now: float) -> None:
        """A moment of the primary before the puts that follow: they are answered in this life, or a later one."""
        if now >= self._life_until:
            self._life, self._life_until = self._primary.life(self._timeout), now + 1.0

    def _hand_over_all(self, handoffs: Sequence[Handoff], not_after: float) -> None:
        """In the order in which they came, unique ones each alone. Raises _Refused after giving back."""
        if not any(h.message.unique for h in handoffs):
            self._hand_over(handoffs, not_after)
            return
        parts: list[list[Handoff]] = []
        for handoff in handoffs:
            if not parts or handoff.message.unique is not None or parts[-1][0].message.unique is not None:
                parts.append([])
            parts[-1].append(handoff)
        for at, part in enumerate(parts):
            try:
                self._hand_over(part, not_after)
            except _Refused:
                self._spool.give_back([h for rest in parts[at + 1 :] for h in rest], applied="no")
                raise

    def _hand_over(self, handoffs: Sequence[Handoff], not_after: float) -> None:
        """Put, then delete. What is refused for its own sake is found by halving, and set aside. Raises _Refused after giving
        back."""
        if not handoffs:
            return
        left = not_after - self._primary.now()
        if left <= 0:  # a long halving used up the attempt's time: never sent, so nothing is in doubt
            self._spool.give_back(handoffs, applied="no")
            return
        ours, began = cpu.busy(), self._clock()
        sent, effects = [h for h in handoffs if not relayed(h)], NONE
        jobs = [h.message for h in sent]
        try:
            if len(sent) < len(handoffs):
                for handoff in filter(relayed, handoffs):
                    effects |= effects_of(handoff)
            now = self._wall()
            effects |= tracking.queued(jobs, now) | guards.acquiring(handoffs[0].message, now)
            put = partial(self._primary.put, jobs, effects, timeout=left, not_after=not_after, hold=True)
            new = self._traced(jobs, put) if tracing.LOADED in sys.modules and tracing.active() else put()
        except GuardHeld as refused:
            self._sieve.kept_out(handoffs[0], refused)
            return
        except (PayloadError, StoreUnavailable) as error:
            self._not_put(handoffs, not_after, error)
            return
        # What this host's own work took is none of the primary's time: at full speed there is much of it, in another thread
        self._put_took += max(0.0, self._clock() - began - (cpu.busy() - ours))
        self._last_not_after = not_after
        there = [h for h, fresh in zip(sent, new, strict=True) if not fresh]
        known = {h.token for h in there}
        kept = [h for h in handoffs if h.message.keep] if self._keeps else []
        self._keep(kept, known)
        self._delete([h for h in handoffs if not h.message.keep] if kept else handoffs, known)
        self.progress.moved += sum(new) + len(handoffs) - len(jobs)
        for handoff in there:
            self.progress.ended("already_there", handoff.message.queue)
        if self._hooks.has("on_drained"):
            for message in jobs:
                self._hooks.tell("on_drained", shown(message))

    def _traced(self, jobs: Sequence[Message], put: Callable[[], list[bool]]) -> list[bool]:
        sent = (wire.trace_of(job.payload) for job in jobs)
        return tracing.draining(sent, {job.queue for job in jobs}, len(jobs), put)

    def _not_put(self, handoffs: Sequence[Handoff], not_after: float, error: PayloadError | StoreUnavailable) -> None:
        if isinstance(error, StoreUnavailable) and error.maybe_applied:
            self._batch, self._proved = max(1, len(handoffs) // 2), float("-inf")
            if self._cut_alone(handoffs, error):
                self._sieve.set_aside(handoffs[0], f"the connection was cut three times as this job alone was sent: {error}")
            else:
                self._spool.give_back(handoffs, applied="maybe")
            raise _Refused(error) from error
        if isinstance(error, StoreUnavailable) and (error.server_wide or error.reason == "late"):
            self._spool.give_back(handoffs, applied="no")
            raise _Refused(error) from error
        if len(handoffs) == 1:
            self._sieve.set_aside(handoffs[0], f"refused by Redis for its own sake: {error}")
            return
        middle = len(handoffs) // 2
        try:
            self._hand_over(handoffs[:middle], not_after)
        except _Refused:
            self._spool.give_back(handoffs[middle:], applied="no")
            raise
        self._hand_over(handoffs[middle:], not_after)

    def _cut_alone(self, handoffs: Sequence[Handoff], error: StoreUnavailable) -> bool:
        """Whether this row, sent alone, was cut three times running, each time right after an answered probe.

        A payload that the server can't take (past its proto-max-bulk-len) looks like an outage that never heals.
        """
        if len(handoffs) != 1 or error.reason != "cut":
            return False
        id, times = self._cut
        self._cut = (handoffs[0].message.id, times + 1 if id == handoffs[0].message.id else 1)
        return self._cut[1] >= 3

    def _keep(self, handoffs: Sequence[Handoff], known: Collection[str]) -> None:
        """Write-ahead: the rows stay, and so do their ids in the primary."""
        with suppress(LeaseLost):  # taken over by another drainer, which will keep them
            self._spool.keep(handoffs, self._life, released(handoffs), known=known)

    def _delete(self, handoffs: Sequence[Handoff], known: Collection[str]) -> None:
        """At full speed with the next commit."""
        releases = released(handoffs)
        if releases:
            self._hand.settle()  # what else is owed apart: what is released goes with this row alone
        self._hand.put(handoffs, known)
        if releases or not self._hand.reaching:
            self._hand.settle(releases)

    def _refused(self, error: StoreUnavailable) -> float:
        """Note why, and wait out the outage with full jitter (tenacity's arithmetic), so that hosts don't come back in step."""
        with importing():
            from tenacity import RetryCallState, Retrying, wait_random_exponential

        if error.server_wide:
            self.progress.counts.add("spoolq_redis_errors_total", error.reason, "drain")
            self._breaker.failed(error.reason, str(error))
            self._witness.look()
        self._pace.begin_anew()
        if self.progress.error is None:
            log.warning("the primary does not take jobs now, they stay safe in the spool: %s", error)
        self.progress.error = error
        self._refusals += 1
        state = RetryCallState(Retrying(), None, (), {})
        state.attempt_number = self._refusals
        most = 30.0 if isinstance(error, StoreFull) else 5.0
        return 0.1 + float(wait_random_exponential(multiplier=0.2, max=most)(state))


def _when(since: str) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(float(since)))
    except (ValueError, OverflowError, OSError):
        return since
