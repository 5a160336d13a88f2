"""Jobs that wait, put elsewhere: into another queue, or in front of all others, to be run now.

A job that is moved is the same job: its id stays remembered, its place in a batch stays its own, and what keeps equal ones out
stays what it was. So it is neither lost nor new.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from spoolq import jsjson, tracking, wire
from spoolq.errors import PayloadError
from spoolq.job import Message
from spoolq.parcels import parcels
from spoolq.store.base import Store
from spoolq.store.waiting import Move, WaitingJob

_TOGETHER = 200  # jobs in one step


def rerouted(payload: bytes, queue: str, to: str) -> bytes:
    """The payload of a job of `queue` as one of the queue `to`. All else stays as it was written, and so do payloads that are no
    job or name no queue.

    What keeps equal jobs out is named by the queue of the job where the payload doesn't say it: it says so from here on, so that
    the job goes on holding the guard that it was put with, and lets go of that one.
    """
    try:
        fields = jsjson.fields(payload)
        unique = wire.unique_of(payload, queue)
        changes: dict[str, str | None] = {}
        if unique is not None and "key" not in fields["unique"]:
            changes["unique"] = jsjson.stringify({**fields["unique"], "key": unique.key})
        if "queue" in fields:
            changes["queue"] = jsjson.stringify(to)
        return jsjson.edited(payload.decode(), changes).encode()
    except PayloadError:
        return payload


def to_queue(store: Store, jobs: Sequence[WaitingJob], queue: str) -> int:
    """Put these to the end of that queue, in their order, those that wait for their time as such. Returns how many of them waited
    still."""
    moves = [Move(job, queue, rerouted(job.payload, job.queue, queue), job.run_at) for job in jobs]
    parts = parcels(moves, lambda move: len(move.payload), _TOGETHER)
    return sum(sum(store.waiting_jobs.move(part)) for part in parts)


def to_front(store: Store, job: WaitingJob, now: float) -> bool:
    """Put this one before all others of its queue, whether it is due or not. Returns whether it waited still."""
    [moved] = store.waiting_jobs.move([Move(job, job.queue, job.payload, front=True)])
    if moved and job.run_at and wire.tracked(job.payload):  # else it would be known as one that waits for its time
        known = wire.decode(job.payload, job.queue)
        store.put((), tracking.queued([Message(known.put_id, job.queue, job.payload)], now), hold=True)
    return moved


def whole_queue(
    store: Store, queue: str, to: str, most: int, *, scheduled: bool = False, report: Callable[[int], None] = lambda moved: None
) -> int:
    """Move up to `most` of the jobs that are ready in a queue (`scheduled`: that wait for their time) to the end of another, in
    their order. Returns how many.

    Each step moves some of them, and is whole or doesn't happen: whoever is killed between two has lost nothing, and can be
    called again for the rest. Workers and producers go on meanwhile; `report` is told the number after each step.
    """
    moved, again = 0, True
    while again:
        again, after = False, None
        while moved < most:
            jobs, after = store.waiting_jobs.page(queue, scheduled=scheduled, after=after, limit=min(_TOGETHER, most - moved))
            done = to_queue(store, jobs, to)
            moved, again = moved + done, again or done > 0
            report(moved)
            if after is None or (done and not scheduled):  # the next ones that are ready are the first now
                break
    return moved
