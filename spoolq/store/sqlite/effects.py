"""What else happens in the same transaction as a put or a settling verb."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spoolq.errors import GuardHeld
from spoolq.job import Message
from spoolq.store.base import MOST_SERIES
from spoolq.store.effects import NONE, RELAY, Countdown, Effects, encode
from spoolq.store.looking import Guard
from spoolq.store.sqlite.rows import Row, insert, prepare
from spoolq.store.sqlite.session import Session, micros
from spoolq.store.sqlite.statements import statements

SQL = statements("effects")
_SERIES = ("\t", "\n")  # in front of their names, and what comes behind the last of them


@dataclass(frozen=True, slots=True)
class Prepared:
    """Effects with their messages made into rows."""

    effects: Effects
    rows: Sequence[Row]
    counted: Sequence[tuple[Countdown, Row, Row]]

    @property
    def guarded(self) -> bool:
        """Whether the effects may refuse the call when a part of it has been done."""
        return bool(self.effects.acquire)


_NOTHING = Prepared(NONE, (), ())


def prepare_effects(effects: Effects, largest: int) -> Prepared:
    """Checked before the writer thread is asked. Raises PayloadError."""
    if effects is NONE:  # as most
        return _NOTHING
    then = prepare([one.then for one in effects.countdown], largest)
    relayed = prepare([_relayed(one) for one in effects.countdown], largest)
    counted = list(zip(effects.countdown, then, relayed, strict=True))
    return Prepared(effects, prepare(effects.put, largest), counted)


def _relayed(one: Countdown) -> Message:
    """A row that tells the primary. Ids of jobs are printable: its own is none of theirs."""
    return Message(f"\t{one.key}\t{one.member}", RELAY, encode(Effects(countdown=(one,))))


def apply(session: Session, prepared: Prepared, new: Sequence[bool] = (), put: Sequence[Row] = ()) -> None:
    """Of a `put` with which messages of it were `new`. Raises GuardHeld, and then the whole transaction of the caller is to be
    undone."""
    if prepared is _NOTHING:
        return
    effects, now = prepared.effects, session.now
    for key, holder, ttl in effects.acquire if not new or any(new) else ():
        other = session.scalar(SQL["other_waits" if new else "other"], (key, holder, now))
        if other is not None:
            raise GuardHeld(key, other)
        if ttl:
            session.execute(SQL["acquire"], (key, holder, now + micros(ttl)))
    if prepared.rows:
        insert(session, prepared.rows, remembered=False)
    for counted in prepared.counted:
        _count_down(session, *counted)
    for key, holder in effects.release:
        session.execute(SQL["release"], (key, holder))
    ids = {row[0] for row in put} - {row[0] for row, fresh in zip(put, new, strict=True) if fresh} if effects.values else ()
    for key, value, ttl in effects.values:
        if key.partition(":")[2] in ids:
            continue
        if ttl > 0:
            session.execute(SQL["set_value"], (key, value, now + micros(ttl)))
        else:
            session.execute(SQL["delete_value"], (key,))
    if effects.values:  # who writes some takes away more that are over: at whatever rate they come, they don't pile up
        session.execute(SQL["sweep_values"], (now, 2 * len(effects.values)))
    for name, by in effects.counters:
        session.execute(SQL["count"], (name, by))


def _count_down(session: Session, one: Countdown, then: Row, relayed: Row) -> None:
    counted, rows = (f"batch\t{one.key}\t", f"batch\t{one.key}\n"), (f"\t{one.key}\t", f"\t{one.key}\n")
    until = session.now + micros(one.ttl)
    if not session.execute(SQL["add_value"], (counted[0] + one.member, b"", until, session.now)).rowcount:
        return
    [(added,)] = session.all(SQL["count_up"], (counted[0], until))
    spool = session.settings.role == "spool"
    full = added >= one.size and session.scalar(SQL["count_values"], (*counted, session.now)) >= one.size
    # where the primary was perhaps told of one, the callback is its own to put, whatever runs again there
    if full and (not spool or session.scalar(SQL["count_untold"], rows) >= one.size - 1):
        insert(session, [then], remembered=False)
        session.execute(SQL["delete_values"], counted)
        session.execute(SQL["delete_relayed"], rows)
    elif spool:
        insert(session, [relayed], remembered=False)


def sweep(session: Session, limit: int) -> None:
    """Delete what has outlived its time."""
    session.execute(SQL["sweep_guards"], (session.now, limit))
    session.execute(SQL["sweep_values"], (session.now, limit))


def guards(session: Session) -> list[Guard]:
    """Those that are held, by key."""
    return [Guard(key, holder, left / 1e6) for key, holder, left in session.all(SQL["guards"], (session.now,))]


def counters(session: Session) -> dict[str, int]:
    """All counters."""
    return dict(session.all(SQL["counters"], _SERIES))


def add_series(session: Session, numbers: Mapping[str, int]) -> None:
    """As `Store.add_series`. They lie among the counters, behind names that no counter has."""
    room = session.scalar(SQL["count_series"], _SERIES) < MOST_SERIES
    for name, by in numbers.items():
        session.execute(SQL["add_series"], (_SERIES[0] + name, by, int(room)))


def series(session: Session) -> dict[str, int]:
    """As `Store.series`."""
    return {name.removeprefix(_SERIES[0]): n for name, n in session.all(SQL["series"], _SERIES)}


def value(session: Session, key: str) -> bytes | None:
    """A value whose time has not passed."""
    found: bytes | None = session.scalar(SQL["value"], (key, session.now))
    return found


def meta(session: Session, key: str) -> str | None:
    """A setting."""
    found: str | None = session.scalar(SQL["meta"], (key,))
    return found


def metas(session: Session, prefix: str) -> dict[str, str]:
    """The settings whose names begin with the prefix, by the rest of their names."""
    rows = session.all(SQL["meta_between"], (prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1)))
    return {key.removeprefix(prefix): value for key, value in rows}


def set_meta(session: Session, key: str, value: str | None, expected: str | bool | None) -> bool:
    """Set or delete it, when `expected` is False or what it is now."""
    if expected is not False and meta(session, key) != expected:
        return False
    if value is None:
        session.execute(SQL["delete_meta"], (key,))
    else:
        session.execute(SQL["set_meta"], (key, value))
    return True
