"""How the queues have gone while somebody looked: from the samples that the dashboard takes, kept for some minutes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from spoolq.facts import Facts
from spoolq.store.tally import IN, OUT

KEPT = 60  # samples
QUEUES = 200  # of which they are kept, those with the most jobs
_LEAST = 10.0  # seconds over which a rate is told

Counts = Mapping[str, Mapping[str, int]]


class _Seen(NamedTuple):
    """One queue in one sample: jobs that were ready, and how many had come and gone so far."""

    ready: int = 0
    came: int = 0
    went: int = 0


class Trend(NamedTuple):
    """Of one queue: how many were ready in each sample, oldest first; how many a second came and went; and in how many seconds
    it will be empty if it goes on so. None where that isn't known, or it won't."""

    counts: tuple[int, ...] = ()
    came: float | None = None
    went: float | None = None
    left: float | None = None

    @property
    def points(self) -> str:
        """A line of 100 by 20, for an SVG polyline."""
        if len(self.counts) < 2:
            return ""
        top, step = max(1, *self.counts), 100 / (len(self.counts) - 1)
        return " ".join(f"{at * step:.1f},{19 - 18 * count / top:.1f}" for at, count in enumerate(self.counts))


class Trends:
    """Of all queues. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._samples: deque[tuple[float, dict[str, _Seen]]] = deque(maxlen=KEPT)

    def see(self, found: Facts, counts: Counts) -> None:
        """One more look, with the store's counts (`Store.counts`). A primary that didn't answer says nothing of its queues."""
        if found.primary.state not in ("up", "refusing"):
            return
        ready = {depth.queue: depth.ready for depth in found.primary.depths}
        sums = {queue: (_sum(row, IN), _sum(row, OUT)) for queue, row in counts.items()}
        names = sorted({*ready, *sums}, key=lambda queue: (-ready.get(queue, 0), -sum(sums.get(queue, ()))))[:QUEUES]
        with self._lock:
            self._samples.append((found.at, {queue: _Seen(ready.get(queue, 0), *sums.get(queue, ())) for queue in names}))

    def of(self, queue: str) -> Trend:
        """What is known of it."""
        with self._lock:
            seen = [(at, sample.get(queue, _Seen())) for at, sample in self._samples]
        ready = tuple(one.ready for _, one in seen)
        if not seen or (span := seen[-1][0] - seen[0][0]) < _LEAST:
            return Trend(ready)
        first, last = seen[0][1], seen[-1][1]
        came, went = (last.came - first.came) / span, (last.went - first.went) / span
        if min(came, went) < 0 or not first.came:  # the store has lost its count, or this queue was not among those kept
            return Trend(ready)
        return Trend(ready, came, went, last.ready / (went - came) if last.ready and went - came > 0.01 else None)


def _sum(row: Mapping[str, int], words: tuple[str, ...]) -> int:
    return sum(row.get(word, 0) for word in words)
