"""Outages as a host sees them: one row, whoever begins it, and whoever is left to end it. Each verb within its caller's
transaction.

Times are the host's; how much of it has passed is measured on the clock that doesn't jump. Where the two disagree the clock was
set: what was noted before is then moved along, so that a row tells how long it really was.
"""

from __future__ import annotations

from typing import NamedTuple

from spoolq.store.events import CONFIRM, LAPSE, Away, Outage
from spoolq.store.sqlite.limits import count_rows, gauge, mark, marked
from spoolq.store.sqlite.noting import SQL, record
from spoolq.store.sqlite.session import Session, micros
from spoolq.units import jobs, say_age

MOST = 1000
"""Outages kept."""

_JUMP = micros(2.0)  # a smaller step is the clock being trimmed
_COUNTED = 1_000_000


class Row(NamedTuple):
    """As the table has it, but for the boot's name: `tick` in seconds on its clock, None where that was another boot's."""

    n: int
    cause: str
    started: int
    ended: int
    seen: int
    tick: float | None
    spooled: int
    peak: int
    drained: int
    duplicates: int


def joined(session: Session, seen: Away, spooled: int) -> None:
    """So many jobs more were spooled for it, in this transaction."""
    if session.away is not None and session.away != seen:  # between two outages, by callers who know of different ones
        write_joined(session)
    session.away, session.spooled = seen, session.spooled + spooled


def write_joined(session: Session) -> None:
    """Before the commit, for all that share it. What is spooled late, by who hasn't heard of the end, belongs to the outage that
    has ended."""
    seen, spooled = session.away, session.spooled
    session.away, session.spooled = None, 0
    if seen is None:
        return
    known, until = session.outage
    if _now(session) >= until or session.one_beside(SQL["join_outage"], (known, spooled)) is False:
        session.beside(lambda: _join(session, seen, spooled))  # seldom: else nothing but the number changes


def _join(session: Session, seen: Away, spooled: int) -> None:
    last = _last(session)
    if last is None or not (_late(last, seen) if last.ended else _silence(session, last) <= LAPSE):
        last = _begin(session, last, seen)
    elif not last.ended and (last.tick is None or _silence(session, last) >= CONFIRM):
        last = last._replace(seen=session.now, tick=_now(session))
    _set(session, last._replace(spooled=last.spooled + spooled))
    session.outage = last.n, _now(session) - _silence(session, last) + CONFIRM


def news(session: Session, seen: Away) -> bool:
    """Whether `away` would change anything."""
    last = _last(session)
    return last is None or bool(last.ended) or not 0 <= _silence(session, last) < CONFIRM


def away(session: Session, seen: Away) -> None:
    """As `EventLog.away`."""
    last = _last(session)
    if last is not None and last.ended and _late(last, seen):
        record(session, "breaker_opened", f"still away for a process of this host: {seen.detail or seen.cause}", cause=seen.cause)
        last = last._replace(ended=0)
    elif last is None or last.ended or _silence(session, last) > LAPSE:
        last = _begin(session, last, seen)
    _set(session, last._replace(seen=session.now, tick=_now(session)))


def lasts(session: Session, silent: float) -> bool:
    """Whether there is one that `back` would end."""
    last = _last(session)
    return last is not None and not last.ended and _silence(session, last) >= silent


def back(session: Session, silent: float) -> bool:
    """As `EventLog.back`."""
    last = _last(session)
    if last is None or last.ended or _silence(session, last) < silent:
        return False
    _end(session, last)
    return True


def undrained(session: Session) -> bool:
    """Whether one has left rows, as far as is known."""
    return session.one(SQL["undrained"]) is not None


def draining(session: Session) -> None:
    """As `EventLog.draining`."""
    if not undrained(session):
        return
    rows = sample(session)  # also of one that began before the spool was empty of the last: it has a peak of its own
    if session.scalar(SQL["about"], ("draining",)) is None:
        session.execute(SQL["set_about"], ("draining", str(session.now)))
        record(session, "drain_begun", f"{jobs(rows)} to move into Redis", rows=rows)


def drained(session: Session) -> None:
    """As `EventLog.drained`."""
    if count_rows(session, 1):
        return
    began = session.scalar(SQL["about"], ("draining",))
    upper = session.scalar(SQL["duplicates"])
    left, duplicates, ended = 0, 0, False
    for row in _undrained(session):
        own = upper + row.duplicates
        upper = -row.duplicates
        if row.ended:
            _set(session, row._replace(drained=max(session.now, row.ended), duplicates=own))
            left, duplicates, ended = left + row.spooled, duplicates + own, True
    if ended and began is not None:
        took = max(0.0, (session.now - int(began)) / 1e6)
        text = f"the spool is empty after {say_age(took)}; of {jobs(left)} of the outage Redis had {duplicates:,} already"
        record(session, "drain_ended", text, spooled=left, duplicates=duplicates, seconds=round(took, 3))
    if not undrained(session):
        session.execute(SQL["delete_about"], ("draining",))


def grown(session: Session) -> bool:
    """Whether `sample` would change anything."""
    last = _last(session)
    higher = last is not None and not last.drained and count_rows(session, _COUNTED) > last.peak
    return higher or marked(session, gauge(session)) is not None


def sample(session: Session) -> int:
    """As `EventLog.sample`. Returns how many rows there are."""
    mark(session, gauge(session))
    rows, last = count_rows(session, _COUNTED), _last(session)
    if last is not None and not last.drained and rows > last.peak:
        _set(session, last._replace(peak=rows))
    return rows


def page(session: Session, before: int, limit: int) -> list[Outage]:
    """As `EventLog.outages`."""
    twice, upper = {}, session.scalar(SQL["duplicates"])
    for row in _undrained(session):
        twice[row.n], upper = upper + row.duplicates, -row.duplicates
    return [_outage(session, _row(session, row), twice) for row in session.all(SQL["outages"], (before, limit))]


def _outage(session: Session, row: Row, twice: dict[int, int]) -> Outage:
    row = _moved(session, row)
    peak = row.peak if row.ended else max(row.peak, count_rows(session, _COUNTED))
    ended = row.ended or (row.seen if _silence(session, row) > LAPSE else 0)
    return Outage(
        row.n,
        row.started / 1e6,
        ended / 1e6 if ended else None,
        row.seen / 1e6,
        row.cause,
        row.spooled,
        peak,
        row.drained / 1e6 if row.drained else None,
        max(0, twice.get(row.n, row.duplicates)),
    )


def _begin(session: Session, last: Row | None, seen: Away) -> Row:
    if last is not None and not last.ended:  # whoever saw it is gone
        _end(session, last)
    started = session.now - micros(max(0.0, _now(session) - seen.tick))
    if last is not None:  # not in the time of the one before it
        started = max(started, min(last.ended or last.seen, session.now))
    tick = f"{session.settings.ticks()[0]} {_now(session):.6f}"
    session.execute(SQL["begin_outage"], (seen.cause, started, session.now, tick, -session.scalar(SQL["duplicates"])))
    session.execute(SQL["forget_outages"], (MOST,))
    record(session, "breaker_opened", seen.detail or seen.cause, cause=seen.cause)
    found = _last(session)
    assert found is not None  # noqa: S101  (it was just put there)
    return found


def _end(session: Session, last: Row) -> None:
    last = _moved(session, last)
    lapsed = _silence(session, last) > LAPSE
    ended = max(last.started, last.seen if lapsed else session.now)
    rows = count_rows(session, _COUNTED)
    tick = last.tick if lapsed else _now(session)
    last = last._replace(ended=ended, peak=max(last.peak, rows), tick=tick)
    if lapsed and not rows:  # when it was drained is as little known as its end
        last = last._replace(drained=ended, duplicates=last.duplicates + session.scalar(SQL["duplicates"]))
    _set(session, last)
    how = f"after {say_age((ended - last.started) / 1e6)} ({last.cause}); {jobs(last.spooled)} went to the spool"
    unseen = ". Nobody here looked any more after that" if lapsed else ""
    seconds = round((ended - last.started) / 1e6, 3)
    record(session, "breaker_closed", how + unseen, cause=last.cause, seconds=seconds, spooled=last.spooled, outage=last.n)
    drained(session)


def _late(last: Row, seen: Away) -> bool:
    """Whether who says that it is away has gone past the primary since before that outage ended."""
    return last.tick is not None and seen.tick <= last.tick


def _silence(session: Session, last: Row) -> float:
    """Seconds since somebody found the primary away."""
    return _now(session) - last.tick if last.tick is not None else max(0.0, (session.now - last.seen) / 1e6)


def _moved(session: Session, row: Row) -> Row:
    """With its times moved along with the clock, where that was set since it was last seen."""
    if row.tick is None or row.ended:
        return row
    jump = session.now - row.seen - micros(_silence(session, row))
    return row if abs(jump) < _JUMP else row._replace(started=row.started + jump, seen=row.seen + jump)


def _now(session: Session) -> float:
    return session.settings.ticks()[1]


def _last(session: Session) -> Row | None:
    row = session.one(SQL["last_outage"])
    return None if row is None else _moved(session, _row(session, row))


def _row(session: Session, row: tuple[int, str, int, int, int, str, int, int, int, int]) -> Row:
    boot, _, tick = row[5].rpartition(" ")
    return Row(*row[:5], float(tick) if boot == session.settings.ticks()[0] else None, *row[6:])


def _undrained(session: Session) -> list[Row]:
    """Those that aren't drained, newest first; one that lasts among them."""
    return [_row(session, row) for row in session.all(SQL["undrained"])]


def _set(session: Session, row: Row) -> None:
    boot = session.settings.ticks()[0]
    tick = f"{boot} {row.tick:.6f}" if row.tick is not None else " 0"
    session.execute(SQL["set_outage"], (*row[:5], tick, *row[6:]))
