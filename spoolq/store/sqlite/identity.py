"""Which file is meant: its path may come to name another one."""

from __future__ import annotations

import os
from contextlib import suppress

Identity = tuple[int, int]
"""(inode, device)."""

_DESCRIPTORS = "/proc/self/fd"


def at(path: str) -> Identity | None:
    """Of the file at the path, None when there is none. Raises OSError."""
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return None
    return there.st_ino, there.st_dev


def of(descriptor: int) -> Identity:
    """Of the file that is open. Raises OSError."""
    there = os.fstat(descriptor)
    return there.st_ino, there.st_dev


def descriptors(file: Identity) -> set[int]:
    """Those of this process that have it open; none where there is no /proc."""
    found: set[int] = set()
    with suppress(FileNotFoundError, PermissionError):
        for name in os.listdir(_DESCRIPTORS):
            with suppress(OSError):  # closed since, as that of the listing itself
                if of(int(name)) == file:
                    found.add(int(name))
    return found
