"""What has come into a file and gone out of it, and samples of that: the form there of `spoolq.store.tally`."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import Any

from spoolq.store.effects import RELAY
from spoolq.store.sqlite import effects
from spoolq.store.sqlite.rows import SQL as JOBS
from spoolq.store.sqlite.session import Session
from spoolq.store.sqlite.statements import statements
from spoolq.store.sqlite.views import SQL as VIEWS
from spoolq.store.tally import KEPT, SECONDS, WORDS, Ledger, Sample, Span, Tally, read, sampled, write

SQL = statements("tally")
_SWEPT_AT_ONCE = 100
_ALL = 1 << 60
_PLACES = (
    ("quarantined", SQL["quarantined_queues"]),
    ("in_doubt", VIEWS["in_doubt_queues"]),
    ("scheduled", JOBS["scheduled_queues"]),
    ("ready", JOBS["ready_queues"]),
)
"""Where a queue's rows are found, and the queues that have some: those places last that may be deep."""
_SINCE = "tally-since"  # in the table of what is known of the file: name and time


def ledger(session: Session, most: int | None = None) -> Ledger:
    """As `Store.tally`."""
    left = _ALL if most is None else most
    places: dict[str, dict[str, Any]] = {}
    cut: dict[str, str] = {}  # queues not all of whose rows were counted, with the place where that ended
    with session.at_one_moment():
        came_and_went = counts(session)
        claimed = session.all(SQL["claimed"], (left + 1,))
        many, left = (held := sum(rows for _, rows, _ in claimed)) > left, max(0, left - held)
        for queue, rows, doubtful in claimed:
            _add(places.setdefault(queue, {}), "claimed", rows, doubtful)
        for place, names in _PLACES:
            for (queue,) in session.all(names):
                rows, doubtful = session.one(SQL[f"{place}_of"], (queue, left + 1))
                if rows > left:
                    cut.setdefault(queue, place)
                left = max(0, left - rows)
                _add(places.setdefault(queue, {}), place, rows, doubtful)
    seen = {*came_and_went, *places} - {RELAY}
    if many:
        cut = dict.fromkeys(seen, "claimed") | cut
    queues = {name: Tally(name, came_and_went.get(name, {}), **places.get(name, {})) for name in seen}
    return _named(session, Ledger(queues | {name: _by_its_counts(queues[name], cut[name]) for name in seen & cut.keys()}))


def _add(places: dict[str, int], place: str, rows: int, doubtful: int) -> None:
    for name, n in ((place, rows - doubtful), ("in_doubt", doubtful)):
        places[name] = places.get(name, 0) + n


def _by_its_counts(one: Tally, place: str) -> Tally:
    """One of which not all rows in that place were counted: with as many more there as came and didn't go."""
    return one._replace(counted=False, **{place: getattr(one, place) + max(0, one.left)})


def _named(session: Session, found: Ledger) -> Ledger:
    name, _, text = (session.scalar(VIEWS["about"], (_SINCE,)) or "").partition(" ")
    since = 0.0
    with suppress(ValueError):
        since = float(text)
    return found._replace(birth=name, since=since)


def counts(session: Session) -> dict[str, dict[str, int]]:
    """As `Store.counts`. A name that a disk has changed, or a newer spoolq's, is nobody's."""
    found: dict[str, dict[str, int]] = {}
    for name, n in session.all(SQL["counts"]):
        word, between, queue = name[1:].partition("\n")
        if between and word in WORDS and queue != RELAY:
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
