"""One SQLite library on one file in a process.

SQLite's locks are POSIX locks, and those are a process's: when a library closes a file, they end, also those of another library,
which isn't told. The next process that closes the file takes itself for the last, and deletes the -wal, into which the first one
goes on to write: what it acknowledges from then on is lost (tests/unit/sqlite/test_sqlite_libraries.py). A second connection of
the same library is safe: it counts them.
"""

from __future__ import annotations

import sys

from spoolq.errors import ConfigError
from spoolq.store.sqlite.identity import Identity, descriptors

_BRING_ONE = frozenset({"_sqlite3", "pysqlite3._sqlite3", "sqlean._sqlite3", "sqlcipher3._sqlite3", "apsw"})


def refuse_another(path: str, file: Identity | None, own: str) -> None:
    """Raise ConfigError when a file that `own`, a module that brings SQLite, has not open here may be open through another one.

    Costs nothing where no other one is loaded, else a look at each of the process's descriptors. Where there is no /proc it can't
    be told.
    """
    others = sorted(name for name in _BRING_ONE if name != own and name in sys.modules)
    if others and file is not None and descriptors(file):
        raise ConfigError(
            f"{path} is open in this process already, through another SQLite library than spoolq's ({', '.join(others)}; spoolq "
            f"uses {own}): when that closes it, SQLite's locks end, and jobs would be lost. Nothing was stored; open it through "
            f"{own} too, or in another process"
        )
