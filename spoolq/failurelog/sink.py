"""Every failure that a worker settles, written beside the store's list: on this disk and synced before the store is told, so that
a crash in between leaves it twice, never nowhere.

The store's list is the truth, and no job waits for the files: what a disk doesn't take within its time is told, and is in the
store's list alone.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Protocol

from spoolq.counts import Counts
from spoolq.failurelog.entry import Redact, written
from spoolq.failurelog.telling import Telling
from spoolq.job import Failure

log = logging.getLogger("spoolq.failures")

_BACKLOG, _BYTES = 1000, 32 << 20  # failures, and bytes of them, that may wait in memory for a disk that doesn't answer
Turn = Callable[[], float]


class Local(Protocol):
    """Where failures are written on this disk."""

    name: str
    backend: str
    """`files`, or the kind of a bucket: `s3`, `gs`, `az`."""

    def prepare(self) -> None:
        """See that it can be written. Raises ConfigError."""

    def append(self, lines: Sequence[bytes]) -> None:
        """Write these, synced. Raises OSError."""


class FailureSink:
    """Writes to every place of `locals`, each on a thread of its own: one that hangs holds up no other.

    redact    the application's hook, if any
    limit     seconds that a writing may take before nobody waits for it any more
    services  (name, turn) of what goes on in the background: uploads, and old files that go
    last      turns to be had once more at the end, each until it returns more than 0, where its first part says that it is wanted

    Making one starts nothing, so it is safe before a fork.
    """

    def __init__(
        self,
        locals: Sequence[Local],
        *,
        redact: Redact | None = None,
        limit: float = 2.0,
        services: Sequence[tuple[str, Turn]] = (),
        last: Sequence[tuple[Callable[[], bool], Turn]] = (),
        counts: Counts | None = None,
    ) -> None:
        self.services, self._last = tuple(services), last
        self._redact, self._limit = redact, limit
        counts = Counts() if counts is None else counts
        self._writers = [_Writer(one, limit, counts) for one in locals]

    def prepare(self) -> None:
        """See that each place can be written. Raises ConfigError."""
        for writer in self._writers:
            writer.local.prepare()

    @property
    def names(self) -> list[str]:
        """Where it writes, for people."""
        return [writer.local.name for writer in self._writers]

    def write(self, failures: Sequence[Failure]) -> None:
        """Write these everywhere. On return they are on the disk, or it was told where they are not. Never raises."""
        try:
            batch = _Batch(failures, self._redact)
            until = time.monotonic() + self._limit
            for writer, done in [(writer, writer.hand(batch)) for writer in self._writers]:
                if done is not None and not done.wait(max(0.0, until - time.monotonic())):
                    writer.overdue()
        except Exception:
            log.exception("an error of our own: %d failure(s) may be in the store's failure list alone", len(failures))

    def close(self, timeout: float = 1.0) -> None:
        """Wait for what is being written, and see to what can be uploaded at once, within `timeout` seconds."""
        until = time.monotonic() + timeout
        for writer in self._writers:
            writer.close(max(0.0, until - time.monotonic()))
        threads = [
            threading.Thread(target=_exhaust, args=(turn,), name="spoolq-failures-last", daemon=True)
            for wanted, turn in self._last
            if wanted()
        ]
        with suppress(RuntimeError):  # at the interpreter's end no thread can be started: the next worker does it
            for thread in threads:
                thread.start()
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, until - time.monotonic()))


def _exhaust(turn: Turn) -> None:
    while turn() <= 0:
        pass


class _Batch:
    """Failures, encoded once, by whichever thread comes first: the application's hook may hang."""

    def __init__(self, failures: Sequence[Failure], redact: Redact | None) -> None:
        self.count = len(failures)
        self.size = sum(len(one.payload) + len(one.error) + sum(map(len, one.backtrace)) for one in failures)
        self._failures, self._redact = failures, redact
        self._lock = threading.Lock()
        self._lines: list[bytes] | None = None

    def lines(self) -> list[bytes]:
        with self._lock:
            if self._lines is None:
                self._lines = [written(failure, self._redact) for failure in self._failures]
            return self._lines


class _Writer:
    def __init__(self, local: Local, limit: float, counts: Counts) -> None:
        self.local, self._counts = local, counts
        self._limit = limit
        self._telling = Telling(local.name)
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._queue: SimpleQueue[tuple[_Batch, threading.Event] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._overdue = False  # the writing under way: nobody waits for it any more
        self._backlog = self._bytes = 0

    def hand(self, batch: _Batch) -> threading.Event | None:
        """To be written; what is set then, None where nobody should wait for it."""
        if self._pid != os.getpid():  # a forked child: the thread stayed behind
            self._begin()
        waits = not self._overdue
        with self._lock:
            if not waits and (self._backlog + batch.count > _BACKLOG or self._bytes + batch.size > _BYTES):
                self._telling.trouble("overdue", f"the disk has not answered for over {self._limit:g} s", batch.count)
                self._count("failed", batch)
                return None
            if self._thread is None:
                thread = threading.Thread(target=self._loop, name="spoolq-failures", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:  # the system has none left, for now
                    self._telling.trouble("threads", f"failures can't be written there: {error}", batch.count)
                    self._count("failed", batch)
                    return None
                self._thread = thread
            self._backlog += batch.count
            self._bytes += batch.size
        done = threading.Event()
        self._queue.put((batch, done))
        return done if waits else None

    def overdue(self) -> None:
        """The disk takes too long: it is told, and not waited for until it has answered."""
        with self._lock:
            if not self._backlog:  # it has answered just now
                return
            self._overdue = True
        self._telling.trouble("overdue", f"the disk has not answered for over {self._limit:g} s; failures are settled without it")

    def close(self, timeout: float) -> None:
        if self._thread is None or self._pid != os.getpid():
            return
        self._queue.put(None)
        self._thread.join(timeout)
        if self._backlog:
            self._telling.trouble("ended", "the worker ends before the disk has answered", self._backlog)
        self._begin()

    def _loop(self) -> None:
        queue = self._queue
        while (item := queue.get()) is not None:
            batch, done = item
            try:
                self._write(batch)
            finally:
                with self._lock:
                    self._overdue = False
                    self._backlog -= batch.count
                    self._bytes -= batch.size
                done.set()

    def _write(self, batch: _Batch) -> None:
        written = False
        try:
            self.local.append(batch.lines())
            written = True
        except OSError as error:
            self._telling.trouble(
                f"error {error.errno}", f"failures can't be written there: {error.strerror or error}", batch.count
            )
        except BaseException as error:
            log.exception("an error of our own")
            self._telling.trouble("ours", f"failures could not be written there: {type(error).__name__}", batch.count)
        else:
            self._telling.fine()
        self._count("written" if written else "failed", batch)

    def _count(self, outcome: str, batch: _Batch) -> None:
        self._counts.add("spoolq_failure_log_writes_total", self.local.backend, outcome, by=batch.count)
