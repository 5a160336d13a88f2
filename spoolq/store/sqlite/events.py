"""The journal of a file: the SQLite form of `EventLog`."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeVar

from spoolq.store.events import Away, Event, Kind, Outage
from spoolq.store.sqlite import outages
from spoolq.store.sqlite.noting import SQL, decoded, record
from spoolq.store.sqlite.session import Session, micros
from spoolq.store.sqlite.writer import Writer

T = TypeVar("T")

_ALL = 1 << 62


class SQLiteEvents:
    """`EventLog` of one file."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def record(self, kind: Kind, text: str, **detail: object) -> None:
        """See `EventLog.record`."""
        self._write(lambda session: record(session, kind, text, **detail))

    def page(
        self, before: int | None = None, limit: int = 100, *, kinds: Collection[str] = (), since: float = 0.0
    ) -> list[Event]:
        """See `EventLog.page`."""
        values = (_ALL if before is None else before, micros(since), _names(kinds), limit)
        return self._read(lambda session: [_event(row) for row in session.all(SQL["page"], values)])

    def after(self, number: int, limit: int = 100, *, kinds: Collection[str] = ()) -> list[Event]:
        """See `EventLog.after`."""
        values = (number, _names(kinds), limit)
        return self._read(lambda session: [_event(row) for row in session.all(SQL["after"], values)])

    def outages(self, limit: int = 100, *, before: int | None = None) -> list[Outage]:
        """See `EventLog.outages`."""
        return self._read(lambda session: outages.page(session, _ALL if before is None else before, limit))

    def outage(self) -> Outage | None:
        """See `EventLog.outage`."""
        return next((one for one in self.outages(1) if one.ended_at is None), None)

    def away(self, seen: Away) -> None:
        """See `EventLog.away`. Looked first, without the lock: mostly somebody else has just said so."""
        if self._read(lambda session: outages.news(session, seen)):
            self._write(lambda session: outages.away(session, seen))

    def back(self, *, silent: float = 0.0) -> bool:
        """See `EventLog.back`."""
        if self._read(lambda session: outages.lasts(session, silent)):
            return self._write(lambda session: outages.back(session, silent))
        return False

    def draining(self) -> None:
        """See `EventLog.draining`."""
        if self._read(outages.undrained):
            self._write(lambda session: outages.draining(session))

    def drained(self) -> None:
        """See `EventLog.drained`."""
        if self._read(outages.undrained):
            self._write(lambda session: outages.drained(session))

    def sample(self) -> None:
        """See `EventLog.sample`."""
        if self._read(outages.grown):
            self._write(outages.sample)

    def prune(self, *, keep: int, before: float) -> int:
        """See `EventLog.prune`."""

        def work(session: Session) -> int:
            gone = session.execute(SQL["beyond"], (max(1, keep),)).rowcount
            return gone + session.execute(SQL["outlived"], (micros(before), _ALL)).rowcount

        return self._write(work)

    def _read(self, work: Callable[[Session], T]) -> T:
        return self._writer.run(work, writes=False)

    def _write(self, work: Callable[[Session], T]) -> T:
        """As what grows: the reserve is not for it."""
        return self._writer.run(work, grows=True, aside=True)


def _names(kinds: Collection[str]) -> str:
    """As the statements look for them: each between spaces."""
    return f" {' '.join(kinds)} " if kinds else ""


def _event(row: tuple[int, int, str, str, str, int]) -> Event:
    number, at, kind, text, detail, pid = row
    return Event(number, at / 1e6, kind, text, decoded(detail), pid)
