"""Taking jobs, each verb within the transaction of its caller."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

from spoolq.errors import StaleCall
from spoolq.job import Claim
from spoolq.store.base import EVERY_QUEUE, Claimed, WorkerInfo
from spoolq.store.quota import Quota
from spoolq.store.sqlite import allowances, effects, order, pauses, settling, workers
from spoolq.store.sqlite.noting import noted
from spoolq.store.sqlite.rows import SQL, checksum
from spoolq.store.sqlite.session import Session, micros
from spoolq.store.sqlite.tokens import form, join

log = logging.getLogger("spoolq.sqlite")

_PROMOTED_AT_ONCE = 500
_SWEPT_AT_ONCE = 500
BAD_CHECKSUM = "its checksum does not fit: the disk or the file system changed it"


def claim(
    session: Session,
    worker: WorkerInfo,
    call: int,
    queues: Sequence[str],
    limit: int,
    ack: Sequence[Claim],
    also: effects.Prepared,
    quotas: Sequence[Quota] = (),
) -> Claimed:
    """As `Store.claim`, for a call that came in time."""
    found = session.one(workers.SQL["find"], (worker.key,))
    number, last, fence, lost = found or (workers.register(session, worker), -1, 0, "[]")
    if call < last:
        raise StaleCall(f"worker {worker.key} called with number {call} after {last}: nothing was claimed or settled")
    held_back = pauses.among(session, queues) if limit > 0 else ()
    if call == last:
        return Claimed(_claimed_by(session, worker, number, fence, queues), tuple(json.loads(lost)), paused=held_back)
    missed = settling.ack(session, ack, also)
    fence = session.fence()
    claims: list[Claim] = []
    bounds, limited = {quota.queue: quota for quota in quotas}, list[tuple[str, float]]()
    for queue in () if EVERY_QUEUE in held_back else dict.fromkeys(queues):
        if len(claims) >= limit:
            break
        if queue in held_back:
            continue
        promote_queue(session, queue, _PROMOTED_AT_ONCE)
        most, before = limit - len(claims), len(claims)
        bound = bounds.get(queue) and allowances.Bound(session, bounds[queue], most)
        claims += _take(session, worker, number, fence, queue, bound.most if bound else most)
        if bound and (wait := bound.took(len(claims) - before)) is not None:
            limited.append((queue, wait))
    session.execute(workers.SQL["called"], (number, session.now + micros(worker.lease), call, fence, json.dumps(missed)))
    return Claimed(tuple(claims), missed, paused=held_back, limited=tuple(limited))


def _take(session: Session, worker: WorkerInfo, number: int, fence: int, queue: str, limit: int) -> list[Claim]:
    claims: list[Claim] = []
    token, key = form(fence), worker.key
    ordered = session.settings.role == "spool" and order.kept(session)
    while len(claims) < (min(limit, 1) if ordered else limit):
        if ordered:
            rows = order.claim_head(session, queue, number, fence)
        else:
            rows = session.all(SQL["claim"], (queue, limit - len(claims), number, fence))
        if not rows:
            break
        rows.sort()  # RETURNING promises no order
        for _, seq, id, payload, crc in rows:
            if checksum(id, queue, payload) == crc:
                claims.append(Claim(token % seq, key, queue, payload))
            else:
                set_aside(session, seq, id, BAD_CHECKSUM)
    return claims


def _claimed_by(session: Session, worker: WorkerInfo, number: int, fence: int, queues: Sequence[str]) -> tuple[Claim, ...]:
    rows = session.all(SQL["claimed_by_call"], (number, fence))
    order = {queue: index for index, queue in enumerate(dict.fromkeys(queues))}
    rows.sort(key=lambda row: order.get(row[1], len(order)))
    return tuple(Claim(join(seq, fence), worker.key, queue, payload) for seq, queue, payload in rows)


def set_aside(session: Session, seq: int, id: str, reason: str) -> None:
    """Into quarantine, loudly."""
    session.execute(SQL["set_aside"], (seq, reason))
    noted(session, "quarantined", reason, id=id)
    log.error("job %s in %s was set aside in quarantine: %s", id, session.settings.path, reason)


def reconcile(session: Session, worker: WorkerInfo, call: int) -> tuple[Claim, ...]:
    """As `Store.reconcile`."""
    number = workers.alive(session, worker)
    last = session.one(workers.SQL["find"], (worker.key,))[1]
    if call < last:
        raise StaleCall(f"worker {worker.key} reconciles with number {call} after {last}: nothing was changed")
    if call > last:
        session.execute(workers.SQL["called"], (number, session.now + micros(worker.lease), call, session.fence(), "[]"))
    rows = session.all(SQL["claimed_by_worker"], (number,))
    return tuple(Claim(join(seq, fence), worker.key, queue, payload) for seq, fence, queue, payload in rows)


def rescue(session: Session, worker: WorkerInfo, limit: int) -> list[Claim]:
    """As `Store.rescue`."""
    number, fence = workers.alive(session, worker), session.fence()
    claims: list[Claim] = []
    for dead, kind in workers.expired(session, worker):
        free(session, dead, kind, limit)
        while kind == "worker" and len(claims) < limit:
            rows = session.all(SQL["rescue"], (dead, limit - len(claims), number, fence))
            if not rows:
                break
            rows.sort()
            for seq, id, queue, payload, crc in rows:
                if checksum(id, queue, payload) == crc:
                    claims.append(Claim(join(seq, fence), worker.key, queue, payload))
                else:
                    set_aside(session, seq, id, BAD_CHECKSUM)
        session.execute(workers.SQL["remove"], (dead,))
    return claims


def free(session: Session, dead: int, kind: str, limit: int) -> None:
    """Make ready again what nobody here may run: all that a drainer held, and what came into doubt while a worker had it."""
    freed = session.execute(SQL["free"], (dead, limit, session.now, 0 if kind == "drainer" else 1)).rowcount
    session.woke = session.woke or freed > 0


def promote_queue(session: Session, queue: str, limit: int) -> int:
    """Make due rows of one queue ready. Returns how many."""
    return session.execute(SQL["promote"], (queue, session.now, limit)).rowcount


def promote(session: Session, limit: int) -> int:
    """As `Store.promote`; what has outlived its time is swept, a bounded number a turn."""
    promoted = 0
    for (queue,) in session.all(SQL["scheduled_queues"]):
        if promoted < limit:
            promoted += promote_queue(session, queue, limit - promoted)
    session.woke = session.woke or promoted > 0
    session.execute(SQL["sweep_settled"], (session.now, _SWEPT_AT_ONCE))
    effects.sweep(session, _SWEPT_AT_ONCE)
    return promoted


def purge(session: Session, queue: str, limit: int) -> int:
    """Delete up to `limit` ready rows of a queue. Ids given by callers stay remembered."""
    until, gone = session.now + micros(session.settings.remember), 0
    for doubt in (0, 1):
        if gone < limit:
            session.execute(SQL["purge_remember"], (queue, until, doubt, limit - gone))
            gone += session.execute(SQL["purge"], (queue, doubt, limit - gone)).rowcount
    session.tally("purged", queue, gone)
    return gone
