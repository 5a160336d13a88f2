"""The threads that run jobs: what each is doing, and the claims that wait for one of them."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from queue import SimpleQueue
from typing import NamedTuple, Protocol

from spoolq.job import Claim
from spoolq.runner import Outcome, Runner
from spoolq.store.base import Working

log = logging.getLogger("spoolq.worker")

GATHER = 0.01
"""Seconds: a job that took longer is reported at once, shorter ones wait for each other."""

_MENDS = 1200  # tries, one each 0.05 s


class Board(Protocol):
    """Where others can see what each thread runs, also after a SIGKILL."""

    def begin(self, slot: int, token: str, kill_after: float | None) -> None:
        """A thread runs that claim; its process may be killed for it after so many seconds, None for never."""

    def end(self, slot: int) -> None:
        """It is done with it."""


class Report(NamedTuple):
    """A claim that a thread is done with, and the seconds that it took."""

    claim: Claim
    outcome: Outcome
    took: float


class _Run:
    """What one thread is doing. `lost`: the claim is no longer ours, its report goes nowhere. `outcome`: that of a job that has
    ended."""

    __slots__ = ("began", "claim", "hold", "lost", "outcome")

    def __init__(self, hold: Hold, claim: Claim, began: float) -> None:
        self.hold, self.claim, self.began = hold, claim, began
        self.lost = False
        self.outcome: Outcome | None = None


class Crew:
    """`size` threads that share what all holds hand out. None of them ends before `end`, whatever is raised in it."""

    def __init__(
        self,
        size: int,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        board: Board | None = None,
    ) -> None:
        self.size = size
        self.board = board
        self.clock = clock
        self.epoch = wall() - clock()
        self.lock = threading.Lock()  # guards who runs what, and every hold: a begin and a finish are a few hundred nanoseconds
        self.runs: dict[int, _Run] = {}
        self.holds: list[Hold] = []
        self.todo: SimpleQueue[tuple[Hold, Sequence[Claim]] | None] = SimpleQueue()
        self._threads: dict[int, threading.Thread] = {}
        self._ended = False

    def start(self) -> None:
        """Begin to run what is handed out."""
        for slot in range(self.size):
            thread = threading.Thread(target=self._work, args=(slot,), name=f"spoolq-job-{slot}", daemon=True)
            thread.start()
            self._threads[slot] = thread

    def end(self) -> None:
        """Each thread ends after the job that it runs."""
        self._ended = True
        for _ in range(self.size):
            self.todo.put(None)

    @property
    def room(self) -> int:
        """How many claims could be begun at once, those that were handed out and not begun left out. Negative: too many are."""
        return self.size - len(self.runs) - sum([len(hold.unbegun) for hold in self.holds])

    @property
    def busy(self) -> bool:
        """Whether a thread runs a job that is still ours."""
        with self.lock:
            return any(not run.lost and self._lives(slot) for slot, run in self.runs.items())

    @property
    def dead(self) -> list[str]:
        """The threads that have ended, and should not have."""
        found = [thread.name for thread in self._threads.values() if not thread.is_alive()]
        return [] if self._ended else found

    def _lives(self, slot: int) -> bool:
        thread = self._threads.get(slot)
        return thread is None or thread.is_alive()

    def _work(self, slot: int) -> None:
        while not self._ended:
            try:
                self._work_off(slot)
            except BaseException as error:  # no memory, or a time limit of the task's own that strikes after its end
                self._mend(slot, error)

    def _work_off(self, slot: int) -> None:
        while (batch := self.todo.get()) is not None:
            hold, claims = batch
            for claim in claims:
                if (began := hold.begin(slot, claim)) is not None:
                    run = self.runs[slot]
                    if self.board is not None:
                        self.board.begin(slot, claim.token, None)
                    run.outcome = hold.runner.run(claim, slot)
                    hold.finish(slot, run.outcome, self.clock() - began)
                    if self.board is not None:
                        self.board.end(slot)

    def _mend(self, slot: int, error: BaseException) -> None:
        """Report on what the thread ran as it was struck; as soon as that can be done, where there is no memory. What it held and
        had not begun is put back by the hold's owner."""
        for attempt in range(_MENDS):
            try:
                time.sleep(0.05 * bool(attempt))
                if (run := self.runs.get(slot)) is not None:
                    outcome = run.outcome or run.hold.runner.died(run.claim, error)
                    run.hold.finish(slot, outcome, self.clock() - run.began)
                log.error("%s was raised in a thread between jobs, it goes on: %s", type(error).__name__, error)
            except BaseException:  # noqa: S112  (no memory to tell it with, perhaps)
                continue
            return
        raise error  # the worker sees that the thread has ended, and ends as well


class Hold:
    """The claims of one store that are in this worker's hands, until a thread has reported on them.

    A claim is unbegun, running, or reported; taken back or forgotten, it is no longer here, and no thread begins it. `ring` is
    called when it is worth looking at the reports.
    """

    def __init__(self, crew: Crew, runner: Runner, ring: Callable[[], None]) -> None:
        self.runner = runner
        self.unbegun: dict[str, tuple[Claim, float]] = {}  # in the order in which they were claimed
        self.low = 0  # unbegun claims at which the next ones should be fetched
        self.hungry = False  # could claim more, if a thread were free
        self.good_until = float("inf")  # past it the lease may be over: nothing is begun
        self.closed = False  # nothing is begun any more
        self._crew = crew
        self._ring = ring
        self._reports: deque[Report] = deque()
        crew.holds.append(self)

    def hand_out(self, claims: Sequence[Claim], size: int) -> None:
        """Give claims to the threads, `size` at a time."""
        now = self._crew.clock()
        with self._crew.lock:
            for claim in claims:
                self.unbegun[claim.token] = (claim, now)
        for start in range(0, len(claims), size):
            self._crew.todo.put((self, claims[start : start + size]))

    def begin(self, slot: int, claim: Claim) -> float | None:
        """A thread is about to run a claim. Returns the time; None when it must not: it isn't surely ours, or it is the end."""
        crew = self._crew
        now = crew.clock()
        with crew.lock:
            if now <= self.good_until and not self.closed:
                if claim.token not in self.unbegun:
                    return None
                crew.runs[slot] = _Run(self, claim, now)
                del self.unbegun[claim.token]
                return now
        self._ring()
        return None

    def finish(self, slot: int, outcome: Outcome, took: float) -> None:
        """A thread is done with what it ran."""
        crew = self._crew
        with crew.lock:
            run = crew.runs[slot]
            if not run.lost:
                self._reports.append(Report(run.claim, outcome, took))
            self.unbegun.pop(run.claim.token, None)  # there only if the thread was struck as it began
            del crew.runs[slot]  # last: what is in neither is lost, what is in both is fenced
            ring = took > GATHER or len(self.unbegun) <= self.low
            others = [hold for hold in crew.holds if hold.hungry and hold is not self]
        if ring:
            self._ring()
        for hold in others:
            hold._ring()

    def reports(self) -> list[Report]:
        """What the threads reported since the last time."""
        found: list[Report] = []
        while self._reports:
            found.append(self._reports.popleft())
        return found

    def take_back(self, before: float = float("inf")) -> list[Claim]:
        """Claims that no thread has begun, out of their reach, in the order in which they were claimed; those that were handed
        out before that time."""
        with self._crew.lock:
            back = [claim for claim, at in self.unbegun.values() if at < before]
            for claim in back:
                del self.unbegun[claim.token]
        return back

    def take_back_running(self) -> list[Claim]:
        """Claims that are running: their reports no longer count."""
        with self._crew.lock:
            mine = self._mine()
            for run in mine:
                run.lost = True
        return [run.claim for run in mine]

    def forget(self, tokens: Iterable[str]) -> int:
        """These are somebody else's now: they aren't begun, and reports on them don't count. Returns how many of them were
        here."""
        gone = set(tokens)
        with self._crew.lock:
            running = [run for run in self._mine() if run.claim.token in gone]
            for run in running:
                run.lost = True
            return len(running) + sum([self.unbegun.pop(token, None) is not None for token in gone])

    @property
    def tokens(self) -> set[str]:
        """Of all that is here."""
        with self._crew.lock:
            mine = {run.claim.token for run in self._mine()} | self.unbegun.keys()
            return mine | {report.claim.token for report in self._reports}

    @property
    def count(self) -> int:
        """How many are here."""
        with self._crew.lock:
            return len(self.unbegun) + len(self._mine()) + len(self._reports)

    @property
    def working(self) -> list[Working]:
        """What the threads are doing here."""
        with self._crew.lock:
            runs = sorted((slot, run) for slot, run in self._crew.runs.items() if run.hold is self and not run.lost)
        return [Working(slot, run.claim, self._crew.epoch + run.began) for slot, run in runs]

    def _mine(self) -> list[_Run]:
        return [run for run in self._crew.runs.values() if run.hold is self and not run.lost]
