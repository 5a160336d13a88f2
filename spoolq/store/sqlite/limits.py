"""When a put is refused: before the file or the disk is full, so that claiming, settling and draining go on."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable

from spoolq.errors import StoreFull
from spoolq.store.sqlite.session import Session
from spoolq.store.sqlite.settings import Settings
from spoolq.store.sqlite.statements import statements

log = logging.getLogger("spoolq.sqlite")

_VIEWS = statements("views")
_DISK_EVERY = 1.0
_SIZE_EVERY = 0.1
_ROW = 256
"""About what a row and its index entries take beside the payload, in bytes."""

_COUNT_ALWAYS = 10_000


class Limits:
    """Of one store. Kept in the writer thread.

    Neither the disk nor the file is asked at every put. Other processes put as well: so they are asked again after a moment,
    after a part of the head-room was written, and always near the limit.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._looked = self._sized = float("-inf")
        self._free = self._wal = self._used = 0
        self._since_look = self._since_size = 0
        self._counted = (float("-inf"), 0)
        self._warned = False

    def check(self, session: Session, rows: int, size: int) -> None:
        """Whether so many rows more, with payloads of `size` bytes, may be put. Raises StoreFull."""
        size += rows * _ROW
        now = self._clock()
        self._since_look += size
        self._since_size += size
        if now - self._looked > _DISK_EVERY or self._since_look > self._settings.headroom // 4:
            self._look(now)
        self._check_disk()
        self._check_size(session, size, now)
        if self._settings.max_rows is not None:
            self._check_rows(session, rows, self._settings.max_rows, now)

    def _look(self, now: float) -> None:
        # Rarely: since Linux 6.13 a stat of the -wal makes the next sync write its inode too, which takes half as long again
        # (measured)
        settings = self._settings
        disk = os.statvfs(os.path.dirname(settings.path))
        self._free, self._wal = disk.f_bavail * disk.f_frsize, wal_bytes(settings.path)
        self._looked, self._since_look = now, 0
        if self._wal > settings.max_bytes // 4 and not self._warned:
            self._warned = True
            log.warning(
                "%s-wal has grown to %s: a reader keeps it from being checkpointed (a backup, an open sqlite3 shell?)",
                settings.path,
                _mib(self._wal),
            )

    def _check_disk(self) -> None:
        settings = self._settings
        if self._free - self._since_look < settings.min_free:
            self._looked = float("-inf")
            raise StoreFull(
                f"{settings.path}: {_mib(self._free)} free on the disk, and {_mib(settings.min_free)} are to stay free "
                "(spool_min_free). Nothing was dropped to make room: free disk space, or drain",
                reason="disk",
            )

    def _check_size(self, session: Session, size: int, now: float) -> None:
        settings = self._settings
        most = settings.max_bytes - settings.headroom
        if (
            now - self._sized > _SIZE_EVERY
            or self._since_size > settings.headroom // 8
            or self._used + self._wal + self._since_size > most - settings.headroom
        ):
            pages = session.scalar("PRAGMA page_count") - session.scalar("PRAGMA freelist_count")
            self._used, self._sized, self._since_size = pages * session.page_size, now, size
        used = self._used + self._wal + self._since_size - size
        if used + size > most:
            self._looked = float("-inf")
            raise StoreFull(
                f"{settings.path}: {_mib(used)} of {_mib(settings.max_bytes)} are used (spool_max_bytes, of which "
                f"{_mib(settings.headroom)} are kept for settling). Nothing was dropped to make room: drain, or raise the limit"
            )

    def _check_rows(self, session: Session, rows: int, most: int, now: float) -> None:
        # No seq is there twice, so the span bounds the number of rows from above, at the price of two look-ups
        if (session.scalar(_VIEWS["span"]) or 0) + rows <= most:
            return
        at, count = self._counted
        if most <= _COUNT_ALWAYS or now - at > 0.25:
            count = count_rows(session, most)
        count += rows
        if count > most:
            raise StoreFull(
                f"{self._settings.path}: it holds {count - rows} jobs and may hold {most} (spool_max_rows). "
                "Nothing was dropped to make room: drain, or raise the limit",
                reason="rows",
            )
        self._counted = (at if now - at <= 0.25 else now), count


def count_rows(session: Session, limit: int | None = None) -> int:
    """How many rows there are that are not in quarantine, counted up to `limit` only."""
    left = 1 << 60 if limit is None else limit
    found = 0
    for part in ("count_ready", "count_in_doubt", "count_scheduled", "count_claimed"):
        if found < left:
            found += session.scalar(_VIEWS[part], (left - found,))
    return found


def wal_bytes(path: str) -> int:
    """The size of the -wal file. Asked of the file system, never by opening it: closing it would drop SQLite's locks."""
    try:
        return os.stat(f"{path}-wal").st_size
    except FileNotFoundError:
        return 0


def _mib(size: int) -> str:
    return f"{size / (1 << 20):,.1f} MiB"
