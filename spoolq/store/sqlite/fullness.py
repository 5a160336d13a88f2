"""How full a file is, by whichever of its bounds is nearest, and the marks at which that is told. Pure."""

from __future__ import annotations

from typing import NamedTuple

from spoolq.job import sendable_for
from spoolq.store.sqlite.settings import Settings

MARKS = (0.50, 0.80, 0.95)
_BACK = 0.05
"""So far below a mark it may be passed, and told, again."""


class Fullness(NamedTuple):
    """`share` is 1.0 where the bound is reached; `bound` is the name of its setting."""

    share: float
    bound: str


def fullest(settings: Settings, *, used: int, free: int, rows: int | None, age: float | None) -> Fullness:
    """The nearest bound of a file that uses `used` bytes of a disk with `free` bytes free, with so many rows, the oldest of
    that age. Age refuses no put: past the horizon, less a day, what is in doubt is no longer sent but set aside."""
    spare = max(0, free - settings.min_free)
    shares = [
        Fullness(used / (settings.max_bytes - settings.headroom), "spool_max_bytes"),
        Fullness(used / max(1, used + spare), "spool_min_free"),
    ]
    if settings.max_rows is not None and rows is not None:
        shares.append(Fullness(rows / settings.max_rows, "spool_max_rows"))
    if settings.role == "spool" and age is not None and settings.remember:
        shares.append(Fullness(age / sendable_for(settings.remember), "horizon"))
    return max(shares)


def passed(share: float, before: int) -> int:
    """How many marks the share has passed, of which so many were told before: one that was stays until the share has fallen well
    below it."""
    while before and share < MARKS[before - 1] - _BACK:
        before -= 1
    return max(before, sum(share >= mark for mark in MARKS))
