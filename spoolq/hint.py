"""What a process of this host last learned about the primary, in a small file that the others read.

It is a hint and nothing more: read without a lock, written by replacing, believed for seconds. Where it can't be kept each
process finds out by itself. The directory is this user's alone, and nothing is read or written through a link, so that
nobody else can stop jobs from going to Redis, or have a file of this user's overwritten.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from spoolq import boot
from spoolq.runtime import Folder

FRESH = 10.0
"""Seconds for which an outage is believed that nobody has confirmed: the processes that see it probe at most 6.2 s apart."""

_MOST = 1024  # bytes of a file that could be ours
_YEAR_9999 = 253_370_764_800


class Note(NamedTuple):
    """`open`: the primary failed, for this reason; else it answered. `since`: when the outage began (epoch seconds, for
    people). `at`: when this was learned, on the clock that all processes share until the next boot."""

    open: bool
    reason: str
    since: float
    at: float


class Hint:
    """The file of one destination. `place` returns the directories that may serve, best first, and the file's name; it is
    asked once, when the file is first needed."""

    def __init__(
        self, place: Callable[[], tuple[Sequence[str], str]], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._place = place
        self._monotonic = monotonic
        self._path: str | None = None
        self._folder = Folder(lambda: place()[0])
        self._seen: tuple[int, int] | None = None

    @property
    def path(self) -> str:
        """Where the file is, or would be; empty where there is no place for one."""
        if self._path is None:
            self._path = self._folder.path and os.path.join(self._folder.path, self._place()[1])
        return self._path

    def news(self) -> Note | None:
        """The note, if the file is another one than when this was last asked. One system call, mostly."""
        if self._seen is None and not os.access(self.path, os.F_OK):  # cheaper than an exception
            return None
        try:
            found = os.lstat(self.path)
        except OSError:
            return None
        seen = found.st_ino, found.st_mtime_ns
        if seen == self._seen:
            return None
        self._seen = seen
        return self.read()

    def read(self) -> Note | None:
        """The note that holds now: of this boot, not from the future, an outage not older than `FRESH`. None otherwise."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, RecursionError), self._folder.opened() as folder:
            file = os.open(os.path.basename(self.path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            try:
                about = os.fstat(file)
                if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid() or about.st_size > _MOST:
                    return None
                text = os.read(file, _MOST)
            finally:
                os.close(file)
            note = _note(text)
            age = self._monotonic() - note.at
            if age >= 0 and (age <= FRESH or not note.open):
                return note
        return None

    def write(self, note: Note) -> bool:
        """Leave this note, in place of the one that is there. False where that can't be done."""
        facts = {**note._asdict(), "boot": boot.name(), "pid": os.getpid()}
        name = os.path.basename(self.path)
        mine = f"{name}.{os.getpid()}"
        try:
            with self._folder.opened(make=True) as folder:
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                file = os.open(mine, flags, 0o600, dir_fd=folder)
                try:
                    os.write(file, json.dumps(facts).encode())
                finally:
                    os.close(file)
                os.replace(mine, name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError:
            return False
        return True

    def after_fork(self) -> None:
        """In a forked child, which may become another user: look for the place again."""
        self._path = self._seen = None
        self._folder.after_fork()


def _note(text: bytes) -> Note:
    facts = json.loads(text)
    note = Note(*(facts[name] for name in Note._fields))
    if facts["boot"] != boot.name() or not isinstance(note.open, bool) or not isinstance(note.reason, str):
        raise ValueError(text)
    if len(note.reason) > 32 or not note.reason.replace("_", "a").isalnum() or not note.reason.isascii():
        raise ValueError(text)
    if not 0 <= note.since < _YEAR_9999:
        raise ValueError(text)
    return note._replace(since=float(note.since), at=float(note.at))
