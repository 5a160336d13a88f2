"""What befell this host, and what was done about it: its journal."""

from __future__ import annotations

import json

from spoolq.dashboard import journal
from spoolq.dashboard.asking import Answer, Ask, View
from spoolq.events import document
from spoolq.store.events import KINDS, Event

PAGE = 100
MARKS = {
    "breaker_opened": "bad",
    "breaker_closed": "ok",
    "watermark": "warn",
    "quarantined": "bad",
    "worker_died": "bad",
    "spool_damaged": "bad",
    "config_fault": "warn",
    "jobs_lost": "bad",
    "action": "info",
}


def show(ask: Ask) -> Answer:
    """The events, newest first; `kind` of the query leaves only those, `before` turns the page."""
    log, before, kind = journal.opened(ask.q), ask.number("before", 0, 1 << 53), ask.query.get("kind", "")
    kinds = [kind] if kind in KINDS else []
    found = [] if log is None else log.page(before or None, PAGE + 1, kinds=kinds)
    page = found[:PAGE]
    chosen = {"kind": kinds[0]} if kinds else {}
    shows = {
        "events": page,
        "detail": {one.number: _detail(one) for one in page},
        "kinds": KINDS,
        "kind": chosen.get("kind", ""),
        "marks": MARKS,
        "first": chosen if before else None,
        "more": {**chosen, "before": page[-1].number} if len(found) > PAGE else None,
    }
    return Answer("events.html", "Events", shows, {"events": [document(one) for one in page]})


def _detail(one: Event) -> str:
    return json.dumps(dict(one.detail), ensure_ascii=False, default=str, indent=1) if one.detail else ""


VIEWS = (View("events", "/events", show, "Events"),)
ACTIONS = ()
