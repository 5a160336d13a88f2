"""What a worker counts of the runs of jobs, for metrics: how they ended, how long they took, and how long they had waited."""

from __future__ import annotations

from typing import NamedTuple

from spoolq.counts import DURATION, WAIT, Counts, Key
from spoolq.job import Claim, Job
from spoolq.outcome import Done, Outcome, RetryLater

_MOST = 1000  # keys that are kept ready: a job of microseconds is to count itself in less


class _Keys(NamedTuple):
    took: Key
    waited: Key
    queue: str
    task: str


class RunCounts:
    """`task` is the name of a registered one, or `_other`: what a payload names could be anything."""

    def __init__(self, counts: Counts) -> None:
        self.counts = counts
        self._keys: dict[tuple[str, str], _Keys] = {}

    def began(self, job: Job, task: str, now: float) -> None:
        """It begins to run. Of its first run it counts how long it waited, from its enqueue on, a delay included."""
        if job.enqueued_at is not None and not job.attempt and not job.crashes:
            self.counts.observe(self._of(job.queue, task).waited, max(0.0, now - job.enqueued_at))

    def took(self, job: Job, task: str, seconds: float) -> None:
        """Its task has returned, or raised."""
        self.counts.observe(self._of(job.queue, task).took, seconds)

    def ended(self, claim: Claim, task: str, outcome: Outcome) -> None:
        """This is what the store is to be told. One that goes back as it was, since it could not begin, is not counted."""
        if isinstance(outcome, Done):
            word = "done" if outcome.counter == "processed" else outcome.counter
        elif isinstance(outcome, RetryLater):
            if outcome.payload is claim.payload:
                return
            word = "retried"
        else:
            word = "failed"
        keys = self._of(claim.queue, task)
        self.counts.add("spoolq_jobs_processed_total", keys.queue, keys.task, word)

    def _of(self, queue: str, task: str) -> _Keys:
        found = self._keys.get((queue, task))
        if found is None:
            if len(self._keys) >= _MOST:
                self._keys.clear()
            known, name = self.counts.bounded(queue), self.counts.bounded(task)
            found = self._keys[queue, task] = _Keys((DURATION, known, name), (WAIT, known), known, name)
        return found
