"""A file of nothing beside the database, given up when the disk is full, so that claiming, settling and draining go on there.

SQLite needs room on the disk even to delete: what a transaction changes goes to the -wal first.
"""

from __future__ import annotations

import os
from contextlib import suppress

from spoolq.store.sqlite.lock import give_to_owner

_SPARE = 1 << 20
TO_OPEN = 256 << 10
"""Bytes that opening the database may take of it."""


class Reserve:
    """PATH-reserve, of `size` bytes when it is whole. For the writer thread alone, under the commit lock.

    One that is shorter was given up, and the room it lacks is not for puts; where there is none, the disk never had the room.
    `met_full`: a transaction has failed for want of room since the last look.
    """

    def __init__(self, database: str, size: int) -> None:
        self._database = database
        self._path = f"{database}-reserve"
        self.size = size
        self.lacks = 0
        self.met_full = False

    @property
    def wants(self) -> int:
        """Bytes that the disk must have to spare for it to be made whole again; until then puts are refused."""
        return self.lacks and self.lacks + _SPARE

    def held(self) -> int | None:
        """Bytes of it that are there now, None where it was never made."""
        try:
            return os.stat(self._path).st_size
        except OSError:
            return None

    def look(self, spare: int) -> None:
        """See what others left of it, and make it, or make it whole, where the disk has `spare` bytes enough."""
        self.met_full = False
        held = self.held()
        self.lacks = 0 if held is None else max(0, self.size - held)
        if (held is None and spare >= 2 * self.size) or (self.lacks and spare >= self.wants):
            self._build(held)

    def give_up(self, size: int | None = None) -> bool:
        """Free so many bytes of it, or all. Returns whether there was something to free."""
        held = self.held()
        if not held:
            return False
        left = 0 if size is None else max(0, held - size)
        try:
            os.truncate(self._path, left)
        except OSError:
            return False
        self.lacks = self.size - left
        return True

    def _build(self, held: int | None) -> None:
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return
        try:
            give_to_owner(fd, self._database)
            try:
                os.posix_fallocate(fd, 0, self.size)
                self.lacks = 0
            except OSError:  # not the room after all, or a file system that can't
                with suppress(OSError):
                    os.ftruncate(fd, held or 0)
                if held is None:
                    with suppress(OSError):
                        os.unlink(self._path)
        finally:
            os.close(fd)
