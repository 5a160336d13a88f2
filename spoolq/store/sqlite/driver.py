"""Which SQLite library is used, and what its errors mean. The only module that imports one: never two on one file in a process.

`pysqlite3` when it is installed (a SQLite of its own, newer than most systems'), else the standard library's.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from spoolq.errors import ConfigError, PayloadError, SpoolDamaged, SpoolqError, StoreFull, StoreUnavailable
from spoolq.store.sqlite import anchors, identity, libraries

if TYPE_CHECKING:
    import sqlite3 as sqlite
else:
    try:
        from pysqlite3 import dbapi2 as sqlite
    except ImportError:
        import sqlite3 as sqlite

Error = sqlite.Error
version: str = sqlite.sqlite_version

_OWN = "pysqlite3._sqlite3" if sqlite.__name__.startswith("pysqlite3") else "_sqlite3"

OLDEST = (3, 37)
"""STRICT tables came with SQLite 3.37 (2021-11-27)."""

# Primary result codes, https://sqlite.org/rescode.html
_PERM, _BUSY, _LOCKED, _NOMEM, _READONLY, _INTERRUPT, _IOERR, _CORRUPT, _FULL, _CANTOPEN, _TOOBIG, _NOTADB = (
    3,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
    13,
    14,
    18,
    26,
)
_REASONS = {
    _PERM: "readonly",
    _BUSY: "locked",
    _LOCKED: "locked",
    _NOMEM: "memory",
    _READONLY: "readonly",
    _IOERR: "io",
    _CANTOPEN: "cantopen",
}
HINTS = {  # by reason: what to do next
    "locked": "; another program writes to it, or a reader keeps it (a sqlite3 shell, a backup?)",
    "readonly": "; the file and its directory must be writable for the user that runs this",
    "cantopen": "; the file and its directory must be readable and writable for the user that runs this",
    "io": "; look at the disk (the kernel's log), and at the limits of this process",
}
# A driver that doesn't tell the code (pysqlite3 before 0.6, Python's before 3.11) still tells SQLite's own text.
_TEXTS = (
    ("locked", _BUSY),
    ("readonly", _READONLY),
    ("disk I/O", _IOERR),
    ("malformed", _CORRUPT),
    ("Could not decode to UTF-8", _CORRUPT),  # said by the driver, which has no code for it: a bit of a text was flipped
    ("full", _FULL),
    ("unable to open", _CANTOPEN),
    ("too big", _TOOBIG),
    ("not a database", _NOTADB),
    ("interrupted", _INTERRUPT),
)
_LOOK_AGAIN = frozenset({_IOERR, _CORRUPT, _NOTADB, _CANTOPEN, _READONLY})


def check_version(found: str = version) -> None:
    """Raise ConfigError when this SQLite is too old."""
    if tuple(int(part) for part in found.split(".")[:2]) < OLDEST:
        raise ConfigError(f"SQLite {found} is too old, spoolq needs 3.37 or newer: pip install 'spoolq[sqlite]' brings one along")


class Connection(sqlite.Connection):
    """One of ours: known as long as it is open."""

    file: identity.Identity | None = None
    _anchor: identity.Identity | None = None

    def anchor(self, path: str) -> None:
        """Keep what another library in this process does to the file from harming it. Raises OSError."""
        if self.file is not None:
            anchors.hold(path, self.file)
            self._anchor = self.file

    def close(self) -> None:
        """As sqlite3's."""
        held, self._anchor = self._anchor, None
        if held is not None:
            anchors.let_go(held)
        super().close()
        _open.discard(self)
        if self.file is not None:
            anchors.tidy(self.file)


_open: set[Connection] = set()


def connect(path: str, busy: float, *, readonly: bool = False, still: bool = False) -> Connection:
    """A connection to a file that is there, in autocommit mode, waiting up to `busy` seconds for foreign locks. `still`: nobody
    writes to it, so that a look (`readonly`) needs neither locks nor files beside it.

    It lives until it is closed, never until Python forgets it: a child after a fork, and a process that ends, must not run
    SQLite's closing (a checkpoint, the -wal's deletion) on what others use. Hence the extra reference.

    Raises ConfigError where another SQLite library may have it open in this process.
    """
    file = None
    with suppress(OSError):  # SQLite will say it in its own way
        file = identity.at(path)
    if file is not None:
        anchors.tidy(file)
    if not any(other.file == file for other in tuple(_open)):
        libraries.refuse_another(path, file, _OWN)
    authority = "//" if path.startswith("//") else ""  # an empty one, or the first name of such a path would be taken for it
    connection = sqlite.connect(
        f"file:{authority}{quote(os.fsencode(path))}?mode={'ro' if readonly else 'rw'}{'&immutable=1' if still else ''}",
        uri=True,
        isolation_level=None,
        timeout=busy,
        check_same_thread=False,
        cached_statements=256,
        factory=Connection,
    )
    connection.file = file
    _open.add(connection)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
    return connection


def code(error: BaseException) -> int:
    """The primary result code of a driver's error, 0 when there is none."""
    known: Any = getattr(error, "sqlite_errorcode", None)
    if known is not None:
        return int(known) & 0xFF
    return next((number for text, number in _TEXTS if text in str(error)), 0)


def look_again(error: BaseException) -> bool:
    """Whether the file deserves a second look, through a fresh connection: a read error can look like corruption."""
    return isinstance(error, Error) and code(error) in _LOOK_AGAIN


def is_damage(error: BaseException) -> bool:
    """Whether the file was found to be no database, or a broken one."""
    return isinstance(error, Error) and code(error) in (_CORRUPT, _NOTADB)


def is_interrupt(error: BaseException) -> bool:
    """Whether a progress handler ended it."""
    return isinstance(error, Error) and code(error) == _INTERRUPT


def is_full(error: BaseException) -> bool:
    """Whether there was no room: such a commit is surely not applied."""
    return code(error) == _FULL


def translate(error: Error, path: str, *, maybe_applied: bool = False, not_after: float = 0.0) -> SpoolqError:
    """The error of ours that a driver's error stands for."""
    number = code(error)
    if number in (_CORRUPT, _NOTADB):
        what = "is not a SQLite database" if number == _NOTADB else "is damaged"
        return SpoolDamaged(
            f"{path} {what} ({error}). It was left as it is. If it is the spool, `spoolq spool recover` sets it aside whole and "
            f"saves what can be read of it{'. It is not known whether this was stored' if maybe_applied else ''}",
            maybe_applied=maybe_applied,
            not_after=not_after,
        )
    if number == _FULL:
        return StoreFull(f"{path}: no room to write ({error}). Nothing was stored; free disk space or raise spool_max_bytes")
    if number == _TOOBIG:
        return PayloadError(f"{path}: larger than SQLite can hold ({error}). Nothing was stored")
    if isinstance(error, sqlite.IntegrityError | sqlite.ProgrammingError | sqlite.InterfaceError):
        return StoreUnavailable(f"{path}: {error}", reason="error", maybe_applied=maybe_applied, server_wide=False)
    certain = "It is not known whether it was stored" if maybe_applied else "Nothing was stored"
    reason = _REASONS.get(number, "error")
    return StoreUnavailable(
        f"{path}: {error}. {certain}{HINTS.get(reason, '')}", reason=reason, maybe_applied=maybe_applied, not_after=not_after
    )
