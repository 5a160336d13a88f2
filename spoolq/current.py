"""The job that is running, as its task sees it."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field

from spoolq.job import Job
from spoolq.reporter import Following


@dataclass(slots=True)  # not frozen: one is made for every job, and each field of a frozen one is set by a call
class Current:
    """The job that is running on this thread (or task), for the task's own use.

    `store` is "primary" or "spool"; `fresh` says that nothing is known of an earlier run.
    """

    job: Job
    store: str
    _run: Following | None = field(default=None, repr=False, compare=False)

    @property
    def id(self) -> str:
        """The job's id: what an idempotent task remembers."""
        return self.job.id

    @property
    def attempt(self) -> int:
        """How many attempts ended before this one, those whose worker died (`job.crashes`) left out."""
        return self.job.attempt

    @property
    def fresh(self) -> bool:
        """Whether this is the first run, as far as is known: no attempt has ended badly, no worker died in one, or had one done
        and died before it could say so."""
        return self.job.ended == 0 and not self.job.begun and self.job.run == 0

    def progress(self, share: float, text: str = "") -> None:
        """Say how far the job is: `share` from 0 to 1, and a text for people. Who asks for its status sees it within a second.

        Best effort, for tasks with `track` or `result_ttl`: it costs nothing to say it often, and a store that is away isn't
        waited for. Raises PayloadError for what is no share.
        """
        if self._run is not None:
            self._run.say(share, text)

    @property
    def cancelled(self) -> bool:
        """Whether somebody wants the job to stop (`receipt.cancel()`): a long task looks now and then, and returns, or raises
        `Discard`. Looked up in the background twice a second, from the first time on that it is asked for; False while the store
        is away."""
        return self._run is not None and self._run.cancelled


running: ContextVar[Current | None] = ContextVar("spoolq_current", default=None)


def current() -> Current | None:
    """The running job; None outside of one."""
    return running.get()
