"""Jobs in a list: which are meant by an address, what is shown of each, and how one of them is found again by an action."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from spoolq import choosing, wire
from spoolq.choosing import JobChoice
from spoolq.dashboard import changing
from spoolq.dashboard.asking import Ask, NotThere
from spoolq.failed import UNREADABLE
from spoolq.places import there
from spoolq.store.base import Store
from spoolq.store.waiting import Page, WaitingJob
from spoolq.units import when
from spoolq.whereabouts import WAITING, State, decoded, state_of

PAGE = 50
_NEAR = 200  # jobs around a place among which one is looked for again,
_STEPS = 200  # and steps of a search by its id where it isn't

T = TypeVar("T")
Where = Literal["primary", "spool"]


@dataclass(frozen=True, slots=True)
class Row:
    """A job of a list. `known` is what leads back to it: the fields of a form, or the query of its page. `id` is empty where its
    payload brings none; `error` is that of its last attempt."""

    id: str
    state: State
    queue: str
    task: str
    due: float | None
    enqueued_at: float | None
    attempts: int
    error: str
    size: int
    in_doubt: bool
    known: dict[str, str]

    def document(self) -> dict[str, Any]:
        """For JSON, without arguments."""
        return {
            "id": self.id or None,
            "state": self.state,
            "queue": self.queue,
            "task": self.task,
            "due": when(self.due),
            "enqueued_at": when(self.enqueued_at),
            "attempts": self.attempts,
            "error": self.error or None,
            "bytes": self.size,
            "in_doubt": self.in_doubt,
            "known": self.known,
        }


def where(ask: Ask) -> Where:
    """Which store is meant: the one that the address or the form says (`in=spool`); where an address says none, the primary, or
    the spool while the primary doesn't answer."""
    if ask.q.settings.sqlite_path is not None:
        return "primary"
    said = (ask.form or ask.query).get("in")
    if not said and not ask.form and not answers(ask) and has_spool(ask):
        return "spool"
    return "spool" if said == "spool" else "primary"


def answers(ask: Ask) -> bool:
    """Whether the primary tells what it has."""
    return ask.facts.primary.state in ("up", "refusing")


def store(ask: Ask, name: Where) -> Store:
    """That store. Raises Refused where there is no spool."""
    return changing.spool(ask) if name == "spool" else ask.q.primary


def has_spool(ask: Ask) -> bool:
    """Whether this host has one to look at."""
    return ask.facts.spool is not None and ask.facts.spool.state == "up" and there(ask.q.settings.spool_path)


def choice(ask: Ask, *, retrying: bool | None = None) -> JobChoice:
    """The filter of the address, or of the form that was sent from it."""
    given = ask.form or ask.query
    task, queue, text = (given.get(name, "")[:1000] or None for name in ("task", "queue", "text"))  # with their blanks: names
    return JobChoice(task, queue, text, retrying)


def filters(chosen: JobChoice) -> dict[str, str]:
    """That filter as a query."""
    given = {"task": chosen.task, "queue": chosen.queue, "text": chosen.text}
    return {name: value for name, value in given.items() if value is not None}


def told(chosen: JobChoice) -> dict[str, str]:
    """That filter for the journal: by which text jobs were searched for is a part of their arguments."""
    return filters(chosen) | ({} if chosen.text is None else {"text": "…"})


def words(given: Mapping[str, str]) -> str:
    """A filter at the end of a sentence: ` (task send, queue mail)`."""
    return f" ({', '.join(f'{name} {value}' for name, value in given.items())})" if given else ""


def cursor(text: str) -> Any:
    """What a page begins after, from an address; None, the first page, for what never was one."""
    try:
        found = json.loads(text) if 0 < len(text) < 2000 else None
    except (ValueError, RecursionError):
        return None
    parts = found if isinstance(found, list) else [found]
    fits = all((isinstance(one, str) and len(one) < 500) or (type(one) is int and abs(one) < 1 << 62) for one in parts)
    return found if found is not None and fits else None


def written(after: Any) -> str:
    """A cursor for an address; empty for none."""
    return "" if after is None else json.dumps(after, separators=(",", ":"))


def look(place: Store, chosen: JobChoice, *, scheduled: bool, after: Any, limit: int = PAGE) -> Page:
    """A bounded look; an address with a cursor of another list's begins at the beginning."""
    try:
        return choosing.look(place, chosen, scheduled=scheduled, after=after, limit=limit)
    except (TypeError, ValueError, KeyError):
        return choosing.look(place, chosen, scheduled=scheduled, limit=limit)


def row(job: WaitingJob, name: Where, after: str = "") -> Row:
    """What is shown of it. `after`: of the page on which it stands."""
    known, state = decoded(job.payload, job.queue), state_of(job)
    id = known.id if known is not None and wire.has_id(job.payload) else ""
    last = known.history[-1] if known is not None and known.history else None
    back = {"in": name, "queue": job.queue, "state": state, "id": id, "ref": ref(job), "after": after}
    return Row(
        id=id,
        state=state,
        queue=job.queue,
        task=UNREADABLE if known is None else known.task,
        due=job.run_at or None,
        enqueued_at=None if known is None else known.enqueued_at,
        attempts=0 if known is None else known.ended,
        error=f"{last.exception}: {last.error}" if last else "",
        size=len(job.payload),
        in_doubt=job.in_doubt,
        known={key: value for key, value in back.items() if value},
    )


def ref(job: WaitingJob) -> str:
    """A short name of exactly this job in this place, also of one without an id."""
    return _mark(repr(job.place), 24)


def _mark(name: str, digits: int = 10) -> str:
    return hashlib.sha256(name.encode("utf-8", "backslashreplace")).hexdigest()[:digits]


def marks(names: Iterable[str]) -> str:
    """What a question counted, for the form that answers it."""
    return "".join(map(_mark, names))


def counted(ask: Ask, found: Iterable[T], name: Callable[[T], str]) -> Iterator[T]:
    """Of these, by their names, those that were counted by the question that the form answers: what fits since then was never
    asked about. All of them where there was no question."""
    these = ask.form.get("these")
    some = None if these is None else {these[at : at + 10] for at in range(0, len(these), 10)}
    return (one for one in found if some is None or _mark(name(one)) in some)


def pick(ask: Ask, *, search: bool = True) -> tuple[Store, WaitingJob]:
    """The job that the form (or the address) means, where it waits now; with `search` also where its id is found elsewhere.
    Raises NotThere: a worker has it, or it was moved on."""
    given = ask.form or ask.query
    place, queue, id = store(ask, where(ask)), given.get("queue"), given.get("id", "") if search else ""
    scheduled = given.get("state") in ("scheduled", "retrying")
    meant = JobChoice(queue=queue or None)
    wanted = given.get("ref", "")
    for after in dict.fromkeys((given.get("after", ""), "")) if wanted and (queue or scheduled) else ():
        jobs, _ = look(place, meant, scheduled=scheduled, after=cursor(after), limit=_NEAR)
        for job in jobs:
            if ref(job) == wanted:
                return place, job
    begin: Any = None
    steps = 0
    while id and steps < _STEPS and (begin is not None or not steps):
        found, begin = place.waiting_jobs.search(id, begin)
        for job in found:
            if state_of(job) in WAITING:
                return place, job
        steps += 1
    raise NotThere("That job does not wait there any more: a worker has taken it, or somebody moved it. Nothing was changed.")
