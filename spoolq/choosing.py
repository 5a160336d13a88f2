"""Which of the jobs that wait are meant: by task, queue and text, a bounded look at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from spoolq import wire
from spoolq.errors import PayloadError
from spoolq.store.base import Store
from spoolq.store.waiting import Page, WaitingJob

LOOK = 2000
"""Jobs that one look goes through at most, whether they are meant or not."""
_PAGE = 500
_ASKS = 40  # pages of one look: those of one queue may have few or none of it


@dataclass(frozen=True, slots=True)
class JobChoice:
    """All that is given must fit. `text` is a part of the payload, in any case of letters; `retrying`: those that were tried
    before, False: those that were not."""

    task: str | None = None
    queue: str | None = None
    text: str | None = None
    retrying: bool | None = None

    def __bool__(self) -> bool:
        """Whether it leaves anything out."""
        return self != JobChoice()

    def fits(self, job: WaitingJob) -> bool:
        """Whether this job is meant. What is no job has no task and no attempts."""
        if self.queue is not None and job.queue != self.queue:
            return False
        if self.text is not None and self.text.lower() not in job.payload.decode("utf-8", "replace").lower():
            return False
        if self.task is None and self.retrying is None:
            return True
        try:
            known = wire.decode(job.payload, job.queue)
        except PayloadError:
            return False
        return self.task in (None, known.task) and self.retrying in (None, known.ended > 0)


def look(store: Store, choice: JobChoice, *, scheduled: bool, after: Any = None, limit: int = 100, most: int = LOOK) -> Page:
    """Up to `limit` of those that are meant, of the next `most` that are ready in the queue of the choice (`scheduled`: that wait
    for their time), and what the next look begins `after`, None at the end."""
    found: list[WaitingJob] = []
    looked = 0
    for _ in range(_ASKS):
        ask = min(limit - len(found), most - looked)  # never more than there is room for: a page can't be cut
        jobs, after = store.waiting_jobs.page(choice.queue, scheduled=scheduled, after=after, limit=ask)
        found += filter(choice.fits, jobs)
        looked += len(jobs)
        if after is None or looked >= most or len(found) >= limit:
            break
    return found, after


def every(
    store: Store, choice: JobChoice, *, ready: bool = True, scheduled: bool = True, most: int | None = None
) -> Iterator[WaitingJob]:
    """All that are meant, in all queues unless the choice names one: first those that wait for their time, as what comes due
    meanwhile goes that way. Takes the longer, the more waits; `most`: jobs of a list that are looked at, its first ones."""
    if scheduled:
        yield from filter(choice.fits, islice(_through(store, choice.queue, True), most))
    if ready:
        for queue in sorted(store.queues()) if choice.queue is None else (choice.queue,):
            yield from filter(choice.fits, islice(_through(store, queue, False), most))


def _through(store: Store, queue: str | None, scheduled: bool) -> Iterator[WaitingJob]:
    after = None
    while True:
        jobs, after = store.waiting_jobs.page(queue, scheduled=scheduled, after=after, limit=_PAGE)
        yield from jobs
        if after is None:
            return
