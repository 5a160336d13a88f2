"""Who drains a file holds a lock beside it: told at once, and truly, also of who was killed and of who forked."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from spoolq.store.sqlite import SQLiteStore
from spoolq.store.sqlite.attendance import Attendance

Open = Callable[..., SQLiteStore]


def test_it_is_attended_while_somebody_attends(spool: SQLiteStore, open_store: Open, path: Path) -> None:
    other, third = open_store(role="spool"), open_store(role="spool")
    assert not other.attended()
    assert not path.with_name("jobs.db-drain").exists()  # who looks makes nothing
    spool.attend()
    spool.attend()
    third.attend()
    assert spool.attended()
    assert other.attended()
    spool.leave()
    assert other.attended()
    third.close()
    assert not other.attended()
    assert path.with_name("jobs.db-drain").stat().st_mode & 0o777 == 0o600


def test_killed_it_attends_no_more_and_a_child_never_did(spool: SQLiteStore, path: Path) -> None:
    read, write = os.pipe()
    until, held = os.pipe()
    if not (pid := os.fork()):
        os.close(held)
        mine = Attendance(f"{path}-drain")
        mine.attend()
        if not os.fork():  # of a task, say: it lives on, and drains nothing
            os.write(write, b".")
            os.read(until, 1)
            os._exit(0)
        signal.pause()
    os.read(read, 1)
    assert spool.attended()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert not spool.attended()
    for end in (held, until, read, write):
        os.close(end)


def test_where_there_can_be_no_lock_nobody_is_seen(tmp_path: Path) -> None:
    nowhere = Attendance(str(tmp_path / "missing" / "spool.db-drain"))
    nowhere.attend()
    assert not nowhere.attended()


def test_what_lies_in_its_place_hangs_nobody(spool: SQLiteStore, open_store: Open, path: Path) -> None:
    os.mkfifo(path.with_name("jobs.db-drain"))
    assert not open_store(role="spool").attended()
    spool.attend()


def test_where_locks_are_refused_nobody_is_seen(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system of a network."""

    def refused(fd: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr("spoolq.store.sqlite.attendance.fcntl.flock", refused)
    one = Attendance(f"{path}-drain")
    one.attend()
    assert not one.attended()
