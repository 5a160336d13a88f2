"""The threads that run jobs: what each is doing, which it ends, and the one that takes its place when it can't be ended."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from spoolq import forked, traces, wire
from spoolq.coroutines import Coroutines
from spoolq.errors import TimeLimit
from spoolq.hold import Board, Hold, Roster, Run
from spoolq.job import Claim, Job
from spoolq.limits import KILL_AFTER, STUCK, Exposure, Watch
from spoolq.outcome import Pending
from spoolq.tasks import Task

log = logging.getLogger("spoolq.worker")

MOST_LEFT_BEHIND = 8
"""Threads that don't end with their job's time limit, or as many as the worker has if that is more: beyond it the worker ends."""

_MENDS = 1200  # tries, one each 0.05 s
_PATIENCE = 0.5  # seconds for which a job that must be alone waits for the others to end, while nothing is begun
_MOMENT = 0.005
_BEHIND = 0.01  # seconds after which what one thread was given is for those too that have nothing to do


class _Hand:
    """A thread in its slot, and what it runs. `waits`: for something to do; `left`: it is left behind, another has the slot."""

    def __init__(self, crew: Crew, slot: int) -> None:
        self.slot = slot
        self.waits = self.left = False
        self.run: Run | None = None
        self.thread = threading.Thread(target=crew._work, args=(self,), name=f"spoolq-job-{slot}", daemon=True)


class Crew(Roster):
    """`size` threads that share what all holds hand out. None of them ends before `end`, whatever is raised in it, but one that
    runs on after its job's time limit: it is left behind, and replaced.

    coroutines   how many `async def` tasks may run at a time, beside what the threads do
    board        told of what each slot runs, None: nobody is
    """

    def __init__(
        self,
        size: int,
        *,
        coroutines: int = 0,
        board: Board | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(size, clock, wall)
        self._board = board
        self._watch = Watch()
        self._coroutines = Coroutines(self, coroutines, self._watch, board)
        self._hands: dict[int, _Hand] = {}
        self._left: list[_Hand] = []
        self._sharer: threading.Thread | None = None
        self._ended = False
        self._pid = 0

    def start(self) -> None:
        """Begin to run what is handed out."""
        self._pid = os.getpid()
        for slot in range(self.size):
            self._begin(slot)
        if self.size > 1:
            self._sharer = threading.Thread(target=self._share, name="spoolq-share", daemon=True)
            self._sharer.start()

    def end(self) -> None:
        """Each thread ends after the job that it runs; coroutines are cancelled, and get a second for it."""
        self._ended = True
        self._coroutines.end()
        self._watch.end()
        self.unshared.set()
        for _ in range(self.size):
            self.todo.put(None)

    @property
    def busy(self) -> bool:
        """Whether a job runs that is still ours."""
        with self.lock:
            return any(not run.lost and self._lives(slot) for slot, run in self.runs.items())

    @property
    def dead(self) -> list[str]:
        """The threads that have ended, and should not have."""
        found = [hand.thread.name for hand in self._hands.values() if not (hand.left or hand.thread.is_alive())]
        if self._sharer is not None and not self._sharer.is_alive():
            found.append(self._sharer.name)
        return [] if self._ended else [*found, *(["spoolq-limits"] if self._watch.dead else []), *self._coroutines.dead]

    @property
    def left_behind(self) -> int:
        """How many jobs run on though their time limit is over and they were reported."""
        with self.lock:
            self._left = [hand for hand in self._left if hand.thread.is_alive()]
            return len(self._left) + self._coroutines.left_behind

    @property
    def worn_out(self) -> bool:
        """Whether there are too many of them, or some hold up others for good."""
        return self.left_behind > max(self.size, MOST_LEFT_BEHIND) or self._coroutines.lost

    def look(self) -> None:
        """Tell what holds up others."""
        self._coroutines.look(self.clock())

    @property
    def late(self) -> float:
        """By how many seconds the event loop comes late; 0.0 where there is none."""
        return self._coroutines.late(self.clock())

    def _begin(self, slot: int) -> None:
        hand = _Hand(self, slot)
        try:
            hand.thread.start()
        finally:  # not before, or it would be missed while it starts. One that can't be started should not have ended
            self._hands[slot] = hand

    def _lives(self, slot: int) -> bool:
        hand = self._hands.get(slot)
        return hand is None or hand.thread.is_alive()

    # the threads

    def _work(self, hand: _Hand) -> None:
        while not (self._ended or hand.left):
            try:
                self._work_off(hand)
            except BaseException as error:  # no memory, or somebody's exception that strikes after the job's end
                self._mend(hand, error)

    def _work_off(self, hand: _Hand) -> None:
        call, alone, board = partial(self._call, hand), partial(self._alone, hand), self._board
        while (batch := self._next(hand)) is not None:
            hold, claims = batch
            for claim in claims:
                if (run := hold.begin(hand.slot, claim)) is not None:
                    hand.run = run
                    if board is not None:
                        board.begin(hand.slot, claim.token, None)
                    outcome = hold.runner.run(claim, hand.slot, call, alone)
                    if isinstance(outcome, Pending):
                        self._coroutines.take(run, outcome)
                    else:
                        run.outcome = outcome
                        hold.finish(run, outcome, self.clock() - run.began)
                    if hand.left:
                        return  # the slot is another's
                    if board is not None:
                        board.end(hand.slot)

    def _next(self, hand: _Hand) -> tuple[Hold, Sequence[Claim]] | None:
        """What is handed out next, None at the end."""
        hand.waits = True
        if self.todo.empty():
            self.starve()
        batch = self.todo.get()
        hand.waits = False
        return batch

    @property
    def starved(self) -> bool:
        """Whether a thread has nothing to do and could begin something, whatever the others have still to begin."""
        return not self.secluded and self.todo.empty() and any(hand.waits for hand in self._hands.values())

    def _share(self) -> None:
        """Pass on what lies behind a job that takes longer than was thought. A thread of its own: who fetches the jobs may wait
        for a store that doesn't answer."""
        while not self._ended:
            try:
                self.unshared.wait()
                self.unshared.clear()
                time.sleep(_BEHIND)
                while any(hold.waits for hold in self.holds) and not self._ended:
                    if self.starved:
                        for hold in self.holds:
                            hold.pass_on(self.clock() - _BEHIND)
                    time.sleep(_BEHIND)
            except BaseException:  # no memory, say
                try:
                    self.unshared.set()
                    time.sleep(0.1)
                    log.exception("an error of our own as what lies behind a job was passed on; it goes on")
                except BaseException:  # noqa: S110  (nor to tell it)
                    pass

    def _mend(self, hand: _Hand, error: BaseException) -> None:
        """Report on what the thread ran as it was struck; as soon as that can be done, where there is no memory. What it held and
        had not begun is put back by the hold's owner."""
        for attempt in range(_MENDS):
            try:
                time.sleep(0.05 * bool(attempt))
                if hand.left:
                    return
                if (run := self.runs.get(hand.slot)) is not None:
                    outcome = run.outcome or run.hold.runner.died(run.claim, error)
                    run.hold.finish(run, outcome, self.clock() - run.began)
                log.error("%s was raised in a thread between jobs, it goes on: %s", type(error).__name__, error)
            except BaseException:  # noqa: S112  (no memory to tell it with, perhaps)
                continue
            return
        raise error  # the worker sees that the thread has ended, and ends as well

    def _alone(self, hand: _Hand) -> bool | None:
        """Have nothing run beside what this thread is about to run, until that has ended. False: others don't end soon enough,
        None: another one has that right."""
        run = hand.run
        if run is None or not self.seclude(run):
            return None
        until = self.clock() + _PATIENCE
        if self._board is not None:
            self._board.end(run.slot)  # should the process die now, it is not for this one
        while len(self.runs) > 1 and self.clock() < until:
            time.sleep(_MOMENT)
        if self._board is not None:
            self._board.begin(run.slot, run.claim.token, None)
        if len(self.runs) == 1:
            return True
        self.readmit(run)
        return False

    def _call(self, hand: _Hand, task: Task[..., Any], job: Job) -> Any:
        """Run the task within its limits."""
        run = hand.run
        if not task.limited or task.asynchronous or run is None:
            return self._run(task, job)
        if self._board is not None and task.timeout is not None:
            self._board.begin(run.slot, run.claim.token, task.timeout + KILL_AFTER)
        exposure: Exposure[Any] = Exposure(
            self._watch, task.soft_timeout, task.timeout, lambda: self._leave_behind(hand, run, exposure)
        )
        return exposure.run(lambda: self._run(task, job))

    def _run(self, task: Task[..., Any], job: Job) -> Any:
        try:
            result = task.run(job)
        except BaseException as error:
            forked.end_here(self._pid, error)
            raise
        forked.end_here(self._pid)
        return result

    def _leave_behind(self, hand: _Hand, run: Run, exposure: Exposure[Any]) -> None:
        """A job runs on after its limit: report on it, and give its slot to another thread."""
        error = exposure.error(TimeLimit)
        with self.lock:
            killed = self._board is not None and self.runs.get(run.slot) is run and self._board.give_up(run.slot)
        if killed:
            self._tell_stuck(hand, run, error, "This process is killed for it, and its other jobs are put back")
            return
        error.add_note(f"It was left at:\n{traces.of_thread(hand.thread.ident)}")
        outcome = run.hold.runner.died(run.claim, error)
        with self.lock:
            if self.runs.get(run.slot) is not run:
                return  # it has ended after all
            hand.left = True
            self._left.append(hand)
            if self._board is not None:
                self._board.end(run.slot)
        run.hold.finish(run, outcome, self.clock() - run.began)
        if not self._ended:
            self._begin(hand.slot)
        then = "It is reported as failed, its thread is left behind and replaced, and what it still does counts no more"
        self._tell_stuck(hand, run, error, then)

    def _tell_stuck(self, hand: _Hand, run: Run, error: BaseException, then: str) -> None:
        log.error(
            "%s can't be ended: %s, and it runs on %g s after TimeLimit was raised in it (time.sleep, a wait for a network and"
            " other C code don't notice). %s. It is at:\n%s",
            wire.named(run.claim.payload, run.claim.queue),
            error,
            STUCK,
            then,
            traces.of_thread(hand.thread.ident) or "(it has just ended)",
        )
