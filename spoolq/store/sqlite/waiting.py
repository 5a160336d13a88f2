"""The jobs that wait in a file: the SQLite form of `WaitingJobs`."""

from __future__ import annotations

from typing import Any

from spoolq.job import RERUN
from spoolq.store.effects import NONE, Effects
from spoolq.store.sqlite import effects as also
from spoolq.store.sqlite.session import Session, micros
from spoolq.store.sqlite.statements import statements
from spoolq.store.sqlite.writer import Writer
from spoolq.store.waiting import Page, WaitingJob

SQL = statements("waiting")

_LOWEST = -(1 << 62)


class SQLiteWaitingJobs:
    """`WaitingJobs` of one file."""

    def __init__(self, writer: Writer, largest: int) -> None:
        self._writer, self._largest = writer, largest

    def find(self, id: str) -> list[WaitingJob]:
        """See `WaitingJobs.find`."""
        rows = self._writer.run(lambda session: session.all(SQL["find"], _named(id)), writes=False)
        return [_job(row[:-1], row[-1] or "") for row in rows]

    def page(self, queue: str | None = None, *, scheduled: bool = False, after: Any = None, limit: int = 100) -> Page:
        """See `WaitingJobs.page`."""
        name = "scheduled" if scheduled else "ready"
        first, seq = after or (_LOWEST, _LOWEST)
        rows = self._writer.run(lambda session: session.all(SQL[name], (queue, first, seq, max(1, limit))), writes=False)
        if not rows:
            return [], None
        last = rows[-1]
        return [_job(row[:-1], "") for row in rows], (last[4] if scheduled else last[7], last[0])

    def remove(self, job: WaitingJob, effects: Effects = NONE) -> bool:
        """See `WaitingJobs.remove`."""
        more = also.prepare_effects(effects, self._largest)

        def work(session: Session) -> bool:
            settings = session.settings
            until = session.now + micros(settings.remember)
            session.execute(SQL["remember"], (*job.place, until, int(settings.role == "spool")))
            if not session.execute(SQL["remove"], job.place).rowcount:
                return False
            session.woke = session.woke or settings.role == "spool"  # where order is kept, the next of the queue may go
            also.apply(session, more)
            return True

        return self._writer.run(work, guarded=more.guarded)

    def held(self, id: str) -> bool:
        """See `WaitingJobs.held`."""
        return self._writer.run(lambda session: session.one(SQL["held"], _named(id)), writes=False) is not None

    def refuse(self, id: str) -> bool:
        """See `WaitingJobs.refuse`."""

        def work(session: Session) -> bool:
            until = session.now + micros(session.settings.remember)
            return session.execute(SQL["refuse"], (id, until, session.now)).rowcount == 1

        return self._writer.run(work)


def _named(id: str) -> tuple[str, str, str]:
    return id, id + RERUN, id + chr(ord(RERUN) + 1)


def _job(row: Any, holder: Any) -> WaitingJob:
    seq, id, queue, payload, run_at, state, doubt = row
    return WaitingJob(
        queue,
        payload,
        run_at / 1e6 if state == "s" else 0.0,
        (seq, id, doubt),
        holder,
        in_doubt=bool(doubt) or state == "k",
        aside=state == "q",
    )
