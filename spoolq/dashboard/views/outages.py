"""The outages that this host has seen: a line each, and when they were."""

from __future__ import annotations

import math
import time
from typing import NamedTuple

from spoolq.dashboard import journal
from spoolq.dashboard.asking import Answer, Ask, View
from spoolq.events import outage_document
from spoolq.store.events import Outage
from spoolq.units import say_age

PAGE = 50
SPANS = {"1d": ("24 hours", 86_400.0), "7d": ("7 days", 7 * 86_400.0), "30d": ("30 days", 30 * 86_400.0)}
_STEPS = (4 * 3600, 86_400, 5 * 86_400)  # seconds between two marks
_NARROWEST = 0.3  # percent of the band: what was short is still to be seen


class Stripe(NamedTuple):
    """A part of the band, in percent of it: `out` or `drain`, and what it says."""

    kind: str
    x: float
    width: float
    text: str


def show(ask: Ask) -> Answer:
    """The outages, newest first; `before` of the query turns the page, `span` is that of the band."""
    log, before = journal.opened(ask.q), ask.number("before", 0, 1 << 53)
    found = [] if log is None else log.outages(PAGE + 1, before=before or None)
    page, now = found[:PAGE], ask.facts.at
    span = ask.query.get("span", "7d") if ask.query.get("span") in SPANS else "7d"
    shows = {
        "outages": page,
        "now": now,
        "alone": ask.q.settings.sqlite_path is not None,
        "span": span,
        "spans": SPANS,
        "stripes": stripes(page, now - SPANS[span][1], now),
        "ticks": ticks(now - SPANS[span][1], now),
        "first": {"span": span} if before else None,
        "more": {"span": span, "before": page[-1].number} if len(found) > PAGE else None,
    }
    return Answer("outages.html", "Outages", shows, {"outages": [outage_document(one, now) for one in page]})


def stripes(outages: list[Outage], since: float, until: float) -> list[Stripe]:
    """Where they are on a band between two times."""
    drawn = []
    for one in outages:
        ended = until if one.ended_at is None else one.ended_at
        spans = [("out", one.started_at, ended, f"{one.cause}, {say_age(one.seconds(until))}, {one.spooled:,} spooled")]
        if one.ended_at is not None and (took := one.to_drain()) is not None:
            spans.append(("drain", ended, ended + took, f"drained in {say_age(took)}"))
        for kind, began, over, text in spans:
            if over < since or began > until:
                continue
            x = 100 * (max(began, since) - since) / (until - since)
            width = max(_NARROWEST, 100 * (min(over, until) - max(began, since)) / (until - since))
            drawn.append(Stripe(kind, round(min(x, 100 - width), 3), round(width, 3), text))
    return sorted(drawn, key=lambda stripe: stripe.kind != "drain")  # the outage itself lies on top


def ticks(since: float, until: float, most: int = 7) -> list[tuple[float, str]]:
    """Marks below the band: percent, and a time in UTC, whole hours or the beginnings of days."""
    span = until - since
    every = next(step for step in _STEPS if span / step <= most)
    form = "%d %b" if every >= 86_400 else "%H:%M"
    first = math.ceil(since / every) * every
    return [
        (round(100 * (at - since) / span, 2), time.strftime(form, time.gmtime(at))) for at in range(first, int(until) + 1, every)
    ]


VIEWS = (View("outages", "/outages", show, "Outages"),)
ACTIONS = ()
