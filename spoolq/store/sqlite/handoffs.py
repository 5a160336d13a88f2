"""What a spool does beside: keeping what the primary did not take, and giving it to a drainer. handoff.md says why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from spoolq.job import Claim, Handoff, Message
from spoolq.store.base import WorkerInfo
from spoolq.store.sqlite import claims, workers
from spoolq.store.sqlite.rows import GIVEN, checksum
from spoolq.store.sqlite.session import Session
from spoolq.store.sqlite.statements import statements
from spoolq.store.sqlite.tokens import join, split

SQL = statements("spool")
_PAGE = 100


def recall(session: Session, id: str) -> Literal["waiting", "ran"] | None:
    """As `Spool.recall`."""
    session.execute(SQL["recall"], (id,))
    if session.one(SQL["known"], (id,)):
        return "waiting"
    return "ran" if session.one(SQL["ran"], (id, session.now)) else None


def take(session: Session, worker: WorkerInfo, limit: int, max_bytes: int, not_after: float) -> list[Handoff]:
    """As `Spool.take`. What a dead drainer held is free again first: its attempts can't be applied past the times in its rows."""
    number, fence = workers.alive(session, worker), session.fence()
    for dead, kind in session.all(workers.SQL["expired"], (session.now, worker.key)):
        claims.free(session, dead, kind, 10 * limit)
        session.execute(workers.SQL["remove"], (dead,))
    attempt = int(not_after * 1_000_000)
    taken: list[Handoff] = []
    size, seq = 0, 0
    while len(taken) < limit:
        rows = session.all(SQL["next"], (seq, min(_PAGE, limit - len(taken))))
        if not rows:
            break
        for row in rows:
            seq, id, queue, payload, crc, run_at, keep, doubt, known, created_at = row
            if checksum(id, queue, payload) != crc:
                claims.set_aside(session, seq, id, claims.BAD_CHECKSUM)
                continue
            size += len(payload)
            if taken and size > max_bytes:
                return taken
            session.execute(SQL["take"], (seq, attempt, number, fence))
            taken.append(
                Handoff(
                    Claim(join(seq, fence), worker.key, queue, payload),
                    Message(id, queue, payload, run_at / 1e6, keep == GIVEN),
                    bool(doubt),
                    max(known, attempt) / 1e6,
                    (session.now - created_at) / 1e6,
                )
            )
    return taken


def handed_over(session: Session, handoffs: Sequence[Handoff]) -> tuple[str, ...]:
    """The primary has them. Returns the tokens no longer held. No id is remembered: the primary does that."""
    return tuple(
        handoff.claim.token
        for handoff in handoffs
        if not session.execute(SQL["handed_over"], split(handoff.claim.token)).rowcount
    )


def give_back(session: Session, handoffs: Sequence[Handoff], applied: Literal["no", "maybe"]) -> tuple[str, ...]:
    """The primary has not, or perhaps. Returns the tokens no longer held."""
    lost = tuple(
        handoff.claim.token
        for handoff in handoffs
        if not session.execute(SQL["give_back"], (*split(handoff.claim.token), session.now, int(applied == "no"))).rowcount
    )
    session.woke = session.woke or len(lost) < len(handoffs)
    return lost


def quarantine(session: Session, handoff: Handoff, reason: str) -> bool:
    """Set one aside. Returns whether it was held."""
    return session.execute(SQL["quarantine"], (*split(handoff.claim.token), reason)).rowcount == 1
