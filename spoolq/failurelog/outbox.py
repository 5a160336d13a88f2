"""Failures on their way to a bucket, in files of this disk: what isn't uploaded yet outlives the process that wrote it, and is
uploaded by whichever worker of the host comes next."""

from __future__ import annotations

import errno
import itertools
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from spoolq.failurelog import disk
from spoolq.units import say_size

_LOOK = 5.0  # seconds for which the sum of the files is believed, apart from what this process adds; longer where they are many
_numbers = itertools.count(1)


def written(name: str) -> float:
    """When the file of that name was written, in epoch seconds; 0 where it doesn't say."""
    digits = name.partition("-")[0]
    return int(digits) / 1e9 if digits.isdecimal() else 0.0


class Outbox:
    """The files of `folder`, one for each writing, for the bucket at `url`. Several processes may write, one at a time uploads.

    max_bytes   of all files together, about: each process looks for the others' every few seconds
    min_free    bytes of the disk that are left to others
    parents     the directory in which all outboxes are is made with those above it
    """

    def __init__(
        self,
        folder: Path,
        url: str,
        *,
        max_bytes: int,
        min_free: int = 0,
        parents: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self.url, self.name = folder, url, f"{url} (outbox {folder})"
        self._max_bytes, self._min_free, self._clock = max_bytes, min_free, clock
        self.backend = url.partition(":")[0]
        self._parents = parents
        self._size, self._looked, self._every = 0, float("-inf"), _LOOK

    def prepare(self) -> None:
        """Make the directories where they aren't there. Raises ConfigError where no file can be made."""
        what = f"failure_log: the outbox of {self.url}"
        disk.prepare(self.folder.parent, what, parents=self._parents)
        disk.prepare(self.folder, what)
        self._sweep()

    def append(self, lines: Sequence[bytes]) -> None:
        """To be uploaded; on the disk when this returns. Raises OSError: then none of them will be."""
        data = b"".join([line + b"\n" for line in lines])
        disk.make(self.folder.parent)
        disk.make(self.folder)
        if self._clock() - self._looked > self._every:
            began = self._clock()
            self._size, self._looked = self._sum(), self._clock()
            self._every = max(_LOOK, 100 * (self._looked - began))
        if self._size + len(data) > self._max_bytes:
            raise OSError(
                errno.ENOSPC, f"{say_size(self._size)} wait for the bucket already, more than failure_log_outbox allows with this"
            )
        disk.room(self.folder, len(data), self._min_free)
        name = f"{time.time_ns():020d}-{os.getpid()}-{next(_numbers)}.jsonl"
        unfinished = self.folder / f".{name}"
        try:
            fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                disk.write(fd, data)
            finally:
                os.close(fd)
            unfinished.rename(self.folder / name)
        except OSError:
            with suppress(OSError):
                unfinished.unlink()
            raise
        disk.sync(self.folder)
        self._size += len(data)

    def waiting(self) -> list[str]:
        """The names of the files, the oldest first."""
        with suppress(FileNotFoundError):
            return sorted(name for name in os.listdir(self.folder) if name.endswith(".jsonl") and not name.startswith("."))
        return []

    def read(self, name: str) -> list[bytes]:
        """The lines of a file; none where it is gone."""
        with suppress(FileNotFoundError):
            return [line for line in (self.folder / name).read_bytes().split(b"\n") if line]
        return []

    def remove(self, name: str) -> None:
        """It is uploaded."""
        with suppress(FileNotFoundError):
            size = (self.folder / name).stat().st_size
            (self.folder / name).unlink()
            self._size = max(0, self._size - size)

    def hold(self) -> AbstractContextManager[bool]:
        """Whether this process is the one that uploads now."""
        return disk.locked(self.folder, wait=False)

    def _sweep(self) -> None:
        """What a process began to write here and never finished: its failures are in no store yet, and come again."""
        with suppress(OSError):
            for path in self.folder.glob(".*.jsonl"):
                if time.time() - path.stat().st_mtime > 3600:
                    path.unlink()

    def _sum(self) -> int:
        total = 0
        for name in self.waiting():
            with suppress(FileNotFoundError):
                total += (self.folder / name).stat().st_size
        return total
