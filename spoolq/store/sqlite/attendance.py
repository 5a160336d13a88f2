"""Whether somebody drains a file now: whoever does holds a lock beside it, shared, for as long as its process lives.

A lock tells the truth at once, also of a process that was killed, of another user's and of another container's with the same
directory, and costs no write. A lease in the file would have to be kept by a synced write every few seconds.
"""

from __future__ import annotations

import fcntl
import os
import weakref
from contextlib import suppress

from spoolq.store.sqlite.lock import give_to_owner


class Attendance:
    """That of one store. `path` is the lock's; it is made by who attends, never by who looks."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        _all.add(self)

    def attend(self) -> None:
        """This process drains it from now on. Raises nothing; where there can be no lock, nobody is seen there."""
        if self._fd >= 0:
            return
        with suppress(OSError):
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                give_to_owner(fd, self._path.removesuffix("-drain"))
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:  # somebody looks just now: at the next turn
                os.close(fd)
            else:
                self._fd = fd

    def attended(self) -> bool:
        """Whether somebody does."""
        if self._fd >= 0:
            return True
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # of a pipe, too, it waits for nobody
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # there can be no lock
            return False
        finally:
            os.close(fd)
        return False

    def leave(self) -> None:
        """This process drains it no more. In a forked child: it never did, and keeps nothing open that would say so."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


_all: weakref.WeakSet[Attendance] = weakref.WeakSet()


def _after_fork() -> None:
    for one in list(_all):
        one.leave()


os.register_at_fork(after_in_child=_after_fork)
