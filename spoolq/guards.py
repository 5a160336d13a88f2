"""The guards of unique jobs, as effects: acquired in the step that puts a job, and released in the one that settles it."""

from __future__ import annotations

from collections.abc import Iterable

from spoolq import wire
from spoolq.errors import GuardHeld
from spoolq.job import RERUN, Job, Message, Receipt, Route, Unique
from spoolq.store.effects import NONE, Effects

PEER = "node-resque"
"""The holder of a lock that node-resque has written: it notes only until when, not who."""

_MOMENT = 0.001  # seconds: no time at all would only look


def acquiring(message: Message, now: float) -> Effects:
    """What goes with the put of this message. The time of a guard begins when the job is due; `now` is epoch seconds."""
    unique = message.unique
    if unique is None:
        return NONE
    holder = message.id.partition(RERUN)[0]
    lasts = _lasts(unique, message.run_at, now, wire.expires_at(message.payload))
    own = ((unique.key, holder, lasts),) if unique.key != unique.delayed else ()
    return Effects(acquire=own + (((unique.delayed, holder, 0.0),) if unique.delayed else ()))


def releasing(job: Job, unique: Unique | None) -> Effects:
    """What lets the next one in: of a job that says nothing of it itself, such as one that node-resque enqueued, its task's word
    holds, and node's lock."""
    return NONE if unique is None else Effects(release=((unique.key, PEER if job.unique is None else job.id),))


def freed(payload: bytes, queue: str) -> Effects:
    """What lets the next one in where a job that nobody has decoded yet goes, without having run. Never raises."""
    if wire.unique_of(payload, queue) is None:
        return NONE
    job = wire.decode(payload, queue)
    return releasing(job, job.unique)


def renewing(job: Job, at: float, now: float, *, begun: bool = True) -> Effects:
    """What goes with putting it back: a job that is unique until it is done goes on keeping others out, and so does any that has
    not begun."""
    if job.unique is None or (begun and job.unique.until == "start"):
        return NONE
    return Effects(acquire=((job.unique.key, job.id, _lasts(job.unique, at, now, job.expires_at)),))


def beginning(job: Job) -> Effects:
    """What a run begins with where the guard would end as the job expires, which it doesn't once it runs."""
    if job.unique is None or job.unique.until == "start" or job.expires_at is None:
        return NONE
    return Effects(acquire=((job.unique.key, job.id, job.unique.seconds),))


def _lasts(unique: Unique, at: float, now: float, expires_at: float | None) -> float:
    """Seconds. One that expires as it waits will not run, so it keeps nobody out from then on."""
    lasts = unique.seconds + max(0.0, at - now)
    return lasts if expires_at is None else max(_MOMENT, min(lasts, expires_at - now))


def held(refused: GuardHeld, route: Route, messages: Iterable[Message]) -> list[Receipt]:
    """The receipts for messages that were refused for an equal job."""
    id = "" if refused.holder == PEER else refused.holder
    return [Receipt(id, route, new=False) for _ in messages]
