"""All queues, in Redis and in this host's spool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from spoolq import facts, quotas
from spoolq.dashboard import changing, picking
from spoolq.dashboard.asking import Action, Answer, Ask, Done, NotThere, View, link
from spoolq.dashboard.trends import Trend
from spoolq.store.base import EVERY_QUEUE
from spoolq.store.looking import Depth
from spoolq.units import say_age, when

SHOWN = 200
"""Queues of one page, those with the most jobs."""


@dataclass(frozen=True, slots=True)
class Line:
    """One queue. `spooled`: rows of the spool; `oldest` in seconds, of both; `paused`: since when, 0.0 not known, None not."""

    name: str
    ready: int
    scheduled: int
    claimed: int
    spooled: int
    oldest: float | None
    paused: float | None
    trend: Trend
    limit: str = ""

    @property
    def total(self) -> int:
        return self.ready + self.scheduled + self.claimed + self.spooled


def show(ask: Ask) -> Answer:
    """The queues, those with the most jobs first."""
    part = ask.query.get("name", "").strip()
    found = [line for line in lines(ask) if part.lower() in line.name.lower()]
    paused = ask.facts.primary.paused.get(EVERY_QUEUE)
    shows = {
        "lines": found[:SHOWN],
        "more": max(0, len(found) - SHOWN),
        "all_paused": paused,
        "known": picking.answers(ask),
        "part": part,
        "sqlite": ask.q.settings.sqlite_path is not None,
    }
    document = {
        "at": when(ask.facts.at),
        "paused": facts.pauses(ask.facts.primary.paused),
        "queues": [document_of(line) for line in found[:SHOWN]],
        "more": shows["more"],
    }
    return Answer("queues.html", "Queues", shows, document)


def lines(ask: Ask) -> list[Line]:
    """Every queue, those with the most jobs first; paused ones without a job too."""
    primary, spool = ask.facts.primary, ask.facts.spool
    here = {depth.queue: depth for depth in primary.depths}
    there = {depth.queue: depth for depth in spool.depths} if spool is not None else {}
    names = {*here, *there, *primary.paused, *(spool.paused if spool is not None else ())} - {EVERY_QUEUE}
    limits = quotas.words(ask.q.settings.concurrency, ask.q.settings.rate_limits)
    found = [_line(ask, name, here.get(name), there.get(name), limits.get(name, "")) for name in names]
    return sorted(found, key=lambda line: (-line.total, line.name))


def one(ask: Ask, name: str) -> Line:
    """That queue, whether there is anything in it or not."""
    return next((line for line in lines(ask) if line.name == name), None) or _line(ask, name, None, None, "")


def _line(ask: Ask, name: str, here: Depth | None, there: Depth | None, limit: str) -> Line:
    ages = [depth.oldest for depth in (here, there) if depth is not None and depth.oldest is not None]
    pauses = ask.facts.primary.paused
    if ask.facts.spool is not None and not picking.answers(ask):
        pauses = ask.facts.spool.paused
    return Line(
        name,
        here.ready if here else 0,
        here.scheduled if here else 0,
        here.claimed if here else 0,
        there.ready + there.scheduled + there.claimed if there else 0,
        max(ages, default=None),
        facts.paused_since(pauses, name),
        ask.desk.trends.of(name),
        limit,
    )


def document_of(line: Line) -> dict[str, Any]:
    """A queue for JSON."""
    return {
        "queue": line.name,
        "ready": line.ready,
        "scheduled": line.scheduled,
        "claimed": line.claimed,
        "spooled": line.spooled,
        "oldest": line.oldest,
        "paused": line.paused is not None,
        "paused_at": when(line.paused or None),
        "came_per_second": line.trend.came,
        "went_per_second": line.trend.went,
        "time_to_clear": line.trend.left,
        "limit": line.limit or None,
    }


def since(at: float | None) -> str:
    """For how long a pause has been, for a person."""
    return "" if at is None else "paused" if not at else f"paused for {say_age(at)}"


def named(ask: Ask) -> str:
    """The queue that a form or an address means. Raises NotThere for what is none."""
    name = (ask.form or ask.query).get("name", "")
    if not name or "\n" in name or len(name) > 1000:
        raise NotThere("No queue is named.")
    return name


def _back(ask: Ask, name: str) -> str:
    return link("/queue", name=name) if ask.form.get("back") == "queue" else "/queues"


def _pause(ask: Ask) -> Done:
    name = named(ask)
    done = changing.both(ask, lambda store: store.pause(name))
    return Done(f"{name} is paused {done}. Jobs are taken in as before.", _back(ask, name), {"queue": name})


def _resume(ask: Ask) -> Done:
    name = named(ask)
    done = changing.both(ask, lambda store: store.resume(name))
    return Done(f"Workers take jobs of {name} again {done}.", _back(ask, name), {"queue": name})


VIEWS = (View("queues", "/queues", show, "Queues"),)
ACTIONS = (Action("queue.pause", "/queues/pause", _pause), Action("queue.resume", "/queues/resume", _resume))
