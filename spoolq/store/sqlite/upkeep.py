"""What an operator does to a file: the SQLite form of `Upkeep`. Each step is a short transaction of the writer thread's."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from spoolq.errors import SpoolDamaged
from spoolq.store.sqlite import aside, recovery
from spoolq.store.sqlite.checking import broken, check_rows, check_state, check_structure, in_part
from spoolq.store.sqlite.documents import document, put_in
from spoolq.store.sqlite.effects import meta, set_meta
from spoolq.store.sqlite.limits import Limits, pages_used
from spoolq.store.sqlite.noting import noted
from spoolq.store.sqlite.rows import GIVEN, checksum
from spoolq.store.sqlite.session import Session
from spoolq.store.sqlite.statements import statements
from spoolq.store.sqlite.writer import Writer
from spoolq.store.upkeep import Added, Document, Finding, Kind, Level, Quarantined, Recovered
from spoolq.units import jobs

SQL, EFFECTS = statements("upkeep"), statements("effects")
_VACUUMED_AT_ONCE = 256
_FIRST: dict[Kind, Any] = {"job": 0, "quarantine": 0, "failure": -1, "settled": ""}
_PATIENT = 60.0
"""Seconds for one step: nobody waits for an operator's command but the operator."""


class SQLiteUpkeep:
    """`Upkeep` of one file."""

    def __init__(self, writer: Writer, limits: Limits) -> None:
        self._writer = writer
        self._limits = limits

    def check(
        self, *, whole: bool = False, limit: float | None = None, report: Callable[[int], None] = lambda rows: None
    ) -> list[Finding]:
        """See `Upkeep.check`."""
        until = math.inf if limit is None else time.monotonic() + limit
        table = math.inf if whole else 1.0 if limit is None else min(1.0, limit / 8)
        late: Level = "warning" if limit is None else "unknown"
        try:
            found = self._writer.run(
                lambda session: check_structure(session, table, late), math.inf if whole else _PATIENT, writes=False
            )
        except SpoolDamaged as error:  # too broken to be opened
            if not aside.is_marked(self._writer.settings.path):  # perhaps a file that was named by mistake
                raise
            return [broken(f"it can't be opened: {error}")]
        if any(finding.level == "problem" for finding in found):
            return found  # what is in such a file can't be relied on
        after, rows, bad = -(1 << 62), 0, list[str]()
        while page := self._writer.run(partial(check_rows, after=after), _PATIENT, writes=False):
            after, count, ids = page
            rows, bad = rows + count, bad + ids
            report(rows)
            if time.monotonic() > until:
                found.append(in_part(rows))
                break
        if bad:
            found.append(
                Finding(
                    "checksum",
                    "problem",
                    f"{len(bad)} of {rows} rows were changed by the disk: {', '.join(bad[:10])}",
                    "each goes to quarantine when it is its turn; the disk is not to be trusted",
                )
            )
        return found + self._writer.run(check_state, writes=False)

    def compactable(self) -> tuple[int, int]:
        """See `Upkeep.compactable`."""

        def work(session: Session) -> tuple[int, int]:
            return session.scalar("PRAGMA page_count") * session.page_size, pages_used(session)

        return self._writer.run(work, _PATIENT, writes=False)

    def compact(self) -> tuple[int, int]:
        """See `Upkeep.compact`."""

        def step(session: Session) -> int:
            before: int = session.scalar(SQL["free_pages"])
            session.all(f"PRAGMA incremental_vacuum({_VACUUMED_AT_ONCE})")
            return before - int(session.scalar(SQL["free_pages"]))

        before, _ = self.compactable()
        while self._writer.run(step, _PATIENT) > 0:
            pass
        return before, self.compactable()[0]

    # the quarantine

    def quarantined(self, after: int = 0, limit: int = 100) -> list[tuple[int, Quarantined]]:
        """See `Upkeep.quarantined`."""

        def work(session: Session) -> list[tuple[int, Quarantined]]:
            return [_quarantined(session, row) for row in session.all(SQL["quarantined"], (after, limit))]

        return self._writer.run(work, writes=False)

    def find(self, id: str) -> Quarantined | None:
        """See `Upkeep.find`."""

        def work(session: Session) -> Quarantined | None:
            row = session.one(SQL["find_quarantined"], (id,))
            return None if row is None else _quarantined(session, row)[1]

        return self._writer.run(work, writes=False)

    def release(self, ids: Sequence[str], *, damaged: bool = False) -> list[str]:
        """See `Upkeep.release`."""

        def work(session: Session) -> list[str]:
            done = []
            for id in ids:
                row = session.one(SQL["find_quarantined"], (id,))
                if row is None:
                    continue
                fits = checksum(*row[1:4])
                if fits == row[4] or damaged:
                    session.execute(SQL["release"], (id, session.now, fits))
                    done.append(id)
            session.woke = session.woke or bool(done)
            return done

        return self._writer.run(work, _PATIENT)

    def drop(self, ids: Sequence[str]) -> int:
        """See `Upkeep.drop`."""
        return self._writer.run(lambda session: sum(_gone(session, "drop", (id,), "purged") for id in ids), _PATIENT)

    # out and in

    def page(self, kind: Kind, after: Any = None, limit: int = 100) -> list[tuple[Any, Document]]:
        """See `Upkeep.page`."""
        start = _FIRST[kind] if after is None else after[0] if kind == "job" else after

        def work(session: Session) -> list[tuple[Any, Document]]:
            if kind == "settled":
                rows = session.all(SQL["page_settled"], (start, limit, session.now))
                return [(id, {"kind": kind, "id": id, "given": keep == GIVEN, "until": until / 1e6}) for id, keep, until in rows]
            rows = session.all(SQL[f"page_{kind}"], (start, limit))
            if kind == "failure":
                return [(n, {"kind": kind, "id": id, "failed_at": at / 1e6, "entry": entry}) for n, id, at, entry in rows]
            if rows and kind == "job":
                session.execute(SQL["exported"], (rows[0][0], rows[-1][0]))
                return [((row[0], row[7]), document(row)) for row in rows]
            return [(row[0], document(row)) for row in rows]

        return self._writer.run(work, _PATIENT, writes=kind == "job")

    def remove(self, kind: Kind, keys: Sequence[Any], release: Sequence[tuple[str, str]] = ()) -> list[Any]:
        """See `Upkeep.remove`."""

        def work(session: Session) -> list[Any]:
            session.executemany(EFFECTS["release"], release)
            return [key for key in keys if _gone(session, f"remove_{kind}", key if kind == "job" else (key,), "exported")]

        return self._writer.run(work, _PATIENT)

    def add(self, documents: Sequence[Document], *, mark: tuple[str, int] | None = None, elsewhere: str = "") -> Added:
        """See `Upkeep.add`."""

        def work(session: Session) -> Added:
            self._limits.check(session, len(documents), sum(len(d.get("payload", d.get("entry", b""))) for d in documents))
            added = sum(put_in(session, one, elsewhere) for one in documents)
            if mark is not None:
                set_meta(session, mark[0], str(mark[1]), False)
            session.woke = session.woke or added > 0
            return Added(added, len(documents) - added)

        return self._writer.run(work, _PATIENT, grows=True)

    def marked(self, name: str) -> int:
        """See `Upkeep.marked`."""
        return int(self._writer.run(lambda session: meta(session, name), writes=False) or 0)

    def damaged(self) -> tuple[bool, tuple[str, ...]]:
        """See `Upkeep.damaged`."""
        path = self._writer.settings.path
        return recovery.unreadable(path), tuple(recovery.kept(path))

    def recover(self) -> list[Recovered]:
        """See `Upkeep.recover`."""
        settings = self._writer.settings
        to = recovery.set_aside_if_damaged(settings)
        found = [recovery.recover(path, self.add, settings.timeout) for path in recovery.kept(settings.path)]

        def tell(session: Session) -> None:
            if to is not None:
                noted(session, "spool_damaged", f"it was set aside whole as {to}, and a new one begun", to=to)
            for one in found:
                text = f"{jobs(one.saved)} saved of {one.path}, {one.quarantined:,} of them into quarantine; "
                text += "all of it was read" if one.complete else f"not all could be read, {len(one.lost):,} ids known among it"
                noted(session, "spool_recovered", text, path=one.path, saved=one.saved, lost=len(one.lost))

        if to is not None or found:
            self._writer.run(tell, _PATIENT, grows=True, aside=True)
        return found


def _gone(session: Session, name: str, key: tuple[Any, ...], word: str) -> bool:
    """Delete one by this statement, and count it, if it is a job. Returns whether it was there."""
    row = session.one(SQL[name], key)
    if row is not None and row[0] is not None:
        session.tally(word, row[0])
    return row is not None


def _quarantined(session: Session, row: tuple[Any, ...]) -> tuple[int, Quarantined]:
    seq, id, queue, payload, crc, reason, created_at, doubt = row
    age = max(0.0, (session.now - created_at) / 1e6)
    return seq, Quarantined(id, queue, payload, reason or "set aside", age, bool(doubt), checksum(id, queue, payload) == crc)
