"""Where a job is, and what is known of its way: by its id, in whatever state it is, in the primary and in this host's spool."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from spoolq import wire
from spoolq.errors import PayloadError, SpoolqError
from spoolq.job import Attempt, Failure, Job
from spoolq.store.base import Spool, Store, Working
from spoolq.store.waiting import WaitingJob
from spoolq.tracking import UNKNOWN, Status

Where = Literal["primary", "spool"]
State = Literal["ready", "scheduled", "retrying", "running", "claimed", "handed over", "in the primary", "set aside", "failed"]

WAITING: tuple[State, ...] = ("ready", "scheduled", "retrying")
"""The states in which a job can be moved or deleted."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A job as it was found in one place. `state`:

    ready           it waits to be run, or of a spool's row to be handed over
    scheduled       it waits for its time (`job.run_at`); `retrying`: to be tried again
    running         a thread of `worker` (its key; `on` its host and process) works on it, since `since`
    claimed         a worker has it, and others come first
    handed over     a drainer has it in its hands; `in the primary`: kept here until that has persisted it
    set aside       it is in the spool's quarantine
    failed          it is in the failure log: `failure`
    """

    where: Where
    state: State
    queue: str
    payload: bytes
    waiting: WaitingJob | None = None
    failure: Failure | None = None
    worker: str = ""
    on: str = ""
    since: float | None = None

    @property
    def job(self) -> Job | None:
        """What its payload says, None where that is no job."""
        return decoded(self.payload, self.queue)

    @property
    def waits(self) -> bool:
        """Whether it can be moved or deleted: nobody has it in his hands."""
        return self.state in WAITING


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """All places in which a job of this id was found. `after`: its queues in the primary were looked through up to there only,
    None: to the end. `away`: why a store could not be asked. `status`: what is remembered of it, for tasks that ask for that."""

    id: str
    sightings: tuple[Sighting, ...] = ()
    status: Status = UNKNOWN
    after: Any = None
    away: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """Whether anything is."""
        return bool(self.sightings) or self.status != UNKNOWN


class Moment(NamedTuple):
    """A point on a job's way: when (epoch seconds, None: not known), what, in a few words, and more of it."""

    at: float | None
    what: str
    detail: str = ""


def decoded(payload: bytes, queue: str) -> Job | None:
    """The job in a payload, None where it is none."""
    try:
        return wire.decode(payload, queue)
    except PayloadError:
        return None


def state_of(job: WaitingJob) -> State:
    """The word for a job that waits or is in somebody's hands."""
    if job.aside:
        return "set aside"
    if job.kept:
        return "in the primary"
    if job.holder:
        return "claimed" if job.holder == "worker" else "handed over"
    if job.run_at <= 0:
        return "ready"
    known = decoded(job.payload, job.queue)
    return "retrying" if known is not None and known.ended else "scheduled"


def find(
    id: str,
    primary: Store | None,
    spool: Spool | None,
    status: Callable[[str], Status] = lambda id: UNKNOWN,
    *,
    steps: int | None = None,
    after: Any = None,
    newest: int | None = None,
) -> Whereabouts:
    """Look for a job everywhere; a store that is None isn't asked, and one that is away is named in `away`.

    `status` tells what is remembered of it. `steps`: of the search through the queues of a Redis, each of which costs the same;
    with `after` it goes on where an earlier one ended. `newest`: how many of the failures are looked at. None: all of them.
    """
    found: list[Sighting] = []
    away: list[str] = []
    stores: tuple[tuple[Where, Store | None], ...] = (("spool", spool), ("primary", primary))
    for where, store in stores:
        if store is None:
            continue
        try:  # in the order in which it goes on: what moves meanwhile is met further on
            waiting, then = _waiting(store, id, steps, after if where == "primary" else None)
            found += [_sighted(job, where) for job in waiting if job.holder != "worker"]
            found += _held(store, where, id)
            if failure := store.failures.get(id, newest=newest):
                found.append(Sighting(where, "failed", failure.queue, failure.payload, failure=failure))
        except SpoolqError as error:
            away.append(str(error))
            continue
        after = then if where == "primary" else after
    return Whereabouts(id, tuple(_once(found)), status(id), after, tuple(away))


def _sighted(job: WaitingJob, where: Where) -> Sighting:
    return Sighting(where, state_of(job), job.queue, job.payload, job)


def _waiting(store: Store, id: str, steps: int | None, after: Any) -> tuple[list[WaitingJob], Any]:
    found, after = store.waiting_jobs.search(id, after)
    while after is not None and steps != 1:
        steps = None if steps is None else steps - 1
        some, after = store.waiting_jobs.search(id, after)
        found += some
    return found, after


def _held(store: Store, where: Where, id: str) -> Iterator[Sighting]:
    held = store.waiting_jobs.held(id)
    if not held:
        return
    views = {view.info.key: view for view in store.workers()}
    busy = {_key(one): one for view in views.values() for one in view.working}
    for job in held:
        view = views.get(job.worker)
        name = "" if view is None else f"{view.info.host}:{view.info.pid}"
        on = busy.get((job.worker, job.payload))
        state: State = "running" if on else "claimed"
        yield Sighting(where, state, job.queue, job.payload, worker=job.worker, on=name, since=on.since if on else None)


def _key(working: Working) -> tuple[str, bytes]:
    return working.claim.worker, working.claim.payload


def _once(found: Sequence[Sighting]) -> Iterator[Sighting]:
    """A search may see the same job twice, as it moves on."""
    seen = set()
    for one in found:
        key = one.where, one.state, one.queue, one.payload
        if key not in seen:
            seen.add(key)
            yield one


def timeline(found: Whereabouts, now: float) -> list[Moment]:
    """What is known of its way, in the order in which it happened; what is to come comes last."""
    moments: list[Moment] = []
    attempts: dict[tuple[int, float], Attempt] = {}
    for one in found.sightings:
        job, failure = one.job, one.failure
        if job is not None and job.enqueued_at is not None:
            moments.append(Moment(job.enqueued_at, "enqueued", f"{job.task}, queue {one.queue}"))
        if job is not None and job.run:
            moments.append(Moment(None, "put back", f"from the failure log, {job.run} time{'s' if job.run > 1 else ''}"))
        for attempt in (failure.history if failure else ()) or (job.history if job else ()):
            attempts[attempt.number, attempt.at] = attempt
    for attempt in attempts.values():
        took = "" if attempt.took is None else f" after {attempt.took:,.3f} s"
        on = f" on {attempt.worker}" if attempt.worker else ""
        moments.append(Moment(attempt.at, f"attempt {attempt.number}", f"{attempt.exception}: {attempt.error}{took}{on}"))
    moments += [_now(one, now) for one in found.sightings]  # behind the attempt of the same moment, which led there
    if found.status.over and found.status != "failed":
        moments.append(Moment(found.status.at, str(found.status), found.status.error))
    return sorted(dict.fromkeys(moments), key=lambda moment: (moment.at is not None, moment.at or 0.0))


def _now(one: Sighting, now: float) -> Moment:
    place = "this host's spool" if one.where == "spool" else "the primary"
    match one.state:
        case "failed" if one.failure is not None:
            failure = one.failure
            return Moment(failure.failed_at or None, "failed", f"{failure.exception}: {failure.error}")
        case "running":
            return Moment(one.since, "running", f"on {one.on or one.worker}")
        case "scheduled" | "retrying" if one.waiting is not None:
            return Moment(one.waiting.run_at, "due", f"{one.state}, in {place}")
    doubt = "; the primary may have it too" if one.waiting is not None and one.waiting.in_doubt else ""
    return Moment(now, one.state, f"in {place}, queue {one.queue}{doubt}")
