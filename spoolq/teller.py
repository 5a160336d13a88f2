"""Tells the stores what this process has counted: every few seconds, on a thread that is there only while there is something to
tell, and at the end. No caller waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial

from spoolq.counts import Counts
from spoolq.errors import EnqueueError, MaybeStored, SpoolFull, SpoolqError, StoreUnavailable
from spoolq.job import Message
from spoolq.service import Service
from spoolq.store.base import Store

EVERY = 5.0
"""Seconds between two tellings: so much of what it counted a process that is killed takes with it."""

_TIMEOUT = 1.0


class Teller:
    """Adds deltas to the series of the primary; while that is away, to those of the spool, where this process has it open.

    primary, spool   what gives the stores that are open, None where one isn't
    allows           whether the primary is worth asking now

    A telling whose answer was lost is not told again: a metric may miss a few seconds, and never counts anything twice.
    """

    def __init__(
        self,
        counts: Counts,
        primary: Callable[[], Store | None],
        spool: Callable[[], Store | None],
        allows: Callable[[], bool],
        *,
        every: float = EVERY,
    ) -> None:
        self._counts, self._primary, self._spool, self._allows = counts, primary, spool, allows
        self._every = every
        self._service: Service | None = None
        self._lock = threading.Lock()  # of those who tell
        self.idle = True

    def begin(self) -> None:
        """Have it told soon. Starts a thread where there is none; where none can be had now a later call tries again."""
        self.idle = False
        service = Service("spoolq-counts", partial(self._turn, iter((True,))), quiet=True)
        try:
            service.start()
        except BaseException as error:  # also what a signal handler raises
            self.idle = True
            if not isinstance(error, Exception):
                raise
        else:
            self._service = service

    def tell(self, timeout: float = _TIMEOUT) -> bool:
        """Tell now, within `timeout` seconds. Returns whether there was anything to tell. Never raises for a store that is away:
        the next call tells it."""
        until = time.monotonic() + timeout
        if not self._lock.acquire(timeout=timeout):
            return True
        try:
            taken = self._counts.take()
            if not taken:
                return False
            for store in (self._primary() if self._allows() else None, self._spool()):
                left = until - time.monotonic()
                if store is None or left <= 0:
                    continue
                try:
                    store.add_series(taken, timeout=left)
                except StoreUnavailable as error:
                    if error.maybe_applied:
                        return True
                except SpoolqError:  # such as a setting that is wrong: who enqueues hears of it
                    pass
                else:
                    return True
            self._counts.give_back(taken)
            return True
        finally:
            self._lock.release()

    def turn(self) -> float:
        """`tell`, and the seconds to the next time: as a service of a worker, which has one all the time."""
        self.tell()
        return self._every

    def stop(self, timeout: float) -> None:
        """Tell what is left, within `timeout` seconds; the thread ends."""
        service, self._service = self._service, None
        self.idle = True
        until = time.monotonic() + timeout
        if service is not None:
            service.stop(timeout)
        with suppress(Exception):  # the stores may be about to end, with the interpreter
            self.tell(max(0.0, until - time.monotonic()))

    def after_fork(self) -> None:
        """In a forked child: the thread, and what was counted, are the parent's."""
        self._service, self._lock, self.idle = None, threading.Lock(), True
        self._counts.after_fork()

    def _turn(self, first: Iterator[bool]) -> float | None:
        """Wait first: what comes in a burst is told together."""
        if next(first, False) or self.tell():
            return self._every
        self.idle = True
        return None


def count_refused(counts: Counts, messages: Sequence[Message], error: EnqueueError, *, spool: bool) -> None:
    """Count what a call could not store; `spool`: one has refused it as well."""
    refused = {*error.not_stored, *error.unknown}
    reason = "full" if isinstance(error, SpoolFull) else "unknown" if isinstance(error, MaybeStored) else "not_stored"
    for message in messages:
        if message.id in refused:
            counts.add("spoolq_enqueue_errors_total", counts.bounded(message.queue), reason)
    if spool and error.not_stored:
        counts.add("spoolq_spool_rejected_total", by=len(error.not_stored))
