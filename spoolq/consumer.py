"""The loop over one store: settle what is done, claim what can soon run, and keep asking while the store is away.

One thread makes all numbered calls, so that they have an order. Done jobs are acknowledged together with the next claim, in one
round trip; after a lost answer the same call is made again, before anything else.
"""

from __future__ import annotations

import itertools
import logging
import math
import random
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from spoolq import wire
from spoolq.crew import Crew
from spoolq.errors import ConfigError, StaleCall, StoreUnavailable
from spoolq.hold import GATHER, Hold, Report
from spoolq.job import Claim, Failure
from spoolq.journal import Journal, Owed
from spoolq.lineup import Lineup
from spoolq.outcome import Done
from spoolq.reach import Reach
from spoolq.reconciler import Reconciler
from spoolq.runner import Runner
from spoolq.selection import Selection, named
from spoolq.settler import Settler
from spoolq.store.base import Store, WorkerInfo, Working
from spoolq.store.effects import NONE, Effects
from spoolq.store.quota import Quota

log = logging.getLogger("spoolq.worker")

_LOOK_AHEAD = 0.02  # seconds of work that may be claimed beyond what is running: what a slow job holds up, nobody else can run
_HAND_OUT = 0.005  # seconds of work that one thread is given at a time
_STALLED = 0.1  # seconds after which what no thread has begun is put back, for others to run
_BUSY = 0.05  # seconds for which acknowledgements may wait for each other
_SOON = 0.005  # seconds to the next turn where something came between
_LOOK = 1.0  # seconds that one idle wait lasts
_MOMENT = 1.0  # seconds of an outage after which what can't be told is written down
_MOST = 1000  # of one claim
_TRIES = 3  # of a last settling


@dataclass(slots=True)
class _Call:
    """A claim that is sent until it is answered: after a lost reply (`doubtful`) again, as it was."""

    number: int
    acks: list[tuple[Claim, Done]]
    effects: Effects
    queues: tuple[str, ...]
    limit: int
    wakes: int
    quotas: Sequence[Quota]
    doubtful: bool = False


class Consumer:
    """Claims from `store` for the threads of `crew`, and settles what they report.

    selection      the queues, their order and weights; None for the worker's, strictly in order
    quotas         limits of queues
    elsewhere      the queues that are paused in another store, and so here as well
    wanted         whether it should claim now (an outage's local work is wanted only during one)
    max_prefetch   claims held beyond one for each thread; reached only by jobs of microseconds, slow ones are claimed one for
                   each thread
    most           jobs to run in all, then no more are claimed; None for no limit
    journal        where to write down what the store can't be told, so that it outlives this process; None for nowhere
    record         gets every failure before the store is told of it; must not raise
    changed        called when the store goes away or comes back
    kept           called when the store has heard of this worker: its leases last from then on
    hook           called at named points ("registered", "claimed", "idle", "away"), for tests
    """

    def __init__(
        self,
        store: Store,
        worker: WorkerInfo,
        runner: Runner,
        crew: Crew,
        *,
        name: str,
        selection: Selection | None = None,
        quotas: Sequence[Quota] = (),
        max_prefetch: int = 100,
        most: int | None = None,
        journal: Journal | None = None,
        record: Callable[[Sequence[Failure]], None] | None = None,
        elsewhere: Callable[[], Collection[str]] = tuple,
        wanted: Callable[[], bool] = lambda: True,
        changed: Callable[[], None] = lambda: None,
        kept: Callable[[], None] = lambda: None,
        rng: random.Random | None = None,
        hook: Callable[[str], None] = lambda point: None,
    ) -> None:
        self.store = store
        self.worker = worker
        self.record = record
        self.name = name
        self.known = False  # whether the store may have heard of this worker
        self.broken: ConfigError | None = None
        self.empty = False  # the last claim that had room came back with less
        self.runner = runner
        self.ran = 0  # jobs that the threads are done with
        self._crew = crew
        self._clock = crew.clock
        self.lineup = Lineup(store, named(worker.queues) if selection is None else selection, crew.clock, elsewhere)
        self._quotas = quotas
        self._wanted = wanted
        self._changed = changed
        self._max_prefetch = max_prefetch
        self._most = math.inf if most is None else most
        self._rng = rng or random.Random()
        self._hook = hook
        self._bell, self._urgent, self._nothing = threading.Event(), threading.Event(), threading.Event()
        self._paused = self._stopping = self._ended = False
        self._hold = Hold(crew, runner, self._ring)
        self._settler = Settler(store, worker, name, crew.clock, record)
        self.reach = Reach(name, worker.lease, crew.clock, self._rng, changed=changed, came_back=self._must_reconcile, hook=hook)
        self.reconciler = Reconciler(
            store,
            worker,
            name,
            runner,
            self._hold,
            self._settler,
            self.reach,
            clock=crew.clock,
            resting=self._resting,
            count=lambda: self.count,
            ring=self._ring,
            kept=kept,
        )
        self._journal = journal
        self._acks: list[tuple[Claim, Done]] = []
        self._call: _Call | None = None
        self._number = self._looked = self._wakes = 0
        self._wake_numbers = itertools.count(1)  # other threads wake: each call of theirs must show
        self._mean: float | None = None  # seconds that a job takes
        self._slow = False  # one that took long is to be acknowledged
        self._called = float("-inf")  # when the last call was made
        self._turns = 0  # odd: one is under way
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
        self._wakes = next(self._wake_numbers)  # a look that is under way saw nothing of what this is about
        self.empty = False
        self._bell.set()

    def look(self) -> int:
        """Have a look that begins after this; `looked` tells of it by the number returned."""
        number = self._number
        self.wake()
        return number

    def looked(self, number: int) -> bool:
        """Whether such a look has found nothing, and nothing is held."""
        return self._looked > number and self.idle

    def pause(self, paused: bool) -> None:
        """Take no more jobs until resumed; running ones go on."""
        self._paused = paused
        self.wake()

    @property
    def count(self) -> int:
        """How many claims the worker holds here."""
        call = self._call
        return self._hold.count + self._settler.count + len(self._acks) + (len(call.acks) if call else 0)

    @property
    def idle(self) -> bool:
        """Whether there was nothing to claim at the last look, and nothing is held."""
        return self._turns % 2 == 0 and self.empty and self._call is None and self.count == 0 and not self.lineup.limited

    @property
    def waits(self) -> bool:
        """Whether jobs that could not run beside others were put back a moment ago."""
        return self.runner.gate is not None and self.runner.gate.waits

    @property
    def fed(self) -> bool:
        """Whether it holds jobs, and got as many as it asked for: there may be more than its threads can do."""
        return not self.empty and self._hold.count > 0

    @property
    def active(self) -> bool:
        """Whether it claims, or holds something."""
        return self._wanted() or self.count > 0

    @property
    def owes(self) -> bool:
        """Whether a job has run whose outcome the store doesn't know yet."""
        call = self._call
        return bool(self._acks or (call and call.acks) or self._settler.results)

    @property
    def written_down(self) -> int:
        """For how many claims it is written down what the store wasn't told: somebody else will tell it."""
        return 0 if self._journal is None else self._journal.count

    @property
    def working(self) -> list[Working]:
        """What the threads are doing for this store."""
        return self._hold.working

    def keep_guards(self) -> None:
        """Go on holding what running jobs hold beside their claims. Raises StoreUnavailable.

        Not while one of them may be somebody else's: that one may have let go of it, and this run never would."""
        if self.runner.gate is not None and not (self.reconciler.due or self.reconciler.lapsed):
            self.runner.gate.keep(lambda: {one.claim.token for one in self._hold.working})

    def stop_claiming(self) -> None:
        """Take no more, and put back what no thread has begun."""
        self._stopping = self._hold.closed = True
        for event in (self._bell, self._urgent, self._nothing):
            event.set()

    def end(self) -> None:
        """Put back what still runs, and end. What can't be settled now is left to the journal, or without one to the lease."""
        self._stopping = self._ended = self._hold.closed = True
        for event in (self._bell, self._urgent, self._nothing):
            event.set()

    def join(self, timeout: float) -> bool:
        """After `end`: wait for it. Returns whether everything could be settled."""
        if self._threads[0].ident is not None:
            self._threads[0].join(max(0.0, timeout))
        return self.count == 0 and (self._call is None or self.broken is not None)

    @property
    def dead(self) -> list[str]:
        """Its threads that have ended, and should not have."""
        found = [thread.name for thread in self._threads if thread.ident is not None and not thread.is_alive()]
        return [] if self._stopping else found  # in this order: whoever ends on purpose has set it before

    # the loop

    def _ring(self) -> bool:
        """Wake the loop. Returns whether to let it in at once: a store that works apart does so while threads run what they have.
        A file's work is done by this process, and the more of it at a time the better."""
        if self._bell.is_set():
            return False
        self._bell.set()
        return self.store.apart

    def _loop(self) -> None:
        over = False
        while not over:
            try:
                over = self._once()
            except BaseException:  # no memory, say, where another error was handled
                self._turns += self._turns % 2
                self._struck()
                over = self.broken is not None

    def _once(self) -> bool:
        """A turn, what follows from its errors, and the time until the next one. Returns whether it was the last one."""
        self._turns += 1
        bell = self._bell
        try:
            delay = self._turn()
        except StoreUnavailable as error:
            self.runner.count_error(error)
            delay, bell = self.reach.failed(error), self._urgent
        except ConfigError as error:
            self.broken, self._stopping = error, True
            self._nothing.set()
            self._changed()
            self._write_down(last=True)
            return True
        except Exception:
            log.exception("%s: an error of our own; the claims are kept and it goes on", self.name)
            delay, bell = 1.0, self._urgent
        over = self._ended and self._over(failed=bell is self._urgent)
        self._write_down(last=over)
        self._turns += 1
        if over:
            return True
        if delay > 0:
            bell.wait(delay)
        self._urgent.clear()
        self._bell.clear()
        return False

    def _struck(self) -> None:
        """After an error that nothing else took care of."""
        try:
            self._urgent.wait(1.0)
            log.exception("%s: an error of our own, between two turns; the claims are kept and it goes on", self.name)
        except BaseException:  # noqa: S110  (no memory to tell it with; `suppress` would need some)
            pass

    def _over(self, failed: bool) -> bool:
        """Whether to end: nothing is left to tell, or it can't be told. An answer that was lost is worth another try."""
        if failed:
            return self.reach.available is not False or self.reach.failures >= _TRIES or (self._call is None and self.count == 0)
        return self._call is None and (self.count == 0 or self._settler.parked)

    def _turn(self) -> float:
        """Settle, then claim. Returns the seconds until the next turn makes sense, unless the bell rings before."""
        if self._call is not None:
            self._exchange(self._call)
        if self.reconciler.due or (self.known and self.reconciler.lapsed and self.active):
            self._number += 1
            self.reconciler.compare(self._number, {claim.token for claim, _ in self._acks})
        self._take_back()
        free = self._crew.room  # before it: what ends from here on the store holds until the next call
        self._collect()
        self._settler.send()
        wakes = self._wakes
        room = self._room(free) if self._may_claim() and not self.empty else 0
        # Where it may be away it is asked also when no thread is free: local work begins and ends with the outage.
        suspect = (self.reach.suspect or self.reach.available is not True) and self._wanted() and not self._stopping
        if room > 0 and self.lineup.due:
            self.lineup.renew()
        if suspect or (self._ripe and (room > 0 or self._acks)):
            acks = self._alike()
            effects = Effects(counters=self._settler.counters(acks[0][1].counter, len(acks))) if acks else NONE
            self._number += 1
            order = self.lineup.order()
            quotas = [quota for quota in self._quotas if quota.queue in order]
            self._call = _Call(self._number, acks, effects, order, room, wakes, quotas)
            self._exchange(self._call)
        if self.reconciler.due:
            return _SOON
        more = self._may_claim() and not self.empty
        if self._ripe and (self._acks or (more and self._room(self._crew.room) > 0)):
            return 0.0
        self._hold.hungry = more
        return _BUSY if self._hold.unbegun else _LOOK

    @property
    def _ripe(self) -> bool:
        """Whether a call makes sense now. While threads have enough to begin it can wait: the more a call settles and claims, the
        less each of it costs. A slow job is acknowledged at once."""
        low = len(self._hold.unbegun) <= self._hold.low or self._crew.starved  # what waits behind slow jobs feeds no other thread
        return low or self._slow or self._stopping or self._clock() - self._called >= _BUSY

    def _alike(self) -> list[tuple[Claim, Done]]:
        """Taken out of what is to be acknowledged: those that count as the first one does. All of one call count alike."""
        kind = self._acks[0][1].counter if self._acks else ""
        alike = [ack for ack in self._acks if ack[1].counter == kind]
        self._acks = [ack for ack in self._acks if ack[1].counter != kind] if len(alike) < len(self._acks) else []
        return alike

    def _may_claim(self) -> bool:
        # what can't be settled for now is held, but not without bound
        return (
            not (self._stopping or self._paused)
            and self._left > 0
            and self._wanted()
            and self._settler.count <= self._max_prefetch
        )

    @property
    def _left(self) -> float:
        """Jobs that may still be claimed: of those that were put back unbegun, as many again."""
        return self._most - self.ran - self._hold.count

    def _room(self, free: int) -> int:
        """How many to claim, where so many could be begun at once."""
        ahead = 0
        if self._mean is not None:
            ahead = min(self._max_prefetch, int(_LOOK_AHEAD / max(self._mean, 1e-7)) * self._crew.size)
        return int(max(0, min(_MOST, free + ahead, self._left)))

    def _take_back(self) -> None:
        """Put back what no thread shall begin: all when stopping or when the lease may be over; else what waits for too long."""
        if self._stopping or self.reconciler.lapsed:
            self._settler.put_back(self._hold.take_back())
        elif self._hold.unbegun and self.reach.available and (late := self._hold.take_back(self._clock() - _STALLED)):
            self._mean = max(self._mean or 0.0, _STALLED)
            self._settler.put_back(late)
        if self._ended and (running := self._hold.take_back_running()):
            log.warning("%s: %d job(s) still run after the grace; they are put back and run again", self.name, len(running))
            self._settler.put_back(running)

    def _exchange(self, call: _Call) -> None:
        """Make the numbered call."""
        sent = self._called = self._clock()
        self.known, self._slow = True, False
        try:
            claimed = self.store.claim(
                self.worker,
                call.number,
                call.queues,
                call.limit,
                ack=[claim for claim, _ in call.acks],
                effects=call.effects,
                quotas=call.quotas,
            )
        except StaleCall as error:
            log.info("%s: %s", self.name, error)
            self.reconciler.due = True
            self._withdraw(call)
            return
        except StoreUnavailable as error:
            call.doubtful = call.doubtful or error.maybe_applied
            if not call.doubtful:
                self._withdraw(call)
            raise
        self._call, self.reach.suspect = None, False
        self.reconciler.prolong(sent)
        self.reach.answered()
        if claimed.lost:
            log.warning(
                "%s: %d done job(s) had been taken over before they were acknowledged; they run again: %s",
                self.name,
                len(claimed.lost),
                ", ".join(claimed.lost[:3]),
            )
        if claimed.claims:
            self._hand_out(claimed.claims)
            self._hook("claimed")
        if call.limit:
            self.empty = all_of_it = len(claimed.claims) < call.limit and not claimed.more
            self.lineup.took(call.queues, claimed, all_of_it=all_of_it)
            if call.wakes != self._wakes:
                self.empty = False  # in this order: whoever wakes from here on sets it after us
            if self.empty:
                self._looked = call.number
                try:
                    if self.lineup.renew():
                        self.empty = False  # what woke us may be a job of a queue that has just appeared
                finally:
                    if self.empty:  # not before: a wait that the next claim crosses would not be woken
                        self._nothing.set()
                        self._hook("idle")

    def _withdraw(self, call: _Call) -> None:
        """Nothing of it took effect, and never will: its acks go with the next one, fenced by their tokens."""
        self._call, self._acks = None, [*call.acks, *self._acks]

    def _hand_out(self, claims: Sequence[Claim]) -> None:
        size = 1
        if self._mean is not None:
            size = int(_HAND_OUT / max(self._mean, 1e-7))
            if size < len(claims):  # fewer are for one thread: those who share an interpreter only wait for each other
                size = max(1, min(size, len(claims) // self._crew.size))
        self._hold.low = len(claims) // 2 if len(claims) > self._crew.size else 0
        self._hold.hand_out(claims, size)

    def _collect(self) -> None:
        """Sort what the threads reported."""
        reports: list[Report] = self._hold.reports()
        if not reports:
            return
        self.ran += len(reports)
        if self.ran >= self._most:
            self._changed()
        told = log.isEnabledFor(logging.DEBUG)
        for claim, outcome, took in reports:
            if isinstance(outcome, Done) and not outcome.effects:  # those of one that was taken over would happen with the rest
                self._acks.append((claim, outcome))
                if told:  # the settler tells of the others
                    job = wire.named(claim.payload, claim.queue)
                    log.debug("%s: %s was %s, after %.3f s", self.name, job, outcome.counter, took)
            else:
                self._settler.add(claim, outcome)
        self._slow = self._slow or max([report.took for report in reports]) > GATHER
        mean = sum([report.took for report in reports]) / len(reports)
        self._mean = mean if self._mean is None else (self._mean + mean) / 2

    def _write_down(self, *, last: bool) -> None:
        """Bring the journal in line with what the store wasn't told: all of it in an outage of more than a moment, and at the
        end; else only what the store refuses."""
        journal = self._journal
        if journal is None:
            return
        away = self.reach.away_for > _MOMENT
        if not (away or last or journal.count or self._settler.parked):
            return
        if away or last:  # the turns of an outage don't come to this
            self._collect()
            if self._stopping:
                self._take_back()
        unsettled = [Owed(*one) for one in ((*(self._call.acks if self._call else ()), *self._acks, *self._settler.unsettled))]
        due = unsettled if away or last else [Owed(*one) for one in self._settler.refused]
        journal.keep(due, {one.claim.token for one in unsettled}, last=last)

    def _must_reconcile(self) -> None:
        self.reconciler.due = True

    def _resting(self) -> int | None:
        return None if self._turns % 2 or self._call is not None else self._turns

    # waiting for work

    def _await_work(self) -> None:
        """Waits in the store while there is nothing to claim, so that the loop stays free to settle."""
        while not self._stopping:
            try:
                self._await_once()
            except BaseException:
                self._struck()
                self.wake()

    def _await_once(self) -> None:
        self._nothing.wait()
        if self._stopping:
            return
        self._nothing.clear()
        pause = 0.0
        try:
            while self._may_claim():
                pause_at_most = min(_LOOK, max(0.0, self.lineup.due_in))
                if self.store.wait(self.worker, self.lineup.awaited, pause_at_most, appear=self.lineup.open):
                    break
                if self.lineup.renew() or self.lineup.held_back:
                    break
        except StoreUnavailable:
            pause = 0.5  # the loop finds out what it is
        except Exception:
            if not self._stopping:
                log.exception("%s: waiting for work failed; the queues are looked at every few seconds", self.name)
            pause = 3.0
        if pause:
            self._nothing.wait(self._rng.uniform(pause / 2, pause))
        self.wake()
