"""How many processes a pool should have now: what its own process sees of the others and of the host, what the housekeeper told
it, an operator's word, and the policy that decides on all that."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from spoolq.autoscale.board import Board, State
from spoolq.autoscale.host import Probe, own_memory
from spoolq.autoscale.sample import NOTHING_KNOWN, Bounds, Decision, Policy, Sample, Sight
from spoolq.autoscale.words import Word, address
from spoolq.presence import Seen
from spoolq.units import jobs

log = logging.getLogger("spoolq.pool")

_EVERY = 1.0  # seconds between looks at the files
_LATE_AFTER = 1.0  # seconds without a word of a process after which it counts as late itself
_BLOCKED = 0.1  # seconds by which a process's event loop is late that has no room for more


class Member(NamedTuple):
    """One process that runs jobs, as the pool has it. `seen` None: it has not begun to work."""

    pid: int
    key: str
    seen: Seen | None
    leaving: bool


class About(NamedTuple):
    """What others are told of a pool beside its size."""

    key: str = ""
    host: str = ""
    name: str = ""
    pid: int = 0
    queues: tuple[str, ...] = ()


class Sizer:
    """Asks `policy` with each look.

    bounds    those of the pool's start; an operator's word takes their place
    threads   of each process
    board     where the housekeeper tells what it sees, and others see what the pool is; None: nothing is known of the store, and
              nobody told of the pool
    """

    def __init__(
        self,
        policy: Policy,
        bounds: Bounds,
        threads: int,
        *,
        board: Board | None = None,
        about: About | None = None,
        probe: Probe | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.threads, self.about = threads, about or About()
        self._policy, self._own, self._board = policy, bounds, board
        self._probe, self._wall = probe or Probe(), wall
        self._look_at = float("-inf")
        self._sight: Sight | None = None
        self._word: Word | None = None
        self._host = NOTHING_KNOWN
        self._each: int | None = None
        self._ran: dict[str, int] = {}
        self._ended = 0
        self._last = Decision(bounds.least, "it has just begun")
        self._started_at = self._changed_at = wall()
        self._mute = False

    @property
    def bounds(self) -> Bounds:
        """Those that hold now."""
        return self._own if self._word is None or self._word.bounds is None else self._word.bounds

    @property
    def says(self) -> str:
        """The bounds, whose they are, and the last decision, to be added to a line."""
        return f"{self.bounds} by {self.bounds.whose}, {self._policy.name}: {self._last.why}"

    @property
    def sees(self) -> str:
        """What was seen of the store last, to be put before a line; empty where nothing was."""
        if self._sight is None:
            return ""
        backlog = "" if self._sight.backlog is None else f", {jobs(self._sight.backlog)} ready"
        spooled = "" if self._sight.spooled is None else f", {jobs(self._sight.spooled)} in the spool"
        return f"the store is {self._sight.broker}{backlog}{spooled}, "

    def turn(self, now: float, wanted: int, members: Sequence[Member], state: str = "running") -> int:
        """How many there should be, where `wanted` should be there so far. A change is logged in a line."""
        looks = now >= self._look_at
        if looks:
            self._look_at = now + _EVERY
            self._look(now, members)
        sample = self._sample(now, wanted, members)
        self._last = self._policy.decide(sample, self.bounds)
        if self._last.size != wanted:
            log.info("pool: from %d to %d process(es): %s", wanted, self._last.size, self._last.why)
            self._changed_at = self._wall()
        if looks or self._last.size != wanted:
            self._show(sample, state)
        return self._last.size

    def end(self) -> None:
        """The pool has ended: nobody is told of it any more."""
        if self._board is not None:
            self._board.remove()

    def _look(self, now: float, members: Sequence[Member]) -> None:
        self._host = self._probe.look(now)
        sizes = [size for one in members if (size := own_memory(one.pid)) is not None]
        self._each = max(sizes, default=None)
        if self._board is None:
            return
        sight, word = self._board.told()
        self._sight = sight or self._sight
        if word is not None and (self._word is None or word.at > self._word.at):
            before, self._word = self.bounds, word
            if before != self.bounds:
                log.info("pool: %s says %s: %s process(es), so far %s", "an operator", word, self.bounds, before)

    def _sample(self, now: float, wanted: int, members: Sequence[Member]) -> Sample:
        staying = [one for one in members if not one.leaving]
        there = [one.seen for one in staying if one.seen is not None]
        late = [_late(seen, now) for seen in there]
        running = [[run.slot for run in seen.running] for seen in there]
        self._count(members)
        return Sample(
            at=now,
            size=wanted,
            ready=len(there),
            leaving=len(members) - len(staying),
            busy=sum(map(_busy, there, running, late)) / len(there) if there else 0.0,
            working=sum(map(bool, running)),
            ran=self._ended,
            threads=self.threads,
            lag=max((lag for lag in late if lag is not None), default=None),
            each=self._each,
            sight=self._sight,
            host=self._host,
        )

    def _count(self, members: Sequence[Member]) -> None:
        """How many jobs have ended in all of them, those of processes that are gone included."""
        for one in members:
            if one.seen is not None:
                ran = one.seen.pulse.ran
                self._ended += max(0, ran - self._ran.get(one.key, 0))
                self._ran[one.key] = ran
        keys = {one.key for one in members}
        self._ran = {key: ran for key, ran in self._ran.items() if key in keys}

    def _show(self, sample: Sample, state: str) -> None:
        if self._board is None:
            return
        about, bounds = self.about, self.bounds
        try:
            self._board.show(
                State(
                    *(about.key, about.host, about.name, about.pid, about.queues, self.threads, self._policy.name, sample.at),
                    started_at=self._started_at,
                    changed_at=self._changed_at,
                    wanted=self._last.size,
                    ready=sample.ready,
                    leaving=sample.leaving,
                    least=bounds.least,
                    most=bounds.most,
                    said="" if self._word is None else str(self._word),
                    why=self._last.why,
                    cause=self._last.cause,
                    state=state,
                )
            )
        except OSError as error:
            if not self._mute:
                log.warning("others can't be told of this pool (%s): %s", address(about.host, about.name), error)
            self._mute = True
        else:
            self._mute = False


def _busy(seen: Seen, running: list[int], lag: float | None) -> float:
    """The share of what a process can run that is taken: of its threads, or of the room on its event loop, whichever is more.
    One whose loop comes late has no room, nor has one that gets all that it asks for: with jobs of microseconds its threads are
    hardly ever seen at work."""
    if seen.pulse.fed:
        return 1.0
    threads, slots = seen.info.threads, seen.slots
    in_threads = sum(slot < threads for slot in running)
    on_loop = len(running) - in_threads
    if on_loop and (lag or 0.0) > _BLOCKED:
        return 1.0
    return max(in_threads / max(1, threads), on_loop / max(1, slots - threads))


def _late(seen: Seen, now: float) -> float | None:
    """By how many seconds it is late: what it told, or for how long it has told nothing."""
    pulse = seen.pulse
    if not pulse.at:
        return None
    silent = now - pulse.at
    return max(pulse.late, silent) if silent > _LATE_AFTER else pulse.late
