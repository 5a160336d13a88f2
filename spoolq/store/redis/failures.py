"""Resque's `failed` list as spoolq's failure log."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from spoolq import wire
from spoolq.errors import PayloadError
from spoolq.job import Failure
from spoolq.store.redis.names import Names

PAGE = 200

Command = Callable[..., Any]
Scripted = Callable[[str, Sequence[bytes]], Any]


class RedisFailures:
    """The failures, newest first. Entries of stock workers are shown as well, under a digest where they have no id."""

    def __init__(self, command: Command, scripted: Scripted, names: Names) -> None:
        self._command = command
        self._scripted = scripted
        self._key = names.failed

    def count(self) -> int:
        """How many there are."""
        return int(self._command(b"LLEN", self._key))

    def page(self, start: int = 0, limit: int = 100) -> list[Failure]:
        """Up to `limit` failures, newest first, the first `start` of them left out."""
        return [wire.decode_failure(entry) for entry in self._slice(start, limit)]

    def get(self, id: str) -> Failure | None:
        """The newest failure of this job id."""
        return next((failure for _, failure in self._all() if failure.id == id), None)

    def retry(self, ids: Sequence[str]) -> int:
        """Put these jobs back into their queues as new launches, and out of the log."""
        done = 0
        for entry, failure in self._find(ids):
            try:
                message = wire.rerun(failure.payload, failure.queue)
            except PayloadError:
                continue
            done += int(self._scripted("failures_retry", (entry, message.queue.encode(), message.payload)))
        return done

    def remove(self, ids: Sequence[str]) -> int:
        """Delete the newest entry of each id."""
        return self._delete([entry for entry, _ in self._find(ids)])

    def prune(self, before: float) -> int:
        """Delete what failed before that time (epoch seconds)."""
        return self._delete([entry for entry, failure in self._all() if failure.failed_at < before])

    def _delete(self, entries: Sequence[bytes]) -> int:
        done = 0
        for at in range(0, len(entries), PAGE):
            some = entries[at : at + PAGE]
            done += int(self._scripted("failures_remove", (b"%d" % len(some), *some)))
        return done

    def _find(self, ids: Sequence[str]) -> list[tuple[bytes, Failure]]:
        wanted, found = set(ids), []
        for entry, failure in self._all():
            if failure.id in wanted:
                wanted.discard(failure.id)
                found.append((entry, failure))
                if not wanted:
                    break
        return found

    def _all(self) -> Iterator[tuple[bytes, Failure]]:
        start = 0
        while entries := self._slice(start, PAGE):
            for entry in entries:
                yield entry, wire.decode_failure(entry)
            start += len(entries)

    def _slice(self, start: int, limit: int) -> list[bytes]:
        if limit <= 0:
            return []
        entries: list[bytes] = self._command(b"LRANGE", self._key, b"%d" % -(start + limit), b"%d" % -(start + 1))
        return entries[::-1]
