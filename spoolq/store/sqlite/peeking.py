"""What a file is, seen through a connection that writes nothing: before a store opens it, which puts it into its own mode."""

from __future__ import annotations

import os
import time

from spoolq.errors import StoreUnavailable
from spoolq.store.sqlite import driver, identity
from spoolq.store.sqlite.session import APPLICATION, COMPATIBLE, VERSION, reads
from spoolq.store.sqlite.statements import statements
from spoolq.store.upkeep import Peeked

_VIEWS = statements("views")
_COUNTED = 100_000


def peek(path: str | os.PathLike[str], timeout: float = 1.0) -> Peeked:
    """Look at the file, which must be there, for up to `timeout` seconds or so. Changes nothing.

    Raises SpoolqError (mostly StoreUnavailable) for what can't be read.
    """
    where, until = os.path.abspath(os.fspath(path)), time.monotonic() + timeout
    if os.path.exists(where) and not os.path.isfile(where):  # to open a pipe would wait for ever
        raise StoreUnavailable(f"{where} is no file", reason="cantopen")
    still = not os.path.exists(f"{where}-wal")  # then nobody has it open; and a -wal of ours would stay behind
    try:
        in_wal = still and not identity.descriptors(identity.at(where) or (0, 0)) and _is_wal(where)
        connection = driver.connect(where, timeout, readonly=True, still=still)
        try:
            connection.set_progress_handler(lambda: time.monotonic() > until, 10_000)
            application, schema, journal = (
                connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version", "journal_mode")
            )
            journal = "wal" if in_wal else journal  # of a file that is taken to be still SQLite doesn't say it
            ours = application == APPLICATION and schema > 0
            if not ours:
                return Peeked(False, schema, VERSION, False, journal)
            about = connection.execute(_VIEWS["about"], ("destination",)).fetchone()
            oldest = connection.execute(_VIEWS["about"], (COMPATIBLE,)).fetchone()
            usable = schema <= VERSION or reads(oldest[0] if oldest else None, VERSION)
            rows = connection.execute(_VIEWS["count_some"], (_COUNTED,)).fetchone()[0]
            return Peeked(True, schema, VERSION, usable, journal, about[0] if about else "", rows)
        finally:
            connection.close()
    except driver.Error as error:
        translated = driver.translate(error, where)
        raise (
            translated if isinstance(translated, StoreUnavailable) else StoreUnavailable(str(translated), reason="error")
        ) from error
    except OSError as error:
        raise StoreUnavailable(f"{where} can't be read: {error.strerror}", reason="io") from error


def _is_wal(path: str) -> bool:
    """By the file's head (https://sqlite.org/fileformat2.html). For one that is open nowhere: closing it would end the locks that
    this process has on it."""
    with open(path, "rb") as file:
        return file.read(20)[18:] == b"\2\2"
