"""The failover: the primary first, and the spool when it is unavailable, full or too slow. Nobody else decides where a job
goes."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TypeVar

from spoolq import guards, tracking
from spoolq.alarm import Alarm
from spoolq.breaker import Breaker
from spoolq.counts import ENQUEUE, Counts
from spoolq.errors import (
    ConfigError,
    EnqueueError,
    GuardHeld,
    MaybeStored,
    NotStored,
    PayloadError,
    SpoolFull,
    SpoolqError,
    StoreFull,
    StoreUnavailable,
)
from spoolq.events import Witness
from spoolq.job import Message, Receipt, Route
from spoolq.service import Service
from spoolq.slow import Slowness
from spoolq.store.base import MAX_BYTES, MAX_ROWS, Spool, Store
from spoolq.store.effects import NONE, Effects

log = logging.getLogger("spoolq")

T = TypeVar("T")

_KEEP, _GIVEN = attrgetter("keep"), attrgetter("given")
_TOOK: dict[Route, tuple[str, str]] = {"primary": (ENQUEUE, "primary"), "spool": (ENQUEUE, "spool")}


class Client:
    """Puts messages into the primary or the spool, and answers for what it says.

    A chunk with a message that has `keep` is written ahead: into the spool, and `forward` is called to have it handed over.
    `keep` here is for what falls back to the spool: seconds for which its rows stay once the primary has the job.
    `deadline` is what the primary gets, in seconds, `disk_limit` what the spool gets on top. Without a spool (an SQLite
    primary) the primary gets the disk limit and its refusal is final. `ordered`: nothing goes to the primary past a row of its
    queue that waits in the spool. `counts` counts how long calls took, and the primary's errors.
    """

    def __init__(
        self,
        primary: Store,
        spool: Callable[[], Spool] | None,
        breaker: Breaker,
        *,
        deadline: float = 0.25,
        disk_limit: float = 2.0,
        address: str = "the primary",
        ordered: bool = False,
        keep: float = 0.0,
        forward: Callable[[], None] = lambda: None,
        counts: Counts | None = None,
        rng: random.Random | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._primary = primary
        self._spool = spool
        self.breaker = breaker
        self._deadline = deadline
        self._disk_limit = disk_limit
        self._address = address
        self._ordered = ordered
        self._monotonic = monotonic
        self._slowness, self._alarm = Slowness(), Alarm()
        self._keep = keep
        self._forward = forward
        self._counts = Counts() if counts is None else counts
        journal = (lambda: None) if spool is None else (lambda: spool().events)
        self._prober = Prober(
            primary, breaker, rng=rng or random.Random(), counts=self._counts, witness=Witness(breaker, journal)
        )

    def put(self, messages: Sequence[Message], *, deadline: float | None = None) -> list[Receipt]:
        """Store the messages, each chunk (500 rows, 1 MiB) all or nothing; a receipt for each, in order.

        Raises NotStored, SpoolFull or MaybeStored; the error lists every id of the call as stored, not stored or unknown.
        PayloadError where nothing of the call was stored.
        """
        began = self._monotonic()
        if len(messages) == 1 and not messages[0].given:
            receipts = self._put(messages, deadline, self._disk())
        else:
            receipts = self._put_all(messages, deadline)
        if receipts:
            self._counts.observe(_TOOK[receipts[-1].route], self._monotonic() - began)
            if receipts[-1].route == "spool":
                self._count_spooled(messages, receipts)
        return receipts

    def _count_spooled(self, messages: Sequence[Message], receipts: Sequence[Receipt]) -> None:
        """What the primary takes it counts by itself; of a spool other hosts see nothing."""
        for message, receipt in zip(messages, receipts, strict=True):
            if receipt.new and receipt.route == "spool":
                self._counts.add("spoolq_jobs_enqueued_total", self._counts.bounded(message.queue), "spool")

    def _put_all(self, messages: Sequence[Message], deadline: float | None) -> list[Receipt]:
        receipts: list[Receipt] = []
        for chunk in chunks(messages):
            try:
                put = self._recalled if any(map(_GIVEN, chunk)) else self._put
                receipts += put(chunk, deadline, self._disk())
            except (EnqueueError, PayloadError) as fault:
                if isinstance(fault, PayloadError) and not receipts:
                    raise
                untried = messages[len(receipts) + len(chunk) :]
                raise _of_all(fault, chunk, [receipt.id for receipt in receipts], untried) from fault.__cause__ or fault
        return receipts

    def close(self, timeout: float = 1.0) -> None:
        """Stop probing. The stores are closed by who made them."""
        self._prober.stop(timeout)

    def after_fork(self) -> None:
        """In a forked child: what the parent's threads held is free."""
        self._prober.after_fork()

    def _disk(self) -> Allowance:
        return Allowance(self._disk_limit, self._monotonic)

    def _put(self, messages: Sequence[Message], deadline: float | None, disk: Allowance) -> list[Receipt]:
        if self._spool is None:
            return self._only(messages)
        if any(map(_KEEP, messages)):
            return self._ahead(self._spool, messages, disk)
        refusal: StoreUnavailable | None = None
        if self._ordered and self.breaker.allows() and self._behind(self._spool, messages, disk):
            return self._fall_back(self._spool, messages, None, disk)
        if self.breaker.allows():
            allowed = self._deadline if deadline is None else deadline
            began = self._monotonic()
            try:
                new = self._primary.put(messages, _effects(messages), timeout=allowed)
            except GuardHeld as error:
                return guards.held(error, "primary", messages)
            except StoreUnavailable as error:
                refusal = error
                self._counts.add("spoolq_redis_errors_total", error.reason, "enqueue")
                if error.server_wide:
                    self.breaker.failed(error.reason, str(error))
                    self._prober.begin()
            else:
                now = self._monotonic()
                if len(messages) == 1 and self._slowness.answered(now - began, allowed, now):
                    self.breaker.failed("slow", f"{self._address} answers, but takes more than half of the deadline each time")
                    self._prober.begin()
                return _receipts(messages, "primary", new)
        else:
            self._prober.begin()  # a thread doesn't outlive a fork
        return self._fall_back(self._spool, messages, refusal, disk)

    def _behind(self, spool: Callable[[], Spool], messages: Sequence[Message], disk: Allowance) -> bool:
        """Whether earlier jobs of these queues wait in the spool. Asked each time: another process may have spooled them."""
        try:
            return disk.ask(spool().holds, {message.queue for message in messages})
        except (StoreUnavailable, ConfigError) as error:
            why = f"it keeps its order (ordering = fifo), and the spool can't say whether earlier ones wait there: {error}"
            raise _refused(messages, why, error, unknown=False) from error

    def _ahead(self, spool: Callable[[], Spool], messages: Sequence[Message], disk: Allowance) -> list[Receipt]:
        try:
            new = disk.ask(spool().spool, messages, _acquired(messages))
        except GuardHeld as error:
            return guards.held(error, "spool", messages)
        except (StoreUnavailable, ConfigError) as error:
            # Not into the primary instead: the caller asked for more than that one promises
            unknown = isinstance(error, StoreUnavailable) and error.maybe_applied
            raise _refused(messages, f"accept='spool', and the spool: {error}", error, unknown=unknown) from error
        self._forward()
        return _receipts(messages, "spool", new)

    def _fall_back(
        self, spool: Callable[[], Spool], messages: Sequence[Message], refusal: StoreUnavailable | None, disk: Allowance
    ) -> list[Receipt]:
        in_doubt = refusal is not None and refusal.maybe_applied
        not_after = refusal.not_after if refusal is not None and in_doubt else None
        if self._keep:
            messages = [message._replace(keep=self._keep) for message in messages]
        try:
            new = disk.ask(spool().spool, messages, _acquired(messages), not_after=not_after, outage=self.breaker.away())
        except GuardHeld as error:
            return guards.held(error, "spool", messages)
        except (StoreUnavailable, ConfigError, PayloadError) as error:
            # a directory that is missing is found out here, in the outage
            if isinstance(error, PayloadError) and not in_doubt:
                raise
            out = "others wait before it" if self.breaker.allows() else f"out of reach ({self.breaker.reason or 'unknown'})"
            why = refusal or f"{self._address}: {out}"
            unknown = in_doubt or (isinstance(error, StoreUnavailable) and error.maybe_applied)
            raise _refused(messages, f"{why}; the spool: {error}", error, unknown=unknown) from error
        reason, detail = (self.breaker.reason, self.breaker.detail) if refusal is None else (refusal.reason, str(refusal))
        said = self._alarm.spooled(len(messages), reason, detail, now=self._monotonic(), wall=time.time())
        if said:
            log.error("%s", said)
        return _receipts(messages, "spool", new)

    def _only(self, messages: Sequence[Message]) -> list[Receipt]:
        try:
            return _receipts(messages, "primary", self._primary.put(messages, _effects(messages), timeout=self._disk_limit))
        except GuardHeld as error:
            return guards.held(error, "primary", messages)
        except StoreUnavailable as error:
            raise _refused(messages, str(error), error, unknown=error.maybe_applied) from error

    def _recalled(self, messages: Sequence[Message], deadline: float | None, disk: Allowance) -> list[Receipt]:
        """A given id may wait in the spool, or have run from there: the spool is asked before the primary
        (docs/hand-off.md)."""
        if self._spool is None:
            return self._only(messages)
        given = [message.id for message in messages if message.given]
        try:
            found = disk.ask(self._spool().recall, given)
        except (StoreUnavailable, ConfigError) as error:
            # Whether an id is already on its way can't be told now, so asking the primary could queue it twice.
            raise MaybeStored(
                f"{_named(given)} with an id of the caller's: the spool can't say whether it is there already: {error}. "
                "Nobody else was asked; enqueue it again with the same id",
                unknown=given,
                not_stored=[message.id for message in messages if not message.given],
            ) from error
        known = {id: Receipt(id, "spool", new=False) for id, there in zip(given, found, strict=True) if there is not None}
        rest = [message for message in messages if message.id not in known]
        fresh: Iterator[Receipt] = iter(())
        if rest:
            try:
                fresh = iter(self._put(rest, deadline, disk))
            except (EnqueueError, PayloadError) as fault:
                if isinstance(fault, PayloadError) and not known:
                    raise
                raise _of_all(fault, rest, tuple(known)) from fault.__cause__ or fault
        return [known.get(message.id) or next(fresh) for message in messages]


class Allowance:
    """What the disk may take of one chunk's time, in seconds, however often it is asked."""

    def __init__(self, limit: float, monotonic: Callable[[], float]) -> None:
        self._left, self._monotonic = limit, monotonic

    def ask(self, question: Callable[..., T], *values: object, **options: object) -> T:
        """The answer, within what is left of it."""
        began = self._monotonic()
        try:
            return question(*values, timeout=self._left, **options)
        finally:
            self._left = max(0.0, self._left - (self._monotonic() - began))


@dataclass
class Prober:
    """Asks the primary again, in the background, from the first failure until it answers; then closes the breaker."""

    primary: Store
    breaker: Breaker
    rng: random.Random
    first: float = 0.2
    most: float = 5.0
    timeout: float = 1.0
    counts: Counts = field(default_factory=Counts)
    witness: Witness | None = None

    def __post_init__(self) -> None:
        self._failures = 0
        self._service: Service | None = None
        self._lock = threading.RLock()  # a signal handler may enqueue as well
        self._stopped = False

    def begin(self) -> None:
        """Start probing unless it is going on already, or was stopped. Of callers that fail together, one starts it."""
        last = self._service
        if last is not None and not last.ended:
            return
        service = Service("spoolq-prober", self.turn)
        try:
            with self._lock:
                if self._stopped or self._service is not last:
                    return
                self._failures, self._service = 0, service
            service.start()  # without the lock: it may take a while until a thread runs, and not on every caller's time
        except BaseException as error:  # also what a signal handler raises: a later call tries again
            service.stop(0.0)
            if self._service is service:
                self._service = None
            if not isinstance(error, Exception):  # no thread can be had now, or no memory for one: the job matters more
                raise

    def turn(self) -> float | None:
        """One probe. Returns the seconds to the next one (full jitter), or None when there is nothing left to ask."""
        if self.breaker.allows():
            return self._over()
        if self._failures:  # the first turn comes right after the failure: wait first
            try:
                self.breaker.probe(lambda: self.primary.ready(self.timeout))
            except StoreUnavailable as error:
                self.counts.add("spoolq_redis_errors_total", error.reason, "probe")
                self.breaker.failed(error.reason, str(error))
            if self.breaker.allows():
                return self._over()
            if self.witness is not None:
                self.witness.look()
        elif self.witness is not None:
            self.witness.expect()  # no more in this turn: the job that met the outage is being spooled just then
        self._failures += 1
        return self.first + self.rng.uniform(0, min(self.most, self.first * 2 ** min(self._failures, 20)))

    def _over(self) -> float | None:
        """The end of it goes into the journal before this ends."""
        return None if self.witness is None or self.witness.look() else self.most

    def stop(self, timeout: float) -> None:
        """Stop probing, for good."""
        with self._lock:
            self._stopped = True
        if self._service is not None:
            self._service.stop(timeout)

    def after_fork(self) -> None:
        """In a forked child: the parent's lock may have been held by a thread that is gone, or a start under way there."""
        self._lock, self._service = threading.RLock(), None


def chunks(messages: Sequence[Message], rows: int = MAX_ROWS, size: int = MAX_BYTES) -> Iterator[list[Message]]:
    """The messages in order, in pieces of at most so many rows and bytes of payload (one message at least), unique ones each
    alone."""
    chunk: list[Message] = []
    total = 0
    for message in messages:
        alone = message.unique is not None or (chunk and chunk[0].unique is not None)
        if chunk and (alone or len(chunk) >= rows or total + len(message.payload) > size):
            yield chunk
            chunk, total = [], 0
        chunk.append(message)
        total += len(message.payload)
    if chunk:
        yield chunk


def _acquired(messages: Sequence[Message]) -> Effects:
    """The guards of a chunk. A unique message is a chunk of its own, since a guard refuses the whole of a call."""
    return NONE if messages[0].unique is None else guards.acquiring(messages[0], time.time())


def _effects(messages: Sequence[Message]) -> Effects:
    """What goes along with a chunk into the primary."""
    effects = tracking.queued(messages, time.time())
    return effects if messages[0].unique is None else effects | _acquired(messages)


def _receipts(messages: Sequence[Message], route: Route, new: Sequence[bool]) -> list[Receipt]:
    return [Receipt(message.id, route, fresh) for message, fresh in zip(messages, new, strict=True)]


def _of_all(
    fault: EnqueueError | PayloadError, part: Sequence[Message], stored: Sequence[str], untried: Sequence[Message] = ()
) -> EnqueueError:
    """What befell a part of a call, as the error of the whole call."""
    if isinstance(fault, PayloadError):
        said = f"{fault} (of {len(part)} jobs; {len(stored)} of the same call are stored)"
        fault = NotStored(said, not_stored=[message.id for message in part])
    rest = [message.id for message in untried]
    return type(fault)(str(fault), stored=(*stored, *fault.stored), not_stored=(*fault.not_stored, *rest), unknown=fault.unknown)


def _refused(messages: Sequence[Message], why: str, error: SpoolqError, *, unknown: bool) -> EnqueueError:
    ids = [message.id for message in messages]
    if unknown:
        return MaybeStored(
            f"{_named(ids)} may or may not be stored: {why}. Enqueue again with the same id: it won't be queued twice",
            unknown=ids,
        )
    kind = SpoolFull if isinstance(error, StoreFull) else NotStored
    return kind(f"{_named(ids)} could not be stored: {why}", not_stored=ids)


def _named(ids: Sequence[str]) -> str:
    return f"job {ids[0]}" if len(ids) == 1 else f"{len(ids)} jobs, from {ids[0]} on,"
