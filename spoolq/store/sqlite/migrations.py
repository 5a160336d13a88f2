"""From the schema of an older version to this one's. Steps only add (columns with a default, tables): a process that still runs
the older code goes on spooling into a file that was migrated under it, opens it anew, and the newer uses one that was not.

Run by the commands that may take their time (worker, drain, spool), never on the way of an enqueue: sqlite-utils takes a while
to import. Producers wait meanwhile, and no longer than they may: what takes longer than `limit` is undone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from spoolq.errors import ConfigError, StoreUnavailable
from spoolq.importing import importing
from spoolq.store.sqlite import driver
from spoolq.store.sqlite.lock import CommitLock
from spoolq.store.sqlite.session import APPLICATION, COMPATIBLE, OLDEST, VERSION, newer, reads
from spoolq.store.sqlite.statements import statements

if TYPE_CHECKING:
    from sqlite_utils import Database

Steps = Mapping[int, "Callable[[Database], None]"]
"""Version → the step that leads there from the one before."""

STEPS: Steps = MappingProxyType({})
"""None yet: version 1 is the first."""

LIMIT = 1.0
"""Seconds, below those for which an enqueue waits for the disk (`disk_limit`)."""

_VIEWS = statements("views")


def migrate(
    path: str | os.PathLike[str],
    *,
    steps: Steps = STEPS,
    to: int = VERSION,
    oldest: int = OLDEST,
    timeout: float = 5.0,
    limit: float = LIMIT,
) -> int:
    """Bring the file to version `to`, in one transaction of `limit` seconds at most. Returns the version that it had; that one is
    `to` when there was nothing to do, and above it when a newer code did more, which this one can use. Safe when several
    processes do it at once: one does, the others find it done. `oldest`: the version of the oldest code that can use it then.

    Raises ConfigError for a file that is none of ours, or so new that this code can't use it; StoreUnavailable, with the file as
    it was, when it can't be written within `timeout` seconds, or the steps take too long.
    """
    where = os.path.abspath(os.fspath(path))
    if not os.path.exists(where):
        raise ConfigError(f"no spool at {where}")
    lock = CommitLock(f"{where}-lock")
    try:
        with lock:
            connection = driver.connect(where, timeout)
            try:
                return _migrate(connection, where, steps, to, oldest, limit)
            finally:
                connection.close()
    except driver.Error as error:
        raise driver.translate(error, where) from error
    except OSError as error:
        raise StoreUnavailable(f"{where} can't be migrated: {error}. It was left as it is", reason="io") from error
    finally:
        lock.abandon()


def _migrate(connection: driver.Connection, path: str, steps: Steps, to: int, oldest: int, limit: float) -> int:
    if _version(connection, path, to) >= to:
        return _version(connection, path, to)
    with importing():
        from sqlite_utils import Database  # before anybody waits for us

    connection.execute("BEGIN IMMEDIATE")
    try:
        found = _version(connection, path, to)  # again: somebody may have been faster
        if found < to:
            until = time.monotonic() + limit
            connection.set_progress_handler(lambda: time.monotonic() > until, 1000)
            database = Database(connection, execute_plugins=False)
            for version in range(found + 1, to + 1):
                _step(database, steps, version, found, path, until, limit)
            connection.set_progress_handler(None, 0)
            connection.execute(_VIEWS["set_about"], (COMPATIBLE, str(oldest)))
            connection.execute(f"PRAGMA user_version = {to:d}")
        connection.execute("COMMIT")
    finally:
        connection.set_progress_handler(None, 0)
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    return found


def _step(database: Database, steps: Steps, version: int, found: int, path: str, until: float, limit: float) -> None:
    step = steps.get(version)
    if step is None:
        raise StoreUnavailable(f"{path}: no step to schema {version} is known. It was left as it is", reason="migration")
    try:
        step(database)
    except Exception as error:
        if time.monotonic() > until:
            raise StoreUnavailable(
                f"{path}: the step to schema {version} takes longer than {limit:g} s, for which producers may be kept waiting. "
                f"It was left at schema {found}; `spoolq spool upgrade --limit 10m` takes longer, when no producer needs it",
                reason="migration",
            ) from error
        raise StoreUnavailable(
            f"{path}: the step to schema {version} failed ({error!r}). It was left at schema {found}", reason="migration"
        ) from error
    if not database.conn.in_transaction:
        raise StoreUnavailable(f"{path}: the step to schema {version} ended its own transaction", reason="migration")


def _version(connection: driver.Connection, path: str, to: int) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION or version < 1:
        raise ConfigError(f"{path} is not a spool of spoolq's. It was left as it is")
    if version > to:
        row = connection.execute(_VIEWS["about"], (COMPATIBLE,)).fetchone()
        if not reads(row[0] if row else None, to):
            raise ConfigError(newer(path, version, to))
    return version
