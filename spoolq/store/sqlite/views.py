"""What there is to see in a file, for people and for whoever waits."""

from __future__ import annotations

from collections.abc import Sequence

from spoolq import stamps
from spoolq.store.base import DRAIN_PAUSED, Depth, SpoolInfo
from spoolq.store.effects import RELAY
from spoolq.store.sqlite import aside, driver, effects, order
from spoolq.store.sqlite.failures import SQL as FAILURES
from spoolq.store.sqlite.limits import count_rows, disk_free, gauge, wal_bytes
from spoolq.store.sqlite.rows import SQL as JOBS
from spoolq.store.sqlite.session import Session
from spoolq.store.sqlite.settlements import SQL as SETTLEMENTS
from spoolq.store.sqlite.statements import statements

SQL = statements("views")


def queues(session: Session) -> list[str]:
    """As `Store.queues`."""
    return list({queue for part in ("ready_queues", "scheduled_queues") for (queue,) in session.all(JOBS[part])} - {RELAY})


def depths(session: Session) -> list[Depth]:
    """As `Store.depths`. Rows in doubt count as ready; a job is as old as the time since it could have run."""
    ready: dict[str, int] = {}
    since: dict[str, int] = {}
    for part in ("ready", "in_doubt"):
        for queue, count, head in session.all(SQL[part]):
            ready[queue] = ready.get(queue, 0) + count
            at = session.scalar(SQL["since"], (head,))
            if at is not None:
                since[queue] = min(at, since.get(queue, at))
    scheduled = dict(session.all(SQL["scheduled"]))
    claimed = dict(session.all(SQL["claimed"]))
    return [
        Depth(
            queue,
            ready.get(queue, 0),
            scheduled.get(queue, 0),
            claimed.get(queue, 0),
            max(0.0, (session.now - since[queue]) / 1e6) if queue in since else None,
        )
        for queue in sorted({*ready, *scheduled, *claimed} - {RELAY})
    ]


def due(session: Session, queues: Sequence[str], *, drains: bool) -> float | None:
    """Seconds until one of the queues has something to claim: 0.0 when it has now, None when nothing is scheduled."""
    if drains:
        return 0.0 if session.one(SQL["any_waiting"]) else None
    times = []
    ordered = session.settings.role == "spool" and order.kept(session)
    for queue in queues:
        if order.head(session, queue) is not None if ordered else session.one(SQL["any_ready"], (queue,)):
            return 0.0
        at = session.scalar(SQL["next_due"], (queue,))
        if at is not None:
            times.append(at)
    return max(0.0, (min(times) - session.now) / 1e6) if times else None


def info(session: Session) -> SpoolInfo:
    """As `Spool.info`."""
    settings = session.settings
    free, wal, full = disk_free(settings.path), wal_bytes(settings.path), gauge(session)
    oldest = session.scalar(SQL["oldest"])
    doubtful = (session.scalar(SQL["count_in_doubt"], (1 << 60,)), *(session.scalar(SQL[f"{at}_in_doubt"]) for at in _ELSEWHERE))
    return SpoolInfo(
        path=settings.path,
        destination=session.scalar(SQL["about"], ("destination",)) or "",
        schema=session.scalar("PRAGMA user_version"),
        sqlite=driver.version,
        rows=count_rows(session),
        in_doubt=sum(doubtful),
        claimed=session.scalar(SQL["count_claimed"], (1 << 60,)),
        kept=session.scalar(SQL["count_kept"]),
        quarantined=session.scalar(SQL["count_quarantined"]),
        failures=session.scalar(FAILURES["count"]),
        bytes=session.scalar("PRAGMA page_count") * session.page_size + wal,
        limit_bytes=settings.max_bytes,
        disk_free=free,
        min_free=settings.min_free,
        oldest=None if oldest is None else max(0.0, (session.now - oldest) / 1e6),
        share=full.share,
        bound=full.bound,
        reserve=session.reserve.held() or 0,
        settlements=session.scalar(SETTLEMENTS["count"]),
        drain_paused_at=_paused_at(session),
        damaged=tuple(aside.kept(settings.path)),
    )


def _paused_at(session: Session) -> float | None:
    since = effects.meta(session, DRAIN_PAUSED)
    return None if since is None else stamps.moment(since)


_ELSEWHERE = ("scheduled", "claimed")
