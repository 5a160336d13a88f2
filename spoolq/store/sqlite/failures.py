"""The failure log of a file. An entry is the same bytes that Resque's list would hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from spoolq import wire
from spoolq.errors import PayloadError
from spoolq.job import Failure
from spoolq.reruns import Reruns, run_of
from spoolq.store.sqlite.limits import Limits
from spoolq.store.sqlite.rows import Row, insert, prepare
from spoolq.store.sqlite.session import Session, micros
from spoolq.store.sqlite.statements import statements
from spoolq.store.sqlite.writer import Writer

SQL = statements("failures")
_CHUNK = 100
_PRUNED_AT_ONCE = 1000
_END = (1 << 63) - 1


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

    def __init__(self, writer: Writer, limits: Limits, largest: int) -> None:
        self._writer = writer
        self._limits = limits
        self._largest = largest

    def count(self, most: int | None = None) -> int:
        """How many there are, counted up to `most` only."""

        def work(session: Session) -> int:
            count: int = session.scalar(SQL["count"]) if most is None else session.scalar(SQL["count_up_to"], (most,))
            return count

        return self._writer.run(work, writes=False)

    def page(self, start: int = 0, limit: int = 100) -> list[Failure]:
        """Up to `limit` failures, newest first, the first `start` of them left out."""
        rows = self._writer.run(lambda session: session.all(SQL["page"], (start, max(0, limit))), writes=False)
        return [wire.decode_failure(found) for (found,) in rows]

    def get(self, id: str, *, newest: int | None = None) -> Failure | None:
        """The newest failure of this job id, by the index."""
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

    def remove(self, ids: Collection[str], *, runs: Mapping[str, int] | None = None) -> int:
        """Delete all entries of these ids, or those of launches up to that one. Returns how many there were."""
        done = 0
        for chunk in _chunks(ids):

            def work(session: Session, chunk: Sequence[str] = chunk) -> int:
                return sum(session.execute(SQL["remove"], (id,)).rowcount for id in chunk)

            def those(session: Session, chunk: Sequence[str] = chunk) -> int:
                over = [
                    (n, id)
                    for id in chunk
                    for n, found in session.all(SQL["of"], (id,))
                    if run_of(wire.decode_failure(found)) <= (runs or {})[id]
                ]
                return sum(session.execute(SQL["take_out"], one).rowcount for one in over)

            done += self._writer.run(work if runs is None else those)
        return done

    def scan(self, after: Any = None, limit: int = 100) -> tuple[list[Failure], Any]:
        """A page, newest first, and what the next one begins after."""
        if after is not None and type(after) is not int:
            raise ValueError(f"{after!r:.100} is no place in this list")
        rows = self._writer.run(
            lambda session: session.all(SQL["scan"], (_END if after is None else after, max(1, limit))), writes=False
        )
        return [wire.decode_failure(found) for _, found in rows], rows[-1][0] if len(rows) >= max(1, limit) else None

    def add(self, failures: Sequence[Failure]) -> None:
        """Put these into the log, as its newest."""
        entries = [entry(failure) for failure in failures]

        def work(session: Session) -> None:
            self._limits.check(session, len(entries), sum(len(one) for _, _, one in entries))
            for one in entries:
                session.execute(SQL["add"], one)

        if entries:
            self._writer.run(work, grows=True)

    def retire(self, *, before: float = 0.0, keep: int | None = None, limit: int = 500) -> int:
        """Delete up to `limit` of the oldest: what failed before that time, and what is beyond the newest `keep`."""

        def work(session: Session) -> int:
            done = session.execute(SQL["prune"], (micros(before), limit)).rowcount if before > 0 else 0
            if keep is not None and (excess := session.scalar(SQL["count"]) - keep) > 0 and done < limit:
                done += session.execute(SQL["oldest_first"], (min(excess, limit - done),)).rowcount
            return done

        return self._writer.run(work)

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
        reruns, found = Reruns(), None
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
    insert(session, [rerun.row], remembered=False, word="retried")
    for n in rerun.repeats:
        session.execute(SQL["take_out"], (n, rerun.id))
    return True


def _chunks(ids: Collection[str]) -> list[Sequence[str]]:
    each = list(dict.fromkeys(ids))
    return [each[start : start + _CHUNK] for start in range(0, len(each), _CHUNK)]
