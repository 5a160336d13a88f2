"""Stores on files of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from spoolq.store.sqlite import SQLiteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
def open_store(path: Path) -> Iterator[Callable[..., SQLiteStore]]:
    """Open a store on `path`, or on another; all are closed at the end."""
    with ExitStack() as opened:

        def one(where: Path = path, **settings: Any) -> SQLiteStore:
            store = SQLiteStore(where, **{"timeout": 20.0, **settings})  # a busy disk is no fault of the store's
            return opened.enter_context(closing(store))

        yield one


@pytest.fixture
def store(open_store: Callable[..., SQLiteStore]) -> SQLiteStore:
    return open_store()


@pytest.fixture
def spool(open_store: Callable[..., SQLiteStore]) -> SQLiteStore:
    return open_store(role="spool")
