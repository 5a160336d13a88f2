"""How many jobs of a queue may be claimed: at the same time, and by when. What a claim is told of the queues that have such
limits; both are kept in the very step that claims, so that they hold over all workers, whatever dies."""

from __future__ import annotations

from typing import NamedTuple

FULL = 0.25
"""Seconds until it makes sense to ask again for a queue with as many claimed jobs as may be: nobody tells when one ends."""


class Quota(NamedTuple):
    """Of one queue.

    most      jobs of it that may be claimed at a time, by whichever workers; 0: any number. One whose worker died counts until
              its lease is over
    interval  seconds between two of its jobs (GCRA, the generic cell rate algorithm of ITU-T I.371); 0.0: none
    ahead     seconds of its jobs that may be claimed at once, when none was for so long; 0.0: one job after the other
    """

    queue: str
    most: int = 0
    interval: float = 0.0
    ahead: float = 0.0

    def begins(self, tat: float, now: float) -> float:
        """When the next job may be claimed, of one for which that time was noted. One that is further away than it can be is a
        clock's that was set back."""
        return max(now, min(tat, now + self.ahead + self.interval))

    def allows(self, tat: float, now: float) -> int:
        """How many jobs may be claimed now."""
        room = now + self.ahead - self.begins(tat, now)
        return 0 if room < 0 else int(room / self.interval + 1e-6) + 1
