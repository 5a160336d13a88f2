"""The claims of one store that wait for a thread, or run, and who runs what."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from queue import SimpleQueue
from typing import NamedTuple, Protocol

from spoolq.job import Claim
from spoolq.outcome import Outcome
from spoolq.runner import Runner
from spoolq.store.base import Working

GATHER = 0.01
"""Seconds: a job that took longer is reported at once, shorter ones wait for each other."""


ALONE_FOR = 60.0
"""Seconds for which a run that is to be alone has nothing begun beside it: what kills its process mostly does so soon."""

_LET_IN = 0.00005  # seconds that are enough for another thread to get the interpreter; asked for it, it is given up after 5 ms

_NONE = -1_000_000  # no room, however many may be claimed ahead


class Board(Protocol):
    """Where others can see what each slot runs, also after a SIGKILL."""

    def begin(self, slot: int, token: str, kill_after: float | None) -> None:
        """The claim with this token runs there; its process may be killed for it after so many seconds, None for never."""

    def end(self, slot: int) -> None:
        """It has ended."""

    def give_up(self, slot: int) -> bool:
        """What runs there can't be ended. Returns whether its process is killed for it, from outside and soon."""


class Report(NamedTuple):
    """A claim that a thread is done with, and the seconds that it took."""

    claim: Claim
    outcome: Outcome
    took: float


class Run:
    """What one slot is doing. `lost`: the claim is no longer ours, its report goes nowhere. `outcome`: that of a job that has
    ended."""

    __slots__ = ("began", "claim", "hold", "lost", "outcome", "slot")

    def __init__(self, hold: Hold, slot: int, claim: Claim, began: float) -> None:
        self.hold, self.slot, self.claim, self.began = hold, slot, claim, began
        self.lost = False
        self.outcome: Outcome | None = None


class Roster:
    """Who runs what, of all holds: slots 0 to `size` - 1 are threads, those behind them are for what occupies none."""

    def __init__(self, size: int, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self.size = size
        self.clock = clock
        self.epoch = wall() - clock()
        self.lock = threading.Lock()  # guards who runs what, and every hold: a begin and a finish are a few hundred nanoseconds
        self.runs: dict[int, Run] = {}
        self.aside = 0  # how many of them occupy no thread
        self.alone: Run | None = None  # what is to have nothing begun beside it
        self.alone_until = 0.0
        self.holds: list[Hold] = []
        self.todo: SimpleQueue[tuple[Hold, Sequence[Claim]] | None] = SimpleQueue()
        self.unshared = threading.Event()  # a thread was given several claims

    def seclude(self, run: Run) -> bool:
        """From now on nothing is begun until this run has ended, for ALONE_FOR at most: a long one must not hold up all others.
        False: that holds for another one now."""
        with self.lock:
            if not self.secluded:
                self.alone, self.alone_until = run, self.clock() + ALONE_FOR
            return self.alone is run

    @property
    def secluded(self) -> bool:
        """Whether nothing may be begun, since one runs alone."""
        return self.alone is not None and self.clock() < self.alone_until

    def readmit(self, run: Run) -> None:
        """Others may be begun beside it again."""
        with self.lock:
            if self.alone is not run:
                return
            self.alone = None
        for hold in self.holds:
            hold._ring()

    def starve(self) -> None:
        """A thread has nothing to do: who holds claims for the others only, fetches more."""
        for hold in self.holds:
            if hold.unbegun:
                hold._ring()

    @property
    def room(self) -> int:
        """How many claims could be begun at once, those that were handed out and not begun left out. Negative: too many are."""
        if self.secluded:
            return _NONE
        return self.size - len(self.runs) + self.aside - sum([len(hold.unbegun) for hold in self.holds])


class Hold:
    """The claims of one store that are in this worker's hands, until a thread has reported on them.

    A claim is unbegun, running, or reported; taken back or forgotten, it is no longer here, and no thread begins it. `ring` is
    called when it is worth looking at the reports, and returns whether it has woken somebody who should get in at once.
    """

    def __init__(self, roster: Roster, runner: Runner, ring: Callable[[], bool]) -> None:
        self.runner = runner
        self.unbegun: dict[str, tuple[Claim, float]] = {}  # in the order in which they were claimed
        self.low = 0  # unbegun claims at which the next ones should be fetched
        self.hungry = False  # could claim more, if a thread were free
        self.good_until = float("inf")  # past it the lease may be over: nothing is begun
        self.closed = False  # nothing is begun any more
        self._roster = roster
        self._ring = ring
        self._reports: deque[Report] = deque()
        roster.holds.append(self)

    def hand_out(self, claims: Sequence[Claim], size: int) -> None:
        """Give claims to the threads, `size` at a time."""
        now = self._roster.clock()
        with self._roster.lock:
            for claim in claims:
                self.unbegun[claim.token] = (claim, now)
        self._offer(claims, size)
        if size > 1 and not self._roster.unshared.is_set():
            self._roster.unshared.set()

    @property
    def waits(self) -> bool:
        """Whether there is a claim that a thread may begin."""
        return bool(self.unbegun) and not self.closed and self._roster.clock() <= self.good_until

    def pass_on(self, before: float) -> None:
        """Offer what was handed out before that time, and no thread has begun, to the other threads too: it may lie behind a job
        that takes longer than was thought. Whoever comes to a claim first begins it."""
        with self._roster.lock:
            late = [claim for claim, at in self.unbegun.values() if at < before]
        self._offer(late, max(1, len(late) // self._roster.size))

    def _offer(self, claims: Sequence[Claim], size: int) -> None:
        for start in range(0, len(claims), size):
            self._roster.todo.put((self, claims[start : start + size]))

    def begin(self, slot: int, claim: Claim) -> Run | None:
        """A thread is about to run a claim. None: it isn't surely ours, it is the end, or another is to be alone."""
        roster = self._roster
        now = roster.clock()
        with roster.lock:
            if now <= self.good_until and not self.closed and not roster.secluded:
                if claim.token not in self.unbegun:
                    return None
                run = roster.runs[slot] = Run(self, slot, claim, now)
                del self.unbegun[claim.token]
                return run
        self._ring()
        return None

    def finish(self, run: Run, outcome: Outcome, took: float) -> bool:
        """A run has ended, or is given up: the first to say so is heard, which is returned."""
        roster = self._roster
        with roster.lock:
            if roster.runs.get(run.slot) is not run:
                return False
            if not run.lost:
                self._reports.append(Report(run.claim, outcome, took))
            self.unbegun.pop(run.claim.token, None)  # there only if the thread was struck as it began
            del roster.runs[run.slot]  # last: what is in neither is lost, what is in both is fenced
            roster.aside -= run.slot >= roster.size
            ring = took > GATHER or len(self.unbegun) <= self.low
        woken = self._tell(ring)
        if roster.alone is run:
            roster.readmit(run)
        if woken and self.unbegun and run.slot < roster.size:  # this thread goes on at once, and who was woken would wait for it
            time.sleep(_LET_IN)
        return True

    def move(self, run: Run, slot: int) -> bool:
        """A run goes on in that slot, behind those of the threads, and its thread is free. Returns whether it was still there."""
        roster = self._roster
        with roster.lock:
            if roster.runs.get(run.slot) is not run:
                return False
            del roster.runs[run.slot]
            run.slot = slot
            roster.runs[slot] = run
            roster.aside += 1
            ring = len(self.unbegun) <= self.low
        self._tell(ring)
        return True

    def unbegin(self, run: Run) -> None:
        """A thread has not really begun what it was about to run, and won't."""
        with self._roster.lock:
            if self._roster.runs.get(run.slot) is run:
                del self._roster.runs[run.slot]
                if not run.lost:
                    self.unbegun[run.claim.token] = (run.claim, run.began)
        self._roster.readmit(run)
        self._ring()

    def _tell(self, ring: bool) -> bool:
        woken = ring and self._ring()
        for hold in self._roster.holds:
            if hold.hungry and hold is not self:
                hold._ring()
        return woken

    def reports(self) -> list[Report]:
        """What the threads reported since the last time."""
        found: list[Report] = []
        while self._reports:
            found.append(self._reports.popleft())
        return found

    def take_back(self, before: float = float("inf")) -> list[Claim]:
        """Claims that no thread has begun, out of their reach, in the order in which they were claimed; those that were handed
        out before that time."""
        with self._roster.lock:
            back = [claim for claim, at in self.unbegun.values() if at < before]
            for claim in back:
                del self.unbegun[claim.token]
        return back

    def take_back_running(self) -> list[Claim]:
        """Claims that are running: their reports no longer count."""
        with self._roster.lock:
            mine = self._mine()
            for run in mine:
                run.lost = True
        return [run.claim for run in mine]

    def forget(self, tokens: Iterable[str]) -> int:
        """These are somebody else's now: they aren't begun, and reports on them don't count. Returns how many of them were
        here."""
        gone = set(tokens)
        with self._roster.lock:
            running = [run for run in self._mine() if run.claim.token in gone]
            for run in running:
                run.lost = True
            return len(running) + sum([self.unbegun.pop(token, None) is not None for token in gone])

    @property
    def tokens(self) -> set[str]:
        """Of all that is here."""
        with self._roster.lock:
            mine = {run.claim.token for run in self._mine()} | self.unbegun.keys()
            return mine | {report.claim.token for report in self._reports}

    @property
    def count(self) -> int:
        """How many are here."""
        with self._roster.lock:
            return len(self.unbegun) + len(self._mine()) + len(self._reports)

    @property
    def working(self) -> list[Working]:
        """What the threads are doing here."""
        with self._roster.lock:
            runs = sorted((slot, run) for slot, run in self._roster.runs.items() if run.hold is self and not run.lost)
        return [Working(slot, run.claim, self._roster.epoch + run.began) for slot, run in runs]

    def _mine(self) -> list[Run]:
        return [run for run in self._roster.runs.values() if run.hold is self and not run.lost]
