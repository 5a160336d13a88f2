"""The file, opened: its schema, its settings, and whether it is still the one at its path. For the writer thread alone."""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from spoolq.errors import ConfigError, StoreUnavailable
from spoolq.store.effects import RELAY
from spoolq.store.events import Away
from spoolq.store.sqlite import aside, driver, filesystem, identity
from spoolq.store.sqlite.identity import Identity
from spoolq.store.sqlite.reserve import Reserve
from spoolq.store.sqlite.settings import Settings
from spoolq.store.sqlite.statements import schema, statements

if TYPE_CHECKING:
    from spoolq.store.sqlite.together import Together

log = logging.getLogger("spoolq.sqlite")

VERSION = 1
"""`PRAGMA user_version` of the schema that this code makes."""

OLDEST = 1
"""The oldest version whose code can use a file of this one's schema. A file says so itself, for the code that was older."""

COMPATIBLE = "oldest_code"
"""Under which name the file says it, since it was migrated."""

APPLICATION = 0x73706C71
"""`PRAGMA application_id`: "splq"."""

PAGE = 4096
_CHECKPOINT_PAGES = 1000

_VIEWS = statements("views")
_ORDER = statements("order")
_TALLY = statements("tally")

inherited: set[Identity] = set()
"""Files that were open when this process was forked: what SQLite remembers of its locks on them are the parent's."""


def micros(seconds: float) -> int:
    """Seconds as the whole microseconds that the file holds."""
    return int(seconds * 1_000_000)


def fence() -> int:
    """A number that no other claim has: 62 bits, the top one set, so that it fills its eight bytes in the file."""
    return 1 << 61 | secrets.randbits(61)


class Session:
    """One connection. `now` is the time in microseconds at which the transaction began; `woke` notes that a row became ready;
    `counted` is what the tally is to have added with it, by queue and word, `spooled` what the outage is to have, as `away` saw
    it; `outage` the number of the one that lasts, and until when on the clock that doesn't jump that was seen to be so;
    `together` takes the rows of callers that share the transaction, None where it is one's alone."""

    def __init__(self, settings: Settings, connection: driver.Connection, file: Identity, reserve: Reserve) -> None:
        self.settings = settings
        self.identity = file
        self.reserve = reserve
        self.now = micros(settings.clock())
        self.woke = False
        self.counted: dict[tuple[str, str], int] = {}
        self.spooled = 0
        self.away: Away | None = None
        self.together: Together | None = None
        self.outage = 0, float("-inf")
        self.page_size = PAGE
        self.fence: Callable[[], int] = fence
        self.execute = connection.execute
        self.executemany = connection.executemany
        self._connection = connection
        self._told = False

    def one(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """The first row, or None."""
        return self.execute(sql, values).fetchone()

    def scalar(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """The first column of the first row, or None."""
        row = self.execute(sql, values).fetchone()
        return None if row is None else row[0]

    def all(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Every row."""
        return self.execute(sql, values).fetchall()

    def begin(self) -> None:
        """Begin to write. Waits for a foreign writer as long as the store's time-out."""
        self.execute("BEGIN IMMEDIATE")
        self.counted, self.spooled, self.away = {}, 0, None
        self.look_at_clock()

    def tally(self, word: str, queue: str, jobs: int = 1) -> None:
        """So many have come or gone, as `spoolq.store.tally` says. Written once, with the rest of the transaction."""
        if jobs and queue != RELAY:
            self.counted[queue, word] = self.counted.get((queue, word), 0) + jobs

    def noted(self) -> tuple[dict[tuple[str, str], int], int, Away | None]:
        """What the transaction has yet to write for itself, to be put back where a part of it is undone."""
        return dict(self.counted), self.spooled, self.away

    def write_tally(self) -> None:
        """Before the commit."""
        for (queue, word), jobs in self.counted.items():
            self.execute(_TALLY["count"], (f"\n{word}\n{queue}", jobs))
        self.counted = {}

    def beside(self, what: Callable[[], object]) -> None:
        """Do what no job hangs on, in the open transaction. Where it fails it is undone, and all else goes on; raises only what
        has ended the transaction."""
        self.execute("SAVEPOINT beside")
        try:
            what()
        except Exception as error:
            self._without(error)
            self.execute("ROLLBACK TO beside")
        self.execute("RELEASE beside")

    def one_beside(self, sql: str, values: Sequence[Any]) -> bool | None:
        """As `beside`, for one statement, which SQLite undoes by itself. Returns whether it changed a row, None where it
        failed."""
        try:
            return bool(self.execute(sql, values).rowcount == 1)
        except Exception as error:
            self._without(error)
            return None

    def _without(self, error: Exception) -> None:
        if not self.in_transaction:
            raise error
        if not self._told:
            log.warning("%s: its journal can't be written (%s); jobs go on without it", self.settings.path, error)
        self._told = True

    def look_at_clock(self) -> None:
        """Take the time anew."""
        self.now, self.woke = micros(self.settings.clock()), False

    def commit(self) -> None:
        """Commit; on return it is on the disk."""
        self.execute("COMMIT")

    def rollback(self) -> None:
        """Leave no transaction open. Raises nothing that a driver raises: some failures roll back by themselves."""
        with suppress(driver.Error):
            if self._connection.in_transaction:
                self.execute("ROLLBACK")

    @contextmanager
    def at_one_moment(self) -> Iterator[None]:
        """What is read within is of one moment, as it is in a transaction anyway; who writes isn't held up. Else a row that
        changes its state meanwhile is in none of two counts."""
        if self.in_transaction:
            yield
            return
        self.execute("BEGIN")
        try:
            yield
        finally:
            self.rollback()

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open: SQLite ends it by itself on a full disk or a read error."""
        return self._connection.in_transaction

    @contextmanager
    def interrupted_after(self, until: float) -> Iterator[None]:
        """What runs within ends with an error of the driver's past this time on the monotonic clock."""
        self._connection.set_progress_handler(lambda: time.monotonic() > until, 10_000)
        try:
            yield
        finally:
            self._connection.set_progress_handler(None, 0)

    def moved(self) -> bool:
        """Whether the path names another file now, or none: what is committed here, nobody would find."""
        return identity.at(self.settings.path) != self.identity

    def rewrite(self) -> None:
        """After a commit whose sync failed: what it wrote can be read, and a second sync would succeed, though the disk has
        lost it. So all of the -wal is written again, into the database, and that is synced. Raises when it can't be."""
        busy, _, _ = self.one("PRAGMA wal_checkpoint(TRUNCATE)")
        if busy:
            raise StoreUnavailable(
                f"{self.settings.path}: a sync failed, and a reader keeps it from being made good (a backup, a sqlite3 shell?). "
                "Look at the disk (the kernel's log)",
                reason="io",
            )

    def close(self, *, checkpoint: bool = False) -> None:
        """Close, quietly: what was committed stays committed. Under the commit lock, so it waits for no foreign reader."""
        self.rollback()
        with suppress(driver.Error):
            if checkpoint:
                self.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        with suppress(driver.Error):
            self._connection.close()


def reads(oldest: str | None, version: int) -> bool:
    """Whether code of that schema version can use a file that is newer, and says which is the `oldest` that can."""
    return oldest is not None and oldest.isdecimal() and int(oldest) <= version


def newer(path: str, found: int, known: int) -> str:
    """What to say of a file that can't be used, since a newer version changed it."""
    return (
        f"{path} was made by a newer spoolq (schema {found}, this one knows {known}). It was left as it is, with its jobs: "
        "upgrade spoolq here too, or drain or export it with the newer one, and name another file"
    )


def open_session(settings: Settings, reserve: Reserve) -> Session:
    """Open the file, made first if it may be. Under the commit lock. Raises ConfigError, StoreUnavailable or a driver's error."""
    driver.check_version()
    path = settings.path
    filesystem.check(path)
    file = identity.at(path) or _make(settings)
    if file in inherited:
        raise StoreUnavailable(
            f"{path} was in use, and could not be closed, when this process was forked, so it can't be used here. Nothing was "
            "stored; start the process anew (was the disk hanging? does the server fork without telling Python?)",
            reason="forked",
        )
    connection = driver.connect(path, settings.timeout)
    session = Session(settings, connection, file, reserve)
    try:
        _prepare(session)
        connection.anchor(path)
        if session.moved():
            raise StoreUnavailable(f"{path} was replaced while it was being opened. Nothing was stored", reason="moved")
    except BaseException:
        connection.close()
        raise
    return session


def _make(settings: Settings) -> Identity:
    """An empty file, for its owner's eyes alone (SQLite gives -wal and -shm the same mode), its name synced."""
    path = settings.path
    if not settings.create:
        raise StoreUnavailable(f"no spool at {path}", reason="missing")
    try:
        aside.finish(path)
        with suppress(FileNotFoundError):  # of a file that was deleted under somebody who still uses it
            os.unlink(f"{path}-shm")
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        aside.sync_directory(path)
    except FileExistsError:
        pass
    except OSError as error:
        raise StoreUnavailable(
            f"{path} can't be made: {error.strerror}. Nothing was stored; the directory must be writable for this user "
            f"({os.geteuid()})",
            reason="readonly",
        ) from error
    return identity.at(path) or (0, 0)


def _prepare(session: Session) -> None:
    settings = session.settings
    path = settings.path
    version, application = session.scalar("PRAGMA user_version"), session.scalar("PRAGMA application_id")
    if application != APPLICATION and (version or session.scalar("SELECT count(*) FROM sqlite_schema")):
        raise ConfigError(f"{path} is a SQLite database of something else. It was left as it is; name another file")
    if version > VERSION and not reads(session.scalar(_VIEWS["about"], (COMPATIBLE,)), VERSION):
        raise ConfigError(newer(path, version, VERSION))
    if version and not session.scalar(_VIEWS["has_front"]):
        raise ConfigError(
            f"{path} was made by an earlier spoolq that was never released. It was left as it is, with its jobs: drain or export "
            "it with that one, and name another file, or move this one away"
        )
    pages = settings.max_bytes // PAGE
    checkpoint = min(_CHECKPOINT_PAGES, max(32, pages // 16))
    for pragma in (
        f"synchronous = {settings.synchronous}",
        f"wal_autocheckpoint = {checkpoint}",
        # Well above where it is reset: a WAL that is cut short at every reset makes each sync write file metadata
        f"journal_size_limit = {4 * checkpoint * PAGE}",
        "cell_size_check = ON",
        "trusted_schema = OFF",
        "temp_store = MEMORY",
        "cache_size = -8000",
    ):
        session.execute(f"PRAGMA {pragma}")
    if version:
        _use_wal(session)  # a copy made by VACUUM INTO, say, is in another mode
    else:
        _make_schema(session)
    session.page_size = session.scalar("PRAGMA page_size")
    session.execute(f"PRAGMA max_page_count = {settings.max_bytes // session.page_size}")
    _check_destination(session)
    if not settings.ordered and session.one(_ORDER["marked"]):
        session.execute(_ORDER["unmark"])


def _make_schema(session: Session) -> None:
    """In one transaction; whoever comes second finds it made."""
    with suppress(OSError):  # an empty file that somebody else made: from here on it holds jobs
        os.chmod(session.settings.path, 0o600)
    session.execute(f"PRAGMA page_size = {PAGE}")
    session.execute("PRAGMA auto_vacuum = INCREMENTAL")  # so that it can be made smaller bit by bit, beside those who use it
    _use_wal(session)
    session.begin()
    try:
        if not session.scalar("PRAGMA user_version"):
            for statement in schema():
                session.execute(statement)
            session.execute(f"PRAGMA application_id = {APPLICATION}")
            session.execute(f"PRAGMA user_version = {VERSION}")
        session.commit()
    finally:
        session.rollback()


def _use_wal(session: Session) -> None:
    mode = session.scalar("PRAGMA journal_mode = WAL")
    if mode != "wal":
        raise StoreUnavailable(
            f"{session.settings.path}: this file system can't hold a WAL database (SQLite fell back to {mode}). "
            "Nothing was stored; use a local disk",
            reason="wal",
        )


def _check_destination(session: Session) -> None:
    wanted = session.settings.destination
    if not wanted:
        return
    found = session.scalar(_VIEWS["about"], ("destination",))
    if found is None:
        session.execute(_VIEWS["set_about"], ("destination", wanted))
    elif found != wanted:
        raise ConfigError(
            f"{session.settings.path} holds jobs for {found}, not for {wanted}. It was left as it is; name another spool, "
            f"or drain this one with its own address"
        )
