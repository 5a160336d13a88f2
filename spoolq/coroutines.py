"""The jobs that run on an event loop: how many at a time, in which slots, and what becomes of one that can't be ended."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

from spoolq import wire
from spoolq.errors import ConfigError, TimeLimit
from spoolq.hold import Board, Roster, Run
from spoolq.job import Claim
from spoolq.limits import KILL_AFTER, STUCK, Watch
from spoolq.loop import Course, Loop
from spoolq.outcome import Pending

log = logging.getLogger("spoolq.worker")

_LOOK = 0.1  # seconds between two looks of a thread that waits for room
_HELD_UP = 5.0  # seconds without an answer of the loop after which that is told
_LOST = 30.0  # seconds after which a loop that was replaced counts as one that never comes back


class Coroutines:
    """Up to `size` jobs at a time, in slots behind those of the threads. The loop is begun with the first of them.

    A job is handed over by a thread, which is then free. Where there is no room the thread waits, and so takes no other job.
    """

    def __init__(self, roster: Roster, size: int, watch: Watch, board: Board | None) -> None:
        self.size = size
        self._roster, self._watch, self._board = roster, watch, board
        self._room = threading.Semaphore(size)
        self._free = list(reversed(range(roster.size, roster.size + size)))
        self._lock = threading.Lock()
        self._loop: Loop | None = None
        self._retired: list[tuple[Loop, float]] = []
        self._left: list[Course] = []
        self._ended = False

    def take(self, run: Run, pending: Pending) -> None:
        """Run what is left of a job; waits until there is room. At the end of the worker it is not begun, and goes back."""
        if self.size == 0:
            pending.close()
            error = ConfigError(
                f"{pending.task.name} returned an awaitable, and this worker has no event loop (--async-concurrency 0)"
            )
            run.hold.finish(run, run.hold.runner.finish(pending, error, run.slot, 0.0), 0.0)
            return
        if self._board is not None:
            self._board.end(run.slot)  # should the process die while this waits, it is not for this one
        while not self._room.acquire(timeout=_LOOK):
            if run.lost or run.hold.closed or self._ended:
                pending.close()
                run.hold.runner.unbegun(pending)
                run.hold.unbegin(run)
                return
        try:
            slot = self._free.pop()
        except BaseException:
            self._room.release()
            raise
        try:
            self._begin(run, pending, slot)
        except BaseException as error:
            pending.close()
            run.hold.finish(run, run.hold.runner.finish(pending, error, run.slot, 0.0), 0.0)
            self._leave(slot)
            raise

    def _begin(self, run: Run, pending: Pending, slot: int) -> None:
        task = pending.task

        def begun() -> None:
            run.began = self._roster.clock()
            if self._board is not None:
                self._board.begin(slot, run.claim.token, None if task.timeout is None else task.timeout + KILL_AFTER)

        def finish(error: BaseException | None) -> bool:
            took = self._roster.clock() - run.began
            return run.hold.finish(run, run.hold.runner.finish(pending, error, slot, took, course.result), took)

        def ended(error: BaseException | None) -> None:
            if self._ended and isinstance(error, asyncio.CancelledError):
                run.hold.runner.unbegun(pending)
                return  # it was cancelled for the worker's end: it is still to be put back, and is no failure
            if finish(error):
                self._leave(slot)

        def stuck() -> None:
            error = course.error(TimeLimit)
            with self._roster.lock:
                ours = not course.heard and self._board is not None and self._roster.runs.get(slot) is run
                killed = ours and self._board is not None and self._board.give_up(slot)
            if killed:
                then = "or another blocks the event loop: this process is killed for it, and its other jobs are put back"
                self._tell_stuck(run.claim, error, then, loop.blocked_in)
                return
            error.add_note(f"It was left at:\n{course.where if course.heard else loop.blocked_in}")
            if finish(error):
                self._left.append(course)
                self._leave(slot)
                self._give_up(loop, course, run.claim, error)

        loop = self._running()
        course = Course(
            loop,
            pending.awaitable,
            pending.context,
            self._watch if task.limited else None,
            (task.soft_timeout, task.timeout),
            begun=begun,
            ended=ended,
            stuck=stuck,
        )
        if not run.hold.move(run, slot):
            raise RuntimeError("the run is not in its slot")
        loop.submit(course)

    def _leave(self, slot: int) -> None:
        if self._board is not None:
            self._board.end(slot)
        self._free.append(slot)
        self._room.release()

    def _running(self) -> Loop:
        with self._lock:
            if self._loop is None:
                self._loop = Loop()
            return self._loop

    def _give_up(self, loop: Loop, course: Course, claim: Claim, error: BaseException) -> None:
        """This job runs on after its limit, and was reported."""
        reported = "It is reported as failed, and what it still does counts no more"
        if course.heard:
            what, where = f"doesn't end with its cancellation. {reported}", course.where
        else:
            what, where = f"or another blocks the event loop, which is left behind and replaced. {reported}", loop.blocked_in
            with self._lock:
                if self._loop is loop:
                    self._loop = None
                    self._retired.append((loop, self._roster.clock()))
        self._tell_stuck(claim, error, what, where)

    def _tell_stuck(self, claim: Claim, error: BaseException, what: str, where: str) -> None:
        log.error(
            "%s can't be ended: %s, and %g s later it %s. It is at:\n%s",
            wire.named(claim.payload, claim.queue),
            error,
            STUCK,
            what,
            where or "(it has just ended)",
        )

    # for the worker

    def look(self, now: float) -> None:
        """Tell what holds up the loop."""
        loop = self._loop
        if loop is not None and loop.courses and (span := loop.held_up(now)) > _HELD_UP and loop.tell():
            log.warning(
                "the event loop has not come to its other jobs for %.0f s: a task blocks it, where it should await (or be no"
                " async task). It is at:\n%s",
                span,
                loop.blocked_in,
            )

    def late(self, now: float) -> float:
        """By how many seconds the event loop comes late to what is to be done on it; 0.0 where there is none."""
        loop = self._loop
        return 0.0 if loop is None else loop.late(now)

    @property
    def left_behind(self) -> int:
        """How many jobs run on though their time limit is over."""
        self._left = [course for course in self._left if not course.over]
        return len(self._left)

    @property
    def lost(self) -> bool:
        """Whether jobs are on a loop that was replaced, and doesn't come back."""
        now = self._roster.clock()
        self._retired = [one for one in self._retired if one[0].courses]
        return any(
            now - since > _LOST and loop.courses - set(self._left) and loop.held_up(now) > _LOST / 2
            for loop, since in self._retired
        )

    @property
    def dead(self) -> list[str]:
        """The loop's thread, where it has ended and should not have."""
        loop = self._loop  # once: it may be given up meanwhile
        return ["spoolq-loop"] if loop is not None and not loop.alive and not self._ended else []

    def end(self) -> None:
        """Cancel what runs; it is still to be put back, but for what ends well within a second."""
        self._ended = True
        until = time.monotonic() + 1.5
        for loop in [*([] if self._loop is None else [self._loop]), *(loop for loop, _ in self._retired)]:
            loop.end(max(0.0, until - time.monotonic()))
