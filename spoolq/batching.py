"""Launching batches: `q.batch(…)`."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import replace
from typing import Literal, Protocol

from spoolq import chains
from spoolq.chains import Batch
from spoolq.client import chunks
from spoolq.job import Job, Message, Receipt
from spoolq.spans import Seconds, above_0


class Owner(Protocol):
    """What launches: the application object."""

    def submit(self, jobs: Sequence[Job], deadline: float | None = None) -> list[Receipt]:
        """Store the jobs."""

    def asubmit(self, jobs: Sequence[Job], deadline: float | None = None) -> Awaitable[list[Receipt]]:
        """The same, off the event loop."""

    def message(self, job: Job) -> Message:
        """The job as stores carry it. Raises PayloadError."""


class Batching:
    """The part of the application object that launches batches."""

    def batch(
        self: Owner,
        jobs: Iterable[Job],
        then: Job,
        *,
        on: Literal["success", "complete"] = "success",
        deadline: Seconds | None = None,
    ) -> Batch:
        """Store jobs, and have the job `then` put when the last of them is done, once, in the step that settles it; with `on` =
        "complete" also where some have failed for good, were discarded or have expired. See docs/chains.md.

        All or nothing for up to 500 jobs and 1 MiB; of more (10,000 at most) the ids count as the caller's: after an error it can
        be called again with the same jobs, and those that are there are not queued twice. Raises as `enqueue_many`, and
        PayloadError for a batch that can't be.
        """
        limit = None if deadline is None else above_0(deadline, "deadline")
        members = _members(self, jobs, then, on)
        return Batch(then.id, tuple(self.submit(members, limit)))

    async def abatch(
        self: Owner,
        jobs: Iterable[Job],
        then: Job,
        *,
        on: Literal["success", "complete"] = "success",
        deadline: Seconds | None = None,
    ) -> Batch:
        """`batch` for asyncio: the same path on another thread."""
        limit = None if deadline is None else above_0(deadline, "deadline")
        members = _members(self, jobs, then, on)
        return Batch(then.id, tuple(await self.asubmit(members, limit)))


def _members(owner: Owner, jobs: Iterable[Job], then: Job, on: str) -> list[Job]:
    members = chains.members(jobs, then, on)
    whole = len(list(chunks([owner.message(job) for job in members]))) == 1
    return members if whole else [replace(job, given=True) for job in members]  # so that it can be called again
