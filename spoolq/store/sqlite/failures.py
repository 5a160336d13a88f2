"""The failure log of a file. An entry is the same bytes that Resque's list would hold."""

from __future__ import annotations

from collections.abc import Collection, Sequence
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
    """An entry, the row that takes its place in the queue, and the older entries of the job, which only go."""

    n: int
    id: str
    row: Row
    repeats: list[int]


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

    def entries(self, ids: Collection[str] | None = None) -> dict[str, int]:
        """How many entries there are of each of these ids (None: of each id that there is), the newest id first."""

        def work(session: Session) -> list[tuple[str, int]]:
            if ids is None:
                return session.all(SQL["entries"])
            found = [(id, *session.one(SQL["entries_of"], (id,))) for id in dict.fromkeys(ids)]
            return [(id, count) for id, count, newest in sorted(found, key=lambda each: -(each[2] or 0)) if count]

        return dict(self._writer.run(work, writes=False))

    def retry(self, ids: Collection[str]) -> int:
        """Put these jobs back as new launches and out of the log. Returns how many jobs."""
        done = 0
        for chunk in _chunks(ids):
            reruns = self._reruns(chunk)

            def work(session: Session, reruns: list[_Rerun] = reruns) -> int:
                return sum(_retry(session, rerun) for rerun in reruns)

            if reruns:
                done += self._writer.run(work)
        return done

    def remove(self, ids: Collection[str]) -> int:
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
        def work(session: Session) -> list[tuple[str, list[tuple[int, bytes]]]]:
            return [(id, session.all(SQL["of"], (id,))) for id in ids]

        found = [self._rerun(id, entries) for id, entries in self._writer.run(work, writes=False)]
        return [rerun for rerun in found if rerun is not None]

    def _rerun(self, id: str, entries: Sequence[tuple[int, bytes]]) -> _Rerun | None:
        """None where all of them are to stay in the log, where a person can look at them."""
        reruns, found = wire.Reruns(), None
        for n, bytes_ in entries:
            failure = wire.decode_failure(bytes_)
            if found is not None:
                if reruns.repeats(failure):
                    found.repeats.append(n)
            elif message := reruns.message(failure):
                try:
                    found = _Rerun(n, id, prepare([message], self._largest)[0], [])
                except PayloadError:
                    continue
                reruns.launched(failure)
        return found


def _retry(session: Session, rerun: _Rerun) -> bool:
    if not session.execute(SQL["take_out"], (rerun.n, rerun.id)).rowcount:  # somebody else was faster
        return False
    insert(session, [rerun.row], remembered=False)
    for n in rerun.repeats:
        session.execute(SQL["take_out"], (n, rerun.id))
    return True


def _chunks(ids: Collection[str]) -> list[Sequence[str]]:
    each = list(dict.fromkeys(ids))
    return [each[start : start + _CHUNK] for start in range(0, len(each), _CHUNK)]
