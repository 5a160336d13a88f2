"""What writing failures safely to a directory needs: room, a lock among processes, and directory entries that last."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spoolq.errors import ConfigError

LOCK = ".lock"


def prepare(folder: Path, what: str, *, parents: bool = False) -> None:
    """Make the directory where it isn't there (for its owner alone), and see that files can be made in it. Raises ConfigError."""
    try:
        if parents:
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        make(folder)
        with locked(folder, wait=False):  # whoever has it may be at it for minutes, with a bucket that hangs
            pass
    except FileNotFoundError:
        raise ConfigError(f"{what}: there is no directory {folder.parent}; make it, for the user of the worker") from None
    except (NotADirectoryError, FileExistsError):
        raise ConfigError(f"{what}: {folder} is no directory; name one, whose files are then made in it") from None
    except OSError as error:
        raise ConfigError(
            f"{what}: {folder} can't be written: {error.strerror}; let the user of the worker write there"
        ) from None


def look(folder: Path, what: str) -> None:
    """See whether `prepare` would succeed, without making anything. Raises ConfigError."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{what}: {folder} is no directory; name one, whose files are then made in it")
    there = folder if folder.exists() else folder.parent
    if not there.is_dir():
        raise ConfigError(f"{what}: there is no directory {there}; make it, for the user of the worker")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"{what}: {there} can't be written; let the user of the worker write there")


def make(folder: Path) -> None:
    """The directory, in one that is there. Raises OSError."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not folder.is_dir():
            raise
    else:
        sync(folder.parent)


def sync(folder: Path) -> None:
    """What was made, renamed or removed in it lasts from now on."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def room(folder: Path, size: int, min_free: int) -> None:
    """Raise OSError (ENOSPC) where writing so many bytes would leave less than `min_free` on the disk: that is the spool's."""
    if min_free:
        found = os.statvfs(folder)
        if found.f_bavail * found.f_frsize - size < min_free:
            raise OSError(errno.ENOSPC, "the disk has less free than spool_min_free, which is kept for jobs")


@contextmanager
def locked(folder: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the directory's lock, which one process of the host has at a time; it ends with the process. Without `wait` it says
    whether it was had."""
    fd = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        try:
            yield True
        finally:
            fcntl.flock(
                fd, fcntl.LOCK_UN
            )  # a child that a task forked meanwhile has a copy, with which closing ours frees nothing
    finally:
        os.close(fd)


def write(fd: int, data: bytes) -> None:
    """All of it, synced. Raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
    os.fsync(fd)
