"""The failure log of a file. An entry is the same bytes that Resque's list would hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from spoolq import wire
from spoolq.errors import PayloadError
from spoolq.job import Failure
from spoolq.store.sqlite.rows import Row, insert, prepare
from spoolq.store.sqlite.session import Session, micros
from spoolq.store.sqlite.statements import statements
from spoolq.store.sqlite.writer import Writer

SQL = statements("failures")
_CHUNK = 100
_PRUNED_AT_ONCE = 1000


class _Rerun(NamedTuple):
    """An entry and the row that takes its place in the queue."""

    n: int
    id: str
    row: Row


def entry(failure: Failure) -> tuple[str, int, bytes]:
    """(id, time, bytes) as the table holds them."""
    return failure.id, micros(failure.failed_at), wire.encode_failure(failure)


class SQLiteFailures:
    """`FailureLog` in a file. `largest`: bytes that one payload may have."""

    def __init__(self, writer: Writer, largest: int) -> None:
        self._writer = writer
        self._largest = largest

    def count(self) -> int:
        """How many there are."""

        def work(session: Session) -> int:
            count: int = session.scalar(SQL["count"])
            return count

        return self._writer.run(work, writes=False)

    def page(self, start: int = 0, limit: int = 100) -> list[Failure]:
        """Up to `limit` failures, newest first, the first `start` of them left out."""
        rows = self._writer.run(lambda session: session.all(SQL["page"], (start, max(0, limit))), writes=False)
        return [wire.decode_failure(found) for (found,) in rows]

    def get(self, id: str) -> Failure | None:
        """The newest failure of this job id."""
        row = self._writer.run(lambda session: session.one(SQL["newest"], (id,)), writes=False)
        return None if row is None else wire.decode_failure(row[1])

    def retry(self, ids: Sequence[str]) -> int:
        """Put these jobs back as new launches and out of the log. Returns how many."""
        done = 0
        for chunk in _chunks(ids):
            reruns = self._reruns(chunk)

            def work(session: Session, reruns: list[_Rerun] = reruns) -> int:
                return sum(_retry(session, rerun) for rerun in reruns)

            if reruns:
                done += self._writer.run(work)
        return done

    def remove(self, ids: Sequence[str]) -> int:
        """Delete all entries of these ids. Returns how many there were."""
        done = 0
        for chunk in _chunks(ids):

            def work(session: Session, chunk: Sequence[str] = chunk) -> int:
                return sum(session.execute(SQL["remove"], (id,)).rowcount for id in chunk)

            done += self._writer.run(work)
        return done

    def prune(self, before: float) -> int:
        """Delete what failed before that time, a bounded number a transaction. Returns how many."""
        done = gone = 0

        def work(session: Session) -> int:
            return session.execute(SQL["prune"], (micros(before), _PRUNED_AT_ONCE)).rowcount

        while gone := self._writer.run(work):
            done += gone
        return done

    def _reruns(self, ids: Sequence[str]) -> list[_Rerun]:
        def work(session: Session) -> list[tuple[str, tuple[int, bytes] | None]]:
            return [(id, session.one(SQL["newest"], (id,))) for id in dict.fromkeys(ids)]

        reruns = []
        for id, found in self._writer.run(work, writes=False):
            if found is not None:
                failure = wire.decode_failure(found[1])
                try:
                    reruns.append(_Rerun(found[0], id, prepare([wire.rerun(failure.payload, failure.queue)], self._largest)[0]))
                except PayloadError:  # stays in the log, where a person can look at it
                    continue
        return reruns


def _retry(session: Session, rerun: _Rerun) -> bool:
    if not session.execute(SQL["take_out"], (rerun.n, rerun.id)).rowcount:  # somebody else was faster
        return False
    insert(session, [rerun.row], remembered=False)
    return True


def _chunks(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK)]
