"""`RedisStore`: the contract of `spoolq.store.base`, in Redis."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Literal

from spoolq import checks, cpu, stamps, wire
from spoolq.address import checked, mask
from spoolq.errors import ConfigError, LeaseLost, StaleCall, StoreUnavailable
from spoolq.job import Claim, Failure, Message
from spoolq.store.base import MAX_BYTES, MOST_SERIES, Claimed, Life, WorkerInfo, WorkerView, Working
from spoolq.store.effects import NONE, Effects
from spoolq.store.events import EventLog
from spoolq.store.looking import Denied, Depth, Guard, Load, ServerFacts, Stranger
from spoolq.store.quota import Quota
from spoolq.store.redis import encoding, outcomes, rights, views
from spoolq.store.redis.clock import RedisClock
from spoolq.store.redis.failures import RedisFailures
from spoolq.store.redis.idling import Idling
from spoolq.store.redis.keeping import Keeper
from spoolq.store.redis.link import Link
from spoolq.store.redis.names import Names
from spoolq.store.redis.putting import Putter, known, outcome
from spoolq.store.redis.resp import ReplyError
from spoolq.store.redis.scripts import script
from spoolq.store.redis.strangers import strangers
from spoolq.store.redis.tallies import LOOKED_AT, RedisTallies
from spoolq.store.redis.transport import Injected, Transport, refused, run
from spoolq.store.redis.waiting import RedisWaitingJobs
from spoolq.store.tally import IN, OUT, Ledger, Sample, Span, ending
from spoolq.store.waiting import WaitingJobs

SWEEP = 5.0  # seconds between steps of the sweep
PROMOTE = 5.0  # seconds after which a promote makes sense where nothing is due, to take the lead; twice as many to keep it
MOST = 1000  # of one claim or rescue: a script of more would hold up the server for everybody


log = logging.getLogger("spoolq.redis")

_warned: set[str] = set()


class RedisStore:
    """Jobs in Redis, as Resque keeps them. What each verb promises stands in `spoolq.store.base.Store`.

    With `confirm` a put that isn't held is done once Redis has it in its append-only file ("aof") or in a replica; where it
    doesn't say so in time, it raises StoreUnavailable, with `maybe_applied`, and the id stays remembered.
    `deadline` is what a put gets, in seconds, `timeout` any other verb. `horizon` is how long an id is remembered. With
    `delayed="resque"` a put for later goes to Resque's own delayed keys, where a stock scheduler drops its id. `client` is a
    ready redis-py client to use instead of connections of our own; `clock` is monotonic.

    Nothing is connected until it is needed. `address` is the URL without its secrets. Raises ConfigError for what can't be one.
    """

    apart = True

    def __init__(
        self,
        url: str,
        *,
        namespace: str = "resque",
        deadline: float = 0.25,
        timeout: float = 5.0,
        horizon: float = 7 * 86400,
        confirm: Literal["none", "aof", "replica"] = "none",
        delayed: Literal["spoolq", "resque"] = "spoolq",
        client: Any = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if delayed not in ("spoolq", "resque"):
            raise ConfigError(f"delayed={delayed!r}: it is 'spoolq' or 'resque'")
        if min(deadline, timeout, horizon) <= 0:
            raise ConfigError("deadline, timeout and horizon are seconds above 0")
        url = checked(url)
        if url.startswith("sqlite:"):
            raise ConfigError(f"{url}: an SQLite file is opened by SQLiteStore")
        self.address = mask(url)
        self.namespace = namespace
        self._names = Names(namespace)
        self._deadline, self._timeout, self._horizon = deadline, timeout, horizon
        self._clock = RedisClock(clock)
        self._transport: Transport = (
            Link(url, self.address, self._clock, budget=max(timeout, deadline), load=("put", "put_many"), greet=self._greeted)
            if client is None
            else Injected(client, self._clock, self.address)
        )
        self._confirm = confirm
        self._keeper = Keeper(self._transport, self._names, self.address)
        self._putter = Putter(self._transport, self._names, self.address, resque_delayed=delayed == "resque")
        self._idling = Idling(self._transport, self._number, self._names, self.address, timeout)
        self._leader = ""
        self._leads = False
        self._sweep_at, self._promote_at, self._cursor = 0.0, 0.0, b"0"
        self._closed = False
        self.events: EventLog | None = None
        self._tallies = RedisTallies(self._scan, self._scripted, self._command, self._names, self.now)
        self.failures = RedisFailures(self._command, self._number, self._names)
        self.waiting_jobs: WaitingJobs = RedisWaitingJobs(self._scripted, self._command, self.queues, self._names, self.now)

    def __repr__(self) -> str:
        return f"RedisStore({self.address!r}, namespace={self.namespace!r})"

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
        deadline = self._until(self._deadline if timeout is None else timeout)
        if self._confirm == "none" or hold:
            return self._putter.put(messages, effects, deadline, not_after, hold, "drained" if hold else "put")
        new = self._putter.put(messages, effects, deadline, not_after, True, "put")
        if not self._confirmed(messages, deadline):
            raise self._keeper.unconfirmed()
        self._putter.done(messages, new)
        return new

    def _confirmed(self, messages: Sequence[Message], deadline: float) -> bool:
        try:
            ids = [message.id for message in messages]
            return self._keeper.persisted(self._confirm == "replica", deadline, ids) is True
        except StoreUnavailable:
            return False

    def forget(self, ids: Sequence[tuple[str, float]]) -> None:
        if ids:
            self._putter.forget(ids)
        else:
            self._putter.flush(self._by())

    def ready(self, timeout: float) -> float:
        deadline = self._until(timeout)
        self._clock.doubt()
        self._putter.probe(f"probe:{uuid.uuid4().hex}", deadline)
        return self._clock.now()

    def load(self, timeout: float, *, memory: bool = False) -> Load:
        deadline = self._until(timeout)
        self._transport.open(deadline)
        ours, sent = cpu.starved(), self._clock.monotonic()
        reply = self._transport.call((b"TIME",), deadline, _a_list)
        if isinstance(reply, ReplyError):
            raise refused(reply, self.address)
        wait = max(0.0, self._clock.monotonic() - sent - (cpu.starved() - ours))  # on a busy host, what wasn't for Redis
        return Load(wait, *self._memory(deadline)) if memory else Load(wait)

    def server_facts(self, timeout: float) -> ServerFacts | None:
        deadline = self._until(timeout)
        self._transport.open(deadline)
        missing: list[str] = []

        def ask(*args: bytes) -> Any:
            """Servers for hire, and users of few rights, forbid some of these."""
            try:
                reply = self._transport.call(args, deadline)
                if not isinstance(reply, ReplyError):
                    return reply
                reason = refused(reply, self.address).reason
            except StoreUnavailable as error:
                if error.maybe_applied or error.reason not in ("noperm", "unsupported", "error"):
                    raise
                reason = error.reason
            missing.append(f"{b' '.join(args).decode()}: {reason}")
            return None

        info = ask(b"INFO")
        config = [ask(b"CONFIG", b"GET", name) for name in (b"appendfsync", b"save", b"min-replicas-to-write")]
        pairs = (views.pair(reply) for reply in config)
        return views.server_facts(
            views.fields(info) if isinstance(info, (bytes, dict)) else {},
            dict(pair for pair in pairs if pair is not None),
            ", ".join(missing),
        )

    def denied(self, timeout: float) -> Denied | None:
        return rights.denied(self._transport, self._names, self.address, self._until(timeout))

    def strangers(self, limit: int) -> list[Stranger]:
        own = {view.info.resque_id(slot) for view in self.workers() for slot in range(max(1, view.info.threads))}
        return strangers(self._scan, self._command, self._names, own, limit)

    def now(self) -> float:
        return self._clock.now()

    # what became of it

    def life(self, timeout: float) -> Life:
        return self._keeper.life(self._until(timeout))

    def remembers(self, ids: Sequence[str]) -> list[bool]:
        return self._keeper.remembers(ids, self._by())

    def persisted(self, *, replica: bool, timeout: float) -> bool | None:
        return self._keeper.persisted(replica, self._until(timeout))

    # taking and settling

    def register(self, worker: WorkerInfo) -> None:
        self._number("heartbeat", [*encoding.worker(worker), b"", b"0"])

    def unregister(self, worker: WorkerInfo) -> None:
        self._idling.over(worker.key)
        self._number("unregister", [worker.key.encode()])

    def heartbeat(self, worker: WorkerInfo, working: Sequence[Working] | None = ()) -> int:
        if working is None:
            return self._number("heartbeat", [*encoding.worker(worker), b"as it is", b"0"])
        on: list[bytes] = []
        for slot, claim, since in working:
            id = worker.resque_id(slot)
            record = wire.record(claim.payload, claim.queue, id.rpartition(":")[0], since) if worker.kind == "worker" else None
            on += (id.encode(), claim.token.encode(), record or b"")
        facts = json.dumps([[slot, claim.token, since] for slot, claim, since in working]).encode() if working else b""
        return self._number("heartbeat", [*encoding.worker(worker), facts, b"%d" % len(working), *on])

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
        deadline = self._until(self._timeout if timeout is None else timeout)
        self._transport.open(deadline)
        not_after = self._clock.at(deadline)
        args = [
            *encoding.worker(worker),
            b"%d" % call,
            encoding.moment(not_after),
            b"%d" % max(0, min(limit, MOST)),
            b"1" if limit > 0 and worker.key in self._idling else b"0",
            b"%d" % len(queues),
            *(queue.encode() for queue in queues),
            *encoding.claims(ack),
            ending(effects.counters, "done").encode(),
            *encoding.effects(effects),
            *encoding.quotas(quotas),
        ]
        try:
            _, lost, front, taken, more, paused, limited = self._settle("claim", args, deadline, worker, call)
        except StoreUnavailable as error:
            error.not_after = not_after if error.maybe_applied else 0.0
            raise
        if limit > 0:  # who only acknowledges may go on waiting
            self._idling.over(worker.key)
        claims, missed = views.claimed(front, taken, worker.key), tuple(token.decode() for token in lost)
        waits = tuple((queue.decode(), float(wait)) for queue, wait in zip(limited[::2], limited[1::2], strict=True))
        return Claimed(claims, missed, more == 1, tuple(queue.decode() for queue in paused), waits)

    def reconcile(self, worker: WorkerInfo, call: int, known: Collection[str] = ()) -> tuple[Claim, ...]:
        args = [*encoding.worker(worker), b"%d" % call, b"%d" % len(known), *(token.encode() for token in known)]
        listed = self._settle("reconcile", args, self._by(), worker, call)[1]
        flat: list[bytes] = []
        for tokens in views.pages(listed, MAX_BYTES):
            for token, value in zip(tokens, self._values(worker.key, [token.decode() for token in tokens]), strict=True):
                flat += [] if value is None else [token, value]
        for token, size in zip(listed[::2], listed[1::2], strict=True):
            if size < 0:
                flat += [token, b""]
        return views.in_order(views.claims(flat, worker.key))

    def ack(self, claims: Sequence[Claim], effects: Effects = NONE) -> None:
        if claims:
            self._settled("ack", claims, [ending(effects.counters, "done").encode()], effects)

    def retry(self, claim: Claim, payload: bytes, at: float, effects: Effects = NONE) -> None:
        self._settled("retry", [claim], [payload, encoding.moment(at)], effects)

    def fail(self, claim: Claim, failure: Failure, effects: Effects = NONE) -> None:
        self._settled("fail", [claim], [wire.encode_failure(failure)], effects)

    def release(self, claims: Sequence[Claim]) -> None:
        if claims:
            self._settled("release", claims, [], NONE)

    def rescue(self, worker: WorkerInfo, limit: int) -> list[Claim]:
        args = [*encoding.worker(worker), b"%d" % max(0, min(limit, MOST))]
        return list(views.claims(self._scripted("rescue", args, _a_list), worker.key))

    def due(self) -> bool:
        if self._clock.monotonic() >= self._promote_at:
            return True
        keys = (self._names.delayed, self._names.schedule)
        if self._transport.call((b"EXISTS", *keys), self._by()) == 0:
            return False
        looks = [(b"ZRANGEBYSCORE", key, b"-inf", encoding.moment(self.now()), b"LIMIT", b"0", b"1") for key in keys]
        return any(self._transport.talk(looks, self._by()))  # an error too: `promote` knows what to do about it

    def promote(self, limit: int) -> int:
        if not self._leader:
            self._leader = f"{socket.gethostname()}:{os.getpid()}:spoolq-{uuid.uuid4().hex[:8]}"
        moved, more = 0, 1
        while more:  # a script for each so many bytes: others get a turn in between
            args = [b"%d" % max(0, limit - moved), b"%f" % self._horizon, self._leader.encode()]
            some, leads, more = self._scripted("promote", args, _a_list)
            moved += int(some)
            self._leads = leads == 1
        self._promote_at = self._clock.monotonic() + (2 * PROMOTE if self._leads else PROMOTE)
        if self._leads and self._clock.monotonic() >= self._sweep_at:
            self._cursor = self._scripted("sweep", [self._cursor], _bytes)
            self._sweep_at = self._clock.monotonic() + SWEEP
        return moved

    def leads(self) -> bool:
        try:
            holder: bytes | None = self._command(b"GET", self._names.leader)
        except StoreUnavailable as error:
            if error.reason != "wrongtype":  # as `promote` sees it: nobody leads
                raise
            return False
        return bool(self._leader) and holder == self._leader.encode()

    def wait(self, worker: WorkerInfo, queues: Sequence[str], timeout: float, *, appear: bool = False) -> bool:
        return self._idling.wait(worker.key, queues, timeout, appear=appear)

    # looking

    def queues(self) -> list[str]:
        names = {name for some in self._scan(b"SSCAN", self._names.queues) for name in some}
        return [queue for name in names if (queue := views.queue(name)) is not None]

    def depths(self, most: int | None = None) -> list[Depth]:
        known: set[bytes] = set()
        for some in self._scan(b"SSCAN", self._names.queues):
            known.update(some)
        # what a stock tool took from the set may be scheduled or claimed
        known.update(field[2:] for field, _ in self._tallies.fields(self._names.counts))
        queues, rows = sorted(known), list[Any]()
        while len(rows) < len(queues):
            page = queues[len(rows) : len(rows) + LOOKED_AT]
            rows += self._scripted("depths", [b"%d" % len(page), *page], _some)
        return [views.depth(row, self.now()) for row in rows]

    def tally(self, most: int | None = None) -> Ledger:
        return self._tallies.ledger()

    def write_off(self, jobs: Mapping[str, int]) -> None:
        for queue, count in jobs.items():
            self._command(b"HINCRBY", self._names.tally, f"written_off:{queue}".encode(), b"%d" % count)

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        return self._tallies.counts()

    def sample(self) -> Ledger | None:
        return self._tallies.sample()

    def history(self, span: Span, since: float) -> list[Sample]:
        return self._tallies.history(span, since)

    def workers(self) -> list[WorkerView]:
        found, stamp = self._scripted("workers", [], _a_list)
        return [views.worker(row, float(stamp), self._values) for row in found]

    def counters(self) -> Mapping[str, int]:
        start = len(self._names.stat(""))
        names: set[bytes] = set()
        for some in self._scan(b"SCAN", b"MATCH", self._names.stat("*")):
            names.update(some)
        keys = sorted(names)
        counts = self._command(b"MGET", *keys) if keys else []
        return {key[start:].decode("utf-8", "replace"): int(n) for key, n in zip(keys, counts, strict=True) if views.number(n)}

    def add_series(self, numbers: Mapping[str, int], *, timeout: float | None = None) -> None:
        named = list(numbers.items())
        for start in range(0, len(named), LOOKED_AT):
            some = named[start : start + LOOKED_AT]
            args = [b"%d" % MOST_SERIES, b"%d" % len(some), *(part for name, by in some for part in (name.encode(), b"%d" % by))]
            self._scripted("series", args, _int_or_undo, timeout)

    def series(self, *, timeout: float | None = None) -> Mapping[str, int]:
        reply = self._transport.call((b"HGETALL", self._names.series), self._until(timeout or self._timeout))
        if isinstance(reply, ReplyError):
            raise refused(reply, self.address)
        pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
        return {name.decode("utf-8", "replace"): int(n) for name, n in pairs if views.number(n)}

    def value(self, key: str) -> bytes | None:
        found: bytes | None = self._command(b"GET", self._names.value(key))
        return found

    def values(self, keys: Sequence[str], *, timeout: float | None = None) -> list[bytes | None]:
        if not keys:
            return []
        deadline = self._until(self._timeout if timeout is None else timeout)
        reply = self._transport.call((b"MGET", *map(self._names.value, keys)), deadline, _a_list)
        if isinstance(reply, ReplyError):
            raise refused(reply, self.address)
        return list(reply)

    def guards(self) -> list[Guard]:
        names: set[bytes] = set()
        for front, pattern in self._names.guards:
            for some in self._scan(b"SCAN", b"MATCH", pattern):
                names.update(key[len(front) :] for key in some)
        found, those = list[Guard](), sorted(names)
        for start in range(0, len(those), LOOKED_AT):
            page = those[start : start + LOOKED_AT]
            flat = self._scripted("guards", [b"%d" % len(page), *page], _a_list)
            found += [views.guard(*row) for row in zip(flat[::3], flat[1::3], flat[2::3], strict=True)]
        return found

    def paused(self) -> Mapping[str, float]:
        if self._command(b"EXISTS", *self._names.pauses) == 0:  # asked every second, by idle workers too
            return {}
        flat = self._scripted("paused", [], _a_list)
        return {queue.decode("utf-8", "replace"): stamps.moment(at) for queue, at in zip(flat[::2], flat[1::2], strict=True)}

    def pause(self, queue: str) -> bool:
        return self._number("pause", [queue.encode(), b"1"]) == 1

    def resume(self, queue: str) -> bool:
        return self._number("pause", [queue.encode(), b"0"]) == 1

    def meta(self, key: str) -> str | None:
        found = self._command(b"HGET", self._names.meta, key.encode())
        return None if found is None else found.decode()

    def set_meta(self, key: str, value: str | None, *, expected: str | Literal[False] | None = False) -> bool:
        condition = b"any" if expected is False else b"no" if expected is None else b"is"
        args = [
            key.encode(),
            b"del" if value is None else b"set",
            (value or "").encode(),
            condition,
            (expected or "").encode(),
        ]
        return self._number("meta", args) == 1

    def purge(self, queue: str) -> int:
        return self._number("purge", [queue.encode(), *encoding.words(IN), *encoding.words(OUT)])

    def close(self, timeout: float = 1.0) -> None:
        if self._closed:
            return
        self._closed = True
        deadline = self._clock.monotonic() + timeout
        try:
            self._putter.flush(deadline)
            if self._leads:
                run(self._transport, script("resign"), (self._names.markers,), (self._leader.encode(),), deadline, _an_int)
        except StoreUnavailable:
            pass  # markers end with the horizon, and the lock by itself
        self._transport.close()

    # asking

    def _until(self, seconds: float) -> float:
        return self._clock.monotonic() + seconds

    def _by(self) -> float:
        return self._until(self._timeout)

    def _command(self, *args: bytes) -> Any:
        reply = self._transport.call(args, self._by(), patient=True)
        if isinstance(reply, ReplyError):
            raise refused(reply, self.address)
        return reply

    def _scan(self, command: bytes, *args: bytes) -> Iterator[Any]:
        """What one of Redis's scans answers, page by page. A page may repeat what another said."""
        key, more = (args[:0], args) if command == b"SCAN" else (args[:1], args[1:])
        cursor: Any = b"0"
        while True:
            cursor, some = self._command(command, *key, cursor, *more, b"COUNT", b"1000")
            yield some
            cursor = str(cursor).encode() if isinstance(cursor, int) else cursor
            if cursor == b"0":
                return

    def _values(self, key: str, tokens: Sequence[str]) -> list[bytes | None]:
        found: list[bytes | None] = self._command(b"HMGET", self._names.claims(key), *(token.encode() for token in tokens))
        return found

    def _scripted(self, name: str, args: Sequence[bytes], valid: Callable[[Any], bool], timeout: float | None = None) -> Any:
        by = self._until(self._timeout if timeout is None else timeout)
        reply = run(self._transport, script(name), (self._names.markers,), args, by, valid, patient=True)
        if isinstance(reply, ReplyError):
            raise refused(reply, self.address)
        if isinstance(reply, list) and reply and reply[0] == b"undo":
            raise outcomes.unavailable(outcomes.UNDO, self.address, reply[1].decode("utf-8", "replace"), maybe=True)
        return reply

    def _memory(self, deadline: float) -> tuple[int | None, int | None]:
        """Bytes used and the limit. A server that won't say (its ACL, a proxy, an imitation) is one without a limit."""
        try:
            reply = self._transport.call((b"INFO", b"memory"), deadline)
        except StoreUnavailable as error:
            if error.reason in ("noperm", "unsupported", "error"):
                return None, None
            raise
        return views.memory(reply) if isinstance(reply, (bytes, dict)) else (None, None)

    def _greeted(self, reply: Any) -> None:
        """Warn, once a process, of a server that would throw jobs away. One that won't say is asked again by a check."""
        finding = checks.eviction(views.server_facts(views.fields(reply), {}, "")) if isinstance(reply, bytes) else None
        if finding is not None and finding.level != "unknown" and self.address not in _warned:
            _warned.add(self.address)
            log.warning("Redis at %s: %s. Remedy: %s", self.address, finding.what, finding.remedy)

    def _number(self, name: str, args: Sequence[bytes]) -> int:
        return int(self._scripted(name, args, _int_or_undo))

    def _settle(self, name: str, args: Sequence[bytes], deadline: float, worker: WorkerInfo, call: int) -> list[Any]:
        reply = run(self._transport, script(name), (self._names.markers,), args, deadline, known, patient=True)
        answer = outcome(reply, self.address)
        if answer[0] == b"late":
            self._clock.doubt()
            raise StaleCall(f"call {call} of worker {worker.key} came after its time was up; nothing was taken or settled")
        if answer[0] == b"stale":
            raise StaleCall(f"call {call} of worker {worker.key} is below one already answered; nothing was taken or settled")
        return answer

    def _settled(self, name: str, claims: Sequence[Claim], middle: Sequence[bytes], effects: Effects) -> None:
        args = [*encoding.claims(claims), *middle, *encoding.effects(effects)]
        reply = run(self._transport, script(name), (self._names.markers,), args, self._by(), known)
        lost = outcome(reply, self.address)[1]
        if lost:
            raise LeaseLost([token.decode() for token in lost])


def _a_list(reply: Any) -> bool:
    return isinstance(reply, list)


def _some(reply: Any) -> bool:
    return isinstance(reply, list) and len(reply) > 0


def _an_int(reply: Any) -> bool:
    return isinstance(reply, int)


def _bytes(reply: Any) -> bool:
    return isinstance(reply, bytes)


def _int_or_undo(reply: Any) -> bool:
    return isinstance(reply, int) or (isinstance(reply, list) and len(reply) == 2 and reply[0] == b"undo")
