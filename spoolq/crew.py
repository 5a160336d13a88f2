"""The threads that run jobs: what each is doing, which it ends, and the one that takes its place when it can't be ended."""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from spoolq.errors import TimeLimit
from spoolq.hold import Roster, Run
from spoolq.job import Job
from spoolq.limits import STUCK, Exposure, Watch
from spoolq.tasks import Task

log = logging.getLogger("spoolq.worker")

KILL_AFTER = STUCK + 3.0
"""Seconds after its timeout at which a job may have its process killed from outside: nothing within could end or replace it."""

MOST_LEFT_BEHIND = 8
"""Threads that don't end with their job's time limit, or as many as the worker has if that is more: beyond it the worker ends."""

_MENDS = 1200  # tries, one each 0.05 s


class Board(Protocol):
    """Where others may read what each slot runs: such as the parent of this process, which may have to kill it."""

    def begin(self, slot: int, token: str, kill_after: float | None) -> None:
        """The claim with this token begins to run; the process may be killed when it still does after so many seconds, None:
        never."""

    def end(self, slot: int) -> None:
        """It has ended."""


class _Seat:
    """A thread in its slot, and what it runs. `left`: it is left behind, and another has the slot."""

    def __init__(self, crew: Crew, slot: int) -> None:
        self.slot = slot
        self.left = False
        self.run: Run | None = None
        self.thread = threading.Thread(target=crew._work, args=(self,), name=f"spoolq-job-{slot}", daemon=True)


class Crew(Roster):
    """`size` threads that share what all holds hand out. None of them ends before `end`, whatever is raised in it, but one that
    runs on after its job's time limit: it is left behind, and replaced.

    board   told of what each slot runs, None: nobody is
    """

    def __init__(
        self,
        size: int,
        *,
        board: Board | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(size, clock, wall)
        self._board = board
        self._watch = Watch()
        self._seats: dict[int, _Seat] = {}
        self._left: list[_Seat] = []
        self._ended = False

    def start(self) -> None:
        """Begin to run what is handed out."""
        for slot in range(self.size):
            self._seat(slot)

    def end(self) -> None:
        """Each thread ends after the job that it runs."""
        self._ended = True
        self._watch.end()
        for _ in range(self.size):
            self.todo.put(None)

    @property
    def busy(self) -> bool:
        """Whether a thread runs a job that is still ours."""
        with self.lock:
            return any(not run.lost and self._lives(slot) for slot, run in self.runs.items())

    @property
    def dead(self) -> list[str]:
        """The threads that have ended, and should not have."""
        found = [seat.thread.name for seat in self._seats.values() if not (seat.left or seat.thread.is_alive())]
        return [] if self._ended else [*found, *(["spoolq-limits"] if self._watch.dead else [])]

    @property
    def left_behind(self) -> int:
        """How many threads run on though their job's time limit is over and they were replaced."""
        with self.lock:
            self._left = [seat for seat in self._left if seat.thread.is_alive()]
            return len(self._left)

    @property
    def worn_out(self) -> bool:
        """Whether there are too many of them."""
        return bool(self._left) and self.left_behind > max(self.size, MOST_LEFT_BEHIND)

    def _seat(self, slot: int) -> None:
        seat = _Seat(self, slot)
        self._seats[slot] = seat  # a thread that can't be started is one that should not have ended
        seat.thread.start()

    def _lives(self, slot: int) -> bool:
        seat = self._seats.get(slot)
        return seat is None or seat.thread.is_alive()

    # the threads

    def _work(self, seat: _Seat) -> None:
        while not (self._ended or seat.left):
            try:
                self._work_off(seat)
            except BaseException as error:  # no memory, or somebody's exception that strikes after the job's end
                self._mend(seat, error)

    def _work_off(self, seat: _Seat) -> None:
        call, board = partial(self._call, seat), self._board
        while (batch := self.todo.get()) is not None:
            hold, claims = batch
            for claim in claims:
                if (run := hold.begin(seat.slot, claim)) is not None:
                    seat.run = run
                    if board is not None:
                        board.begin(seat.slot, claim.token, None)
                    run.outcome = hold.runner.run(claim, seat.slot, call)
                    hold.finish(run, run.outcome, self.clock() - run.began)
                    if seat.left:
                        return  # the slot is another's
                    if board is not None:
                        board.end(seat.slot)

    def _mend(self, seat: _Seat, error: BaseException) -> None:
        """Report on what the thread ran as it was struck; as soon as that can be done, where there is no memory. What it held and
        had not begun is put back by the hold's owner."""
        for attempt in range(_MENDS):
            try:
                time.sleep(0.05 * bool(attempt))
                if seat.left:
                    return
                if (run := self.runs.get(seat.slot)) is not None:
                    outcome = run.outcome or run.hold.runner.died(run.claim, error)
                    run.hold.finish(run, outcome, self.clock() - run.began)
                log.error("%s was raised in a thread between jobs, it goes on: %s", type(error).__name__, error)
            except BaseException:  # noqa: S112  (no memory to tell it with, perhaps)
                continue
            return
        raise error  # the worker sees that the thread has ended, and ends as well

    def _call(self, seat: _Seat, task: Task[..., Any], job: Job) -> Any:
        """Run the task within its limits."""
        run = seat.run
        if not task.limited or run is None:
            return task.run(job)
        if self._board is not None and task.timeout is not None:
            self._board.begin(run.slot, run.claim.token, task.timeout + KILL_AFTER)
        exposure: Exposure[Any] = Exposure(
            self._watch, task.soft_timeout, task.timeout, lambda: self._leave_behind(seat, run, task, exposure)
        )
        return exposure.run(lambda: task.run(job))

    def _leave_behind(self, seat: _Seat, run: Run, task: Task[..., Any], exposure: Exposure[Any]) -> None:
        """A job runs on after its limit: report on it, and give its slot to another thread."""
        error = exposure.error(TimeLimit)
        outcome = run.hold.runner.died(run.claim, error)
        with self.lock:
            if self.runs.get(run.slot) is not run:
                return  # it has ended after all
            seat.left = True
            self._left.append(seat)
            if self._board is not None:
                self._board.end(run.slot)
        run.hold.finish(run, outcome, self.clock() - run.began)
        if not self._ended:
            self._seat(seat.slot)
        frame = sys._current_frames().get(seat.thread.ident or 0)
        log.error(
            "a job of task %s can't be ended: %s, and it runs on %g s after TimeLimit was raised in it (time.sleep, a wait for a"
            " network and other C code don't notice). It is reported as failed, its thread %s is left behind and replaced, and"
            " what it still does counts no more. It is at:\n%s",
            task.name,
            error,
            STUCK,
            seat.thread.name,
            "".join(traceback.format_stack(frame)) if frame is not None else "(it has just ended)",
        )
