"""What has come into a file and gone out of it, and samples of that: the form there of `spoolq.store.tally`."""

from __future__ import annotations

import uuid

from spoolq.store.effects import RELAY
from spoolq.store.sqlite import effects
from spoolq.store.sqlite.session import Session
from spoolq.store.sqlite.statements import statements
from spoolq.store.sqlite.views import SQL as VIEWS
from spoolq.store.tally import KEPT, SECONDS, Ledger, Sample, Span, Tally, read, sampled, write

SQL = statements("tally")
_SWEPT_AT_ONCE = 100
_SINCE = "tally-since"  # in the table of what is known of the file: name and time


def ledger(session: Session, *, rows: bool = True) -> Ledger:
    """As `Store.tally`."""
    counts: dict[str, dict[str, int]] = {}
    places: dict[str, dict[str, int]] = {}
    for name, place, n in session.all(SQL["ledger" if rows else "counts"]):
        if place:
            there = places.setdefault(name, {})
            there[place] = there.get(place, 0) + n
        else:
            _, word, queue = name.split("\n", 2)
            counts.setdefault(queue, {})[word] = n
    queues = {queue: Tally(queue, counts.get(queue, {}), **places.get(queue, {})) for queue in {*counts, *places} - {RELAY}}
    return _named(session, Ledger(queues))


def _named(session: Session, found: Ledger) -> Ledger:
    name, _, since = (session.scalar(VIEWS["about"], (_SINCE,)) or "").partition(" ")
    return found._replace(birth=name, since=float(since or 0.0))


def counts(session: Session) -> dict[str, dict[str, int]]:
    """As `Store.counts`."""
    found: dict[str, dict[str, int]] = {}
    for name, _, n in session.all(SQL["counts"]):
        _, word, queue = name.split("\n", 2)
        if queue != RELAY:
            found.setdefault(queue, {})[word] = n
    return found


def due(session: Session) -> list[Span]:
    """The spans whose sample of now isn't there."""
    return [span for span in KEPT if effects.value(session, _key(span, _number(session, span))) is None]


def sample(session: Session, found: Ledger) -> Ledger:
    """Note what was found a moment ago, as `Store.sample` does."""
    if session.one(VIEWS["about"], (_SINCE,)) is None:
        session.execute(VIEWS["set_about"], (_SINCE, f"{uuid.uuid4().hex} {session.now / 1e6:.6f}"))
    effects.sweep(session, _SWEPT_AT_ONCE)  # or a file that nobody works from would keep those whose time has passed
    for span in due(session):
        text = write(sampled(found, session.now / 1e6, span)).encode()
        until = session.now + KEPT[span] * SECONDS[span] * 1_000_000
        session.execute(effects.SQL["set_value"], (_key(span, _number(session, span)), text, until))
    return _named(session, found)


def history(session: Session, span: Span, since: float) -> list[Sample]:
    """As `Store.history`."""
    first, last = _key(span, max(0, int(since // SECONDS[span]))), _key(span, _number(session, span))
    texts = session.all(SQL["samples"], (first, last, session.now))
    return [one for (text,) in texts if (one := read(text)) is not None and one.at >= since]


def _number(session: Session, span: Span) -> int:
    return session.now // (SECONDS[span] * 1_000_000)


def _key(span: Span, number: int) -> str:
    return f"\n{span}\n{number:012d}"
