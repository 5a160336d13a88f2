"""What a job passes right before its code runs: guards that its task wants to hold meanwhile, and those that end as it begins."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import NamedTuple

from spoolq.errors import GuardHeld, StoreUnavailable
from spoolq.guards import beginning, releasing
from spoolq.job import Job
from spoolq.store.base import Store
from spoolq.store.effects import NONE, Effects
from spoolq.tasks import Task

AGAIN = 1.0
"""Seconds after which a job that was not let in tries again, as after node-resque's JobLock."""

_PATIENCE = 0.2  # seconds for which a thread waits for a place: what takes shorter than that isn't slowed down to a job a second
_MOMENT = 0.01
_SPACING = 0.02  # seconds between the tries of those that wait for the same task
_LONGEST = 600.0
_SETTLED = 0.2  # seconds, about, until a job that is put off has been put back

_Held = tuple[tuple[str, str, float], ...]


class Shut(NamedTuple):
    """The job isn't to be run now: when it is to try again, in seconds, and why it waits."""

    delay: float
    reason: str


class Gate:
    """Of one worker, on one store: it asks the store only for jobs of tasks that want it, in one step for each.

    lease   seconds of the worker's: what a job holds lasts three of them at least, and is kept by `keep` while it runs
    """

    def __init__(
        self,
        store: Store,
        lease: float,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._store, self._kept_for, self._rng = store, 3 * lease, rng or random.Random()
        self._clock, self._sleep = clock, sleep
        self._held: dict[str, _Held] = {}
        self._full: dict[str, tuple[float, int]] = {}
        self._again = float("-inf")

    def enter(self, token: str, job: Job, task: Task[..., object]) -> Shut | None:
        """Acquire what the task holds while it runs, and let go of what ends with its beginning. None: it may run. A place among
        the jobs of a task is waited for, for a moment."""
        until, waiting = self._full.get(task.name, (0.0, 0))
        if self._clock() < until:  # nobody has to ask for each of a thousand that wait
            return self._turned_away(task, until, waiting)
        unique, lock = task.unique_of(job), task.lock_of(job)
        release = releasing(job, unique) if unique is not None and unique.until == "start" else NONE
        own: _Held = () if lock is None else ((lock, job.id, max(task.exclusive or 0.0, self._kept_for)),)
        patience, pause, held = self._clock() + _PATIENCE, _MOMENT, own
        try:
            if lasting := beginning(job):
                with suppress(GuardHeld):  # it had run out, and is another's: this one runs all the same
                    self._apply(lasting)
            while True:
                for place in self._places(task):
                    held = own if place is None else (*own, (place, job.id, self._kept_for))
                    try:
                        if held or release:
                            self._apply(release | Effects(acquire=held))
                    except GuardHeld as refused:
                        if refused.key == lock:
                            return self._shut(AGAIN, f"an equal job runs (exclusive), that of {refused.holder}")
                        continue
                    if held:
                        self._held[token] = held
                    return None
                if self._clock() >= patience:
                    return self._turned_away(task, self._clock() + AGAIN, 0)
                self._sleep(pause)
                pause *= 2
        except StoreUnavailable as error:
            self._held[token] = held  # maybe: it is given back as the job is
            return self._shut(AGAIN, f"whether it may run now can't be asked: {error}")

    def _places(self, task: Task[..., object]) -> list[str | None]:
        places: list[str | None] = list(task.places) or [None]
        first = self._rng.randrange(len(places))
        return places[first:] + places[:first]

    def leave(self, token: str) -> Effects:
        """What goes with the end of a run: what it held is free."""
        return Effects(release=tuple((key, holder) for key, holder, _ in self._held.pop(token, ())))

    def keep(self, running: Callable[[], Collection[str]]) -> None:
        """Go on holding what the jobs of these tokens hold. Raises StoreUnavailable."""
        before = tuple(self._held.items())
        still = running() if before else ()  # asked afterwards: what was let in meanwhile runs, and isn't among those before
        for token, held in before:
            if token not in still:
                self._held.pop(token, None)  # taken over, or never begun: it ends with its time
                continue
            try:
                self._apply(Effects(acquire=held))
            except GuardHeld:  # it was free for a moment, and is another's: this one runs to its end all the same
                self._held.pop(token, None)
            if token not in self._held:  # it has ended meanwhile, and may have let go before this was acquired
                self._apply(Effects(release=tuple((key, holder) for key, holder, _ in held)))

    def _apply(self, effects: Effects) -> None:
        self._store.put((), effects, hold=True)  # no job, so nothing that has to be confirmed by a disk or a replica

    @property
    def waits(self) -> bool:
        """Whether a job that was not let in here isn't due again yet."""
        return self._clock() < self._again

    def _shut(self, delay: float, reason: str) -> Shut:
        self._again = max(self._again, self._clock() + delay + _SETTLED)
        return Shut(delay, reason)

    def _turned_away(self, task: Task[..., object], until: float, waiting: int) -> Shut:
        """The more of them wait, the later the last one tries: they keep their order, and the worker doesn't turn in circles."""
        self._full[task.name] = (until, waiting + 1)
        delay = min(_LONGEST, AGAIN + waiting * _SPACING)
        return self._shut(delay, f"{len(task.places)} job(s) of {task.name} run, which is its concurrency")
