"""How fast a drainer goes: as fast as an idle primary takes it, and out of the way of whoever else uses it. Pure: what was
measured and the time go in, a pause and the size of the next batch come out."""

from __future__ import annotations

import random

MOST, LEAST = 0.75, 1 / 512
"""The share of the primary's time that one drainer may take, at most and at least."""

_FIRST = 1 / 64
_USUAL = 500  # rows: where batches are larger the first share is smaller, so that the first batch isn't
_FULL = 1 / 4  # from this share on the batches are of full size
_SMALL = 25  # rows: what a drainer with the least share puts at a time
_SLACK = 0.005  # seconds that a small request may wait beyond what it waits at best
_HALF = 0.7  # seconds in which the share doubles again
_WINDOW = 30.0  # seconds for which the best wait is remembered
_BRISK = 0.01  # seconds that a pause while it starts need not exceed, as long as puts are quick
_LONGEST = 1.0  # seconds between two puts at most: no drainer is kept from going on for ever


class Pace:
    """Shares of the primary's time, found by a slow start, halved at each sign that others have to wait.

    The sign is the wait of one small request just before a put: it waits for what everybody sends, as a live `enqueue` would.
    It may be a few milliseconds above the least that was seen lately; a drainer alone never sees itself. The share is kept by
    pausing after each put, in proportion to what the put took; a smaller share also means smaller batches, so that what many
    drainers send in the same moment is little. As it starts the batches are enough: until somebody has to wait, quick puts are
    followed by short pauses.

    rows     in a batch, at most
    ceiling  rows a second at most, None for no ceiling
    """

    def __init__(self, rows: int, ceiling: float | None = None, rng: random.Random | None = None) -> None:
        self._rows = rows if ceiling is None else max(1, min(rows, int(ceiling)))  # a second's at most, not all at once
        self._ceiling = ceiling
        self._rng = rng or random.Random()
        self.share = self._first = _FIRST * min(1.0, _USUAL / self._rows)
        self._starting = True
        self._at: float | None = None
        self._best = (float("inf"), float("inf"))  # in the window before, and in this one
        self._window = float("-inf")

    @property
    def batch(self) -> int:
        """Rows for the next put."""
        return max(min(_SMALL, self._rows), min(self._rows, int(self._rows * self.share / _FULL)))

    def begin_anew(self) -> None:
        """After an outage: the others come back too."""
        self.share, self._starting, self._at = min(self.share, self._first), True, None

    def waited(self, wait: float, now: float) -> None:
        """A small request had to wait so long (seconds), just before a put."""
        if now - self._window > _WINDOW:
            self._best, self._window = (self._best[1], wait), now
        self._best = (self._best[0], min(self._best[1], wait))
        best = min(self._best)
        if wait > best + min(best, 4 * _SLACK) + _SLACK:
            self.share, self._starting = max(LEAST, self.share / 2), False
        elif self._at is None:
            pass  # nothing of ours has been put yet that others could have waited for
        elif self._starting:
            self.share = min(MOST, self.share * 2)
        else:
            self.share = min(MOST, self.share * 2 ** min(1.0, (now - self._at) / _HALF))
        self._at = now

    def pause(self, rows: int, put: float, spent: float) -> float:
        """Seconds to wait after a put of so many rows that took `put` seconds; `spent` is what has passed since the turn began,
        the put included. With jitter, so that drainers don't fall into step."""
        gap = put / self.share - spent
        if self._starting:  # nobody has had to wait yet
            gap = min(gap, max(_BRISK, put / _FULL))
        pause = min(_LONGEST, gap * self._rng.uniform(0.5, 1.5)) if gap > 0 else 0.0
        if self._ceiling is not None:
            pause = max(pause, rows / self._ceiling - spent)
        return pause if pause > 0.001 else 0.0


class Room:
    """Keeps a part of a bounded memory free for live traffic. `part` is that part."""

    def __init__(self, part: float = 0.1, every: float = 1.0) -> None:
        self._part, self._every = part, every
        self._next = float("-inf")
        self._left = 0.0
        self.full = False
        self.share = 0.0

    def due(self, now: float) -> bool:
        """Whether the memory should be looked at: a while after the last look, or when half of what was left has been put."""
        return now >= self._next or self._left <= 0

    def seen(self, used: int | None, limit: int | None, now: float) -> None:
        """So many bytes of `limit` are used; None where that isn't known, or there is no limit."""
        self._next = now + self._every
        if used is None or not limit:
            self.full, self.share, self._left = False, 0.0, float("inf")
            return
        self.share = used / limit
        left = limit * (1 - self._part) - used
        self.full, self._left = left <= 0, left / 2

    @property
    def left(self) -> float:
        """Bytes that may be put before the next look."""
        return self._left

    def put(self, size: int) -> None:
        """So many bytes were put."""
        self._left -= size
