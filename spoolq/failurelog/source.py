"""Failures read back from where they were written: a file, a directory of them, or a bucket. Bounded in memory, whatever their
number."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Protocol

from spoolq.errors import ConfigError
from spoolq.failurelog import entry
from spoolq.failurelog.bucket import Bucket, BucketError, Found, ObstoreBucket
from spoolq.failurelog.entry import Record
from spoolq.failurelog.target import Target, target

_BLOCK = 1 << 16
_AT_ONCE = 16  # objects fetched at the same time
_WRITTEN_ON = re.compile(r"failures-(\d{4})(\d\d)(\d\d)-\d+\.jsonl")
_FAILED_ON = re.compile(r"(?:^|/)(\d{4})/(\d\d)/(\d\d)/[^/]+$")


class Source(Protocol):
    """Where failures can be read."""

    name: str

    def records(self, *, since: float | None = None, before: float | None = None, oldest: bool = False) -> Iterator[Record]:
        """Each failure, newest first by when it was written, or oldest first. What certainly failed before `since` or after
        `before` may be left out. Raises OSError, or BucketError."""


def source(text: str, bucket: Callable[[Target], Bucket] = ObstoreBucket) -> Source:
    """The place named by a path or URL. Raises ConfigError where it isn't there, or a package is missing."""
    place = target(text, "FROM")
    if place.kind == "bucket":
        if place.place.endswith((".json", ".jsonl")):
            url, _, key = place.place.rpartition("/")
            return _Object(place.place, key, bucket(Target("bucket", url)))
        return _Keys(place.place, bucket(place))
    path = Path(place.place)
    if path.is_dir():
        return _Folder(path)
    if not path.exists():
        raise ConfigError(f"{path} isn't there: name a file or directory of failures, or a bucket as s3://bucket/prefix")
    return _Folder(path, (path,))


class _Folder:
    def __init__(self, path: Path, files: tuple[Path, ...] | None = None) -> None:
        self.name = str(path)
        self._path, self._files = path, files

    def records(self, *, since: float | None = None, before: float | None = None, oldest: bool = False) -> Iterator[Record]:
        for path in self._files or self._found(since, oldest):
            try:
                file = path.open("rb")
            except FileNotFoundError:
                if self._files:
                    raise
                continue  # a worker has deleted it meanwhile: of its files only so many are kept
            with file:
                yield from map(entry.read, filter(None, map(bytes.strip, forwards(file) if oldest else backwards(file))))

    def _found(self, since: float | None, oldest: bool) -> list[Path]:
        found = [
            path
            for path in self._path.rglob("*.json*")
            if path.suffix in (".json", ".jsonl") and not path.name.startswith(".") and path.is_file()
        ]
        if since is not None:
            found = [path for path in found if (day := _day(path)) is None or day >= entry.day(since)]
        return sorted(found, key=lambda path: str(path.relative_to(self._path)), reverse=not oldest)


def _day(path: Path) -> str | None:
    """The day after which nothing in that file failed, as far as its name tells."""
    match = _WRITTEN_ON.fullmatch(path.name) or _FAILED_ON.search(path.as_posix())
    return "/".join(match.groups()) if match else None


class _Keys:
    """The objects of a bucket, which lie in folders by year, month and day."""

    def __init__(self, name: str, bucket: Bucket) -> None:
        self.name = name
        self._bucket = bucket

    def records(self, *, since: float | None = None, before: float | None = None, oldest: bool = False) -> Iterator[Record]:
        first = "" if since is None else entry.day(since)
        last = "9" if before is None else entry.day(before)
        with ThreadPoolExecutor(_AT_ONCE, "spoolq-get") as threads:
            for day in self._days("", oldest):
                if not first <= day <= last:
                    continue
                found: Iterable[Found] = (one for one in self._bucket.objects(day) if one.key.endswith(".json"))
                keys = iter(sorted(found, key=lambda one: one.written, reverse=not oldest))
                while some := list(islice(keys, _AT_ONCE)):
                    yield from (entry.read(line) for line in threads.map(self._get, some) if line is not None)

    def _days(self, below: str, oldest: bool, depth: int = 3) -> Iterator[str]:
        if not depth:
            yield below
            return
        names = [name for name in self._bucket.folders(below) if name.isdecimal()]
        for name in names if oldest else reversed(names):
            yield from self._days(f"{below}/{name}" if below else name, oldest, depth - 1)

    def _get(self, found: Found) -> bytes | None:
        try:
            return self._bucket.get(found.key).strip()
        except BucketError as error:
            if error.reason == "missing":  # deleted meanwhile
                return None
            raise


class _Object:
    def __init__(self, name: str, key: str, bucket: Bucket) -> None:
        self.name = name
        self._key, self._bucket = key, bucket

    def records(self, *, since: float | None = None, before: float | None = None, oldest: bool = False) -> Iterator[Record]:
        file = io.BytesIO(self._bucket.get(self._key))
        yield from map(entry.read, filter(None, map(bytes.strip, forwards(file) if oldest else backwards(file))))


def forwards(file: BinaryIO) -> Iterator[bytes]:
    """Its lines."""
    return iter(file)


def backwards(file: BinaryIO) -> Iterator[bytes]:
    """Its lines, the last one first. One line is held in memory at a time, and a block."""
    position = file.seek(0, os.SEEK_END)
    rest: list[bytes] = []  # of the line whose beginning is still to come, the last part first
    while position:
        step = min(_BLOCK, position)
        position = file.seek(position - step)
        first, *lines = file.read(step).split(b"\n")
        if lines:
            yield lines.pop() + b"".join(reversed(rest))
            yield from reversed(lines)
            rest = []
        rest.append(first)
    yield b"".join(reversed(rest))
