"""What has come into Redis and gone out of it, and samples of that: the form there of `spoolq.store.tally`."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from spoolq.errors import StoreUnavailable
from spoolq.store.redis import encoding
from spoolq.store.redis.names import Names
from spoolq.store.redis.views import number
from spoolq.store.tally import KEPT, SECONDS, WORDS, Ledger, Sample, Span, Tally, read, sampled, write

LOOKED_AT = 200  # queues by one script
_TIME = re.compile(rb"[0-9]{1,12}(\.[0-9]{1,9})?")

Scan = Callable[..., Iterator[Any]]
Scripted = Callable[[str, Sequence[bytes], Callable[[Any], bool]], Any]
Command = Callable[..., Any]


class RedisTallies:
    """The tally of one namespace. A sample has its place in a round of so many as are kept: no round is longer."""

    def __init__(self, scan: Scan, scripted: Scripted, command: Command, names: Names, clock: Callable[[], float]) -> None:
        self._scan, self._scripted, self._command, self._names, self._clock = scan, scripted, command, names, clock

    def ledger(self, name: str = "") -> Ledger:
        """As `Store.tally`; a tally that has no name yet gets this one."""
        known: set[bytes] = set()
        for some in self._scan(b"SSCAN", self._names.queues):
            known.update(some)
        for key in (self._names.counts, self._names.tally):
            known.update(field.partition(b":")[2] for field, _ in self.fields(key) if b":" in field)
        names, queues, about = sorted(known), dict[str, Tally](), None
        for start in range(0, max(1, len(names)), LOOKED_AT):
            page = names[start : start + LOOKED_AT]
            args = [name.encode(), b"%d" % (start == 0), b"%d" % len(page), *page, *encoding.words(WORDS)]
            *about, rows = self._scripted("tally", args, _five)
            for row in rows:
                one = _tally(*row)
                queues[one.queue] = one
        birth, since, ended, recounted = about or (b"", b"0", 0, 0)
        ours = sum(one.sum(("done", "failed")) for one in queues.values())
        at = float(since) if _TIME.fullmatch(since) else 0.0
        return Ledger(queues, birth.decode("utf-8", "replace"), at, max(0, ended - ours), recounted)

    def fields(self, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Of one of the hashes that we count in, with their values; none where somebody has put something else there."""
        try:
            for some in self._scan(b"HSCAN", key):
                yield from some.items() if isinstance(some, dict) else zip(some[::2], some[1::2], strict=True)
        except StoreUnavailable as error:
            if error.reason != "wrongtype":
                raise

    def counts(self) -> dict[str, dict[str, int]]:
        """As `Store.counts`."""
        found: dict[str, dict[str, int]] = {}
        for field, n in self.fields(self._names.tally):
            word, colon, queue = field.partition(b":")
            if colon and (name := word.decode("utf-8", "replace")) in WORDS and number(n):
                found.setdefault(queue.decode("utf-8", "replace"), {})[name] = int(n)
        return found

    def sample(self) -> Ledger | None:
        """As `Store.sample`."""
        at = self._clock()
        due = [span for span in KEPT if self._missing(span, at)]
        if not due:
            return None
        ledger = self.ledger(uuid.uuid4().hex)
        for span in due:
            text = write(sampled(ledger, at, span)).encode()
            self._command(b"HSET", self._names.history(span), _place(span, at), text)
        return ledger

    def _missing(self, span: Span, at: float) -> bool:
        text = self._command(b"HGET", self._names.history(span), _place(span, at))
        found = None if text is None else read(text)
        return found is None or found.at // SECONDS[span] != at // SECONDS[span]

    def history(self, span: Span, since: float) -> list[Sample]:
        """As `Store.history`."""
        now, step = self._clock(), SECONDS[span]
        first = max(since, now - KEPT[span] * step)
        places = [_place(span, at * step) for at in range(int(first // step), int(now // step) + 1)]
        texts = self._command(b"HMGET", self._names.history(span), *dict.fromkeys(places)) if places else []
        found = [sample for text in texts if text is not None and (sample := read(text)) is not None]
        return sorted((one for one in found if first <= one.at <= now), key=lambda one: one.at)


def _place(span: Span, at: float) -> bytes:
    return b"%d" % (int(at // SECONDS[span]) % KEPT[span])


def _tally(queue: bytes, ready: int, scheduled: int, claimed: int, counts: Sequence[bytes | None]) -> Tally:
    counted = {word: int(n) for word, n in zip(WORDS, counts, strict=False) if n is not None and number(n)}
    return Tally(queue.decode("utf-8", "replace"), counted, ready, scheduled, claimed)


def _five(reply: Any) -> bool:
    return isinstance(reply, list) and len(reply) == 5
