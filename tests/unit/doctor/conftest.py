"""An application with a spool of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from spoolq.app import SpoolQ

Make = Callable[..., SpoolQ]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """`make(url, **settings)`: an application whose spool is in a directory of the test's own. Closed in the end."""
    with ExitStack() as opened:

        def new(url: str, **settings: Any) -> SpoolQ:
            settings = {"spool": tmp_path / "spool.db", "spool_min_free": 0, "deadline": 20.0, "disk_limit": 20.0, **settings}
            return opened.enter_context(SpoolQ(url, **settings))

        yield new
