"""When a primary that answers is still no use: too many slow answers in a row. Pure: the times are passed in."""

from __future__ import annotations

IN_A_ROW = 5
"""Slow answers without a quick one between them; one or two are a snapshot's fork, a big key's deletion, or this host's own."""

SHARE = 0.5
"""Of the deadline: an answer slower than that is a slow one."""

SPAN = 2
"""Deadlines that lie between the first and the last of them at least: many threads that connect at once are no sign."""


class Slowness:
    """Of one client. Asked after each answer, it says whether the primary is to be left alone for now."""

    def __init__(self) -> None:
        self._slow = 0
        self._since = 0.0

    def answered(self, took: float, deadline: float, now: float) -> bool:
        """An answer came after `took` seconds, where `deadline` were allowed, at `now` (monotonic seconds)."""
        if took <= deadline * SHARE:
            self._slow = 0
            return False
        if not self._slow:
            self._since = now
        self._slow += 1
        if self._slow < IN_A_ROW or now - self._since < deadline * SPAN:
            return False
        self._slow = 0
        return True
