"""What a worker counts of the runs of jobs, for metrics: how they ended, how long they took, and how long they had waited."""

from __future__ import annotations

from spoolq.counts import BOUNDS, DURATION, WAIT, Counts, measure
from spoolq.job import Claim, Job
from spoolq.outcome import PROCESSED, Done, Outcome, RetryLater

_RUNS, _WAITS = BOUNDS[DURATION], BOUNDS[WAIT]
_MOST = 1000  # queues and tasks whose cells are kept at hand: a job of microseconds is to count itself in less


class RunCounts:
    """Of the runs of all tasks."""

    def __init__(self, counts: Counts) -> None:
        self.counts = counts

    def of(self, queue: str, task: str) -> TaskCounts:
        """For the thread that asks, and for it alone. `task` is the name of a registered one, or `_other`: what a payload names
        could be anything."""
        try:
            found: TaskCounts = self.counts.here.tasks[queue, task]
        except (AttributeError, KeyError):
            found = self._begun(queue, task)
        return found

    def _begun(self, queue: str, task: str) -> TaskCounts:
        here = self.counts.here
        if not hasattr(here, "tasks") or len(here.tasks) >= _MOST:
            here.tasks = {}
        found: TaskCounts = here.tasks.setdefault((queue, task), TaskCounts(self.counts, queue, task))
        return found


class TaskCounts:
    """Of the runs of one task's jobs out of one queue, on one thread."""

    __slots__ = ("_counts", "_done", "_took", "_waited", "queue", "task")

    def __init__(self, counts: Counts, queue: str, task: str) -> None:
        self.queue, self.task = counts.bounded(queue), counts.bounded(task)
        self._counts = counts
        self._took, self._waited = counts.cell((DURATION, self.queue, self.task)), counts.cell((WAIT, self.queue))
        self._done = counts.cell(self._key("done"))

    def began(self, job: Job, now: float) -> None:
        """It begins to run. Of its first run it counts how long it waited, from its enqueue on, a delay included."""
        if job.enqueued_at is not None and not job.attempt and not job.crashes:
            waited = now - job.enqueued_at
            measure(self._waited, _WAITS, waited if waited > 0 else 0.0)

    def took(self, seconds: float) -> None:
        """Its task has returned, or raised."""
        measure(self._took, _RUNS, seconds)

    def ended(self, claim: Claim, outcome: Outcome) -> None:
        """This is what the store is to be told. One that goes back as it was, since it could not begin, is not counted."""
        if outcome is PROCESSED:
            self._done[0] += 1
            return
        if isinstance(outcome, Done):
            word = "done" if outcome.counter == "processed" else outcome.counter
        elif isinstance(outcome, RetryLater):
            if outcome.payload is claim.payload:
                return
            word = "retried"
        else:
            word = "failed"
        self._counts.cell(self._key(word))[0] += 1

    def _key(self, word: str) -> tuple[str, ...]:
        return "spoolq_jobs_processed_total", self.queue, self.task, word
