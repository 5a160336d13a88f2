"""What the fault tests start from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.working import Place, at
from tests.servers import Server


@pytest.fixture
def durable(start_server: Callable[..., Server]) -> Server:
    """A server of the test's own that keeps what it acknowledged, through its own death too."""
    return start_server(appendonly=True, appendfsync="always")


@pytest.fixture
def place(tmp_path: Path, server: Server) -> Iterator[Place]:
    """Where workers run, on `server`: a module that breaks it has that name mean one of the test's own."""
    with at(tmp_path, server.url) as one:
        yield one


@pytest.fixture(params=["sqlite", "redis"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Where workers run, on a file and on a server of their own."""
    if request.param == "sqlite":
        with at(tmp_path, f"sqlite:///{tmp_path}/jobs.db") as one:
            yield one
    else:
        with Server(request.getfixturevalue("one_binary")) as server, at(tmp_path, server.url) as one:
            yield one


@pytest.fixture
def one_box(tmp_path: Path) -> Iterator[Place]:
    """Where workers run on a file alone."""
    with at(tmp_path, f"sqlite:///{tmp_path}/jobs.db") as one:
        yield one
