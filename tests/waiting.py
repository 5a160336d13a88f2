"""The one place where a test may wait a little before it looks again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T], within: float = 60.0, what: str = "") -> T:
    """The first true answer of `condition`, asked every few milliseconds for up to `within` seconds; then it fails."""
    deadline = time.monotonic() + within
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what or 'the condition'} did not come true within {within} s; last answer: {answer!r}")
        time.sleep(0.005)
    return answer


def pass_time(seconds: float) -> None:
    """Where time itself is what is waited for: processes are to go on for a while, or to do nothing for as long."""
    time.sleep(seconds)


def while_moving(over: Callable[[], bool], progress: Callable[[], object], still: float = 60.0) -> bool:
    """Until it is over, or until `progress` has been the same for so many seconds; whether it is over. For work whose length
    depends on the machine."""
    seen, since = progress(), time.monotonic()
    while not over():
        now = progress()
        if now != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > still:
            return False
        time.sleep(0.05)
    return True
