"""How many processes a pool should have, from how busy they are. Pure: samples and their times go in, a number comes out."""

from __future__ import annotations

from typing import NamedTuple

from spoolq.errors import ConfigError

GROW_AFTER = 2.0
"""Seconds for which nearly all threads must have been busy before one more process is started."""

SHRINK_AFTER = 60.0
"""Seconds for which one process less would have been enough before one is ended."""

_BUSY = 0.9


class Sample(NamedTuple):
    """What was seen at a time (seconds on one clock): `size` processes that should be there, `threads` threads in all of them,
    and how many of those ran jobs."""

    at: float
    size: int
    threads: int
    busy: int


class Autoscaler:
    """Grows by one while nearly all threads are busy, shrinks by one after a minute with room to spare; never beyond `least` and
    `most`. `why` says the reason of the last change in words. Raises ConfigError for bounds that are none."""

    def __init__(self, least: int, most: int) -> None:
        if not 1 <= least <= most:
            raise ConfigError(f"processes={least}:{most}: MIN:MAX with 1 <= MIN <= MAX is needed, as in 2:8")
        self.least, self.most = least, most
        self.why = ""
        self._full_since: float | None = None
        self._spare_since: float | None = None

    def wanted(self, sample: Sample) -> int:
        """How many there should be from now on."""
        at, size, threads, busy = sample
        if size < self.least or size > self.most:
            return min(max(size, self.least), self.most)
        full = busy >= _BUSY * threads
        spare = size > 1 and busy <= _BUSY * threads * (size - 1) / size - 1
        self._full_since = (self._full_since if self._full_since is not None else at) if full else None
        self._spare_since = (self._spare_since if self._spare_since is not None else at) if spare else None
        if self._full_since is not None and at - self._full_since >= GROW_AFTER and size < self.most:
            self._full_since = self._spare_since = None
            self.why = f"{busy} of {threads} threads were busy for {GROW_AFTER:g} s"
            return size + 1
        if self._spare_since is not None and at - self._spare_since >= SHRINK_AFTER and size > self.least:
            self._full_since = self._spare_since = None
            self.why = f"for {SHRINK_AFTER:g} s {size - 1} process(es) would have been enough"
            return size - 1
        return size
