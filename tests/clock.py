"""A time that passes when a test says so."""

from __future__ import annotations


class Clock:
    """`now` stands still, as a time of day or as seconds from anywhere."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def later(self, seconds: float) -> None:
        """Let so much of it pass."""
        self.now += seconds
