"""A file of jobs: the SQLite form of `Store` and of `Spool`. `spoolq.store.base` says what each verb promises."""

from __future__ import annotations

import os
import time
import weakref
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Literal

from spoolq import boot
from spoolq.errors import LeaseLost, StaleCall, StoreFull, StoreUnavailable
from spoolq.job import Claim, Failure, Handoff, Message
from spoolq.store.base import Claimed, Kept, Life, Watch, WorkerInfo, WorkerView, Working
from spoolq.store.effects import NONE, Effects
from spoolq.store.events import Away, EventLog
from spoolq.store.journal import Settlements
from spoolq.store.looking import Denied, Depth, Guard, Load, ServerFacts, SpoolInfo, Stranger
from spoolq.store.quota import Quota
from spoolq.store.sqlite import ahead, order, outages, pauses, settling, tallies, views, workers
from spoolq.store.sqlite import claims as taking
from spoolq.store.sqlite import effects as also
from spoolq.store.sqlite import failures as log
from spoolq.store.sqlite import handoffs as spooling
from spoolq.store.sqlite.attendance import Attendance
from spoolq.store.sqlite.events import SQLiteEvents
from spoolq.store.sqlite.limits import Limits, count_rows
from spoolq.store.sqlite.rows import SQL, Row, insert, known, prepare, unanswered
from spoolq.store.sqlite.session import Session, micros
from spoolq.store.sqlite.settings import MIB, Role, Settings
from spoolq.store.sqlite.settlements import SQLiteSettlements
from spoolq.store.sqlite.together import fresh
from spoolq.store.sqlite.upkeep import SQLiteUpkeep
from spoolq.store.sqlite.waiting import SQLiteWaitingJobs
from spoolq.store.sqlite.wake import Bell
from spoolq.store.sqlite.writer import Writer
from spoolq.store.tally import COUNTED, Ledger, Sample, Span
from spoolq.store.upkeep import Upkeep
from spoolq.store.waiting import WaitingJobs

_SLOW_POLL = 1.0
_PURGED_AT_ONCE = 1000
_NO_EFFECTS = also.prepare_effects(NONE, 0)


class SQLiteStore:
    """Jobs in one file. Safe among threads, processes and forks; opened at the first call, never by the constructor.

    path         the file; beside it lie PATH-wal, -shm, -lock, -wake and -reserve. Its directory must be there
    role         "spool" remembers every id that was settled here, "primary" only those that callers gave
    destination  what a spool's jobs are for; recorded when the file is made, and another one is refused
    create       False: an absent file is an error
    remember     seconds that ids are remembered (the horizon)
    max_bytes    of database and WAL together; puts are refused 5 % (at least 1 MiB) below it
    max_rows     puts are refused above it; None for no limit
    min_free     bytes that puts leave free on the disk
    timeout      seconds that a call waits for the disk, by default
    synchronous  as SQLite's pragma; below FULL, a power loss takes acknowledged jobs with it
    clock        epoch seconds
    ordered      what is spooled here keeps its order within its queue, whoever drains it or works on it
    make_directory   True: its directory is made with it, for the owner alone
    ticks        this boot's name, and the seconds on its clock

    Raises ConfigError for a setting that can't work; later, when the file is opened, also for one that can't be there, is not a
    spool, was made by a newer spoolq or has another destination. `SpoolDamaged`: not a database.
    """

    apart = False

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        role: Role = "primary",
        destination: str = "",
        create: bool = True,
        remember: float = 7 * 86_400.0,
        max_bytes: int = 1 << 30,
        max_rows: int | None = None,
        min_free: int = 256 * MIB,
        timeout: float = 2.0,
        synchronous: str = "FULL",
        clock: Callable[[], float] = time.time,
        ordered: bool = False,
        make_directory: bool = False,
        ticks: Callable[[], tuple[str, float]] = boot.tick,
    ) -> None:
        where = os.path.abspath(os.fspath(path)) if os.fspath(path) else ""
        self._settings = Settings(
            where,
            role,
            destination,
            create,
            remember,
            max_bytes,
            max_rows,
            min_free,
            timeout,
            synchronous,
            clock,
            ordered,
            make_directory,
            ticks,
        )
        if not create:
            self._settings.prepare_place()  # who only looks is told at once, and may wait for the disk
        self._bell = Bell(f"{where}-wake")
        self._writer = Writer(self._settings, self._bell)
        self._run = self._writer.run
        self._limits = Limits(self._settings)
        self._largest = max_bytes - self._settings.headroom
        self._forgettable: deque[tuple[str, float]] = deque()
        self.upkeep: Upkeep = SQLiteUpkeep(self._writer, self._limits)
        self.events: EventLog = SQLiteEvents(self._writer)
        self._attendance = Attendance(f"{where}-drain")
        self.settlements: Settlements = SQLiteSettlements(self._writer)
        self.failures = log.SQLiteFailures(self._writer, self._limits, self._largest)
        self.waiting_jobs: WaitingJobs = SQLiteWaitingJobs(self._writer, self._largest)
        # The thread of a store that was dropped unclosed ends with it
        weakref.finalize(self, self._writer.close, 0.0).atexit = False

    @property
    def path(self) -> str:
        """The file, as an absolute path."""
        return self._settings.path

    def __repr__(self) -> str:
        return f"<SQLiteStore {self._settings.path} ({self._settings.role})>"

    # putting

    def put(
        self,
        messages: Sequence[Message],
        effects: Effects = NONE,
        *,
        timeout: float | None = None,
        not_after: float | None = None,
        hold: bool = False,
    ) -> list[bool]:
        """See `Store.put`."""
        rows, more = prepare(messages, self._largest, hold=hold), also.prepare_effects(effects, self._largest)
        plain = self._is_plain(rows, more)
        seen: list[bool] = []

        def work(session: Session) -> list[bool]:
            self._check_time(not_after)
            new = self._insert(session, rows, seen, plain=plain, word="drained" if hold else "put")
            also.apply(session, more, new, rows)
            return new

        latest, unheard = self._latest(timeout, not_after), partial(unanswered, rows=rows)
        return self._run(work, timeout, not_after=latest, guarded=more.guarded, grows=True, unheard=unheard, plain=plain)

    def forget(self, ids: Sequence[tuple[str, float]]) -> None:
        """See `Store.forget`."""
        self._forgettable.extend(ids)

    def ready(self, timeout: float) -> float:
        """See `Store.ready`. A row of the file is written and synced: a disk that hangs is found out no other way."""

        def work(session: Session) -> None:
            self._limits.check(session, 1, 0)
            session.execute(views.SQL["set_about"], ("probed", str(session.now)))

        self._run(work, timeout, grows=True)
        return self.now()

    def load(self, timeout: float, *, memory: bool = False) -> Load:
        """See `Store.load`. The limits of the file are kept by `put`."""
        began = time.monotonic()
        self._run(lambda session: None, timeout, writes=False)
        return Load(time.monotonic() - began)

    def server_facts(self, timeout: float) -> ServerFacts | None:
        return None

    def denied(self, timeout: float) -> Denied | None:
        return None

    def strangers(self, limit: int) -> list[Stranger]:
        return []

    def now(self) -> float:
        """See `Store.now`: the host's clock."""
        return self._settings.clock()

    # what became of it

    def life(self, timeout: float) -> Life:
        """See `Store.life`: what was committed is not lost."""
        return Life()

    def remembers(self, ids: Sequence[str]) -> list[bool]:
        """See `Store.remembers`."""
        return self._run(lambda session: [known(session, id) for id in ids], writes=False)

    def persisted(self, *, replica: bool, timeout: float) -> bool | None:
        """See `Store.persisted`: a commit is on the disk, and in no other server."""
        return None if replica else True

    # taking and settling

    def register(self, worker: WorkerInfo) -> None:
        """See `Store.register`."""
        self._run(lambda session: workers.register(session, worker))

    def unregister(self, worker: WorkerInfo) -> None:
        """See `Store.unregister`."""
        self._run(lambda session: workers.unregister(session, worker))

    def heartbeat(self, worker: WorkerInfo, working: Sequence[Working] | None = ()) -> int:
        """See `Store.heartbeat`."""
        return self._run(lambda session: workers.heartbeat(session, worker, working))

    def claim(
        self,
        worker: WorkerInfo,
        call: int,
        queues: Sequence[str],
        limit: int,
        *,
        ack: Sequence[Claim] = (),
        effects: Effects = NONE,
        timeout: float | None = None,
        quotas: Sequence[Quota] = (),
    ) -> Claimed:
        """See `Store.claim`. At the size limit it is tried with half as many, down to none."""
        more = also.prepare_effects(effects, self._largest)
        late = None if timeout is None else time.monotonic() + timeout
        while True:

            def work(session: Session, limit: int = limit) -> Claimed:
                if late is not None and time.monotonic() > late:
                    raise StaleCall(f"worker {worker.key}: call {call} came after its time. Nothing was claimed or settled")
                self._sweep(session)
                return taking.claim(session, worker, call, queues, limit, ack, more, quotas)

            try:
                return self._run(work, timeout, guarded=more.guarded)
            except StoreFull:
                if limit <= 0:
                    raise
                limit //= 2

    def reconcile(self, worker: WorkerInfo, call: int, known: Collection[str] = ()) -> tuple[Claim, ...]:
        """See `Store.reconcile`."""
        return self._run(lambda session: taking.reconcile(session, worker, call))

    def ack(self, claims: Sequence[Claim], effects: Effects = NONE) -> None:
        """See `Store.ack`. Where all are lost, the effects don't happen."""
        more = also.prepare_effects(effects, self._largest)
        _raise_lost(self._run(lambda session: settling.ack(session, claims, more), guarded=more.guarded))

    def retry(self, claim: Claim, payload: bytes, at: float, effects: Effects = NONE) -> None:
        """See `Store.retry`."""
        more = also.prepare_effects(effects, self._largest)
        if not self._run(lambda session: settling.retry(session, claim, payload, at, more), guarded=more.guarded):
            raise LeaseLost([claim.token])

    def fail(self, claim: Claim, failure: Failure, effects: Effects = NONE) -> None:
        """See `Store.fail`."""
        entry, more = log.entry(failure), also.prepare_effects(effects, self._largest)
        if not self._run(lambda session: settling.fail(session, claim, entry, more), guarded=more.guarded):
            raise LeaseLost([claim.token])

    def release(self, claims: Sequence[Claim]) -> None:
        """See `Store.release`."""
        _raise_lost(self._run(lambda session: settling.release(session, claims)))

    def rescue(self, worker: WorkerInfo, limit: int) -> list[Claim]:
        """See `Store.rescue`."""
        return self._run(lambda session: taking.rescue(session, worker, limit))

    def due(self) -> bool:
        """See `Store.due`."""
        return True

    def promote(self, limit: int) -> int:
        """See `Store.promote`."""

        def work(session: Session) -> int:
            self._sweep(session)
            return taking.promote(session, limit)

        return self._run(work)

    def leads(self) -> bool:
        """See `Store.leads`."""
        self._run(lambda session: None, writes=False)
        return True

    def wait(self, worker: WorkerInfo, queues: Sequence[str], timeout: float, *, appear: bool = False) -> bool:
        """See `Store.wait`. A drainer waits for any row; a worker also until the next scheduled row of its queues is due."""
        until = time.monotonic() + timeout
        drains = worker.kind == "drainer"
        before = set(self.queues()) if appear else set[str]()
        listener = self._bell.listener()
        try:
            while not self._writer.closed:
                listener.ready()  # first, so that what comes between the look and the wait rings
                due = self._run(lambda session: views.due(session, queues, drains=drains), writes=False)
                if due == 0.0 or (appear and not before.issuperset(self.queues())):
                    return True
                left = until - time.monotonic()
                if left <= 0:
                    break
                listener.wait(min(left, _SLOW_POLL, _SLOW_POLL if due is None else due))
        finally:
            self._bell.give_back(listener)
        return False

    # as a spool

    def spool(
        self,
        messages: Sequence[Message],
        effects: Effects = NONE,
        *,
        not_after: float | None = None,
        timeout: float | None = None,
        outage: Away | None = None,
    ) -> list[bool]:
        """See `Spool.spool`."""
        rows, more = prepare(messages, self._largest), also.prepare_effects(effects, self._largest)
        plain = self._is_plain(rows, more)
        seen: list[bool] = []

        def work(session: Session) -> list[bool]:
            if self._settings.ordered:
                order.mark(session)
            new = self._insert(session, rows, seen, plain=plain, in_doubt=True, not_after=not_after)
            if outage is not None:
                outages.joined(session, outage, sum(new))
            also.apply(session, more, new, rows)
            return new

        unheard = partial(unanswered, rows=rows, in_doubt=True)
        return self._run(work, timeout, guarded=more.guarded, grows=True, unheard=unheard, plain=plain)

    def holds(self, queues: Collection[str], *, timeout: float | None = None) -> bool:
        """See `Spool.holds`."""
        return self._run(lambda session: order.holds(session, queues), timeout, writes=False)

    def recall(self, ids: Sequence[str], *, timeout: float | None = None) -> list[Literal["waiting", "ran"] | None]:
        """See `Spool.recall`."""
        return self._run(lambda session: [spooling.recall(session, id) for id in ids], timeout)

    def take(self, worker: WorkerInfo, limit: int, max_bytes: int, not_after: float) -> list[Handoff]:
        """See `Spool.take`. At the size limit it is tried with half as many."""
        return self.exchange((), worker, limit, max_bytes, not_after)[0]

    def exchange(
        self,
        done: Sequence[Handoff],
        worker: WorkerInfo,
        limit: int,
        max_bytes: int,
        not_after: float,
        *,
        known: Collection[str] = (),
    ) -> tuple[list[Handoff], tuple[str, ...]]:
        """See `Spool.exchange`."""
        while True:

            def work(session: Session, limit: int = limit) -> tuple[list[Handoff], tuple[str, ...]]:
                lost = spooling.handed_over(session, done, _NO_EFFECTS, known) if done else ()
                return spooling.take(session, worker, limit, max_bytes, not_after), lost

            try:
                return self._run(work)
            except StoreFull:
                if limit <= 1:
                    raise
                limit //= 2

    def handed_over(self, handoffs: Sequence[Handoff], effects: Effects = NONE, *, known: Collection[str] = ()) -> None:
        """See `Spool.handed_over`."""
        more = also.prepare_effects(effects, self._largest)
        _raise_lost(self._run(lambda session: spooling.handed_over(session, handoffs, more, known), guarded=more.guarded))

    def give_back(self, handoffs: Sequence[Handoff], *, applied: Literal["no", "maybe"]) -> None:
        """See `Spool.give_back`. Rows that somebody else took over meanwhile are passed over."""
        self._run(lambda session: spooling.give_back(session, handoffs, applied))

    def attend(self) -> None:
        """See `Spool.attend`."""
        self._attendance.attend()

    def attended(self) -> bool:
        """See `Spool.attended`."""
        return self._attendance.attended()

    def leave(self) -> None:
        """See `Spool.leave`."""
        self._attendance.leave()

    def keep(self, handoffs: Sequence[Handoff], life: Life, effects: Effects = NONE, *, known: Collection[str] = ()) -> None:
        """See `Spool.keep`."""
        if handoffs:
            more = also.prepare_effects(effects, self._largest)
            _raise_lost(self._run(lambda session: ahead.keep(session, handoffs, life, more, known), guarded=more.guarded))

    def watches(self) -> list[Watch]:
        """See `Spool.watches`."""
        return self._run(ahead.watches, writes=False)

    def kept(self, watch: Watch, limit: int) -> list[Kept]:
        """See `Spool.kept`."""
        return self._run(lambda session: ahead.kept(session, watch, limit))

    def let_go(self, watch: Watch, kept: Sequence[Kept]) -> list[Kept]:
        """See `Spool.let_go`."""
        return self._run(lambda session: ahead.let_go(session, watch, kept)) if kept else []

    def send_again(self, watch: Watch, kept: Sequence[Kept]) -> None:
        """See `Spool.send_again`."""
        if kept:
            self._run(lambda session: ahead.send_again(session, watch, kept))

    def quarantine(self, handoff: Handoff, reason: str) -> None:
        """See `Spool.quarantine`."""
        if not self._run(lambda session: spooling.quarantine(session, handoff, reason)):
            raise LeaseLost([handoff.token])

    def waiting(self, limit: int | None = None) -> int:
        """See `Spool.waiting`."""
        return self._run(lambda session: count_rows(session, limit), writes=False)

    def info(self, most: int | None = None) -> SpoolInfo:
        """See `Spool.info`."""
        return self._run(partial(views.info, most=most), writes=False)

    # looking

    def queues(self) -> list[str]:
        """See `Store.queues`."""
        return self._run(views.queues, writes=False)

    def depths(self, most: int | None = None) -> list[Depth]:
        """See `Store.depths`."""
        look = views.depths if most is None else partial(views.depths_up_to, most=most)
        return self._run(look, writes=False)

    def tally(self, most: int | None = None) -> Ledger:
        """See `Store.tally`."""
        return self._run(partial(tallies.ledger, most=most), writes=False)

    def write_off(self, jobs: Mapping[str, int]) -> None:
        """See `Store.write_off`."""

        def work(session: Session) -> None:
            for queue, count in jobs.items():
                session.tally("written_off", queue, count)

        self._run(work)

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """See `Store.counts`."""
        return self._run(tallies.counts, writes=False)

    def sample(self) -> Ledger | None:
        """See `Store.sample`."""
        if not self._run(tallies.due, writes=False):
            return None
        ledger = self.tally(COUNTED)  # apart, so that it holds no lock
        return self._run(lambda session: tallies.sample(session, ledger), grows=True, aside=True)

    def history(self, span: Span, since: float) -> list[Sample]:
        """See `Store.history`."""
        return self._run(lambda session: tallies.history(session, span, since), writes=False)

    def workers(self) -> list[WorkerView]:
        """See `Store.workers`."""
        return self._run(workers.views, writes=False)

    def counters(self) -> Mapping[str, int]:
        """See `Store.counters`."""
        return self._run(also.counters, writes=False)

    def add_series(self, numbers: Mapping[str, int], *, timeout: float | None = None) -> None:
        """See `Store.add_series`."""
        self._run(lambda session: also.add_series(session, numbers), timeout, grows=True, aside=True)

    def series(self, *, timeout: float | None = None) -> Mapping[str, int]:
        """See `Store.series`."""
        return self._run(also.series, timeout, writes=False)

    def value(self, key: str) -> bytes | None:
        """See `Store.value`."""
        return self._run(lambda session: also.value(session, key), writes=False)

    def values(self, keys: Sequence[str], *, timeout: float | None = None) -> list[bytes | None]:
        """See `Store.values`."""
        return self._run(lambda session: [also.value(session, key) for key in keys], timeout, writes=False)

    def guards(self) -> list[Guard]:
        """See `Store.guards`."""
        return self._run(also.guards, writes=False)

    def paused(self) -> Mapping[str, float]:
        """See `Store.paused`."""
        return self._run(pauses.paused, writes=False)

    def pause(self, queue: str) -> bool:
        """See `Store.pause`."""
        return self._run(lambda session: pauses.pause(session, queue))

    def resume(self, queue: str) -> bool:
        """See `Store.resume`."""
        return self._run(lambda session: pauses.resume(session, queue))

    def meta(self, key: str) -> str | None:
        """See `Store.meta`."""
        return self._run(lambda session: also.meta(session, key), writes=False)

    def set_meta(self, key: str, value: str | None, *, expected: str | Literal[False] | None = False) -> bool:
        """See `Store.set_meta`."""
        return self._run(lambda session: also.set_meta(session, key, value, expected))

    def purge(self, queue: str) -> int:
        """See `Store.purge`. A bounded number a transaction, so that others get their turn."""
        gone = 0
        while now_gone := self._run(lambda session: taking.purge(session, queue, _PURGED_AT_ONCE)):
            gone += now_gone
        return gone

    def close(self, timeout: float = 1.0) -> None:
        """See `Store.close`. Wakes whoever waits."""
        self._attendance.leave()
        self._writer.close(timeout)
        self._bell.close()

    # helpers

    def _insert(
        self,
        session: Session,
        rows: Sequence[Row],
        seen: list[bool],
        *,
        plain: bool,
        in_doubt: bool = False,
        not_after: float | None = None,
        word: str = "put",
    ) -> list[bool]:
        """Which of them are new. `seen` keeps that, for work that is done again."""
        if self._forgettable:
            self._sweep(session)
        if rows:
            self._limits.check(session, len(rows), sum([len(row.payload) for row in rows]))
        if plain and session.together is not None:
            session.together.add(session, rows[0], seen, not_after, word)
            return [True]
        return _merged(seen, insert(session, rows, in_doubt=in_doubt, not_after=not_after, word=word))

    def _is_plain(self, rows: list[Row], more: also.Prepared) -> bool:
        """Whether it looks for no row: a bound on their number does."""
        return more is _NO_EFFECTS and fresh(rows) and self._settings.max_rows is None

    def _latest(self, timeout: float | None, not_after: float | None) -> float:
        if not_after is not None:
            return not_after
        return self.now() + (self._settings.timeout if timeout is None else timeout)

    def _check_time(self, not_after: float | None) -> None:
        if not_after is not None and self.now() > not_after:
            raise StoreUnavailable(
                f"{self.path}: the attempt came after its time. Nothing was stored", reason="late", server_wide=False
            )

    def _sweep(self, session: Session) -> None:
        """Let go of ids that need no longer be remembered."""
        for _ in range(len(self._forgettable)):
            try:
                id, after = self._forgettable.popleft()
            except IndexError:
                return
            if micros(after) < session.now:
                session.execute(SQL["forget_settled"], (id,))
                session.execute(SQL["forget_row"], (id,))
            else:
                self._forgettable.append((id, after))


def _merged(seen: list[bool], new: list[bool]) -> list[bool]:
    """Which rows are new, for work that is done again: those of a commit that failed may be there, and are this call's own."""
    seen[:] = [now or before for now, before in zip(new, seen or new, strict=True)]
    return list(seen)


def _raise_lost(lost: Sequence[str]) -> None:
    if lost:
        raise LeaseLost(lost)
