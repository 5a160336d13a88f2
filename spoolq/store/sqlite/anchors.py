"""Locks on an open file that outlive what another SQLite library in this process does to it.

SQLite's locks are POSIX locks, and those are a process's: another library that opens the file doesn't see them, and clears the
-shm; when it closes the file, they end, and the next process that closes it takes itself for the last and deletes the -wal. So
beside SQLite's own, an open file gets the two locks by which SQLite tells that somebody uses it, as locks of an open descriptor
(Linux, F_OFD_SETLK): those end with the descriptor alone, and hold for the other library too.

Closing a descriptor of ours would end SQLite's POSIX locks just the same: it is done when no connection is left.

Bytes: SHARED_FIRST and SHARED_SIZE in https://sqlite.org/src/file/src/os.h, UNIX_SHM_DMS in os_unix.c.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys
import threading

from spoolq.store.sqlite.identity import Identity, descriptors

_LOCKS = (("", 0x40000002, 510), ("-shm", 128, 1))  # of which file, first byte, bytes
_SET: int | None = getattr(fcntl, "F_OFD_SETLK", None) if sys.platform == "linux" else None
_UNKNOWN = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)  # to this kernel, as in some sandboxes: then there are SQLite's alone


class _Anchor:
    def __init__(self) -> None:
        self.holders = 0
        self._open: list[int] = []

    def open(self, path: str) -> None:
        for name, _, _ in _LOCKS[len(self._open) :]:
            self._open.append(os.open(f"{path}{name}", os.O_RDONLY | os.O_CLOEXEC))

    def lock(self, kind: int) -> None:
        if _SET is None:
            return
        for descriptor, (_, start, length) in zip(self._open, _LOCKS, strict=True):
            try:
                fcntl.fcntl(descriptor, _SET, struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0))
            except OSError as error:
                if error.errno not in _UNKNOWN:
                    raise

    def is_last(self, file: Identity) -> bool:
        """Whether nothing else of this process has the file open."""
        return not self.holders and not descriptors(file) - set(self._open)

    def close(self) -> None:
        while self._open:
            os.close(self._open.pop())


_anchors: dict[Identity, _Anchor] = {}
_lock = threading.Lock()


def hold(path: str, file: Identity) -> None:
    """Take the locks on a file that SQLite has open, or a share of them. Raises OSError."""
    if _SET is None:
        return
    with _lock:
        anchor = _anchors.setdefault(file, _Anchor())
        anchor.open(path)
        if not anchor.holders:
            anchor.lock(fcntl.F_RDLCK)
        anchor.holders += 1


def let_go(file: Identity) -> None:
    """Before SQLite closes what is held: the last share ends the locks, so that the last process can clean up."""
    with _lock:
        anchor = _anchors.get(file)
        if anchor is not None:
            anchor.holders -= 1
            if not anchor.holders:
                anchor.lock(fcntl.F_UNLCK)


def tidy(file: Identity) -> None:
    """After SQLite has closed a file, and before it opens one: close what is left of ours, when it can be done."""
    with _lock:
        anchor = _anchors.get(file)
        if anchor is not None and anchor.is_last(file):
            del _anchors[file]
            anchor.close()


def _forget() -> None:
    """In a forked child, which opens the file anew: what it inherited is the parent's."""
    global _lock
    _anchors.clear()
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forget)
