"""The one thread of a process that touches the file, so that a caller's wait ends even when the disk's doesn't.

A caller hands over an operation and waits. The thread takes all that wait, takes the commit lock and commits once for all of
them: sixteen callers share one sync.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

from spoolq.errors import StoreUnavailable
from spoolq.store.sqlite.operation import UNDONE, Operation, Rest
from spoolq.store.sqlite.session import Session
from spoolq.store.sqlite.settings import Settings
from spoolq.store.sqlite.transactions import Transactions
from spoolq.store.sqlite.wake import Bell

log = logging.getLogger("spoolq.sqlite")

T = TypeVar("T")
Queue = SimpleQueue[Operation]
_MOST = 256
_CLOSING = 5.0  # seconds that a fork waits for the file to be closed
_FORKING = 30.0  # seconds that a fork may take


class Writer:
    """Runs operations on the file. `bell` is rung after a commit that made a row ready."""

    _thread: threading.Thread | None = None  # the class's: `_start` puts one into the instance, in one step

    def __init__(self, settings: Settings, bell: Bell | None = None) -> None:
        self.settings = settings
        self._bell = bell
        self._transactions = Transactions(settings)
        self._closed = False
        self._fresh()
        _writers.add(self)

    def _fresh(self) -> None:
        self._queue: Queue = SimpleQueue()
        vars(self).pop("_thread", None)
        self._closing = threading.Lock()
        self._stop: Operation | None = None
        self._overdue: tuple[Operation, float] | None = None
        self._rests: dict[int, Rest] = {}

    def run(
        self,
        work: Callable[[Session], T],
        limit: float | None = None,
        *,
        writes: bool = True,
        not_after: float = 0.0,
        guarded: bool = False,
        grows: bool = False,
        unheard: Callable[[Session], object] | None = None,
        aside: bool = False,
        plain: bool = False,
    ) -> T:
        """Do `work` in a transaction and return what it returned, synced; or raise within `limit` seconds.

        What was not begun by then never will be. `not_after` is what an error with `maybe_applied` says. `guarded`: the work may
        raise one of our errors after it has written something (without, it must do so before). `grows`: it adds jobs, so the
        reserve is not for it. `unheard` is done in a transaction of its own, before anybody else's, where the work was done
        after all and its caller had been told that nobody knows. `aside`: nobody's job hangs on it, so that it came too late is
        no reason to refuse others at once. `plain`: it looks for no row, and its own may go in `together` with others'.
        """
        limit = self.settings.timeout if limit is None else max(0.0, min(limit, threading.TIMEOUT_MAX))
        if self._closed:
            raise StoreUnavailable(f"{self.settings.path}: this store was closed. Nothing was stored", reason="closed")
        overdue = self._overdue
        if overdue is not None and not overdue[0].answered and limit <= overdue[1]:
            raise StoreUnavailable(
                f"{self.settings.path}: the disk has not answered for over {overdue[1]:g} s, so it was not asked again. "
                "Nothing was stored",
                reason="overdue",
            )
        operation = Operation(work, writes, not_after, guarded=guarded, grows=grows, unheard=unheard, plain=plain)
        if self._thread is None:
            self._start()
        self._queue.put(operation)  # not before: where no thread can be had nothing is left behind for the next caller's
        if not operation.done.acquire(timeout=limit):
            self._overran(operation, limit, aside)
        if operation.error is not None:
            raise operation.error
        result: T = operation.result
        if result is UNDONE:
            raise StoreUnavailable(
                f"{self.settings.path}: the writing thread stumbled. It is not known whether this was stored",
                reason="thread",
                maybe_applied=writes,
                not_after=not_after,
            )
        return result

    def close(self, timeout: float) -> None:
        """Finish what waits, checkpoint, close. What takes longer than `timeout` seconds is left to the thread."""
        self._closed = True
        with self._closing:
            if self._thread is None:
                return
            if self._stop is None:
                self._stop = Operation(lambda session: None, writes=False)
                self._queue.put(self._stop)
        if self._stop.done.acquire(timeout=max(0.0, min(timeout, threading.TIMEOUT_MAX))):
            self._stop.done.release()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def _overran(self, operation: Operation, limit: float, aside: bool) -> None:
        path = self.settings.path
        if operation.withdraw():
            self._overdue = self._overdue if aside else (operation, limit)
            raise StoreUnavailable(
                f"{path}: not begun within {limit:g} s (another process holds the lock, or the disk is slow). Nothing was stored",
                reason="timeout",
            )
        if operation.done.acquire(blocking=False) or not operation.leave():
            return
        self._overdue = self._overdue if aside else (operation, limit)
        raise StoreUnavailable(
            f"{path}: the disk has not answered within {limit:g} s. It is not known whether this was stored",
            reason="timeout",
            maybe_applied=operation.writes,
            not_after=operation.not_after,
        )

    def _start(self) -> None:
        """Begin the thread: once, and without a lock, which a signal handler that enqueues as well would wait for in vain."""
        if self._closed:
            return
        ticket = threading.Lock()  # taken once: by the thread, which begins, or here, and then it never will
        thread = threading.Thread(target=self._loop, args=(self._queue, ticket), name="spoolq-sqlite", daemon=True)
        own = vars(self)
        try:
            if sys.is_finalizing():  # Python 3.11 would wait for a thread that never runs
                raise RuntimeError("the interpreter ends")
            if own.setdefault("_thread", thread) is thread:
                thread.start()
        except BaseException as error:  # also what a signal handler raises
            if self._thread is thread and ticket.acquire(blocking=False):
                own.pop("_thread")
            if not isinstance(error, RuntimeError):
                raise
            raise StoreUnavailable(
                f"{self.settings.path}: no thread can be started ({error}). Nothing was stored", reason="thread"
            ) from error

    def _loop(self, queue: Queue, ticket: threading.Lock) -> None:
        if not ticket.acquire(blocking=False):  # whoever began it was interrupted, and took it back
            return
        while self._survives(queue):
            pass
        try:
            self._transactions.close()
        finally:
            if self._stop is not None:
                self._stop.answer()

    def _survives(self, queue: Queue) -> bool:
        try:
            return self._turn(queue)
        except BaseException:  # a thread that ended would leave every later caller to its limit
            log.exception("%s: the writing thread stumbled, and goes on with the file opened anew", self.settings.path)
            self._transactions.close()
            return True

    def _turn(self, queue: Queue) -> bool:
        """Wait for operations and do them. Returns whether to go on."""

        def gather(operations: list[Operation]) -> None:
            while len(operations) < _MOST and not queue.empty():  # nobody else takes from it
                operations.append(queue.get_nowait())

        operations = [queue.get()]
        gather(operations)
        try:
            if any(operation.writes for operation in operations):
                woke = self._transactions.write(operations, gather)
                if woke and self._bell is not None:
                    self._bell.ring()
            for operation in operations:
                if not (operation.writes or operation is self._stop or isinstance(operation, Rest)) and operation.begin():
                    self._transactions.read(operation)
        finally:
            # Last of all: each caller that wakes wants the interpreter, which this thread then leaves by waiting
            for operation in operations:
                if operation is not self._stop and not isinstance(operation, Rest):
                    operation.answer()
        for operation in operations:
            if isinstance(operation, Rest) and operation.begin():
                self._transactions.close()
                operation.answer()
                operation.over.wait(_FORKING)
        return self._stop is None or self._stop not in operations

    def rest(self) -> None:
        """Before a fork, in the thread that forks: close the file, and leave it so until `go_on`.

        SQLite's locks belong to the process, its idea of them is in the memory that a child inherits. A child of a process that
        has the file open would hold none, and whoever closed the file as the last one would delete the -wal under its hands.
        """
        thread = self._thread
        if thread is None or not thread.is_alive():
            return
        if self._closed:
            thread.join(_CLOSING)
            return
        rest = self._rests[threading.get_ident()] = Rest()
        self._queue.put(rest)
        if not rest.done.acquire(timeout=_CLOSING):  # a disk that hangs: the child will be refused
            rest.withdraw()

    def go_on(self) -> None:
        """After the fork, in the parent."""
        rest = self._rests.pop(threading.get_ident(), None)
        if rest is not None:
            rest.over.set()

    def forget(self) -> None:
        """In a forked child: begin anew, without the parent's thread, connection and lock."""
        self._transactions.forget()
        if self._bell is not None:
            self._bell.forget()
        self._fresh()


_writers: weakref.WeakSet[Writer] = weakref.WeakSet()


def _each(what: Callable[[Writer], None]) -> Callable[[], None]:
    def hook() -> None:
        for writer in list(_writers):
            what(writer)

    return hook


os.register_at_fork(before=_each(Writer.rest), after_in_parent=_each(Writer.go_on), after_in_child=_each(Writer.forget))
