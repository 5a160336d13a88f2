"""Claims whose outcome a store has yet to be told, one after the other: retries, failures and what is put back."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from spoolq import wire
from spoolq.errors import GuardHeld, LeaseLost, StoreFull, StoreUnavailable
from spoolq.job import Claim, Failure
from spoolq.outcome import Done, Failed, Outcome, RetryLater
from spoolq.store.base import Store, WorkerInfo
from spoolq.store.effects import Effects

log = logging.getLogger("spoolq.worker")

_PARKED = 5.0  # seconds until a claim that the store refused for its own sake is tried again


@dataclass(slots=True)
class _Entry:
    """`outcome` None: put back at the front, in this order."""

    claims: Sequence[Claim]
    outcome: Outcome | None
    again_at: float = 0.0
    recorded: bool = False


class Settler:
    """Tells `store` what became of claims, and keeps what it can't tell yet: the verb and its arguments, never a job.

    What the store refuses for its own sake (a key that holds something else, a queue that may not be written, no room for a
    failure) is set apart and tried again every few seconds; it holds up nobody.

    record   gets every failure before the store is told of it; it must not raise
    """

    def __init__(
        self,
        store: Store,
        worker: WorkerInfo,
        name: str,
        clock: Callable[[], float] = time.monotonic,
        record: Callable[[Sequence[Failure]], None] | None = None,
    ) -> None:
        self._store, self._worker, self._name, self._clock, self._record = store, worker, name, clock, record
        self._entries: deque[_Entry] = deque()
        self._parked: list[_Entry] = []
        self._lock = threading.Lock()  # others add and look; `send` is for one thread

    def add(self, claim: Claim, outcome: Outcome) -> None:
        """To be settled as this."""
        with self._lock:
            self._entries.append(_Entry((claim,), outcome))

    def put_back(self, claims: Sequence[Claim]) -> None:
        """To be released: those of a queue together, and in this order. Another queue may be one that can't be written."""
        queues: dict[str, list[Claim]] = {}
        for claim in claims:
            queues.setdefault(claim.queue, []).append(claim)
        with self._lock:
            self._entries.extend([_Entry(some, None) for some in queues.values()])

    @property
    def count(self) -> int:
        """How many claims are not settled yet."""
        return sum([len(entry.claims) for entry in self._all()])

    @property
    def results(self) -> bool:
        """Whether one of them was run: if its outcome is never told, it runs again."""
        return any(entry.outcome is not None for entry in self._all())

    @property
    def tokens(self) -> set[str]:
        """Of the claims that are not settled yet."""
        return {claim.token for entry in self._all() for claim in entry.claims}

    @property
    def unsettled(self) -> list[tuple[Claim, Outcome | None]]:
        """Each claim that is not settled yet and its outcome; None: put back."""
        return [(claim, entry.outcome) for entry in self._all() for claim in entry.claims]

    @property
    def refused(self) -> list[tuple[Claim, Outcome | None]]:
        """Those among them that were refused and wait for their next try."""
        return [(claim, entry.outcome) for entry in self._parked for claim in entry.claims]

    @property
    def parked(self) -> bool:
        """Whether something was refused and waits for its next try."""
        return bool(self._parked)

    def send(self) -> None:
        """Settle what is due. Raises StoreUnavailable when the store is away for all, and keeps the rest."""
        if self._parked:
            now = self._clock()
            with self._lock:
                self._entries.extend([entry for entry in self._parked if entry.again_at <= now])
                self._parked = [entry for entry in self._parked if entry.again_at > now]
        while self._entries:
            entry = self._entries[0]
            if self._record is not None and not entry.recorded:
                self._write_failures(self._record)
            try:
                self._tell(entry)
            except LeaseLost as error:
                log.warning(
                    "%s: %d claim(s) of queue %s were settled before, or taken over by somebody else who runs them again",
                    self._name,
                    len(error.tokens),
                    entry.claims[0].queue,
                )
            except StoreUnavailable as error:
                if error.server_wide and not isinstance(error, StoreFull):  # of what comes behind, much makes room
                    raise
                self._park(entry, error)
                continue
            except Exception as error:
                self._park(entry, error)
                continue
            with self._lock:
                self._entries.popleft()

    def _write_failures(self, record: Callable[[Sequence[Failure]], None]) -> None:
        """Those that are new here, together: first to where they are kept beside the store, then to the store."""
        with self._lock:
            new = [entry for entry in self._entries if not entry.recorded]
        failures = [entry.outcome.failure for entry in new if isinstance(entry.outcome, Failed)]
        if failures:
            record(failures)
        for entry in new:
            entry.recorded = True

    def _all(self) -> list[_Entry]:
        with self._lock:
            return [*self._entries, *self._parked]

    def _park(self, entry: _Entry, error: Exception) -> None:
        if not entry.again_at:
            log.error(
                "%s: %s can't be settled, its claim is kept and tried again: %s: %s",
                self._name,
                wire.named(entry.claims[0].payload, entry.claims[0].queue),
                type(error).__name__,
                error,
            )
        entry.again_at = self._clock() + _PARKED
        with self._lock:
            self._parked.append(self._entries.popleft())

    def _tell(self, entry: _Entry) -> None:
        outcome, claim = entry.outcome, entry.claims[0]
        match outcome:
            case None:
                self._store.release(entry.claims)
            case Done(counter, effects):
                self._store.ack(entry.claims, effects | Effects(counters=self.counters(counter)))
            case RetryLater(payload, at, reason, effects):
                effects |= Effects(counters=self.counters("retried"))
                try:
                    self._store.retry(claim, payload, at, effects)
                except GuardHeld:  # it had run out, and an equal job has it: this one goes on without
                    self._store.retry(claim, payload, at, replace(effects, acquire=()))
                if log.isEnabledFor(logging.INFO):
                    log.info("%s: %s is tried again: %s", self._name, wire.named(claim.payload, claim.queue), reason)
            case Failed(failure, effects):
                self._store.fail(claim, failure, effects | Effects(counters=self.counters("failed")))
                log.error(
                    "%s failed for good after %d attempt(s), it is in the failure log: %s",
                    wire.named(claim.payload, claim.queue, failure.id),
                    failure.attempts,
                    failure.exception,
                )

    def counters(self, name: str, by: int = 1) -> tuple[tuple[str, int], ...]:
        """Resque counts by worker beside the whole; node-resque's names: successes and failures, `host:pid`."""
        if name in ("processed", "failed"):
            return (name, by), (f"{name}:{self._worker.host}:{self._worker.pid}", by)
        return ((name, by),)
