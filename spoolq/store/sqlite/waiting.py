"""The jobs that wait in a file: the SQLite form of `WaitingJobs`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import merge
from itertools import islice
from typing import Any

from spoolq.job import RERUN
from spoolq.store.base import MAX_BYTES
from spoolq.store.effects import NONE, Effects
from spoolq.store.sqlite import effects as also
from spoolq.store.sqlite.rows import SQL as JOBS
from spoolq.store.sqlite.rows import checksum
from spoolq.store.sqlite.session import Session, micros
from spoolq.store.sqlite.statements import statements
from spoolq.store.sqlite.writer import Writer
from spoolq.store.tally import ending
from spoolq.store.waiting import Holder, Move, Page, WaitingJob, placed

SQL = statements("waiting")

_LOWEST = -(1 << 62)


class SQLiteWaitingJobs:
    """`WaitingJobs` of one file."""

    def __init__(self, writer: Writer, largest: int) -> None:
        self._writer, self._largest = writer, largest

    def find(self, id: str) -> list[WaitingJob]:
        """See `WaitingJobs.find`."""
        return self._writer.run(lambda session: [_job(row) for row in session.all(SQL["find"], _named(id))], writes=False)

    def search(self, id: str, after: Any = None) -> Page:
        """See `WaitingJobs.search`: by the index, at once."""
        return self.find(id), None

    def page(self, queue: str | None = None, *, scheduled: bool = False, after: Any = None, limit: int = 100) -> Page:
        """See `WaitingJobs.page`."""
        most = max(1, limit)
        lowest = (_LOWEST, 0, _LOWEST) if scheduled else (_LOWEST, _LOWEST)
        begin = lowest if after is None else placed(after, *(int for _ in lowest))

        def work(session: Session) -> Page:
            if scheduled:
                names = [queue] if queue is not None else [name for (name,) in session.all(JOBS["scheduled_queues"])]
                found = merge(*(session.all(SQL["scheduled"], (name, *begin, most)) for name in names))
            else:
                found = merge(session.all(SQL["ready"], (queue, *begin, most)))
            return _page(session, islice(found, most))

        return self._writer.run(work, writes=False)

    def claimed(self, after: Any = None, limit: int = 100) -> Page:
        """See `WaitingJobs.claimed`."""

        def work(session: Session) -> Page:
            jobs: list[WaitingJob] = []
            size = 0
            for row in session.all(SQL["claimed_places"], (after or 0, max(1, limit))):
                found = session.one(SQL["claimed"], row)
                if found is None:
                    continue
                size += len(found[3])
                if jobs and size > MAX_BYTES:
                    break
                jobs.append(_job(found))
            return jobs, jobs[-1].place[0] if jobs else None

        return self._writer.run(work, writes=False)

    def remove(self, job: WaitingJob, effects: Effects = NONE) -> bool:
        """See `WaitingJobs.remove`."""
        more = also.prepare_effects(effects, self._largest)

        def work(session: Session) -> bool:
            settings = session.settings
            until = session.now + micros(settings.remember)
            session.execute(SQL["remember"], (*job.place, until, int(settings.role == "spool")))
            found = session.one(SQL["remove"], job.place)
            if found is None:
                return False
            queue, state = found
            if state != "k":  # a kept one is in the primary, and is counted there
                session.tally(ending(effects.counters, "purged"), queue)
            session.woke = session.woke or settings.role == "spool"  # where order is kept, the next of the queue may go
            also.apply(session, more)
            return True

        return self._writer.run(work, guarded=more.guarded)

    def move(self, moves: Sequence[Move]) -> list[bool]:
        """See `WaitingJobs.move`."""
        crcs = [checksum(move.job.place[1], move.queue, move.payload) for move in moves]

        def work(session: Session) -> list[bool]:
            last = session.scalar(SQL["last"])
            moved = []
            for move, crc in zip(moves, crcs, strict=True):
                last += 1
                values = (*move.job.place, last, move.queue, move.payload, crc, micros(move.run_at), session.now, move.front)
                moved.append(session.execute(SQL["move"], values).rowcount == 1)
                if moved[-1] and move.queue != move.job.queue:
                    session.tally("moved", move.job.queue)
                    session.tally("moved_in", move.queue)
            session.woke = session.woke or True in moved
            return moved

        return self._writer.run(work) if moves else []

    def held(self, id: str) -> list[WaitingJob]:
        """See `WaitingJobs.held`."""
        return self._writer.run(lambda session: [_job(row) for row in session.all(SQL["held"], _named(id))], writes=False)

    def refuse(self, id: str, effects: Effects = NONE) -> bool:
        """See `WaitingJobs.refuse`."""
        more = also.prepare_effects(effects, self._largest)

        def work(session: Session) -> bool:
            until = session.now + micros(session.settings.remember)
            if session.execute(SQL["refuse"], (id, until, session.now)).rowcount != 1:
                return False
            also.apply(session, more)
            return True

        return self._writer.run(work, guarded=more.guarded)


def _named(id: str) -> tuple[str, str, str]:
    return id, id + RERUN, id + chr(ord(RERUN) + 1)


def _page(session: Session, places: Iterable[tuple[int, ...]]) -> Page:
    """The rows at these places, as many as one answer should hold: their payloads are read one by one."""
    jobs: list[WaitingJob] = []
    size, last = 0, None
    for place in places:
        row = session.one(SQL["row"], place[-1:])
        size += len(row[3]) if row else 0
        if jobs and size > MAX_BYTES:
            break
        last = place
        if row is not None:  # else another process was faster
            jobs.append(_job(row))
    return jobs, last


def _job(row: Any) -> WaitingJob:
    seq, id, queue, payload, run_at, state, doubt, *held = row
    kind, worker = held or (None, None)
    holder: Holder = kind or ""
    return WaitingJob(
        queue,
        payload,
        run_at / 1e6 if state == "s" else 0.0,
        (seq, id, doubt),
        holder,
        in_doubt=bool(doubt) or state == "k",
        aside=state == "q",
        kept=state == "k",
        worker=worker or "",
    )
