"""Who claims: one row a worker, so that a heartbeat is one update however many claims there are."""

from __future__ import annotations

import json
from collections.abc import Sequence

from spoolq.job import Claim
from spoolq.store.base import WorkerInfo, WorkerView, Working
from spoolq.store.sqlite.session import Session, micros
from spoolq.store.sqlite.statements import statements
from spoolq.store.sqlite.tokens import split

SQL = statements("workers")


def register(session: Session, worker: WorkerInfo) -> int:
    """Make it known, its lease from now. Returns its number in the file."""
    session.execute(
        SQL["register"],
        (
            session.fence(),
            worker.key,
            worker.host,
            worker.pid,
            json.dumps(worker.queues),
            worker.threads,
            micros(worker.started_at),
            micros(worker.lease),
            worker.kind,
            session.now + micros(worker.lease),
        ),
    )
    number: int = session.one(SQL["find"], (worker.key,))[0]
    return number


def alive(session: Session, worker: WorkerInfo) -> int:
    """Its lease ends later; it is registered if it was not known. Returns its number."""
    found: int | None = _only(session, SQL["extend"], (worker.key, micros(worker.lease), session.now))
    return register(session, worker) if found is None else found


def heartbeat(session: Session, worker: WorkerInfo, working: Sequence[Working] | None) -> int:
    """As `Store.heartbeat`."""
    if working is None:
        kept: int = session.scalar(SQL["held"], (alive(session, worker),))
        return kept
    shown = json.dumps([(one.slot, one.claim.token, one.since) for one in working])
    values = (worker.key, micros(worker.lease), session.now, shown)
    number = _only(session, SQL["heartbeat"], values)
    if number is None:
        register(session, worker)
        number = _only(session, SQL["heartbeat"], values)
    held: int = session.scalar(SQL["held"], (number,))
    return held


def expired(session: Session, but: WorkerInfo) -> list[tuple[int, str]]:
    """Number and kind of those whose lease is over, longest first; the one who asks is not among them."""
    session.execute(SQL["not_ahead"], (session.now,))
    return session.all(SQL["expired"], (session.now, but.key))


def unregister(session: Session, worker: WorkerInfo) -> None:
    """Its lease ends now; its row stays for as long as it holds claims, for `rescue` to find."""
    found = session.one(SQL["find"], (worker.key,))
    if found is not None:
        session.execute(SQL["expire"], (worker.key,))
        session.execute(SQL["remove"], (found[0],))


def views(session: Session) -> list[WorkerView]:
    """As `Store.workers`."""
    return [_view(session, row) for row in session.all(SQL["all"])]


def _view(session: Session, row: tuple[int, str, str, int, str, int, int, int, str, int, str]) -> WorkerView:
    number, key, host, pid, queues, threads, started_at, lease, kind, lease_ends, working = row
    shown = []
    for slot, token, since in json.loads(working):
        job = session.one(SQL["working"], split(token))
        if job is not None:
            shown.append(Working(slot, Claim(token, key, *job), since))
    return WorkerView(
        WorkerInfo(
            key,
            host,
            pid,
            tuple(json.loads(queues)),
            threads,
            started_at / 1e6,
            lease / 1e6,
            "drainer" if kind == "drainer" else "worker",
        ),
        (lease_ends - session.now) / 1e6,
        session.scalar(SQL["held"], (number,)),
        tuple(shown),
    )


def _only(session: Session, sql: str, values: tuple[object, ...]) -> int | None:
    rows = session.all(sql, values)
    return rows[0][0] if rows else None
