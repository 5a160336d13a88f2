"""What there is to see in a file, for people and for whoever waits."""

from __future__ import annotations

from collections.abc import Sequence

from spoolq import stamps
from spoolq.store.base import DRAIN_PAUSED, DRAINED_AT
from spoolq.store.effects import RELAY
from spoolq.store.looking import Depth, SpoolInfo
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
    with session.at_one_moment():
        for part in ("ready", "in_doubt"):
            for queue, count, head in session.all(SQL[part]):
                ready[queue] = ready.get(queue, 0) + count
                at = session.scalar(SQL["since"], (head,))
                if at is not None:
                    since[queue] = min(at, since.get(queue, at))
        scheduled = dict(session.all(SQL["scheduled"]))
        claimed = dict(session.all(SQL["claimed"]))
    return _depths(session, ready, scheduled, claimed, since)


def _depths(
    session: Session, ready: dict[str, int], scheduled: dict[str, int], claimed: dict[str, int], since: dict[str, int]
) -> list[Depth]:
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


def depths_up_to(session: Session, most: int) -> list[Depth]:
    """As `depths`, each number counted up to `most` only: what it reads depends on the queues, not on what is in them."""
    ready: dict[str, int] = {}
    since: dict[str, int] = {}
    with session.at_one_moment():
        for part, names in (("ready", JOBS["ready_queues"]), ("in_doubt", SQL["in_doubt_queues"])):
            for (queue,) in session.all(names):
                ready[queue] = ready.get(queue, 0) + session.scalar(SQL[f"{part}_of"], (queue, most))
                heads = [session.scalar(SQL[f"{part}_{end}"], (queue,)) for end in ("head", "front")]
                times = [session.scalar(SQL["since"], (head,)) for head in heads if head is not None]
                if times:
                    since[queue] = min(*times, since.get(queue, times[0]))
        timed = [queue for (queue,) in session.all(JOBS["scheduled_queues"])]
        scheduled = {queue: session.scalar(SQL["scheduled_of"], (queue, most)) for queue in timed}
        claimed = dict(session.all(SQL["claimed_up_to"], (most,)))
    return _depths(session, ready, scheduled, claimed, since)


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


def info(session: Session, most: int | None = None) -> SpoolInfo:
    """As `Spool.info`."""
    limit = (1 << 60 if most is None else most,)
    settings = session.settings
    free, wal, full = disk_free(settings.path), wal_bytes(settings.path), gauge(session)
    told = session.scalar(SQL["count_relayed"], (RELAY, *limit))  # notes to the primary, which are no jobs
    oldest = session.scalar(SQL["oldest_job"], (RELAY,))
    doubtful = [session.scalar(SQL[part], limit) for part in ("count_in_doubt", "scheduled_in_doubt", "claimed_in_doubt")]
    return SpoolInfo(
        path=settings.path,
        destination=session.scalar(SQL["about"], ("destination",)) or "",
        schema=session.scalar("PRAGMA user_version"),
        sqlite=driver.version,
        rows=max(0, count_rows(session, None if most is None else most + told) - told),
        in_doubt=sum(doubtful),
        claimed=session.scalar(SQL["count_claimed"], limit),
        kept=session.scalar(SQL["count_kept"], limit),
        quarantined=session.scalar(SQL["count_quarantined"], limit),
        failures=session.scalar(FAILURES["count_up_to"], limit),
        bytes=session.scalar("PRAGMA page_count") * session.page_size + wal,
        limit_bytes=settings.max_bytes,
        disk_free=free,
        min_free=settings.min_free,
        oldest=None if oldest is None else max(0.0, (session.now - oldest) / 1e6),
        share=full.share,
        bound=full.bound,
        reserve=session.reserve.held() or 0,
        settlements=session.scalar(SETTLEMENTS["count_up_to"], limit),
        drain_paused_at=_paused_at(session),
        damaged=tuple(aside.kept(settings.path)),
        incomplete=tuple(aside.kept(settings.path, aside.INCOMPLETE)),
        drained=_drained(session),
    )


def _paused_at(session: Session) -> float | None:
    since = effects.meta(session, DRAIN_PAUSED)
    return None if since is None else stamps.moment(since)


def _drained(session: Session) -> float | None:
    at = stamps.moment(effects.meta(session, DRAINED_AT) or "")
    ago = session.now / 1e6 - at
    return max(0.0, ago) if at and ago > -1.0 else None  # of a time to come nothing follows: the clock was set
