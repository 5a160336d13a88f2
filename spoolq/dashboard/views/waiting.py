"""What waits for its time: jobs to be tried again, and jobs launched for later."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice

from spoolq import choosing, moving
from spoolq.cancelling import Canceller
from spoolq.choosing import JobChoice
from spoolq.dashboard import picking
from spoolq.dashboard.asking import Action, Answer, Ask, Confirm, Done, View, link
from spoolq.store.waiting import WaitingJob
from spoolq.units import jobs, when

MOST = 2000
"""Jobs that one order on a filter changes; the next one goes on."""
LOOKED = 20_000
"""Jobs, those that are due next, among which an order on a filter finds its own."""


def show(ask: Ask, *, retrying: bool) -> Answer:
    """A page of them, the next one first."""
    path = "/retries" if retrying else "/scheduled"
    where, chosen = picking.where(ask), picking.choice(ask, retrying=retrying)
    after = ask.query.get("after", "")
    rows, then, why = [], None, ""
    if where == "primary" and not picking.answers(ask):
        why = ask.facts.primary.error or "Redis does not answer"
    else:
        place = picking.store(ask, where)
        found, then = picking.look(place, chosen, scheduled=True, after=picking.cursor(after))
        rows = [picking.row(job, where, after) for job in found]
    base = {**_in(ask), **picking.filters(chosen)}
    shows = {
        "rows": rows,
        "why": why,
        "path": path,
        "retrying": retrying,
        "chosen": chosen,
        "where": where,
        "has_spool": picking.has_spool(ask),
        "base": base,
        "first": base if after else None,
        "more": {**base, "after": picking.written(then)} if then is not None else None,
        "now": time.time(),
    }
    document = {
        "at": when(ask.facts.at),
        "in": where,
        "jobs": [row.document() for row in rows],
        "after": picking.written(then) or None,
        "away": why or None,
    }
    return Answer("waiting.html", "Retries" if retrying else "Scheduled", shows, document)


def _meant(ask: Ask, retrying: bool) -> tuple[JobChoice, Iterator[WaitingJob]]:
    chosen = picking.choice(ask, retrying=retrying)
    found = choosing.every(picking.store(ask, picking.where(ask)), chosen, ready=False, most=LOOKED)
    return chosen, picking.counted(ask, found, picking.ref)


def _path(retrying: bool, ask: Ask) -> str:
    chosen = picking.choice(ask)
    return link("/retries" if retrying else "/scheduled", **picking.filters(chosen), **_in(ask))


def _in(ask: Ask) -> dict[str, str]:
    """The store in an address, where it isn't the one that is meant without."""
    return {"in": "spool"} if picking.where(ask) == "spool" else {"in": "primary"} if not picking.answers(ask) else {}


def _sure(ask: Ask, *, retrying: bool, what: str, button: str) -> Confirm:
    """The count is that among the next LOOKED."""
    chosen, found = _meant(ask, retrying)
    some = list(map(picking.ref, islice(found, MOST + 1)))
    number = f"the next {jobs(MOST)}" if len(some) > MOST else jobs(len(some))
    which = "that wait to be tried again" if retrying else "that wait for their time"
    among = f" Of those that wait for their time, the next {LOOKED:,} are looked at." if _waiting(ask) > LOOKED else ""
    question = f"{what} {number} {which}{picking.words(picking.filters(chosen))}?{among}"
    return Confirm(question, button, these=picking.marks(some[:MOST]))


def _waiting(ask: Ask) -> int:
    side = ask.facts.spool if picking.where(ask) == "spool" else ask.facts.primary
    return 0 if side is None else side.total("scheduled")


def _each(ask: Ask, retrying: bool, change: Callable[[WaitingJob], bool], word: str) -> Done:
    """Looked through before any is changed: places move up."""
    chosen, found = _meant(ask, retrying)
    some = list(islice(found, MOST))
    done, told = sum(map(change, some)), picking.told(chosen)
    left = " There may be more." if len(some) == MOST else ""
    return Done(
        f"{word} {jobs(done)}.{left}{picking.words(told)}",
        _path(retrying, ask),
        {"jobs": done, "filter": told},
        done > 0,
    )


def _now(ask: Ask, *, retrying: bool) -> Done:
    place = picking.store(ask, picking.where(ask))
    return _each(ask, retrying, lambda job: moving.to_front(place, job, time.time()), "To be run next:")


def _delete(ask: Ask, *, retrying: bool) -> Done:
    place = picking.store(ask, picking.where(ask))
    canceller = Canceller(ask.q.primary, ask.q.spool_there())
    return _each(ask, retrying, lambda job: canceller.take_back(place, job), "Deleted")


def _actions(name: str, *, retrying: bool) -> tuple[Action, ...]:
    run, gone = partial(_sure, retrying=retrying, what="Run"), partial(_sure, retrying=retrying, what="Delete")
    return (
        Action(f"{name}.now", f"/{name}/now", partial(_now, retrying=retrying), partial(run, button="Run them now")),
        Action(f"{name}.delete", f"/{name}/delete", partial(_delete, retrying=retrying), partial(gone, button="Delete them")),
    )


VIEWS = (
    View("retries", "/retries", partial(show, retrying=True), "Retries"),
    View("scheduled", "/scheduled", partial(show, retrying=False), "Scheduled"),
)
ACTIONS = (*_actions("retries", retrying=True), *_actions("scheduled", retrying=False))
