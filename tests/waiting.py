"""The one place where a test may wait a little before it looks again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T], within: float = 10.0, what: str = "") -> T:
    """The first true answer of `condition`, asked every few milliseconds for up to `within` seconds; then it fails."""
    deadline = time.monotonic() + within
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what or 'the condition'} did not come true within {within} s; last answer: {answer!r}")
        time.sleep(0.005)
    return answer
