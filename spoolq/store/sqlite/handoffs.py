"""What a spool does beside: keeping what the primary did not take, and giving it to a drainer. docs/hand-off.md says why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from functools import partial
from typing import Literal

from spoolq.job import Handoff, Message
from spoolq.store.base import WorkerInfo
from spoolq.store.sqlite import claims, effects, order, settling, workers
from spoolq.store.sqlite.noting import noted
from spoolq.store.sqlite.rows import GIVEN, checksum, later
from spoolq.store.sqlite.rows import SQL as JOBS
from spoolq.store.sqlite.session import Session
from spoolq.store.sqlite.statements import statements
from spoolq.store.sqlite.tokens import form, split
from spoolq.store.tally import OURS

SQL = statements("spool")
_PAGE = 100
# As the classes make them, without a step of the interpreter for each: a batch has a thousand
_message, _handoff = partial(tuple.__new__, Message), partial(tuple.__new__, Handoff)


def recall(session: Session, id: str) -> Literal["waiting", "ran"] | None:
    """As `Spool.recall`, for one."""
    session.execute(SQL["recall"], (id,))
    if session.one(SQL["known"], (id,)):
        return "waiting"
    return "ran" if session.one(SQL["ran"], (id, session.now)) else None


def take(session: Session, worker: WorkerInfo, limit: int, max_bytes: int, not_after: float) -> list[Handoff]:
    """As `Spool.take`. What a dead drainer held is free again first: its attempts can't be applied past the times in its rows."""
    number, fence = workers.alive(session, worker), session.fence()
    for dead, kind in workers.expired(session, worker):
        claims.free(session, dead, kind, 10 * limit)
        session.execute(workers.SQL["remove"], (dead,))
    attempt = later(not_after)
    ordered = order.kept(session)
    taken = _next(session, worker, fence, limit, max_bytes, attempt, order.SQL["next"] if ordered else SQL["next"])
    seqs = [split(handoff.token)[0] for handoff in (taken if ordered else taken[:1] + taken[-1:])]
    if ordered:
        session.executemany(order.SQL["take"], [(seq, attempt, number, fence) for seq in seqs])
    elif taken:
        session.execute(SQL["take"], (seqs[0], seqs[-1], attempt, number, fence))
    return taken


def _next(session: Session, worker: WorkerInfo, fence: int, limit: int, max_bytes: int, attempt: int, sql: str) -> list[Handoff]:
    """The oldest rows that can be taken. Those whose checksum doesn't fit are set aside. What is made of each lives on, the row
    need not: they are read some at a time."""
    found: list[Handoff] = []
    token, key, now, until = form(fence), worker.key, session.now, attempt / 1e6
    size = seq = 0
    while len(found) < limit:
        rows = session.all(sql, (seq, min(_PAGE, limit - len(found))))
        if not rows:
            break
        for seq, id, queue, payload, crc, run_at, keep, doubt, known, created_at, watch, front in rows:
            if checksum(id, queue, payload) != crc:
                claims.set_aside(session, seq, id, claims.BAD_CHECKSUM)
                continue
            size += len(payload)
            if found and size > max_bytes:
                return found
            at, kept = run_at / 1e6 if run_at else 0.0, watch / 1e6 if watch else 0.0
            last = until if known <= attempt else known / 1e6
            message = _message((id, queue, payload, at, keep == GIVEN, kept, front != 0, None))
            found.append(_handoff((token % seq, key, message, doubt != 0, last, max(0.0, (now - created_at) / 1e6))))
    return found


def handed_over(
    session: Session, handoffs: Sequence[Handoff], also: effects.Prepared, known: Collection[str] = ()
) -> tuple[str, ...]:
    """The primary has them, and had those `known` before. Returns the tokens no longer held; when that is all, the effects don't
    happen. No id is remembered: the primary does that."""
    lost = settling.each(session, [handoff.token for handoff in handoffs], JOBS["delete"])
    counted(session, handoffs, lost, known)
    if len(lost) < len(handoffs):
        effects.apply(session, also)
    return lost


def counted(session: Session, handoffs: Sequence[Handoff], lost: Collection[str], known: Collection[str]) -> None:
    """In the tally: those that the primary took, those that it had, and those that are no longer ours."""
    left = [handoff for handoff in handoffs if handoff.token not in lost] if lost else handoffs
    words = ["duplicate" if h.token in known else "handed_over" if OURS in h.message.payload else "given_on" for h in left]
    for (word, queue), jobs in Counter(zip(words, [h.message.queue for h in left], strict=True)).items():
        session.tally(word, queue, jobs)


def give_back(session: Session, handoffs: Sequence[Handoff], applied: Literal["no", "maybe"]) -> tuple[str, ...]:
    """The primary has not, or perhaps. Returns the tokens no longer held."""
    tokens = [handoff.token for handoff in handoffs]
    lost = settling.each(session, tokens, SQL["give_back"], session.now, int(applied == "no"))
    session.woke = session.woke or len(lost) < len(handoffs)
    return lost


def quarantine(session: Session, handoff: Handoff, reason: str) -> bool:
    """Set one aside. Returns whether it was held."""
    held = session.execute(SQL["quarantine"], (*split(handoff.token), reason)).rowcount == 1
    if held:
        noted(session, "quarantined", reason, id=handoff.message.id, queue=handoff.message.queue)
    return held
