"""Operations made into transactions: one for all, or one for each when the shared one fails. For the writer thread alone."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress

from spoolq.errors import ConfigError, SpoolDamaged, StoreError, StoreFull, StoreUnavailable
from spoolq.store.sqlite import aside, driver, outages
from spoolq.store.sqlite.lock import CommitLock
from spoolq.store.sqlite.noting import noted
from spoolq.store.sqlite.operation import UNDONE, Operation
from spoolq.store.sqlite.reserve import TO_OPEN, Reserve
from spoolq.store.sqlite.session import Session, inherited, open_session
from spoolq.store.sqlite.settings import Settings
from spoolq.store.sqlite.together import Together

log = logging.getLogger("spoolq.sqlite")

_ATTEMPTS = 2
_ROOM = 128 << 10
_PAGE = 4096  # of memory


class Transactions:
    """The open file, its commit lock and its reserve."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._directory = os.path.dirname(settings.path)
        self._lock = CommitLock(f"{settings.path}-lock")
        self._reserve = Reserve(settings.path, settings.reserve)
        self._session: Session | None = None
        self._block = 0  # bytes of one, on the disk where the file was opened
        self._unsynced = False
        self._placed = False
        self._aside: list[tuple[str, str]] = []  # what was set aside, and why: to be written into the new file's journal

    def write(self, operations: list[Operation], more: Callable[[list[Operation]], None]) -> bool:
        """Do those that write, synced. `more` is called under the lock, to add to `operations` those that came meanwhile.
        Returns whether a row became ready."""
        try:
            self._find_place()
            with self._lock:
                more(operations)
                writes = [operation for operation in operations if operation.writes]
                if not self._attempt(writes, 0):
                    for operation in writes:  # alone: what ails one caller's operation must not fail another's
                        attempt = 1
                        while not operation.left and not self._attempt([operation], attempt):
                            attempt += 1
                for operation in writes:
                    if operation.unheard is not None and operation.result is not UNDONE and not operation.heard():
                        self._attempt([Operation(operation.unheard, writes=True)], _ATTEMPTS)
                if self._unsynced:  # nobody waited for another attempt; while it can't be made good, the next one tries
                    with suppress(driver.Error, OSError, StoreError, ConfigError):
                        self._opened()
        except Exception as error:
            for operation in operations:
                if operation.writes and operation.result is UNDONE and operation.error is None:
                    operation.fail(error, self.settings.path)
        return any(operation.woke for operation in operations)

    def read(self, operation: Operation) -> None:
        """Do one that only reads, outside of any transaction."""
        try:
            self._find_place()
            for last in (False, True):
                try:
                    session = self._session
                    if session is None or session.moved():
                        with self._lock:
                            self._close()
                            self._check_room([operation])
                            session = self._opened()
                    session.look_at_clock()
                    operation.result = operation.work(session)
                    break
                except driver.Error as error:
                    if last or not driver.look_again(error):
                        raise
                    with self._lock:
                        self._close()
        except Exception as error:
            operation.fail(error, self.settings.path)

    def close(self) -> None:
        """Checkpoint and close, under the lock. Where there can be no lock the connection is left to the process's end."""
        if self._session is not None:
            with suppress(OSError), self._lock:
                self._close(checkpoint=True)
            self._session = None
        self._lock.abandon()

    def forget(self) -> None:
        """In a forked child: the connection is the parent's, never to be closed here, and so is the lock."""
        self._lock.abandon()
        if self._session is not None:
            inherited.add(self._session.identity)
        self._session = None

    def _attempt(self, operations: list[Operation], attempt: int) -> bool:
        """One transaction. Returns whether each has its answer; if not, nothing was done and they are to be tried again, alone
        from attempt 1 on."""
        path, last = self.settings.path, attempt == _ATTEMPTS
        try:
            if self._session is not None and self._session.moved():
                self._close()  # nothing may be written where others have set it aside: it would be there twice
            self._check_room(operations)
            session = self._opened()
            session.begin()
        except (driver.Error, OSError, StoreError, ConfigError) as error:
            again = self._look_again(error)
            if (self._set_aside(error, operations, attempt) or again) and not last:
                return False
            for operation in operations:
                operation.fail(error, path)
            return True
        live = [operation for operation in operations if operation.begin()]
        committing = False
        together = session.together = Together() if len(live) > 1 else None
        try:
            for operation in live:
                if together is not None and not operation.plain:
                    together.write(session)
                self._one(session, operation, alone=len(live) == 1)
            if session.in_transaction:
                if together is not None:
                    together.write(session)
                session.write_tally()
                outages.write_joined(session)
                for to, why in self._aside:
                    noted(session, "spool_damaged", f"it was set aside whole as {to}, and a new one begun: {why}", to=to)
                committing = True
                session.commit()
                self._aside.clear()
            self._check_place(session)
        except BaseException as error:
            session.rollback()
            maybe = committing and not driver.is_full(error)
            self._unsynced = self._unsynced or (maybe and isinstance(error, driver.Error))
            for operation in live:  # before anything else that may fail: what was rolled back must not be answered as done
                operation.undone(maybe=maybe)
            if not isinstance(error, Exception):
                raise
            again = self._look_again(error) or self._made_room(error, live) or len(operations) > 1
            if (self._set_aside(error, live, attempt) or again) and not last:
                return False
            for operation in live:
                operation.fail(error, path)
        return True

    def _one(self, session: Session, operation: Operation, *, alone: bool) -> None:
        session.woke = False
        savepoint, before = operation.guarded and not alone, session.noted()
        if savepoint:
            session.execute("SAVEPOINT one")
        try:
            operation.result = operation.work(session)
        except (StoreError, driver.Error) as error:
            if isinstance(error, driver.Error) and not (alone and session.in_transaction and not driver.look_again(error)):
                raise  # the shared transaction ends; each is tried alone
            if alone:
                session.execute("ROLLBACK")
            elif savepoint:
                session.execute("ROLLBACK TO one")
            session.counted, session.spooled, session.away = before
            operation.fail(error, self.settings.path)
        else:
            operation.woke = session.woke
        if savepoint:
            session.execute("RELEASE one")

    def _check_place(self, session: Session) -> None:
        if session.moved():
            raise StoreUnavailable(
                f"{self.settings.path} was deleted or replaced while it was in use", reason="moved", maybe_applied=True
            )

    def _find_place(self) -> None:
        """Once, and before the lock's file is made. Here, since a disk that hangs must not hang a caller."""
        if not self._placed:
            self.settings.prepare_place()
            self._placed = True

    def _opened(self) -> Session:
        """The session on the file that is at the path now. Under the lock."""
        if self._session is None:
            path = self.settings.path
            with suppress(FileNotFoundError):
                there = os.stat(path)
                if not there.st_size and aside.is_marked(path):
                    raise SpoolDamaged(f"{path} is empty, and it was not. It was left as it is; move it aside with its -wal")
            self._session = open_session(self.settings, self._reserve)
            aside.mark(path)
        if self._unsynced:
            self._session.rewrite()
            self._unsynced = False
        return self._session

    def _set_aside(self, error: Exception, operations: Sequence[Operation], attempt: int) -> bool:
        """Whether a damaged spool was moved out of the way, so that jobs are taken in a new one: for a put only, after a second
        look, and only a file that has been a spool of ours. Anything else that lies at the path is left alone."""
        settings = self.settings
        if attempt != 1 or settings.role != "spool" or not settings.create or _drains(operations):
            return False
        if any(operation.maybe for operation in operations):  # stored in the new one, it might be in both: unknown, for once
            return False
        if not isinstance(error, SpoolDamaged) and not (
            driver.is_damage(error) and aside.is_damaged(settings.path, settings.timeout)
        ):
            return False
        if not aside.is_marked(settings.path):
            return False
        to = aside.set_aside(settings.path, settings.clock())
        self._aside.append((to, str(error)))
        log.error(
            "%s is damaged (%s). It was set aside whole as %s, and a new one was begun: jobs are taken. What the old one holds "
            "is neither sent nor run until somebody calls `spoolq spool recover`",
            settings.path,
            error,
            to,
        )
        return True

    def _check_room(self, operations: Sequence[Operation]) -> None:
        """SQLite writes the -shm file through a mapping: where the disk can't hold what it writes, the process dies of SIGBUS.
        Opening does, and where a block is smaller than a page so may every transaction. Raises StoreFull."""
        if self._session is not None and self._block >= _PAGE and not _drains(operations):
            return  # an open file, and nobody whom the reserve is for
        free, self._block = self._disk()
        if free >= _ROOM or (_drains(operations) and self._reserve.give_up(TO_OPEN)):
            return
        if self._session is None or self._block < _PAGE:
            raise StoreFull(
                f"{self.settings.path}: the disk is full, the file can't even be opened. Nothing was dropped to make room: "
                "free some space",
                reason="disk",
            )

    def _made_room(self, error: Exception, operations: Sequence[Operation]) -> bool:
        """Whether the disk was full, and the reserve was given up to those that claim and settle."""
        if not driver.is_full(error):
            return False
        self._reserve.met_full = True
        try:
            return _drains(operations) and self._disk()[0] < _ROOM and self._reserve.give_up()
        except (OSError, StoreError):  # a disk that can't even be asked: the first error says more
            return False

    def _disk(self) -> tuple[int, int]:
        """(bytes free, bytes of a block)."""
        try:
            disk = os.statvfs(self._directory)
        except FileNotFoundError as error:
            raise StoreUnavailable(
                f"{self.settings.path}: its directory is gone. Nothing was stored; make the directory again", reason="missing"
            ) from error
        return disk.f_bavail * disk.f_frsize, disk.f_frsize

    def _look_again(self, error: Exception) -> bool:
        """Whether the fault may be the connection's: it was closed, and another look is worth it."""
        again = error.reason in ("moved", "damaged") if isinstance(error, StoreUnavailable) else driver.look_again(error)
        if again:
            self._close()
        return again

    def _close(self, *, checkpoint: bool = False) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close(checkpoint=checkpoint)


def _drains(operations: Sequence[Operation]) -> bool:
    """Whether one of them claims, settles or looks: puts don't get the reserve."""
    return not all(operation.grows for operation in operations)
