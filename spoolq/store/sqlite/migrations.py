"""From the schema of an older version to this one's. Steps only add (columns with a default, tables, indexes): a process that
still runs the older code goes on spooling into a file that was migrated under it, and the newer into one that was not.

Run by the commands that may take their time (worker, drain, spool), never on the way of an enqueue: sqlite-utils takes a while
to import.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from spoolq.errors import ConfigError, StoreUnavailable
from spoolq.store.sqlite import driver
from spoolq.store.sqlite.lock import CommitLock
from spoolq.store.sqlite.session import APPLICATION, VERSION

if TYPE_CHECKING:
    from sqlite_utils import Database

Steps = Mapping[int, "Callable[[Database], None]"]
"""Version → the step that leads there from the one before."""

STEPS: Steps = MappingProxyType({})
"""None yet: version 1 is the first."""


def migrate(path: str | os.PathLike[str], *, steps: Steps = STEPS, to: int = VERSION, timeout: float = 5.0) -> int:
    """Bring the file to version `to`, in one transaction. Returns the version that it had; that one and `to` are the same when
    there was nothing to do. Safe when several processes do it at once: one does, the others find it done.

    Raises ConfigError for a file that is none of ours or newer; StoreUnavailable, with the file as it was, when it can't be
    written within `timeout` seconds.
    """
    where = os.path.abspath(os.fspath(path))
    if not os.path.exists(where):
        raise ConfigError(f"no spool at {where}")
    lock = CommitLock(f"{where}-lock")
    try:
        with lock:
            connection = driver.connect(where, timeout)
            try:
                return _migrate(connection, where, steps, to)
            finally:
                connection.close()
    except driver.Error as error:
        raise driver.translate(error, where) from error
    except OSError as error:
        raise StoreUnavailable(f"{where} can't be migrated: {error}. It was left as it is", reason="io") from error
    finally:
        lock.abandon()


def _migrate(connection: driver.Connection, path: str, steps: Steps, to: int) -> int:
    _version(connection, path, to)
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = _version(connection, path, to)  # again: somebody may have been faster
        if found < to:
            from sqlite_utils import Database

            database = Database(connection, execute_plugins=False)
            for version in range(found + 1, to + 1):
                step = steps.get(version)
                if step is None:
                    raise StoreUnavailable(
                        f"{path}: no step to schema {version} is known. It was left as it is", reason="migration"
                    )
                try:
                    step(database)
                except Exception as error:
                    raise StoreUnavailable(
                        f"{path}: the step to schema {version} failed ({error!r}). It was left at schema {found}",
                        reason="migration",
                    ) from error
                if not connection.in_transaction:
                    raise StoreUnavailable(f"{path}: the step to schema {version} ended its own transaction", reason="migration")
            connection.execute(f"PRAGMA user_version = {to:d}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    return found


def _version(connection: driver.Connection, path: str, to: int) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION or version < 1:
        raise ConfigError(f"{path} is not a spool of spoolq's. It was left as it is")
    if version > to:
        raise ConfigError(f"{path} was made by a newer spoolq (schema {version}, this one knows {to}): upgrade spoolq")
    return version
