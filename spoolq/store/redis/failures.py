"""Resque's `failed` list as spoolq's failure log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from spoolq import wire
from spoolq.errors import StoreUnavailable
from spoolq.job import Failure
from spoolq.reruns import Reruns, run_of
from spoolq.store.redis.names import Names

FIRST = 10
"""Entries asked for in one reply before it is known how large they are."""
PAGE = 200
"""Entries asked for in one reply at most."""
BYTES = 1 << 22
"""How large a reply is meant to be: each has the deadline of one call."""

Command = Callable[..., Any]
Scripted = Callable[[str, Sequence[bytes]], Any]
Entries = list[tuple[int, bytes, Failure]]
"""Places, counted from the newest entry, entries, and the failures in them."""
Seen = tuple[int, bytes]
"""The index at which an entry was seen, and the entry."""


class RedisFailures:
    """The failures, newest first. Entries of stock workers are shown as well, under a digest where they have no id."""

    def __init__(self, command: Command, scripted: Scripted, names: Names) -> None:
        self._command = command
        self._scripted = scripted
        self._key = names.failed
        self._size = FIRST

    def count(self, most: int | None = None) -> int:
        """How many there are, which a list knows: `most` or not."""
        return int(self._command(b"LLEN", self._key))

    def page(self, start: int = 0, limit: int = 100) -> list[Failure]:
        """Up to `limit` failures, newest first, the first `start` of them left out."""
        found: list[Failure] = []
        while len(found) < limit and (entries := self._slice(start + len(found), limit - len(found))):
            found += [wire.decode_failure(entry) for entry in entries]
        return found

    def get(self, id: str, *, newest: int | None = None) -> Failure | None:
        """The newest failure of this job id, looked for among so many of the newest."""
        return next((failure for _, _, failure in self._all((id,), newest) if failure.id == id), None)

    def entries(self, ids: Collection[str] | None = None) -> dict[str, int]:
        """How many entries there are of each of these ids (None: of each id that there is), the newest id first."""
        wanted = None if ids is None else set(ids)
        if wanted is not None and not wanted:
            return {}
        return dict(Counter(failure.id for _, _, failure in self._all(wanted) if wanted is None or failure.id in wanted))

    def retry(self, ids: Collection[str]) -> int:
        """Put these jobs back into their queues as new launches, and out of the log. Returns how many jobs."""
        wanted, reruns, done = set(ids), Reruns(), 0

        def settle(entries: Entries) -> int:
            nonlocal done
            gone, over = 0, []
            for place, entry, failure in entries:
                if failure.id not in wanted:
                    continue
                if reruns.repeats(failure):
                    over.append((gone - place - 1, entry))  # those that went before it were newer
                elif message := reruns.message(failure):
                    gone += 1
                    if self._scripted("failures_retry", (entry, message.queue.encode(), message.payload)):
                        done += 1
                        if not wire.nameless(entry, failure):
                            reruns.launched(failure)
            self._delete(over)
            return gone + len(over)

        if wanted:
            self._walk(settle, wanted)
        return done

    def remove(self, ids: Collection[str], *, runs: Mapping[str, int] | None = None) -> int:
        """Delete all entries of these ids, or those of launches up to that one. Returns how many there were."""
        wanted = set(ids)
        done = 0

        def settle(entries: Entries) -> int:
            nonlocal done
            over = [
                (-place - 1, entry)
                for place, entry, failure in entries
                if failure.id in wanted and (runs is None or run_of(failure) <= runs[failure.id])
            ]
            done += self._delete(over)
            return len(over)

        if wanted:
            self._walk(settle, wanted)
        return done

    def scan(self, after: Any = None, limit: int = 100) -> tuple[list[Failure], Any]:
        """A page, newest first, and what the next one begins after: how many were shown."""
        if after is not None and type(after) is not int:
            raise ValueError(f"{after!r:.100} is no place in this list")
        start = after or 0
        entries = self._slice(start, max(1, limit))
        return [wire.decode_failure(entry) for entry in entries], start + len(entries) if entries else None

    def add(self, failures: Sequence[Failure]) -> None:
        """Put these into the log, as its newest."""
        if failures:
            self._command(b"RPUSH", self._key, *(wire.encode_failure(failure) for failure in failures))

    def prune(self, before: float) -> int:
        """Delete what failed before that time (epoch seconds)."""
        return self._retire(before, None)

    def retire(self, *, before: float = 0.0, keep: int | None = None, limit: int = 500) -> int:
        """Delete up to `limit` of the oldest: what failed before that time, and what is beyond the newest `keep`."""
        done = self._retire(before, limit) if before > 0 else 0
        if keep is not None and done < limit:
            done += int(self._scripted("failures_trim", (b"%d" % keep, b"%d" % (limit - done))))
        return done

    def _retire(self, before: float, limit: int | None) -> int:
        """Delete what failed before that time, oldest first: up to `limit`, and to the first page with nothing of it; without a
        limit, all."""
        done = start = 0
        while entries := self._slice(start, PAGE if limit is None else min(PAGE, limit - done), oldest=True):
            over = [(start + n, entry) for n, entry in enumerate(entries) if 0 < wire.decode_failure(entry).failed_at < before]
            if not over and limit is not None:
                break
            start += len(entries) - len(over)
            done += self._delete(over, oldest=True)
        return done

    def _delete(self, seen: Sequence[Seen], *, oldest: bool = False) -> int:
        """Returns how many were there. `oldest`: their places are counted from the oldest end."""
        if not seen:
            return 0
        args = [part for place, entry in seen for part in (b"%d" % place, entry)]
        return int(self._scripted("failures_remove", (b"1" if oldest else b"-1", b"%d" % len(seen), *args)))

    def _walk(self, settle: Callable[[Entries], int], ids: Collection[str] | None) -> None:
        """Show `settle` what may be of these ids (None: all), newest first, a page of the log at a time.

        It answers how many of them are gone, whoever took them: those behind have moved up by so many.
        """
        start = 0
        while entries := self._slice(start, PAGE):
            start += len(entries) - settle(list(_read(entries, start, ids)))

    def _all(self, ids: Collection[str] | None, most: int | None = None) -> Iterator[tuple[int, bytes, Failure]]:
        start = 0
        while entries := self._slice(start, PAGE if most is None else min(PAGE, most - start)):
            yield from _read(entries, start, ids)
            start += len(entries)

    def _slice(self, start: int, limit: int, *, oldest: bool = False) -> list[bytes]:
        """The next entries, at most `limit`, newest or oldest first: as many as one reply should hold, by those before; fewer
        after a time-out."""
        if limit <= 0:
            return []
        while True:
            size = min(self._size, limit)
            try:
                first, last = (start, start + size - 1) if oldest else (-(start + size), -(start + 1))
                entries: list[bytes] = self._command(b"LRANGE", self._key, b"%d" % first, b"%d" % last)
                break
            except StoreUnavailable as error:
                if error.reason != "timeout" or size == 1:
                    raise
                self._size = size // 2
        if entries:
            fitting = BYTES * len(entries) // max(1, sum(map(len, entries)))
            self._size = max(1, min(2 * self._size, PAGE, fitting))
        return entries if oldest else entries[::-1]


def _read(entries: Iterable[bytes], start: int, ids: Collection[str] | None) -> Iterator[tuple[int, bytes, Failure]]:
    """Those that may be of these ids (None: all), the first one at place `start`."""
    return (
        (place, entry, wire.decode_failure(entry))
        for place, entry in enumerate(entries, start)
        if ids is None or wire.may_have(entry, ids)
    )
