"""The commit lock: one advisory lock on a file beside the database, held for every commit, checkpoint and close.

SQLite before 3.51.3 can damage a WAL database when one connection commits while another checkpoints.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress

from spoolq.store.sqlite import identity


def give_to_owner(fd: int, database: str) -> None:
    """What root makes beside a database belongs to the database's owner, as SQLite does with its own files: or an operator's look
    at a spool would shut out the application that it belongs to."""
    if os.geteuid() == 0:
        with suppress(OSError):
            owner = os.stat(database)
            os.fchown(fd, owner.st_uid, owner.st_gid)


class CommitLock:
    """Exclusive among processes and among the stores of one process. To be used by one thread."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd: int | None = None
        self._identity = 0, 0

    def __enter__(self) -> None:
        """Wait for as long as it takes: callers have their own limit. Raises OSError when there can be no lock."""
        while True:
            if self._fd is None:
                self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                give_to_owner(self._fd, self._path.removesuffix("-lock"))
                self._identity = identity.of(self._fd)
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            try:
                if self._is_the_file():
                    return
            except BaseException:  # nobody would unlock it: there is no __exit__
                self.abandon()
                raise
            self.abandon()  # somebody removed it while we waited: others meet at a new one

    def __exit__(self, *exc: object) -> None:
        if self._fd is not None:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _is_the_file(self) -> bool:
        return identity.at(self._path) == self._identity

    def abandon(self) -> None:
        """Close the descriptor without unlocking. In a forked child an unlock would free the parent's lock, and a descriptor
        kept open would hold it after the parent's death."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)
