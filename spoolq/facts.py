"""What is true of a deployment now, as seen from this host: gathered for those who judge and show it."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from spoolq import bookkeeping, presence
from spoolq.autoscale import board
from spoolq.checks import STUCK
from spoolq.errors import NoAccess, SpoolDamaged, SpoolqError, StoreUnavailable
from spoolq.events import outage_document
from spoolq.hint import Note
from spoolq.hosts import HostSpool, published
from spoolq.pauses import paused as paused_schedules
from spoolq.places import folder, there, unwritable
from spoolq.store.base import EVERY_QUEUE, Spool, Store, WorkerView
from spoolq.store.looking import Depth, SpoolInfo
from spoolq.takers import untaken
from spoolq.units import when

if TYPE_CHECKING:
    from spoolq.app import SpoolQ
    from spoolq.autoscale.board import State as PoolState
    from spoolq.failurelog.assembly import Waiting
    from spoolq.store.events import Outage

State = Literal["up", "refusing", "away", "absent", "forbidden", "unreadable"]
TO_CONNECT = 2.0
"""Seconds. Each command is a new process: on a busy host, loading the driver would use up the time that Redis has to answer,
and a monitor be told that Redis is away."""

_STRANGERS = 1000

ANSWERS = frozenset({"oom", "readonly", "misconf", "noreplicas"})
"""Reasons with which Redis takes no job, and still tells what it holds."""


@dataclass(frozen=True, slots=True)
class Side:
    """One store. `name` is its address or path; `error` and `reason` say why it isn't `up`; `latency` is in seconds; `paused` is
    as `Store.paused`; `attended` whether somebody drains it now. `untaken`: queues whose jobs have waited for long, from which no
    worker takes. `dead`: keys of workers that died here, whose leases may go on."""

    kind: Literal["redis", "sqlite", "spool"]
    name: str
    state: State
    error: str | None = None
    reason: str | None = None
    latency: float | None = None
    depths: tuple[Depth, ...] = ()
    failures: int = 0
    workers: tuple[WorkerView, ...] = ()
    paused: Mapping[str, float] = field(default_factory=dict)
    info: SpoolInfo | None = None
    refuses: str | None = None
    attended: bool = False
    untaken: tuple[str, ...] = ()
    dead: frozenset[str] = frozenset()

    def total(self, what: Literal["ready", "scheduled", "claimed"]) -> int:
        """Jobs of all queues in that state."""
        return sum(getattr(depth, what) for depth in self.depths)


@dataclass(frozen=True, slots=True)
class Facts:
    """Both stores at `at` (epoch seconds). `spool` is None where the primary is an SQLite file. `outage` is what the producers
    of this host, those of this user, have told each other within the last seconds; None when they go to the primary. `waiting` is
    what is on its way from this disk to a bucket. `pools`: how those that are known are, and how long ago each was heard of, None
    where another host tells of it. `lasting`: the outage in the journal of this host that goes on. `hosts`: the spools of all
    hosts as the primary was told of them, and for how many seconds each has been silent. `schedules`: those that are paused, and
    since when. `missing`: jobs that Redis has lost, as far as the accounts show it."""

    primary: Side
    spool: Side | None
    outage: Note | None = None
    waiting: tuple[Waiting, ...] = ()
    pools: tuple[tuple[PoolState, float | None], ...] = ()
    lasting: Outage | None = None
    hosts: tuple[tuple[HostSpool, float], ...] = ()
    schedules: Mapping[str, float] = field(default_factory=dict)
    missing: int = 0
    at: float = field(default_factory=time.time)


def gather(
    q: SpoolQ,
    timeout: float = 1.0,
    clock: Callable[[], float] = time.monotonic,
    *,
    connect: float = TO_CONNECT,
    most: int | None = None,
) -> Facts:
    """Ask both stores. Never raises for a store that is away, damaged or absent, and makes no file. `connect`: seconds beyond
    `timeout` that the first answer may take, which a process that goes on needs not. `most`: numbers that have to be counted
    are counted up to that only."""
    primary = _attended(q, _primary(q, timeout, connect, most, clock))
    spool = q.spool
    if spool is None:
        return Facts(primary, None, waiting=_waiting(q), pools=_pools(q, primary), schedules=_schedules(q, primary))
    note = q.hint.read()
    outage = note if note is not None and note.open else None
    side = spool_side(q, spool, timeout, most)
    side = replace(side, workers=tuple(view for view in side.workers if not moved_on(view, primary.workers)))
    return Facts(
        *(primary, side, outage, _waiting(q), _pools(q, primary)),
        lasting=_lasting(spool, side),
        hosts=_hosts(q, primary),
        schedules=_schedules(q, primary),
        missing=_missing(q, spool, primary, side),
    )


def _attended(q: SpoolQ, primary: Side) -> Side:
    """The primary, with what is known of its workers here, and of jobs that nobody takes."""
    dead = presence.dead(q.workers_folder(), [view.info.key for view in primary.workers if view.lease_left >= 0])
    others = [view for view in primary.workers if view.info.key not in dead]
    alone: list[Depth] = []
    with contextlib.suppress(SpoolqError):
        late = [depth for depth in primary.depths if (depth.oldest or 0.0) > STUCK]
        alone = untaken(late, others, lambda: q.primary.strangers(_STRANGERS), time.time())
    return replace(primary, untaken=tuple(depth.queue for depth in alone), dead=dead)


def moved_on(view: WorkerView, elsewhere: Iterable[WorkerView]) -> bool:
    """Whether a worker of one store is there no more, and nothing is wrong with that: it holds no job there, and it is a drainer
    with nothing to move, whose lease nothing keeps (`attended` says whether one lives), or its process lives and works
    `elsewhere`, as each does in Redis once an outage is over."""
    return (
        view.lease_left < 0
        and not view.claims
        and (
            view.info.kind == "drainer"
            or any(
                other.lease_left >= 0 and (other.info.host, other.info.pid) == (view.info.host, view.info.pid)
                for other in elsewhere
            )
        )
    )


def _missing(q: SpoolQ, spool: Spool, primary: Side, side: Side) -> int:
    if primary.state in ("up", "refusing"):
        with contextlib.suppress(SpoolqError):
            return bookkeeping.missing(q.primary, spool if side.state == "up" else None)
    return 0


def _lasting(spool: Spool, side: Side) -> Outage | None:
    if side.state == "up":
        with contextlib.suppress(SpoolqError):
            return spool.events.outage()
    return None


def _hosts(q: SpoolQ, primary: Side) -> tuple[tuple[HostSpool, float], ...]:
    if primary.state in ("up", "refusing"):
        with contextlib.suppress(SpoolqError):
            return tuple((state, state.silent(q.primary.now())) for state in published(q.primary))
    return ()


def _schedules(q: SpoolQ, primary: Side) -> Mapping[str, float]:
    if primary.state in ("up", "refusing"):
        with contextlib.suppress(SpoolqError):
            return paused_schedules(q.primary)
    return {}


def _pools(q: SpoolQ, primary: Side) -> tuple[tuple[PoolState, float | None], ...]:
    from spoolq.autoscale import gauge
    from spoolq.autoscale.assembly import merged

    published: list[PoolState] = []
    if primary.state in ("up", "refusing"):
        with contextlib.suppress(SpoolqError):
            published = gauge.published(q.primary)
    return tuple(merged(q.settings, published))


def _waiting(q: SpoolQ) -> tuple[Waiting, ...]:
    from spoolq.failurelog.assembly import waiting

    try:
        return tuple(waiting(q.settings))
    except OSError:  # of another user: whose failures they are sees them
        return ()


def _primary(q: SpoolQ, timeout: float, connect: float, most: int | None, clock: Callable[[], float]) -> Side:
    path = q.settings.sqlite_path
    kind: Literal["redis", "sqlite"] = "redis" if path is None else "sqlite"
    name = q.settings.destination if path is None else str(path)
    try:
        if path is not None and not there(path):
            return Side(kind, name, "absent", error=f"no queue at {path}")
        q.primary.ready(connect + timeout)  # connects; the next one tells how long an answer takes
        began = clock()
        q.primary.ready(timeout)
        latency = clock() - began
        return Side(kind, name, "up", latency=latency, **_contents(q.primary, most))
    except StoreUnavailable as error:
        if error.reason in ANSWERS:
            with contextlib.suppress(StoreUnavailable):
                return Side(kind, name, "refusing", str(error), error.reason, **_contents(q.primary, most))
        return Side(kind, name, "unreadable" if isinstance(error, SpoolDamaged) else "away", str(error), error.reason)
    except NoAccess as error:
        return Side(kind, name, "forbidden", str(error))
    except SpoolqError as error:
        return Side(kind, name, "unreadable", str(error))


def spool_side(q: SpoolQ, spool: Spool, timeout: float, most: int | None = None) -> Side:
    """The spool alone, counted up to `most`."""
    path = q.settings.spool_path
    name = str(path)
    try:
        if not there(path):
            return Side("spool", name, "absent", error=f"no spool at {path}", refuses=_cannot_make(q))
        info = spool.info(most)
        return Side(
            "spool", name, "up", info=info, refuses=_refusal(spool, timeout), attended=spool.attended(), **_contents(spool, most)
        )
    except StoreUnavailable as error:
        return Side("spool", name, "unreadable", str(error), error.reason, refuses=str(error))
    except NoAccess as error:
        return Side("spool", name, "forbidden", str(error))
    except SpoolqError as error:
        return Side("spool", name, "unreadable", str(error), refuses=str(error))


def _contents(store: Store, most: int | None) -> dict[str, Any]:
    return {
        "depths": tuple(store.depths(most)),
        "failures": store.failures.count(most),
        "workers": tuple(store.workers()),
        "paused": store.paused(),
    }


def _refusal(store: Store, timeout: float) -> str | None:
    """Why the store would refuse a job now, None when it would take one."""
    try:
        store.ready(timeout)
    except StoreUnavailable as error:
        return str(error)
    return None


def _cannot_make(q: SpoolQ) -> str | None:
    """Why a spool that isn't there yet couldn't be made, None when it could."""
    place = folder(q.settings.spool_path, default=q.origins["spool"] == "default")
    if not place.is_dir():
        return f"there is no directory {place}"
    if why := unwritable(place):
        return why
    if shutil.disk_usage(place).free < q.settings.spool_min_free:
        return "the disk has less free than spool_min_free"
    return None


def document(facts: Facts) -> dict[str, Any]:
    """The facts for `--json`. Durations and ages in seconds, sizes in bytes, times in UTC."""
    return {
        "at": when(facts.at),
        "primary": _side(facts.primary, facts.at),
        "spool": None if facts.spool is None else _side(facts.spool, facts.at),
        "breaker": {
            "open": facts.primary.state == "away" or facts.outage is not None,
            "reason": facts.primary.reason or (facts.outage and facts.outage.reason),
            "since": facts.outage and when(facts.outage.since),
        },
        "outage": None if facts.lasting is None else outage_document(facts.lasting, facts.at),
        "hosts": [{**asdict(state), "heard": when(state.heard), "silent": silent} for state, silent in facts.hosts],
        "schedules_paused": pauses(facts.schedules),
        "pools": [board.document(state, heard) for state, heard in facts.pools],
        "uploads": [
            {"to": one.url, "outbox": str(one.folder), "files": one.files, "oldest_at": when(one.since)} for one in facts.waiting
        ],
    }


def _side(side: Side, now: float) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "kind": side.kind,
        "path" if side.kind != "redis" else "address": side.name,
        "state": side.state,
        "error": side.error,
        "reason": side.reason,
        "latency": side.latency,
        "failures": side.failures,
        "queues": [queue(depth, now, side.paused) for depth in side.depths],
        "paused": pauses(side.paused),
        "workers": [_worker(view, now) for view in side.workers],
        "untaken": list(side.untaken),
    }
    if side.kind == "spool":
        shown |= {
            "attended": side.attended,
            "accepts": side.refuses is None,
            "refuses": side.refuses,
            "info": side.info and spool_info(side.info, now),
        }
    return shown


def paused_since(paused: Mapping[str, float], queue: str) -> float | None:
    """Since when a queue is paused, by itself or with all; 0.0 where that isn't known, None where it is not."""
    return paused.get(queue, paused.get(EVERY_QUEUE))


def pauses(paused: Mapping[str, float]) -> dict[str, str | None]:
    """What is paused, for JSON: since when, None where that isn't known."""
    return {queue: when(since or None) for queue, since in sorted(paused.items())}


def queue(depth: Depth, now: float, paused: Mapping[str, float]) -> dict[str, Any]:
    """One queue for JSON."""
    since = paused_since(paused, depth.queue)
    return {
        "queue": depth.queue,
        "ready": depth.ready,
        "scheduled": depth.scheduled,
        "claimed": depth.claimed,
        "oldest": depth.oldest,
        "oldest_at": None if depth.oldest is None else when(now - depth.oldest),
        "paused": since is not None,
        "paused_at": when(since or None),
    }


def spool_info(info: SpoolInfo, now: float) -> dict[str, Any]:
    """The spool's facts for JSON."""
    return {
        **{name: getattr(info, name) for name in SpoolInfo.__dataclass_fields__},
        "drain_paused_at": when(info.drain_paused_at),
        "oldest_at": None if info.oldest is None else when(now - info.oldest),
    }


def _worker(view: WorkerView, now: float) -> dict[str, Any]:
    info = view.info
    return {
        "key": info.key,
        "kind": info.role,
        "host": info.host,
        "pid": info.pid,
        "queues": list(info.queues),
        "threads": info.threads,
        "busy": len(view.working),
        "claims": view.claims,
        "lease_left": view.lease_left,
        "started_at": when(info.started_at) if info.started_at else None,
    }
