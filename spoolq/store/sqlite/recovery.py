"""What can be read of a damaged file, saved into a new one. The damaged one is only read, and stays."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from spoolq.errors import ConfigError, StoreUnavailable
from spoolq.store.sqlite import aside, driver
from spoolq.store.sqlite.aside import kept
from spoolq.store.sqlite.documents import document
from spoolq.store.sqlite.lock import CommitLock
from spoolq.store.sqlite.rows import GIVEN
from spoolq.store.sqlite.settings import Settings
from spoolq.store.sqlite.statements import statements
from spoolq.store.upkeep import Added, Document, Recovered

log = logging.getLogger("spoolq.sqlite")

__all__ = ["kept", "recover", "set_aside_if_damaged", "unreadable"]

SQL = statements("upkeep")
_PAGE, _BATCH = 100, 200
_PROBED = 100_000
_LEAST, _MOST = -(1 << 62), 1 << 62


def unreadable(path: str) -> bool:
    """Whether it is damaged, looked at to its end: an operator waits for that. A file that was emptied is."""
    if not os.path.exists(path):
        return False
    if not os.path.getsize(path):
        return aside.is_marked(path)
    return aside.is_damaged(path, 5.0, limit=float("inf"))


def set_aside_if_damaged(settings: Settings) -> str | None:
    """Move the file out of the way when it can't be read through. Returns where it is then. Raises ConfigError for one that was
    never a queue."""
    path, to = settings.path, None
    if not unreadable(path):
        return None
    if not aside.is_marked(path):
        raise ConfigError(
            f"{path} can't be read, and nothing says that it has been a spool. It was left as it is. If it is one, rename it to "
            f"{path}{aside.DAMAGED}1, its -wal and -shm alike, and call this again"
        )
    lock = CommitLock(f"{path}-lock")
    try:
        with lock:
            if unreadable(path):  # not the new one that somebody else made meanwhile
                to = aside.set_aside(path, settings.clock())
                log.warning("%s is damaged: set aside whole as %s", path, to)
    except OSError as error:
        raise StoreUnavailable(f"{path} can't be set aside: {error}. It was left as it is", reason="io") from error
    finally:
        lock.abandon()
    return to


def recover(damaged: str, add: Callable[[Sequence[Document]], Added], busy: float) -> Recovered:
    """Save the rows of one damaged file by `add`, then name it as recovered. Called again after it was cut short, it saves the
    rest."""
    salvage = _Salvage(damaged, busy)
    try:
        saved = known = aside_rows = failures = 0
        for documents in _batches(salvage.documents()):
            jobs = [one for one in documents if one["kind"] == "job"]
            others = [one for one in documents if one["kind"] != "job"]
            if others:
                failures += add([one for one in others if one["kind"] == "failure"]).added
                add([one for one in others if one["kind"] == "settled"])
            if jobs:
                done = add(jobs)
                saved, known = saved + done.added, known + done.known
                aside_rows += sum(one["quarantine"] is not None for one in jobs)
    finally:
        salvage.close()
    path = aside.recovered(damaged, salvage.complete)
    return Recovered(path, saved, aside_rows, known, failures, tuple(sorted(salvage.lost)), salvage.complete)


class _Salvage:
    """Reads around what can't be read."""

    def __init__(self, path: str, busy: float) -> None:
        self.lost: set[str] = set()
        self.complete = True
        self._connection: driver.Connection | None = None
        try:
            self._connection = driver.connect(path, busy, readonly=True)
            self._connection.text_factory = _readable
            self._connection.execute("PRAGMA cell_size_check = ON")
            self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except driver.Error:
            self.complete = False

    def documents(self) -> Iterator[Document]:
        """Ids that were settled first: no job of theirs is added."""
        for id, keep, until in self._table("settled", "id", "id, keep, until"):
            yield {"kind": "settled", "id": id, "given": keep == GIVEN, "until": until / 1e6}
        for row in self._jobs():
            try:
                yield document(row)
            except (TypeError, AttributeError, ValueError):  # a column of another type: not what was ever written
                self.complete = False
        for _, id, at, entry in self._table("failures", "n", "n, id, failed_at, entry"):
            yield {"kind": "failure", "id": id, "failed_at": at / 1e6, "entry": entry}

    def _jobs(self) -> Iterator[tuple[Any, ...]]:
        low, high = _LEAST, _MOST
        whole = False
        while not whole:
            rows = self._read(SQL["salvage_up"], (low, _PAGE)) or self._read(SQL["salvage_up"], (low, 1))
            if rows is None:
                break
            whole = not rows
            yield from rows
            low = rows[-1][0] if rows else low
        if whole:
            return
        self.complete = False
        while rows := self._read(SQL["salvage_down"], (high, 1)):
            high = rows[0][0]
            if high <= low:
                return
            yield from rows
        ids = self._ids()
        for seq in sorted(ids) if ids else range(max(low + 1, 1), min(high, low + _PROBED)):
            if low < seq < high:
                rows = self._read(SQL["salvage_one"], (seq,))
                if rows:
                    yield from rows
                elif seq in ids:
                    self.lost.add(ids[seq])

    def _ids(self) -> dict[int, str]:
        """Number and id of every row, as far as the index can be read."""
        found: dict[int, str] = {}
        if self._connection is not None:
            with suppress(driver.Error):
                for seq, id in self._connection.execute(SQL["known_ids"]):
                    found[seq] = str(id)
        return found

    def _table(self, table: str, key: str, columns: str) -> Iterator[tuple[Any, ...]]:
        """The rows of a smaller table, from its beginning and, where it breaks off, from its end."""
        if self._connection is None:
            return
        seen = set()
        for order in ("ASC", "DESC"):
            try:
                for row in self._connection.execute(f"SELECT {columns} FROM {table} ORDER BY {key} {order}"):
                    if row[0] in seen:
                        return
                    seen.add(row[0])
                    yield row
            except driver.Error:
                self.complete = False
            else:
                return

    def _read(self, sql: str, values: tuple[int, ...]) -> list[tuple[Any, ...]] | None:
        """The rows, None where they can't be read."""
        if self._connection is None:
            return None
        try:
            return self._connection.execute(sql, values).fetchall()
        except driver.Error:
            return None

    def close(self) -> None:
        """Free the file."""
        if self._connection is not None:
            self._connection.close()


def _readable(raw: bytes) -> str:
    """A text in which a bit was flipped may be none any more. The row is saved all the same, and its checksum tells."""
    return raw.decode(errors="backslashreplace")


def _batches(documents: Iterator[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    size = 0
    for one in documents:
        batch.append(one)
        size += len(one.get("payload", one.get("entry", b"")))
        if len(batch) >= _BATCH or size > 1 << 20:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
