"""Rotating JSON Lines files in one directory, to which several processes append: `failures-20261126-0001.jsonl`, a new one each
day (UTC) and each time one is full. The names never change afterwards and sort by age."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from spoolq import stamps
from spoolq.failurelog import disk
from spoolq.units import say_duration

log = logging.getLogger("spoolq.failures")

_NAME = re.compile(r"failures-(\d{8})-(\d{4,})\.jsonl")
_CHUNK = 1 << 20


class FailureFiles:
    """The files of `folder`. Nothing stays open between two writings, so whatever moves a file away needs no word to us.

    max_bytes   of one file, unless a single writing is larger
    keep        files at most, the newest; None: all
    max_age     seconds since a file was last written, after which it is deleted; None for never
    min_free    bytes of the disk that are left to others
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int = 64 << 20,
        keep: int | None = 100,
        max_age: float | None = None,
        min_free: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder, self.name, self.backend = folder, str(folder), "files"
        self._max_bytes, self._keep, self._max_age, self._min_free = max_bytes, keep, max_age, min_free
        self._clock = clock

    def prepare(self) -> None:
        """Make the directory where it isn't there. Raises ConfigError where no file can be made in it."""
        disk.prepare(self.folder, "failure_log")

    def append(self, lines: Sequence[bytes]) -> None:
        """Each as a line of its own, on the disk when this returns. Raises OSError: then none of them counts as written."""
        data = b"".join([line + b"\n" for line in lines])
        disk.make(self.folder)
        disk.room(self.folder, len(data), self._min_free)
        with disk.locked(self.folder):
            path, new = self._current(len(data))
            self._write(path, data)
            if new:
                disk.sync(self.folder)
        if new:
            self.turn()

    def turn(self) -> float:
        """Delete what is too old or too much. Returns the seconds until the next turn. Never raises."""
        try:
            self._tidy()
        except OSError as error:
            log.error("%s: old files can't be deleted: %s; it is tried again", self.name, error.strerror)  # noqa: TRY400
        return 3600.0

    def _tidy(self) -> None:
        """The oldest files beyond `keep`, and those not written for `max_age`; told with the number of failures in them."""
        gone, lines = 0, 0
        with disk.locked(self.folder):
            files = self._files()
            for place, path in enumerate(files, 1):
                written = path.stat().st_mtime
                too_many = self._keep is not None and place <= len(files) - self._keep
                too_old = self._max_age is not None and self._clock() - written > self._max_age
                if too_many or too_old:
                    lines += _lines(path)
                    path.unlink()
                    gone += 1
            if gone:
                disk.sync(self.folder)
        if gone:
            why = [] if self._keep is None else [f"beyond the newest {self._keep:,} (failure_log_keep)"]
            why += [] if self._max_age is None else [f"not written for {say_duration(self._max_age)} (failure_log_max_age)"]
            log.warning("%s: %d file(s) with %d failure(s) were deleted: %s", self.name, gone, lines, ", or ".join(why))

    def _current(self, size: int) -> tuple[Path, bool]:
        """The file to append so many bytes to, and whether it is to be made."""
        today = stamps.iso(self._clock())[:10].replace("-", "")
        last = next((path for path in reversed(self._files()) if path.name.startswith(f"failures-{today}-")), None)
        if last is None:
            return self.folder / f"failures-{today}-0001.jsonl", True
        if (before := last.stat().st_size) and before + size > self._max_bytes:
            number = int(last.stem.rpartition("-")[2]) + 1
            return self.folder / f"failures-{today}-{number:04}.jsonl", True
        return last, False

    def _files(self) -> list[Path]:
        """Ours, the oldest first."""
        found = [(match[1], int(match[2]), name) for name in os.listdir(self.folder) if (match := _NAME.fullmatch(name))]
        return [self.folder / name for _, _, name in sorted(found)]

    def _write(self, path: Path, data: bytes) -> None:
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            before = os.fstat(fd).st_size
            if before and os.pread(fd, 1, before - 1) != b"\n":  # the disk or the host failed in the middle of a line
                data = b"\n" + data
            try:
                disk.write(fd, data)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(fd, before)
                raise
        finally:
            os.close(fd)


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(_CHUNK), b""))
