"""One job, wherever it is: its way, its attempts, what it is made of; and what is done to it."""

from __future__ import annotations

import json
import time
from typing import Any

from spoolq import jsjson, moving, stamps, whereabouts, wire
from spoolq.cancelling import Canceller
from spoolq.dashboard import picking
from spoolq.dashboard.asking import Action, Answer, Ask, Confirm, Done, NotThere, Refused, View, link
from spoolq.errors import PayloadError, StoreUnavailable
from spoolq.failurelog import again
from spoolq.failurelog.entry import Record
from spoolq.failurelog.target import target
from spoolq.job import Attempt, Failure
from spoolq.reruns import run_of
from spoolq.store.base import Store
from spoolq.store.waiting import WaitingJob
from spoolq.units import when
from spoolq.whereabouts import Sighting, Whereabouts

STEPS = 40
"""Of a search through the queues of Redis, for one page; each looks at 1,000 jobs at most."""
NEWEST = 5000
"""Failures among which it is looked for."""


def show(ask: Ask) -> Answer:
    """The job of an id, or, where it has none, the one in its place."""
    id, now = ask.query.get("id", ""), time.time()
    if id and (not id.isprintable() or len(id) > 200):
        raise NotThere("That is no id: a text of 1 to 200 printable characters is needed.")
    found = _in_place(ask) if not id else _everywhere(ask, id)
    shown = ask.query.get("show") == "arguments"
    here = {name: value for name, value in ask.query.items() if name in ("id", "in", "queue", "state", "ref")}
    more = {**here, "search": picking.written(found.after)} if found.after is not None else None
    if not found.known and not found.away and more is None:
        raise NotThere(f"Nothing is known of job {id or 'without an id'}: it is done, it was deleted, or it was never there.")
    places = [_Place(one, shown, ask) for one in found.sightings]
    moments, attempts = whereabouts.timeline(found, now), _attempts(found.sightings)
    shows = {
        "found": found,
        "places": places,
        "moments": moments,
        "attempts": attempts,
        "shown": shown,
        "its": here,
        "more": more,
        "now": now,
    }
    document = {
        "id": found.id or None,
        "status": str(found.status),
        "progress": found.status.progress,
        "text": found.status.text,
        "places": [place.document() for place in places],
        "timeline": [{"at": when(at), "what": what, "detail": detail} for at, what, detail in moments],
        "attempts": [{**one._asdict(), "at": when(one.at)} for one in attempts],
        "away": list(found.away),
        "search": more and more["search"],
    }
    return Answer("job.html", id or "A job without an id", shows, document)


def _everywhere(ask: Ask, id: str) -> Whereabouts:
    primary = ask.q.primary if ask.facts.primary.state in ("up", "refusing") else None
    spool = ask.q.spool if picking.has_spool(ask) else None
    after = picking.cursor(ask.query.get("search", ""))
    near = _near(ask) if after is None else None
    found = whereabouts.find(id, primary, spool, ask.q.status, steps=1 if near else STEPS, after=after, newest=NEWEST)
    away = found.away if primary is not None else (*found.away, ask.facts.primary.error or "the primary does not answer")
    sightings = found.sightings if near is None else (near, *(one for one in found.sightings if one.payload != near.payload))
    return Whereabouts(id, sightings, found.status, None if sightings else found.after, away)


def _near(ask: Ask) -> Sighting | None:
    """The job where the list that led here had it: a search would begin at its queue's other end."""
    try:
        return _in_place(ask).sightings[0] if ask.query.get("ref") else None
    except (NotThere, Refused, StoreUnavailable):  # what can't be asked is said by the search
        return None


def _in_place(ask: Ask) -> Whereabouts:
    _, job = picking.pick(ask, search=False)
    return Whereabouts("", (Sighting(picking.where(ask), whereabouts.state_of(job), job.queue, job.payload, job),))


def _attempts(sightings: tuple[Sighting, ...]) -> list[Attempt]:
    found = {}
    for one in sightings:
        job = one.job
        for attempt in (one.failure.history if one.failure else ()) or (job.history if job else ()):
            found[attempt.number, attempt.at] = attempt
    return sorted(found.values())


def _id(one: Sighting) -> str:
    if one.failure is not None:
        return one.failure.id
    return one.job.id if one.job is not None and wire.has_id(one.payload) else ""


class _Place:
    """A place in which it was found, as it is shown."""

    def __init__(self, one: Sighting, shown: bool, ask: Ask) -> None:
        self.one, self.job, self.failure = one, one.job, one.failure
        self.where = "this host's spool" if one.where == "spool" else "the queue file" if ask.q.settings.sqlite_path else "Redis"
        self.known = {"in": one.where, "queue": one.queue, "state": one.state, "id": _id(one)}
        if one.waiting is not None:
            self.known = picking.row(one.waiting, one.where).known
        self.known["back"] = link("/job", **self.known)
        self.written = [] if one.failure is None else written_to(ask, one.failure)
        self.envelope = envelope(ask, one.payload, shown)
        self.arguments = arguments(ask, one.payload) if shown else ""

    def document(self) -> dict[str, Any]:
        one, failure = self.one, self.failure
        return {
            "in": one.where,
            "state": one.state,
            "queue": one.queue,
            "task": self.job and self.job.task,
            "due": when(one.waiting.run_at or None) if one.waiting else None,
            "in_doubt": one.waiting.in_doubt if one.waiting else False,
            "worker": one.worker or None,
            "since": when(one.since),
            "envelope": self.envelope,
            "failure": failure
            and {
                "exception": failure.exception,
                "error": failure.error,
                "backtrace": list(failure.backtrace),
                "failed_at": when(failure.failed_at or None),
                "worker": failure.worker,
                "attempts": failure.attempts,
            },
        }


def written_to(ask: Ask, failure: Failure) -> list[str]:
    """Where a failure of that time is written beside the store's list: the file of its day, the object of its own."""
    found = []
    for place in ask.q.settings.failure_log:
        if target(place).kind == "files":
            day = stamps.iso(failure.failed_at)[:10].replace("-", "")
            found.append(f"{place}/failures-{day}-….jsonl")
        else:
            found.append(f"{place}/{Record(failure, run_of(failure), False, b'').key}")
    return found if failure.failed_at > 0 else []


def envelope(ask: Ask, payload: bytes, shown: bool) -> str:
    """A payload as it is, indented, with the arguments of the job, and of those that follow it, hidden unless asked for. What is
    no job is shown when asked for only."""
    try:
        fields = jsjson.fields(payload)
    except PayloadError as error:
        return ask.desk.shown_arguments("", payload.decode("utf-8", "backslashreplace")) if shown else f"(no job: {error})"
    return json.dumps(_hidden(ask, fields, shown), ensure_ascii=False, indent=2, default=str)


def _hidden(ask: Ask, value: Any, shown: bool) -> Any:
    if isinstance(value, list):
        return [_hidden(ask, one, shown) for one in value]
    if not isinstance(value, dict):
        return value
    if not isinstance(task := value.get("class"), str):
        return {name: _hidden(ask, one, shown) for name, one in value.items()}
    return {name: _part(ask, task, name, one, shown) for name, one in value.items()}


def _part(ask: Ask, task: str, name: str, value: Any, shown: bool) -> Any:
    if name in ("args", "kwargs"):
        return _read(ask.desk.shown_arguments(task, value)) if shown else "(hidden)"
    if name in ("after", "batch"):
        return _hidden(ask, value, shown)
    if name == "unique" and isinstance(value, dict) and not shown:
        return {**value, **({"key": "(hidden)"} if "key" in value else {})}  # it is made of the arguments
    return value


def _read(text: str) -> Any:
    """Arguments as they are shown: JSON, unless they were cut."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def arguments(ask: Ask, payload: bytes) -> str:
    """Those of the job, through `redact`."""
    try:
        fields = jsjson.fields(payload)
    except PayloadError:
        return ""
    args, kwargs = fields.get("args", []), fields.get("kwargs")
    task = str(fields["class"])
    words = [ask.desk.shown_arguments(task, args)]
    return "\n".join([*words, ask.desk.shown_arguments(task, kwargs)] if kwargs else words)


# what is done to it

_CANCELLED = {
    "removed": "it waited, and is removed",
    "asked": "it is asked to stop",
    "late": "it is not there any more",
    "away": "that could not be asked",
}


def _label(job: WaitingJob) -> tuple[str, dict[str, Any]]:
    """What a job that waits is called, by what it is, not by what the form says of it; and the same for the journal."""
    id = picking.row(job, "primary").id
    return id or "a job without an id", {"id": id or None, "queue": job.queue}


def _now(ask: Ask) -> Done:
    store, job = picking.pick(ask)
    if not moving.to_front(store, job, time.time()):
        raise NotThere("A worker has just taken it. Nothing was changed.")
    label, detail = _label(job)
    return Done(f"{label} is the next one of {job.queue}.", ask.back(link("/queue", name=job.queue)), detail)


def _sure_to_delete(ask: Ask) -> Confirm:
    _, job = picking.pick(ask)
    label, _ = _label(job)
    return Confirm(f"Delete {label} for good? It does not run, and what was to follow it doesn't either.", "Delete it")


def _delete(ask: Ask) -> Done:
    store, job = picking.pick(ask)
    canceller = Canceller(ask.q.primary, ask.q.spool_there())
    if not canceller.take_back(store, job):
        raise NotThere("A worker has just taken it. Nothing was changed.")
    back = ask.back("/queues")
    label, detail = _label(job)
    return Done(f"Deleted {label}.", "/queues" if back.startswith("/job?") else back, detail)


def _move(ask: Ask) -> Done:
    to = ask.form.get("to", "").strip()
    if not to or not to.isprintable() or set(to) & set("*,") or len(to) > 200:
        raise Refused("Name the queue that it is to go to, one name without * or comma. Nothing was moved.")
    store, job = picking.pick(ask)
    if not moving.to_queue(store, [job], to):
        raise NotThere("A worker has just taken it. Nothing was changed.")
    label, detail = _label(job)
    back = link("/job", **{"id": label, "in": picking.where(ask)}) if detail["id"] else link("/queue", name=to)
    return Done(f"{label} is now in {to}.", back, {**detail, "to": to})


def _cancel(ask: Ask) -> Done:
    id = ask.form.get("id", "")
    if not id or not id.isprintable() or len(id) > 200:
        raise Refused("That is no id: a text of 1 to 200 printable characters is needed. Nothing was changed.")
    told = ask.q.cancel(id)
    return Done(f"{id}: {_CANCELLED[told.outcome]}. {told.detail}".strip(), link("/job", id=id), {"id": id}, bool(told))


def _failed(ask: Ask) -> tuple[Store, str]:
    id = ask.form.get("id", "")
    if not id or len(id) > 1000:
        raise Refused("No failure is named. Nothing was changed.")
    return picking.store(ask, picking.where(ask)), id


def _retry(ask: Ask) -> Done:
    store, id = _failed(ask)
    if not again.put_back(store, [id]):
        raise NotThere(f"No failure of {id} is there that can be put back: somebody else did, or it can't be read.")
    return Done(f"{id} is in its queue again, with all its retries.", ask.back(link("/job", id=id)), {"id": id})


def _sure_to_discard(ask: Ask) -> Confirm:
    _, id = _failed(ask)
    return Confirm(f"Delete all failures of {id} for good? The job can't be retried from here then.", "Discard it")


def _discard(ask: Ask) -> Done:
    store, id = _failed(ask)
    gone = store.failures.remove([id])
    back = ask.back("/failures")
    return Done(f"Deleted {gone:,} of {id}.", "/failures" if back.startswith("/job?") else back, {"id": id}, gone > 0)


VIEWS = (View("job", "/job", show),)
ACTIONS = (
    Action("job.now", "/job/now", _now),
    Action("job.delete", "/job/delete", _delete, _sure_to_delete),
    Action("job.move", "/job/move", _move),
    Action("job.cancel", "/job/cancel", _cancel),
    Action("job.retry", "/job/retry", _retry),
    Action("job.discard", "/job/discard", _discard, _sure_to_discard),
)
