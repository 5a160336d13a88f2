"""Chains and batches: what is put when a job has ended, as effects of the step that settles it; and what may be launched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from spoolq import tracking, wire
from spoolq.errors import PayloadError
from spoolq.following import DEPTH, MOST, ON, WIDTH
from spoolq.job import Job, Member, Message, Receipt
from spoolq.store.effects import NONE, Countdown, Effects

MEMORY = 30 * 86_400.0
"""Seconds, at least, for which it is remembered that a member of a batch has ended: one that fails for good may be retried by a
person in that time, and completes it."""

Ending = Literal["done", "dropped", "failed"]


class Batch(NamedTuple):
    """What `q.batch` returns. `id` is that of the callback's job; a receipt for each member, in order."""

    id: str
    receipts: tuple[Receipt, ...]


# at the end of a job


def following(job: Job, ending: Ending, now: float) -> Effects:
    """What is to happen in the step that settles this job. Only a job that is done launches those after it, at `now`."""
    put = tuple(_message(one, now) for one in job.after) if ending == "done" else ()
    effects = Effects(put=put) | tracking.queued(put, now) if put else NONE
    batch = job.batch
    if batch is None or (batch.on == "success" and ending != "done"):
        return effects
    # its id is remembered: a member that ends again later, when the count has been forgotten, puts no second one
    then = _message(batch.then, now)._replace(given=True)
    return effects | Effects(countdown=(Countdown(batch.id, job.id, batch.size, then, MEMORY),))


def _message(job: Job, now: float) -> Message:
    # its size was bounded with that of the first; it is to come whatever equal job there is, also by way of a spool
    return wire.message(replace(job, enqueued_at=now, unique=None), max_bytes=_ANY_SIZE)


_ANY_SIZE = 1 << 62


# at the launch


def chained(jobs: object) -> tuple[Job, ...]:
    """These, as they may come after a job. Raises PayloadError for what is no job, and for too many, or too long a chain."""
    after = _jobs(jobs, "after")
    _once([one.id for job in after for one in chain(job)], "after")  # at each link, or chains that meet would double with each
    if len(after) > WIDTH:
        raise PayloadError(f"after: {len(after)} jobs, and one step puts {WIDTH} at most; launch them from a task between")
    if any(_depth(job) > DEPTH for job in after):
        raise PayloadError(f"after: more than {DEPTH} jobs one after the other; launch the rest from a task between")
    return after


def check(job: Job, *, bare: bool, ordered: bool) -> None:
    """Raises PayloadError where an id is there twice among a job and those that come after it, as in a circle; where `bare` jobs
    are delayed: Resque's own keys, in which they would wait, lose what follows; and where queues are `ordered`, and one of them
    is to go to the front."""
    _once([one.id for one in chain(job)], f"{job.task}: after")
    if bare and (late := next((one for one in chain(job) if one.run_at), None)):
        raise PayloadError(
            f"{late.task}: a delayed job of a chain or batch can't wait in Resque's own delayed keys, whose schedulers keep "
            "`args` only; leave delayed='spoolq'"
        )
    if ordered and (first := next((one for one in chain(job) if one.at_front), None)):
        raise PayloadError(f"{first.task}: at_front breaks the order that ordering='fifo' promises; leave it out")


def chain(job: Job) -> Iterator[Job]:
    """The job, all that come after it, and the callback of its batch."""
    yield job
    for one in job.after:
        yield from chain(one)
    if job.batch is not None:
        yield from chain(job.batch.then)


def members(jobs: object, then: object, on: object) -> list[Job]:
    """These as the members of one batch, with `then` as its callback. Raises PayloadError for what can't be one."""
    found = _jobs(jobs, "batch")
    if not isinstance(then, Job):
        raise PayloadError(f"then={then!r} is not a job: make one with task.job(…)")
    if on not in ON:
        raise PayloadError(f"on={on!r}: 'success' (all are done) or 'complete' (all have ended, also badly)")
    if not found:
        raise PayloadError("batch: it has no job, so nothing would ever call its callback; enqueue that itself")
    if len(found) > MOST:
        raise PayloadError(f"batch: {len(found)} jobs, {MOST} at most; have each job do more")
    if _depth(then) > DEPTH:
        raise PayloadError(f"batch: its callback has more than {DEPTH - 1} jobs after it; launch the rest from a task between")
    if alone := next((job for job in found if job.unique is not None), None):
        raise PayloadError(
            f"batch: {alone.task} is a unique task: where an equal job waits, this one isn't queued, and the batch would never "
            "be done; leave unique= out for it, or launch it apart"
        )
    if taken := next((job for job in (*found, then) if job.batch is not None), None):
        raise PayloadError(f"batch: {taken.id} ({taken.task}) is in a batch already")
    _once([*(job.id for job in found), then.id], "batch")
    return [replace(job, batch=Member(then.id, len(found), on, then)) for job in found]  # type: ignore[arg-type]  # one of ON


def _jobs(jobs: object, what: str) -> tuple[Job, ...]:
    if isinstance(jobs, str | bytes | Job) or not isinstance(jobs, Iterable):
        raise PayloadError(f"{what}: a list of jobs is needed, this is {type(jobs).__qualname__}; make jobs with task.job(…)")
    found: Sequence[object] = tuple(jobs)
    for one in found:
        if not isinstance(one, Job):
            raise PayloadError(f"{what}: {one!r:.200} is not a job: make one with task.job(…)")
    return found  # type: ignore[return-value]


def _once(ids: Sequence[str], what: str) -> None:
    if len(set(ids)) < len(ids):
        twice = next(id for index, id in enumerate(ids) if id in ids[:index])
        raise PayloadError(f"{what}: job {twice} is there twice; make one with task.job(…) for each place")


def _depth(job: Job) -> int:
    return 1 + max(map(_depth, job.after), default=0)
