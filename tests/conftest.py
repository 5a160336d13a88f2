"""Options and fixtures that every test may use. Under `CI=true` a skipped test is a failed one."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

import pytest
from hypothesis import settings

from tests.clock import Clock
from tests.s3 import S3
from tests.servers import NONE_FOUND, Binary, Server, servers
from tests.waiting import eventually

__all__ = ["eventually"]

settings.register_profile("spoolq", deadline=None)  # an example may have to wait for a core
settings.load_profile("spoolq")

# A shell without job control starts what it runs in the background with these ignored, as nohup does HUP, and every child would
# inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)
for _ignored in (signal.SIGQUIT, signal.SIGHUP):
    signal.signal(_ignored, signal.SIG_DFL)

# Where the shell forbids bytecode, each of the thousands of processes that tests start would compile spoolq anew: three times the
# work of a start
if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    sys.dont_write_bytecode = False


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-real-redis", action="store_true", help="skip, by name, every test that needs a real server")
    parser.addoption("--no-node", action="store_true", help="skip, by name, every test that needs Node.js")
    parser.addoption(
        "--no-root", action="store_true", help="skip, by name, every test that mounts a file system or breaks a network"
    )
    parser.addoption("--no-browser", action="store_true", help="skip, by name, every test that needs a browser")
    parser.addoption("--all-faults", action="store_true", help="the matrix of faults whole: every combination, 20 minutes")
    parser.addoption("--all-servers", action="store_true", help="tests marked `one_server` on each server that is found, too")
    parser.addoption("--fault-seed", type=int, default=1, help="which combinations of it are run otherwise")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "binary" in metafunc.fixturenames:
        found = () if metafunc.config.getoption("--no-real-redis") else servers()
        if found and metafunc.definition.get_closest_marker("one_server") and not metafunc.config.getoption("--all-servers"):
            found = (found[crc32(metafunc.definition.nodeid.encode()) % len(found)],)  # each its own: all have their share
        metafunc.parametrize("binary", found or [None], ids=[b.id for b in found] or ["no-server"], indirect=True)


@pytest.fixture(autouse=True)
def _root(request: pytest.FixtureRequest) -> None:
    """A test marked `root` fails where it may not do what it needs, unless that is asked for by name."""
    if request.node.get_closest_marker("root") is None:
        return
    if request.config.getoption("--no-root"):
        pytest.skip("--no-root")
    if os.geteuid() != 0:
        pytest.fail("mounts file systems or breaks a network, which needs root; to go without: --no-root", pytrace=False)


@pytest.fixture(autouse=True)
def no_settings_from_outside() -> Iterator[None]:
    """No test sees the developer's own settings, or what another test left behind."""

    def settings() -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if name.startswith("SPOOLQ_") or name == "REDIS_URL"}
        return {name: value for name, value in own.items() if not name.startswith("SPOOLQ_TEST_")}

    before = settings()
    for name in before:
        del os.environ[name]
    yield
    for name in settings():
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(scope="session")
def _runtimes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runtime")


@pytest.fixture(autouse=True)
def no_hints_from_others(_runtimes: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ports come again: what one test's processes found out about a server is not told to those of another."""
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    with TemporaryDirectory(dir=_runtimes, ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def binary(request: pytest.FixtureRequest) -> Binary:
    """Each server binary that this machine has, in turn."""
    if request.param is None:
        if request.config.getoption("--no-real-redis"):
            pytest.skip("--no-real-redis")
        pytest.fail(NONE_FOUND, pytrace=False)
    found: Binary = request.param
    return found


@pytest.fixture
def one_binary(request: pytest.FixtureRequest) -> Binary:
    """A server binary, for who tests something that doesn't lie in the server; `binary` goes through them all."""
    if request.config.getoption("--no-real-redis"):
        pytest.skip("--no-real-redis")
    if not servers():
        pytest.fail(NONE_FOUND, pytrace=False)
    return servers()[-1]


@pytest.fixture(scope="session")
def shared_servers() -> Iterator[Callable[[Binary], Server]]:
    """One process for each binary, kept for the whole session; one that died is replaced."""
    kept: dict[str, Server] = {}

    def get(binary: Binary) -> Server:
        if binary.id in kept and not kept[binary.id].running:
            kept.pop(binary.id).close()
        if binary.id not in kept:
            kept[binary.id] = Server(binary)
        return kept[binary.id]

    try:
        yield get
    finally:
        for server in kept.values():
            server.close()


@pytest.fixture
def server(binary: Binary, shared_servers: Callable[[Binary], Server]) -> Server:
    """A real server with nothing in it, once for each binary. Shared between tests: never kill it or change its settings."""
    running = shared_servers(binary)
    with running.client() as control:
        control.flushall()
    return running


@pytest.fixture
def start_server(binary: Binary) -> Iterator[Callable[..., Server]]:
    """Start servers of the test's own, to be broken: `start_server(appendonly=True, …)`. Once for each binary."""
    with ExitStack() as begun:
        yield lambda **options: begun.enter_context(Server(binary, **options))


@pytest.fixture
def fresh_server(start_server: Callable[..., Server]) -> Server:
    """A server of the test's own that persists nothing, to be broken. Once for each binary."""
    return start_server()


@pytest.fixture(scope="module")
def running_s3() -> Iterator[S3]:
    """An S3 server, kept for the module."""
    running = S3()
    yield running
    running.close()


@pytest.fixture
def s3(running_s3: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """An S3 server that holds one empty bucket, and that clients of this process find by their environment."""
    running_s3.clear()
    running_s3.use(monkeypatch)
    yield running_s3
    running_s3.start()


def _strict() -> bool:
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if _strict() and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {item.nodeid}: {_reason(report.longrepr)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if _strict() and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {collector.nodeid}: {_reason(report.longrepr)}"
    return report


def _reason(longrepr: object) -> object:
    return longrepr[2] if isinstance(longrepr, tuple) else longrepr


@pytest.fixture(autouse=True)
def _log_levels() -> Iterator[None]:
    """A command that runs within the tests' process sets them for all that come after."""
    loggers = logging.getLogger(), logging.getLogger("spoolq")
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
