"""How the queues have gone while somebody looked: from the samples that the dashboard takes, kept for some minutes."""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple

from spoolq.facts import Facts

KEPT = 60  # samples
QUEUES = 200  # of which they are kept, those with the most jobs
_LEAST = 10.0  # seconds over which a rate is told


class Trend(NamedTuple):
    """Of one queue: how many were ready in each sample, oldest first; by how many a second it got smaller (negative: larger), and
    in how many seconds it will be empty if it goes on so; None where that isn't known, or it won't."""

    counts: tuple[int, ...] = ()
    rate: float | None = None
    left: float | None = None

    @property
    def change(self) -> str:
        """By how many a second the number of ready jobs changed, for a person."""
        change = 0.0 if self.rate is None else -self.rate
        return "0" if abs(change) < 0.05 else f"{change:+,.1f}"

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
        self._samples: deque[tuple[float, dict[str, int]]] = deque(maxlen=KEPT)

    def see(self, found: Facts) -> None:
        """One more look. A primary that didn't answer says nothing of its queues."""
        if found.primary.state not in ("up", "refusing"):
            return
        depths = sorted(found.primary.depths, key=lambda depth: -depth.ready)[:QUEUES]
        with self._lock:
            self._samples.append((found.at, {depth.queue: depth.ready for depth in depths}))

    def of(self, queue: str) -> Trend:
        """What is known of it."""
        with self._lock:
            samples = [(at, counts.get(queue, 0)) for at, counts in self._samples]
        counts = tuple(count for _, count in samples)
        if len(samples) < 2 or samples[-1][0] - samples[0][0] < _LEAST:
            return Trend(counts)
        (began, first), (ended, last) = samples[0], samples[-1]
        rate = (first - last) / (ended - began)
        return Trend(counts, rate, last / rate if rate > 0 and last else None)
