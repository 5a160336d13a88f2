"""The journal of a file: the SQLite form of `Settlements`."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Collection, Sequence

from spoolq.job import Claim
from spoolq.store.journal import Settlement
from spoolq.store.sqlite.session import Session, micros
from spoolq.store.sqlite.statements import statements
from spoolq.store.sqlite.writer import Writer

log = logging.getLogger("spoolq.sqlite")

SQL = statements("settlements")

_LONGEST = 60.0  # seconds that an entry is held at most


class SQLiteSettlements:
    """`Settlements` of one file."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._destination = writer.settings.destination

    def keep(self, holder: str, settlements: Sequence[Settlement], told: Collection[str], lease: float) -> None:
        """See `Settlements.keep`. It is settling: the head-room and the reserve are for it too."""

        def work(session: Session) -> None:
            session.executemany(SQL["write"], [self._row(one, holder) for one in settlements])
            session.executemany(SQL["strike"], [(token,) for token in told])
            session.execute(SQL["hold"], (holder, _until(session, lease)))

        self._writer.run(work)

    def held(self) -> bool:
        """See `Settlements.held`."""
        return self._writer.run(lambda session: session.one(SQL["any_held"], self._now(session)), writes=False) is not None

    def take(self, holder: str, limit: int, lease: float) -> list[Settlement]:
        """See `Settlements.take`. Looked first, without the lock: nearly always there is nothing."""
        if not self._writer.run(lambda session: session.one(SQL["any_free"], self._now(session)), writes=False):
            return []

        def work(session: Session) -> list[Settlement]:
            taken = []
            for row, crc, at, argument, effects, *texts in session.all(SQL["free"], (*self._now(session), limit)):
                if _checksum(argument, effects, at, texts) != crc:
                    session.execute(SQL["drop"], (row,))
                    log.error("what became of a job was changed by the disk, and is dropped: the job runs again")
                    continue
                token, worker, queue, verb, word = [text.decode() for text in texts]
                session.execute(SQL["adopt"], (token, holder, _until(session, lease)))
                taken.append(Settlement(Claim(token, worker, queue, b""), verb, argument, at / 1e6, word, effects))
            return taken

        return self._writer.run(work)

    def _now(self, session: Session) -> tuple[str, int, int]:
        return self._destination, session.now, _until(session, _LONGEST)

    def _row(self, one: Settlement, holder: str) -> tuple[object, ...]:
        token, worker, queue, _ = one.claim
        at = micros(one.at)
        crc = _checksum(one.argument, one.effects, at, [text.encode() for text in (token, worker, queue, one.verb, one.word)])
        return (token, worker, queue, one.verb, one.argument, one.effects, crc, at, one.word, self._destination, holder)


def _checksum(argument: bytes, effects: bytes, at: int, texts: Sequence[bytes]) -> int:
    """Of all that an entry says."""
    return zlib.crc32(effects, zlib.crc32(argument, zlib.crc32(b"\0".join((b"%d %d" % (at, len(argument)), *texts, b"")))))


def _until(session: Session, lease: float) -> int:
    return session.now + micros(min(lease, _LONGEST))
