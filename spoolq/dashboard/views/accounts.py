"""Does it balance? What came, what went, what is there, and what is missing."""

from __future__ import annotations

from typing import NamedTuple

from spoolq.accounting import Account, Accounts, document
from spoolq.bookkeeping import balance
from spoolq.dashboard.asking import Answer, Ask, View
from spoolq.errors import SpoolqError
from spoolq.units import MANY

FRESH = 10.0
"""Seconds for which the accounts serve: what a file holds is counted row by row for them, up to `MANY`."""

QUEUES = 200
"""Shown, those into which most has come first; the document has them all."""

_ANSWERS = ("up", "refusing")


class Line(NamedTuple):
    """A row of the table."""

    queue: str
    account: Account


def show(ask: Ask) -> Answer:
    """The accounts of the stores that can be read, per queue and over all."""
    found, read = _accounts(ask)
    lines = [] if found is None else [Line(one.queue, one) for one in sorted(found.queues, key=lambda one: -one.all_came)]
    shows = {"found": found, "lines": lines[:QUEUES], "left_out": max(0, len(lines) - QUEUES), "read": read, "many": MANY}
    shown = {"total": None, "queues": []} if found is None else document(found)
    return Answer("accounts.html", "Accounts", shows, {"read": read, **shown})


def _accounts(ask: Ask) -> tuple[Accounts | None, list[str]]:
    """The accounts, None where no store can be read; and the names of those that were."""
    q, sides = ask.q, [side for side in (ask.facts.primary, ask.facts.spool) if side is not None]
    read = [side for side in sides if side.state in _ANSWERS]
    if not read:
        return None, []
    primary = q.primary if ask.facts.primary in read else None
    spool = q.spool if ask.facts.spool in read else None
    try:
        found = ask.desk.cached.get(("accounts", *(side.name for side in read)), FRESH, lambda: balance(primary, spool, MANY))
    except SpoolqError:  # it went away just now
        return None, []
    return found, [side.name for side in read]


VIEWS = (View("accounts", "/accounts", show, "Accounts"),)
ACTIONS = ()
