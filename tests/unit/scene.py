"""A crew at work without a store: tasks, jobs that are handed out, and what is reported of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from spoolq.crew import Crew
from spoolq.hold import Hold
from spoolq.job import Attempt, Claim
from spoolq.outcome import Failed, Outcome
from spoolq.retry import RetryPolicy
from spoolq.runner import Runner
from spoolq.tasks import Task, Tasks
from tests.unit.hands import info, job
from tests.waiting import eventually


@contextmanager
def many_switches() -> Iterator[None]:
    """Threads take turns far more often than usual, so that what comes between two steps of one comes between any two."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class Notes:
    """A board that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.kills = False  # whether somebody kills this process for what is given up

    def begin(self, slot: int, token: str, kill_after: float | None) -> None:
        self.told.append(("begin", slot, token, kill_after))

    def end(self, slot: int) -> None:
        self.told.append(("end", slot))

    def give_up(self, slot: int) -> bool:
        if self.kills:
            self.told.append(("give up", slot))
        return self.kills


class Scene:
    """A crew, a hold, and tasks."""

    def __init__(self, threads: int = 1, coroutines: int = 0) -> None:
        self.board = Notes()
        self.crew = Crew(threads, coroutines=coroutines, board=self.board)
        self.tasks = Tasks()
        self.hold = Hold(self.crew, Runner(self.tasks, info(), "primary", time.time), lambda: None)
        self.ran: list[Any] = []
        self.task("note", self.ran.append)
        self.reports: dict[str, Outcome] = {}
        self.crew.start()

    def task(self, name: str, function: Callable[..., Any], *, retries: int = 0, **limits: float) -> None:
        policy = RetryPolicy(retries)
        self.tasks.add(Task(function, name=name, queue="q", owner=None, policy=policy, **limits))  # type: ignore[arg-type]

    def just_now(self) -> tuple[Attempt, ...]:
        """The history of a job whose worker has just died."""
        return (Attempt(1, time.time(), "WorkerDied", ""),)

    def hand_out(self, *names: str, args: tuple[Any, ...] = ()) -> None:
        """Jobs of these tasks; the token is the name."""
        self.hold.hand_out([Claim(name, "w", "q", job(name, name, args=args).payload) for name in names], 1)

    def ended(self, token: str) -> Outcome:
        def look() -> Outcome | None:
            for report in self.hold.reports():
                assert report.claim.token not in self.reports, "reported twice"
                self.reports[report.claim.token] = report.outcome
            return self.reports.get(token)

        return eventually(look)

    def failure(self, token: str) -> tuple[str, str]:
        outcome = self.ended(token)
        assert isinstance(outcome, Failed), outcome
        return outcome.failure.exception, outcome.failure.error
