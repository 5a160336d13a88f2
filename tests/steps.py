"""Steps of SQLite's machine, counted: what a statement costs, whatever the computer does besides."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from spoolq.store.sqlite import driver


class Steps:
    """How often so many steps (`each`) were made for this process, whichever thread asked."""

    def __init__(self, each: int) -> None:
        self.each = each
        self._count = itertools.count()

    def taken(self, work: Callable[[], Any]) -> int:
        before = next(self._count)
        work()
        return next(self._count) - before - 1

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Count on every connection that is made from now on."""
        real = driver.connect

        def connect(*args: Any, **options: Any) -> Any:
            connection = real(*args, **options)
            connection.set_progress_handler(self._see, self.each)
            return connection

        monkeypatch.setattr(driver, "connect", connect)

    def _see(self) -> int:
        next(self._count)
        return 0
