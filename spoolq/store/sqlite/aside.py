"""A damaged file is set aside whole, with what lies beside it, so that a new one can take jobs. Nothing is deleted.

All of it under the commit lock, so that of several processes that meet the damage one moves the file, and the others find the
new one in its place.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from spoolq.store.sqlite import driver
from spoolq.store.sqlite.statements import statements

_SQL = statements("upkeep")

DAMAGED, RECOVERED, INCOMPLETE = ".damaged-", ".recovered-", ".incomplete-"
_PARTS = ("-wal", "-shm")
_MARK = "user.spoolq"
_MARKS = sys.platform == "linux"


def mark(path: str) -> None:
    """Note on the file itself, as an extended attribute, that it has been a queue of ours. What can't be read under that mark
    is a queue that broke; without it, it may be anybody's file. Raises nothing."""
    if not is_marked(path):
        with suppress(OSError):
            if _MARKS:
                os.setxattr(path, _MARK, b"1")


def is_marked(path: str) -> bool:
    """Whether that was noted on the file that is at the path now."""
    with suppress(OSError):
        return _MARKS and os.getxattr(path, _MARK) == b"1"
    return False


def is_damaged(path: str, busy: float, limit: float = 1.0) -> bool:
    """A second look, through a connection of its own that writes nothing: a read error can look like corruption. A file too
    large to be read through within `limit` seconds counts as damaged: what led here had said so twice."""
    until = time.monotonic() + limit
    try:
        connection = driver.connect(path, busy, readonly=True)
        try:
            connection.set_progress_handler(lambda: time.monotonic() > until, 10_000)
            if connection.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
                return True
            for _ in connection.execute(_SQL["texts"]):
                pass
        finally:
            connection.close()
    except driver.Error as error:
        return driver.is_damage(error) or driver.is_interrupt(error)
    return False


def set_aside(path: str, now: float) -> str:
    """Move the file, its -wal and its -shm out of the way, under names that still belong together. Returns the new one."""
    to = _free(f"{path}{DAMAGED}{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}")
    os.rename(path, to)  # first: whoever opens the path from here on makes a new file, and never meets this one without its -wal
    for part in _PARTS:
        with suppress(FileNotFoundError):
            os.rename(path + part, to + part)
    sync_directory(path)
    return to


def finish(path: str) -> None:
    """Before a new file is made: a -wal at this path belongs to a file whose setting aside was cut short. SQLite would delete
    it."""
    for damaged in reversed(kept(path)):
        if os.path.exists(f"{path}-wal") and not os.path.exists(f"{damaged}-wal"):
            os.rename(f"{path}-wal", f"{damaged}-wal")


def kept(path: str, name: str = DAMAGED) -> list[str]:
    """The files that were set aside and that nobody has recovered yet, or those of another `name`, oldest first."""
    here = Path(path)
    with suppress(OSError):
        found = (file.name for file in here.parent.iterdir() if file.name.startswith(here.name + name))
        return sorted(str(here.with_name(one)) for one in found if not one.endswith((*_PARTS, "-journal")))
    return []


def recovered(damaged: str, complete: bool) -> str:
    """Give it a name that says so, and whether all of it was read. Returns it."""
    path, _, when = damaged.rpartition(DAMAGED)
    to = _free(f"{path}{RECOVERED if complete else INCOMPLETE}{when}")
    for part in (*_PARTS, ""):
        with suppress(FileNotFoundError):
            os.rename(damaged + part, to + part)
    sync_directory(to)
    return to


def sync_directory(path: str) -> None:
    """Names in the directory of that file, on the disk."""
    directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _free(name: str) -> str:
    found, number = name, 1
    while os.path.lexists(found):
        number += 1
        found = f"{name}-{number}"
    return found
