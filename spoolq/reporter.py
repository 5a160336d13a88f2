"""What running jobs say of themselves, told to their store, and whether somebody wants them to stop, asked there.

Best effort, in the background on a thread of its own: it fails no job and holds up none, also while the store is away.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from spoolq import tracking
from spoolq.errors import ConfigError, PayloadError, StoreError
from spoolq.job import Job
from spoolq.service import Service
from spoolq.store.base import Store
from spoolq.store.effects import Effects

EVERY = 0.5
"""Seconds between two words of a job to its store, and between two looks whether it is to stop."""

_RENEW = tracking.RUNS_FOR / 3
_TIMEOUT = 1.0
_IDLE = 60.0
_QUICK = 0.25  # seconds that a look may take which a job waits for
_AWAY = 5.0  # seconds for which a store that didn't answer in that time isn't asked in front of a job


class Following:
    """One running job, as its reporter sees it."""

    # What holds for nearly all jobs from their begin to their end
    since = 0.0
    progress: float | None = None
    text = ""
    dirty = False
    told_at = float("-inf")
    left = False  # it has ended, whatever a thread of it still asks
    watched = False  # the job looks whether it is to stop
    asked = False  # it is
    seen = False  # and the job knows

    def __init__(self, reporter: Reporter, job: Job) -> None:
        self._reporter, self.job = reporter, job

    def say(self, progress: float, text: str) -> None:
        """How far it is. Raises PayloadError for what is no share from 0 to 1."""
        if isinstance(progress, bool) or not isinstance(progress, int | float) or not 0 <= progress <= 1:
            raise PayloadError(f"progress({progress!r}): a number from 0 to 1 is needed, and a text beside it if you like")
        self.progress, self.text = float(progress), str(text)[: tracking.MAX_TEXT]
        if self.job.track is not None:
            self.dirty = True
            self._reporter.wake()

    @property
    def cancelled(self) -> bool:
        """Whether it is to stop, as far as the last look knows."""
        if not self.watched:
            self.watched = True
            self._reporter.attend(self)
        self.seen = self.seen or self.asked
        return self.asked


class Reporter:
    """Speaks with `store` for the jobs that run from it. Its thread begins with the first job that has something to say."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._store, self._clock, self._wall = store, clock, wall
        self._runs: set[Following] = set()
        self._lock = threading.Lock()
        self._service: Service | None = None
        self._away_until = float("-inf")

    def follow(self, job: Job) -> Following:
        """A job begins to run. For one that isn't tracked nothing is done until it looks whether it is to stop."""
        run = Following(self, job)
        if job.track is not None:
            run.since, run.dirty = self._wall(), True
            run.asked = self.asked(job.id)  # it may have been cancelled on its way
            self.attend(run)
        return run

    def attend(self, run: Following) -> None:
        """It has something to tell, or to ask, from now on."""
        with self._lock:
            if run.left:
                return
            self._runs.add(run)
        self.wake()

    def leave(self, run: Following) -> None:
        """It has ended."""
        run.left = True
        if run.watched or run.job.track is not None:
            with self._lock:
                self._runs.discard(run)

    def asked(self, id: str) -> bool:
        """Whether the job is to stop: asked now, and False where the store doesn't answer soon."""
        if self._clock() < self._away_until:
            return False
        try:
            return self._store.values([tracking.cancel_key(id)], timeout=_QUICK)[0] is not None
        except (StoreError, ConfigError):
            self._away_until = self._clock() + _AWAY
            return False

    def wake(self) -> None:
        """There is something to tell, or to ask."""
        service = self._service
        if service is not None and service.running:
            service.wake()
            return
        with self._lock:
            if self._service is None or not self._service.running:
                self._service = Service("spoolq-reporter", self.turn, quiet=True)
                self._service.start()

    def stop(self) -> None:
        """End with what is under way."""
        if self._service is not None:
            self._service.stop(0.0)

    def turn(self) -> float:
        """Tell what is new or due again, and look what is asked. Returns the seconds to the next turn."""
        now = self._clock()
        with self._lock:
            runs = list(self._runs)
        told = [run for run in runs if run.job.track is not None and self._due(run, now)]
        values = []
        for run in told:
            run.dirty, run.told_at = False, now  # before it is read: what it says from here on is told next time
            values.append(tracking.running(run.job, run.since, run.progress, run.text))
        if values:
            try:
                self._store.put((), Effects(values=tuple(values)), timeout=_TIMEOUT, hold=True)
            except BaseException:
                for run in told:
                    run.dirty = True
                raise
        watched = [run for run in runs if run.watched and not run.asked]
        if watched:
            marks = self._store.values([tracking.cancel_key(run.job.id) for run in watched], timeout=_TIMEOUT)
            for run, mark in zip(watched, marks, strict=True):
                run.asked = mark is not None
        if watched or any(run.dirty for run in runs):
            return EVERY
        return min(_IDLE, _RENEW) if any(run.job.track is not None for run in runs) else _IDLE

    def _due(self, run: Following, now: float) -> bool:
        since = now - run.told_at
        return since >= (EVERY if run.dirty else _RENEW)
