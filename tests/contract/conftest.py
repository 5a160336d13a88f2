"""The stores under contract: SQLite, Redis on fakeredis, and Redis on each real server found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from spoolq.store.base import Spool, Store
from tests.contract.backends import Backend, fake_backend, redis_backend, sqlite_backend
from tests.contract.hands import Hand
from tests.servers import NONE_FOUND, Binary, Server, servers


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" not in metafunc.fixturenames:
        return
    kinds: list[Any] = [pytest.param("sqlite", id="sqlite")]
    if metafunc.definition.get_closest_marker("processes") is None:  # fakeredis lives inside one process
        kinds.append(pytest.param("fakeredis", id="fakeredis"))
    found = () if metafunc.config.getoption("--no-real-redis") else servers()
    kinds += [pytest.param(binary, id=binary.id) for binary in found] or [pytest.param(None, id="no-server")]
    metafunc.parametrize("backend", kinds, indirect=True)


@pytest.fixture
def backend(request: pytest.FixtureRequest, tmp_path: Path, shared_servers: Callable[[Binary], Server]) -> Backend:
    """Each kind of store in turn, with nothing in it."""
    if request.param is None:
        if request.config.getoption("--no-real-redis"):
            pytest.skip("--no-real-redis")
        pytest.fail(NONE_FOUND, pytrace=False)
    if request.param == "sqlite":
        return sqlite_backend(tmp_path)
    if request.param == "fakeredis":
        return fake_backend()
    server = shared_servers(request.param)
    with server.client() as control:
        control.flushall()
    resp3 = servers().index(request.param) % 2  # every other one: what a store says must not depend on it
    return redis_backend(request.param.id, f"{server.url}?protocol={3 if resp3 else 2}")


@pytest.fixture
def open_store(backend: Backend) -> Iterator[Callable[[], Store]]:
    """Open another store on the same data; all are closed at the end."""
    with ExitStack() as opened:
        yield lambda: opened.enter_context(closing(backend.open()))


@pytest.fixture
def store(open_store: Callable[[], Store]) -> Store:
    return open_store()


@pytest.fixture
def hand(store: Store) -> Hand:
    """A worker with a long lease."""
    return Hand(store)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """A spool, which only SQLite is."""
    from spoolq.store.sqlite import SQLiteStore

    spool = SQLiteStore(tmp_path / "spool.db", role="spool", timeout=20.0)
    try:
        yield spool
    finally:
        spool.close()
