"""When a put is refused: before the file or the disk is full, so that claiming, settling and draining go on."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from functools import partial

from spoolq.errors import StoreFull
from spoolq.store.sqlite.fullness import MARKS, Fullness, fullest, passed
from spoolq.store.sqlite.noting import record
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
        self._headroom = settings.headroom
        self._most = settings.max_bytes - settings.headroom
        self._clock = clock
        self._looked = self._sized = self._marked = float("-inf")
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
        if session.reserve.met_full or now - self._looked > _DISK_EVERY or self._since_look > self._headroom // 4:
            self._look(session, now)
        used = self._size(session, size, now)
        if now - self._marked > _DISK_EVERY or used > 0.5 * self._most:
            self._mark(session, used, now)
        self._check_disk(session)
        self._check_size(used, size)
        if self._settings.max_rows is not None:
            self._check_rows(session, rows, self._settings.max_rows, now)

    def _look(self, session: Session, now: float) -> None:
        # Rarely: since Linux 6.13 a stat of the -wal makes the next sync write its inode too, which takes half as long again
        # (measured)
        settings = self._settings
        self._free, self._wal = disk_free(settings.path), wal_bytes(settings.path)
        session.reserve.look(self._free - settings.min_free)
        self._looked, self._since_look = now, 0
        if self._wal > settings.max_bytes // 4 and not self._warned:
            self._warned = True
            log.warning(
                "%s-wal has grown to %s: a reader keeps it from being checkpointed (a backup, an open sqlite3 shell?)",
                settings.path,
                _mib(self._wal),
            )

    def _mark(self, session: Session, used: int, now: float) -> None:
        self._marked = now
        count = partial(self._count, now=now)
        session.beside(lambda: mark(session, measure(session, used, self._free - self._since_look, count)))

    def _check_disk(self, session: Session) -> None:
        settings, wants = self._settings, session.reserve.wants
        free = self._free - self._since_look  # by its own account what was put since the look is gone
        if free < settings.min_free + wants:
            self._looked = float("-inf")
            given = f", and {_mib(wants)} for the reserve that was given up to a full disk" if wants else ""
            raise StoreFull(
                f"{settings.path}: {_mib(max(0, free))} free on the disk, and {_mib(settings.min_free)} are to stay free "
                f"(spool_min_free){given}. Nothing was dropped to make room: free disk space, or drain",
                reason="disk",
            )

    def _size(self, session: Session, size: int, now: float) -> int:
        """Bytes in use before this put."""
        if (
            now - self._sized > _SIZE_EVERY
            or self._since_size > self._headroom // 8
            or self._used + self._wal + self._since_size > self._most - self._headroom
        ):
            if session.together is not None:  # what it has taken is in no page yet
                session.together.write(session)
            self._used, self._sized, self._since_size = pages_used(session), now, size
        return self._used + self._wal + self._since_size - size

    def _check_size(self, used: int, size: int) -> None:
        settings = self._settings
        if used + size > self._most:
            self._looked = float("-inf")
            raise StoreFull(
                f"{settings.path}: {_mib(used)} of {_mib(settings.max_bytes)} are used (spool_max_bytes, of which "
                f"{_mib(self._headroom)} are kept for settling). Nothing was dropped to make room: drain, or raise the limit"
            )

    def _check_rows(self, session: Session, rows: int, most: int, now: float) -> None:
        # No seq is there twice, so the span bounds the number of rows from above, at the price of two look-ups
        if (session.scalar(_VIEWS["span"]) or 0) + rows <= most:
            self._counted = self._counted[0], self._counted[1] + rows
            return
        count = self._count(session, most, now) + rows
        if count > most:
            self._counted = float("-inf"), 0
            raise StoreFull(
                f"{self._settings.path}: it holds {count - rows} jobs and may hold {most} (spool_max_rows). "
                "Nothing was dropped to make room: drain, or raise the limit",
                reason="rows",
            )
        self._counted = self._counted[0], count

    def _count(self, session: Session, most: int, now: float) -> int:
        """The rows, counted up to `most`. Many are counted a few times a second only: it takes as long as there are many."""
        at, count = self._counted
        if most <= _COUNT_ALWAYS or now - at > 0.25:
            count = count_rows(session, most)
            self._counted = now, count
        return count


def gauge(session: Session) -> Fullness:
    """How full the file is now, asked of the disk and the file."""
    path = session.settings.path
    return measure(session, pages_used(session) + wal_bytes(path), disk_free(path))


def marked(session: Session, found: Fullness) -> tuple[int, int] | None:
    """How many marks were passed when that was last told, and how many are now; None where that is the same."""
    before = int(session.scalar(_VIEWS["about"], ("marks",)) or 0)
    now = passed(found.share, before)
    return None if now == before else (before, now)


def mark(session: Session, found: Fullness) -> None:
    """Tell of a mark that was crossed, once for all processes: up in the log as well."""
    crossed = marked(session, found)
    if crossed is None:
        return
    before, now = crossed
    session.execute(_VIEWS["set_about"], ("marks", str(now)))
    full = f"{100 * found.share:.0f} % full, by {found.bound}"
    at = 100 * MARKS[max(before, now) - 1]
    record(
        session,
        "watermark",
        f"the spool has passed {at:.0f} %: {full}" if now > before else f"the spool is well below {at:.0f} % again: {full}",
        mark=at / 100,
        share=round(found.share, 4),
        bound=found.bound,
        direction="up" if now > before else "down",
    )
    if now > before:
        log.warning(
            "%s has passed %.0f %%: it is %s. %s",
            session.settings.path,
            at,
            full,
            "What is in doubt and older is set aside instead of sent: drain it"
            if found.bound == "horizon"
            else "At 100 % jobs are refused, none is dropped: drain it, or give it more room",
        )


def count_rows(session: Session, limit: int | None = None) -> int:
    """How many rows there are that are neither kept nor in quarantine, counted up to `limit` only."""
    left = 1 << 60 if limit is None else limit
    found = 0
    with session.at_one_moment():
        for part in ("count_ready", "count_in_doubt", "count_scheduled", "count_claimed"):
            if found < left:
                found += session.scalar(_VIEWS[part], (left - found,))
    return found


def measure(session: Session, used: int, free: int, count: Callable[[Session, int], int] = count_rows) -> Fullness:
    """How full the file is, of which `used` bytes are in use. `count`: what counts its rows, up to so many."""
    settings = session.settings
    rows = None
    if settings.max_rows is not None:
        rows = min(session.scalar(_VIEWS["span"]) or 0, settings.max_rows)
        if rows > settings.max_rows // 2:
            rows = count(session, settings.max_rows)
    oldest = session.scalar(_VIEWS["oldest"])
    return fullest(settings, used=used, free=free, rows=rows, age=None if oldest is None else (session.now - oldest) / 1e6)


def pages_used(session: Session) -> int:
    """Bytes of the database that hold something."""
    pages: int = session.scalar("PRAGMA page_count") - session.scalar("PRAGMA freelist_count")
    return pages * session.page_size


def disk_free(path: str) -> int:
    """Bytes that are free for this user on the disk of that file."""
    disk = os.statvfs(os.path.dirname(path))
    return disk.f_bavail * disk.f_frsize


def wal_bytes(path: str) -> int:
    """The size of the -wal file. Asked of the file system, never by opening it: closing it would drop SQLite's locks."""
    try:
        return os.stat(f"{path}-wal").st_size
    except FileNotFoundError:
        return 0


def _mib(size: int) -> str:
    return f"{size / (1 << 20):,.1f} MiB"
