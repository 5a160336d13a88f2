"""One queue: its jobs in their order, and what is done to it."""

from __future__ import annotations

from typing import Any

from spoolq import choosing, moving, purging
from spoolq.dashboard import flow, picking
from spoolq.dashboard.asking import Action, Answer, Ask, Confirm, Done, Refused, View, link
from spoolq.dashboard.views.queues import document_of, named, one
from spoolq.errors import SpoolqError
from spoolq.store.base import Store
from spoolq.units import MANY, jobs, when

HOUR = flow.STRETCHES["1h"]

TOGETHER = 20_000
"""Jobs that one order moves at most: the next one goes on."""


def show(ask: Ask) -> Answer:
    """The queue, and a page of its jobs."""
    name = named(ask)
    where, scheduled = picking.where(ask), ask.query.get("state") == "scheduled"
    line, chosen, after = one(ask, name), picking.choice(ask), ask.query.get("after", "")
    chosen = choosing.JobChoice(chosen.task, name, chosen.text)
    rows, then, why = _page(ask, where, chosen, scheduled, after)
    base = {"name": name, "in": where, "state": "scheduled" if scheduled else "", **picking.filters(chosen)}
    base.pop("queue", None)
    worked = _worked(ask, name)
    shows = {
        "line": line,
        "known": picking.answers(ask),
        "name": name,
        "where": where,
        "scheduled": scheduled,
        "has_spool": picking.has_spool(ask),
        "chosen": chosen,
        "rows": rows,
        "worked": worked,
        "since": ask.facts.at - HOUR.seconds,
        "until": ask.facts.at,
        "step": HOUR.step,
        "why": why,
        "base": base,
        "first": base if after else None,
        "more": {**base, "after": picking.written(then)} if then is not None else None,
    }
    document = {
        "at": when(ask.facts.at),
        "queue": document_of(line),
        "in": where,
        "scheduled": scheduled,
        "jobs": [row.document() for row in rows],
        "worked": [{"at": when(at), "done": done, "failed": failed} for at, done, failed in worked],
        "after": picking.written(then) or None,
        "away": why or None,
    }
    return Answer("queue.html", name, shows, document)


def _worked(ask: Ask, name: str) -> list[tuple[int, ...]]:
    """Jobs of the queue that were done and that failed for good, minute by minute, where it is among the busiest."""
    if not picking.answers(ask):
        return []
    store, at = ask.q.primary, ask.facts.at
    try:
        samples = ask.desk.cached.get(
            ("history", id(store)), 10.0, lambda: store.history(HOUR.span, at - HOUR.seconds - HOUR.step)
        )
    except SpoolqError:
        return []
    return flow.together(at, HOUR, *(flow.flow(samples, (word,), HOUR, at, name) for word in ("done", "failed")))


def _page(ask: Ask, where: picking.Where, chosen: choosing.JobChoice, scheduled: bool, after: str) -> tuple[Any, Any, str]:
    if where == "primary" and not picking.answers(ask):
        return (), None, ask.facts.primary.error or "Redis does not answer"
    found, then = picking.look(picking.store(ask, where), chosen, scheduled=scheduled, after=picking.cursor(after))
    return [picking.row(job, where, after) for job in found], then, ""


def _store(ask: Ask) -> tuple[Store, str]:
    where = picking.where(ask)
    words = "the spool" if where == "spool" else "the queue file" if ask.q.settings.sqlite_path else "Redis"
    return picking.store(ask, where), words


def _ready(store: Store, name: str) -> int:
    return next((depth.ready for depth in store.depths(MANY + 1) if depth.queue == name), 0)


def _count(ready: int) -> str:
    return f"more than {jobs(MANY, 'ready job')}" if ready > MANY else jobs(ready, "ready job")


def _sure_to_clear(ask: Ask) -> Confirm:
    name = named(ask)
    store, words = _store(ask)
    what = f"Delete {_count(_ready(store, name))} of {name} in {words}, for good? What comes in until then goes too."
    return Confirm(what, "Clear the queue", name)


def _clear(ask: Ask) -> Done:
    name = named(ask)
    store, words = _store(ask)
    gone = purging.purge(store, name)
    return Done(f"Deleted {jobs(gone)} of {name} in {words}.", link("/queue", name=name), {"queue": name, "deleted": gone})


def _to(ask: Ask, name: str) -> str:
    to = ask.form.get("to", "").strip()
    if not to or not to.isprintable() or set(to) & set("*,") or len(to) > 200:
        raise Refused("Name the queue that they are to go to, one name without * or comma. Nothing was moved.")
    if to == name:
        raise Refused(f"{name} can't be moved to itself. Nothing was moved.")
    return to


def _sure_to_move(ask: Ask) -> Confirm:
    name = named(ask)
    store, words = _store(ask)
    return Confirm(
        f"Move {_count(_ready(store, name))} of {name} in {words} to the end of {_to(ask, name)}, in their order? "
        "What comes in until then is moved too.",
        "Move them",
    )


def _move(ask: Ask) -> Done:
    name = named(ask)
    store, _ = _store(ask)
    to, there = _to(ask, name), _ready(store, name)
    moved = moving.whole_queue(store, name, to, min(there, TOGETHER))
    left = " More are left there: move again, or use `spoolq queues move`." if there > moved else ""
    return Done(
        f"Moved {jobs(moved)} from {name} to {to}.{left}", link("/queue", name=to), {"from": name, "to": to, "moved": moved}
    )


VIEWS = (View("queue", "/queue", show),)
ACTIONS = (
    Action("queue.clear", "/queue/clear", _clear, _sure_to_clear),
    Action("queue.move", "/queue/move", _move, _sure_to_move),
)
