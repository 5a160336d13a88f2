"""What signals do to `spoolq drain`: each row of the table in docs/configuration.md."""

from __future__ import annotations

import logging
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spoolq import logfiles
from tests.cli.conftest import Ran, finish, start
from tests.cli.hands import fill
from tests.servers import Server
from tests.waiting import eventually

pytestmark = pytest.mark.one_server

LOGGING = """
import logging
from spoolq import SpoolQ

q = SpoolQ(spool_min_free=0)
logging.getLogger("spoolq").addHandler(logging.FileHandler("drain.log"))
"""


@contextmanager
def draining(server: Server, *args: object) -> Iterator[subprocess.Popen[str]]:
    """A drain that goes on, of a spool that was emptied: the first row has arrived, and it waits."""
    server.kill()
    fill(server.url, 1)
    server.start()
    process = start("drain", "--url", server.url, *args)
    try:
        eventually(lambda: arrived(server) == 1, 60, "the first row")
        yield process
    finally:
        process.kill()
        process.communicate()


def arrived(server: Server) -> int:
    return int(server.client().llen("resque:queue:mail"))


def said(process: subprocess.Popen[str], word: str) -> str:
    """The next line on standard error with that word. The test's own time-out ends the wait."""
    assert process.stderr is not None
    return next(line for line in process.stderr if word in line)


def end(process: subprocess.Popen[str]) -> Ran:
    process.terminate()
    return finish(process)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_term_int_and_quit_end_it_after_the_batch(fresh_server: Server, number: int) -> None:
    with draining(fresh_server) as process:
        process.send_signal(number)
        last = finish(process)
    assert (last.code, last.out[:11]) == (0, "Moved 1 job"), last.err


@pytest.mark.parametrize("number", [signal.SIGTSTP, signal.SIGUSR2])
def test_tstp_and_usr2_pause_it_until_cont(fresh_server: Server, number: int) -> None:
    with draining(fresh_server) as process:
        process.send_signal(number)
        process.send_signal(signal.SIGTTIN)
        assert "paused by a signal" in said(process, " drain: ")
        fresh_server.kill()
        fill(fresh_server.url, 2)
        fresh_server.start()  # it remembers nothing
        process.send_signal(signal.SIGTTIN)
        assert "2 to go" in said(process, "paused by a signal")
        assert arrived(fresh_server) == 0
        process.send_signal(signal.SIGCONT)
        eventually(lambda: arrived(fresh_server) == 2, 60, "the rows that waited")
        assert end(process).code == 0


def test_ttin_says_the_stacks_and_how_far_it_is_and_it_goes_on(fresh_server: Server) -> None:
    with draining(fresh_server, "-q") as process:
        process.send_signal(signal.SIGTTIN)
        words = ["(most recent call first)", "drain: 1 moved, 0 to go"]  # in either order
        assert process.stderr is not None
        while words:
            line = next(process.stderr)
            words = [word for word in words if word not in line]
            if "drain: 0 moved" in line:  # the row has arrived, which the drainer doesn't know yet
                process.send_signal(signal.SIGTTIN)
        last = end(process)
    assert (last.code, last.out[:11]) == (0, "Moved 1 job")


def test_hup_without_a_log_file_changes_nothing(fresh_server: Server) -> None:
    with draining(fresh_server) as process:
        process.send_signal(signal.SIGHUP)
        assert "no log file to reopen, it goes on" in said(process, "SIGHUP")
        last = end(process)
    assert (last.code, last.out[:11]) == (0, "Moved 1 job")


def test_hup_reopens_a_log_file_that_was_moved_away(fresh_server: Server, tmp_path: Path) -> None:
    (tmp_path / "logs.py").write_text(LOGGING)
    with draining(fresh_server, "--app", "logs:q") as process:
        log = tmp_path / "drain.log"
        eventually(log.exists, 60)
        log.rename(tmp_path / "drain.log.1")
        process.send_signal(signal.SIGHUP)
        said(process, "1 log file(s) reopened")
        assert end(process).code == 0
    assert "reopened" in log.read_text()
    assert "draining" in (tmp_path / "drain.log.1").read_text()


def test_only_files_that_are_added_to_are_reopened(tmp_path: Path) -> None:
    """One opened with mode `w` would be emptied."""
    logger = logging.getLogger("spoolq.test-reopen")
    handlers = [logging.FileHandler(tmp_path / f"{mode}.log", mode) for mode in ("a", "w")]
    for handler in handlers:
        logger.addHandler(handler)
    try:
        logger.error("first")
        assert logfiles.reopen() == 1
        logger.error("second")
        for mode in ("a", "w"):
            assert (tmp_path / f"{mode}.log").read_text() == "first\nsecond\n"
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()
