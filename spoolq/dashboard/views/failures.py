"""Failed jobs: grouped by error and task, one by one, and put back or discarded by filter."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from spoolq.dashboard import picking
from spoolq.dashboard.asking import Action, Answer, Ask, Confirm, Done, Refused, View, link
from spoolq.failurelog import again, groups
from spoolq.failurelog.choice import Choice, moment, task_of
from spoolq.failurelog.groups import Group
from spoolq.failurelog.moving import walk
from spoolq.failurelog.target import target
from spoolq.job import Failure
from spoolq.store.base import Store
from spoolq.units import jobs, when

NEWEST = 2000
"""Failures that a page groups, the newest."""
LOOK = 500
"""Failures that one page of the list goes through."""
MOST = 10_000
"""Failures, the newest, among which an order on a filter finds its own."""
_FRESH = 5.0  # seconds for which a grouping is shown again

_lock = threading.Lock()
_kept: OrderedDict[tuple[int, str, Choice], tuple[float, list[Group], int]] = OrderedDict()


class Line(NamedTuple):
    """One failure of the list."""

    id: str
    task: str
    queue: str
    exception: str
    error: str
    failed_at: float | None
    attempts: int

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {**self._asdict(), "failed_at": when(self.failed_at)}


def show(ask: Ask) -> Answer:
    """The groups, and a page of those that fit the filter."""
    where, chosen, after = picking.where(ask), choice(ask), ask.query.get("after", "")
    found, looked, lines, then, why, count = list[Group](), 0, list[Line](), None, "", None
    side = ask.facts.spool if where == "spool" else ask.facts.primary
    if where == "primary" and not picking.answers(ask):
        why = ask.facts.primary.error or "Redis does not answer"
    else:
        place = picking.store(ask, where)
        count = None if side is None else side.failures
        found, looked = _grouped(ask, place, where, chosen)
        lines, then = _page(place, chosen, picking.cursor(after))
    base = {**({"in": "spool"} if where == "spool" else {}), **filters(ask)}
    shows = {
        "groups": found,
        "looked": looked,
        "count": count,
        "lines": lines,
        "why": why,
        "where": where,
        "has_spool": picking.has_spool(ask),
        "base": base,
        "filter": filters(ask),
        "given": {name: ask.query.get(name, "") for name in _NAMES},
        "first": base if after else None,
        "more": {**base, "after": picking.written(then)} if then is not None else None,
        "places": [{"place": one, "today": _today(one)} for one in ask.q.settings.failure_log],
    }
    document = {
        "at": when(ask.facts.at),
        "in": where,
        "count": count,
        "looked_at": looked,
        "groups": [group.document() for group in found],
        "failures": [line.document() for line in lines],
        "after": picking.written(then) or None,
        "away": why or None,
    }
    return Answer("failures.html", "Failures", shows, document)


_NAMES = ("class", "task", "queue", "error", "since", "before")


def choice(ask: Ask) -> Choice:
    """The filter of the address, or of the form that was sent from it. `class` is one class of error, whole. Raises Refused
    for what is no time: without it more would be meant than was said."""
    given = filters(ask)

    def at(name: str) -> float | None:
        try:
            return moment(given[name], time.time()) if name in given else None
        except ValueError:
            raise Refused(f"{given[name]!r} is no time: 2h, 7d or 2031-01-31 is one. Nothing was changed.") from None

    return Choice(given.get("task"), given.get("queue"), given.get("error"), at("since"), at("before"), given.get("class"))


def filters(ask: Ask) -> dict[str, str]:
    """The filter as a query."""
    given = ask.form or ask.query
    return {name: value for name in _NAMES if (value := given.get(name, "")[:1000])}  # with their blanks: they are names


def _grouped(ask: Ask, place: Store, where: str, chosen: Choice) -> tuple[list[Group], int]:
    """The groups among the newest, and how many of those were looked at; for some seconds the same ones."""
    key = (id(ask.desk), where, chosen)
    with _lock:
        at, found, looked = _kept.get(key, (float("-inf"), [], 0))
    if time.monotonic() - at < _FRESH and not ask.query.get("note"):
        return found, looked
    newest = list(groups.newest(place.failures, NEWEST))
    found, looked = groups.groups(failure for failure in newest if chosen.fits(failure)), len(newest)
    with _lock:
        _kept[key] = time.monotonic(), found, looked
        while len(_kept) > 20:
            _kept.popitem(last=False)
    return found, looked


def _page(place: Store, chosen: Choice, after: Any) -> tuple[list[Line], Any]:
    lines: list[Line] = []
    looked = 0
    while looked < LOOK and len(lines) < picking.PAGE:
        ask = min(picking.PAGE - len(lines), LOOK - looked)
        try:
            page, after = place.failures.scan(after, ask)
        except (TypeError, ValueError):  # another list's cursor
            page, after = place.failures.scan(None, ask)
        lines += [_line(failure) for failure in page if chosen.fits(failure)]
        looked += max(1, len(page))
        if after is None:
            break
    return lines, after


def _line(failure: Failure) -> Line:
    at = failure.failed_at if failure.failed_at > 0 else None
    return Line(failure.id, task_of(failure), failure.queue, failure.exception, failure.error, at, failure.attempts)


def _today(place: str) -> str:
    """What is written there today."""
    found = target(place)
    day = time.strftime("%Y%m%d", time.gmtime())
    return f"failures-{day}-….jsonl" if found.kind == "files" else ""


# by filter


def _meant(ask: Ask) -> tuple[Store, list[str]]:
    """The ids of those that fit, newest first, among the newest MOST, and that were counted where that was asked first."""
    place, chosen = picking.store(ask, picking.where(ask)), choice(ask)
    fitting: Iterator[Failure] = (failure for failure in islice(walk(place.failures), MOST) if chosen.fits(failure))
    return place, list(dict.fromkeys(picking.counted(ask, (failure.id for failure in fitting), str)))


def _words(ask: Ask) -> str:
    return picking.words(filters(ask))


def _back(ask: Ask) -> str:
    return link("/failures", **({"in": "spool"} if picking.where(ask) == "spool" else {}), **filters(ask))


def _sure_to_retry(ask: Ask) -> Confirm:
    _, ids = _meant(ask)
    return Confirm(
        f"Put {jobs(len(ids), 'failed job')}{_words(ask)} back into their queues, with all their retries?",
        "Retry them",
        these=picking.marks(ids),
    )


def _retry(ask: Ask) -> Done:
    place, ids = _meant(ask)
    done = again.put_back(place, ids)
    left = f" {len(ids) - done:,} stay: unreadable, or put back by somebody else." if done < len(ids) else ""
    return Done(f"Put back {jobs(done)}.{left}{_words(ask)}", _back(ask), {"jobs": done, "filter": filters(ask)}, done > 0)


def _sure_to_discard(ask: Ask) -> Confirm:
    _, ids = _meant(ask)
    what = f"Delete the failures of {jobs(len(ids))}{_words(ask)} for good? They can't be retried from here then."
    return Confirm(what, "Discard them", "discard", picking.marks(ids))


def _discard(ask: Ask) -> Done:
    place, ids = _meant(ask)
    gone = place.failures.remove(ids)
    return Done(
        f"Deleted {jobs(gone, 'failure')}.{_words(ask)}", _back(ask), {"failures": gone, "filter": filters(ask)}, gone > 0
    )


VIEWS = (View("failures", "/failures", show, "Failures"),)
ACTIONS = (
    Action("failures.retry", "/failures/retry", _retry, _sure_to_retry),
    Action("failures.discard", "/failures/discard", _discard, _sure_to_discard),
)
