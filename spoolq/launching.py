"""A launch within its middleware: what may change or veto jobs before they are stored, and what is told afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from spoolq.errors import ConfigError, Discard, EnqueueError, PayloadError
from spoolq.job import Job, Receipt
from spoolq.middleware import Hooks
from spoolq.spans import epoch
from spoolq.tasks import queue_name

Put = Callable[[], list[Receipt]]


class Launching:
    """The jobs of one call. `before` comes first, then `store`, which may be on another thread."""

    def __init__(self, hooks: Hooks, jobs: Sequence[Job]) -> None:
        self._hooks, self._given = hooks, jobs
        self._seen: dict[str, Job | None] = {}
        self._jobs: list[Job | None] = []
        self._left: list[Job] = []

    def before(self) -> list[Job]:
        """The jobs to be stored, after all `before_enqueue`. Raises what one of them raises, but Discard."""
        self._jobs = [self._before(job) for job in self._given]
        left = [job for job in self._jobs if job is not None]
        vetoed = len(self._jobs) - len(left)
        self._left = [_without(job, vetoed) for job in left] if vetoed else left
        return self._left

    def store(self, put: Put) -> list[Receipt]:
        """Put what is left, and tell. A receipt for each job that was given."""
        hooks = self._hooks
        try:
            stored = iter(put() if self._left else ())
        except EnqueueError as error:
            if hooks.has("on_rejected"):
                rejected = {*error.not_stored, *error.unknown}
                for job in self._left:
                    if job.put_id in rejected:
                        hooks.tell("on_rejected", job, error)
            raise
        left = iter(self._left)
        receipts = []
        for given, kept in zip(self._given, self._jobs, strict=True):
            if kept is None:
                receipts.append(Receipt(given.id, "vetoed", new=False))
                continue
            job, receipt = next(left), next(stored)
            if receipt.route == "spool" and receipt.new:
                hooks.tell("on_spooled", job)
            hooks.tell("after_enqueue", job, receipt)
            receipts.append(receipt)
        return receipts

    def _before(self, job: Job) -> Job | None:
        """This job, or what stands for it, and those that follow it likewise; each once, also the callback that members share."""
        if job.id not in self._seen:
            self._seen[job.id] = self._asked(job)
        return self._seen[job.id]

    def _asked(self, job: Job) -> Job | None:
        try:
            for call in self._hooks.each("before_enqueue"):
                changed = call(job)
                if changed is not None and not isinstance(changed, Job):
                    raise TypeError(f"{call.__qualname__} returned {changed!r:.200}: a job is needed, or None")
                if changed is not None:
                    _check(call, job, changed)
                    job = changed
        except Discard:
            return None
        if job.after:
            job = replace(job, after=tuple(one for one in map(self._before, job.after) if one is not None))
        if job.batch is not None:
            then = self._before(job.batch.then)
            job = replace(job, batch=None if then is None else job.batch._replace(then=then))
        return job


def _check(call: Callable[..., object], before: Job, job: Job) -> None:
    """Raises PayloadError for what no launch could say: a queue that is none, a time that never comes, and another count of what
    became of the job so far."""
    try:
        queue_name(job.queue)
        epoch(job.run_at, "run_at")
        if counted := next((name for name in _COUNTED if getattr(job, name) != getattr(before, name)), None):
            raise PayloadError(f"{counted} counts what became of a job so far, and is not a launch's to change")
    except (ConfigError, PayloadError) as error:
        raise PayloadError(f"{call.__qualname__} returned a job that can't be: {error}. Nothing was stored") from error


_COUNTED = ("attempt", "crashes", "history", "begun", "run")


def _without(job: Job, vetoed: int) -> Job:
    """A batch waits only for those that are there."""
    return job if job.batch is None else replace(job, batch=job.batch._replace(size=job.batch.size - vetoed))
