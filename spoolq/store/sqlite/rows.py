"""Messages as rows: what is worked out before the writer thread is asked, and their way into the table."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from spoolq.errors import PayloadError
from spoolq.job import Message
from spoolq.store.sqlite.session import Session
from spoolq.store.sqlite.statements import statements

SQL = statements("jobs")
_SPOOL = statements("spool")

NEVER = -(1 << 62)
"""`not_after` of a row of which no attempt is known. Eight bytes wide, as every later value."""

ALWAYS = 1 << 62
"""A time past every other."""

_LATEST = 1e12
FORGET, GIVEN, HELD = 0, 1, 2


def later(not_after: float) -> int:
    """Microseconds, rounded up: the primary may apply the attempt until the very end of it."""
    return math.ceil(not_after * 1_000_000)


class Row(NamedTuple):
    """A message as the table holds it, but for what the time decides."""

    id: str
    queue: str
    payload: bytes
    crc: int
    run_at: int
    keep: int
    watch: int
    front: bool


def checksum(id: str, queue: str, payload: bytes) -> int:
    """CRC-32 of what a row says. A flipped bit is seen neither by SQLite's reads nor by its integrity check."""
    return zlib.crc32(payload, zlib.crc32(f"{id}\0{queue}\0".encode()))


def prepare(messages: Sequence[Message], largest: int, *, hold: bool = False) -> list[Row]:
    """Rows for these messages. Raises PayloadError for one that the file can never take."""
    return [_row(message, largest, hold) for message in messages]


def _row(message: Message, largest: int, hold: bool) -> Row:
    id, queue, payload, run_at, given, keep, front = message[:7]
    if len(payload) > largest:
        raise PayloadError(f"job {id}: {len(payload):,} bytes, and the queue file takes {largest:,} at most. Nothing was stored")
    if not math.isfinite(run_at) or run_at > _LATEST:
        raise PayloadError(f"job {id}: run_at={run_at} is no time. Nothing was stored")
    try:
        crc = checksum(id, queue, payload)
    except UnicodeEncodeError as error:
        raise PayloadError(f"job {id!r}: its id or queue is not valid text ({error}). Nothing was stored") from error
    remember = GIVEN if given else HELD if hold else FORGET
    return Row(id, queue, bytes(payload), crc, max(0, int(run_at * 1_000_000)), remember, int(keep * 1_000_000), front)


def insert(
    session: Session,
    rows: Sequence[Row],
    *,
    in_doubt: bool = False,
    not_after: float | None = None,
    remembered: bool = True,
    word: str = "put",
) -> list[bool]:
    """Put them, and say for each whether it was new.

    With `not_after` (or, where `in_doubt`, for a given id) the row is in doubt from birth, and with `not_after` a row that is
    there already comes into doubt. Not `remembered`: ids that were settled don't count as there. `word` is what new ones are
    counted as.
    """
    new = []
    attempt = None if not_after is None else later(not_after)
    for row in rows:
        taken = values(session, row, attempt, in_doubt=in_doubt, remembered=remembered)
        inserted = session.execute(SQL["insert"], taken).rowcount
        if not inserted and attempt is not None:
            session.execute(_SPOOL["doubt"], (row.id, attempt))
        if inserted:
            session.tally(word, row.queue)
        new.append(inserted == 1)
    session.woke = session.woke or True in new
    return new


def values(session: Session, row: Row, attempt: int | None, *, in_doubt: bool, remembered: bool = True) -> tuple[Any, ...]:
    """What the statement `insert` takes for one. `attempt`: `not_after` in microseconds."""
    id, queue, payload, crc, run_at, keep, watch, front = row
    now = session.now
    return (
        id,
        queue,
        payload,
        crc,
        run_at,
        keep,
        "r" if run_at <= now else "s",
        int(attempt is not None or (in_doubt and keep == GIVEN)),
        NEVER if attempt is None else attempt,
        now,
        now if remembered or keep == GIVEN else ALWAYS,
        watch,
        front and run_at <= now,
    )


def known(session: Session, id: str) -> bool:
    """Whether a row of this id is there, or was settled and is remembered."""
    return bool(session.one(_SPOOL["known"], (id,)) or session.one(_SPOOL["ran"], (id, session.now)))


def unanswered(session: Session, *, rows: Sequence[Row], in_doubt: bool = False) -> None:
    """Whoever put these was told that nobody knows, and may put them again under their ids: from now on they are given ones."""
    for row in rows:
        session.execute(_SPOOL["unanswered"], (row.id, in_doubt))
