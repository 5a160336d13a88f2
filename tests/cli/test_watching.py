"""`spoolq status --watch` on a terminal: an outage comes and goes while it looks, a new size counts, Ctrl-C leaves no trace."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator

import pytest

from tests.cli.conftest import ROOT
from tests.cli.hands import fill
from tests.servers import Server
from tests.waiting import eventually

pytestmark = pytest.mark.one_server

_CONTROL = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")


class Terminal:
    """A pseudo-terminal with a command on it."""

    def __init__(self, *args: str, rows: int = 40, columns: int = 100) -> None:
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "spoolq", *args],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"},
        )
        os.close(slave)
        self.raw = ""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, within: float = 0.05) -> str:
        """All that came so far."""
        while select.select([self.master], [], [], within)[0]:
            try:
                found = os.read(self.master, 65536)
            except OSError:  # the other end was closed
                break
            if not found:
                break
            self.raw += found.decode(errors="replace")
        return self.raw

    @property
    def screen(self) -> list[str]:
        """The lines of the last whole drawing."""
        drawings = self.read().split("\x1b[H")
        whole = [one for one in drawings if one.endswith("\x1b[J") or "\x1b[J" in one]
        return [_CONTROL.sub("", line).rstrip("\r") for line in whole[-1].split("\n")] if whole else []

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.screen).split())

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def one(*args: str, **options: int) -> Terminal:
        opened.append(Terminal(*args, **options))
        return opened[-1]

    yield one
    for each in opened:
        each.close()


def test_an_outage_appears_and_ends_while_it_watches(
    terminal: Callable[..., Terminal], start_server: Callable[..., Server]
) -> None:
    server = start_server()
    shown = terminal("status", "--watch", "--every", "0.2", "--url", server.url)
    eventually(lambda: "There is nothing to do." in shown.text)
    server.kill()
    fill(server.url, 3)
    eventually(lambda: "3 jobs are safe in the spool" in shown.text, within=60)
    assert shown.text.startswith("Nothing is lost on this host. Start Redis, then run `spoolq drain`.")
    eventually(lambda: "Redis down for" in shown.text)
    server.start()
    eventually(lambda: "Start Redis" not in shown.text, within=60)
    os.killpg(shown.process.pid, signal.SIGINT)
    eventually(lambda: shown.read() is not None and shown.process.poll() is not None)
    assert shown.process.returncode == 0
    text = shown.read()
    assert "Traceback" not in text
    assert text.count("\x1b[?1049h") == text.count("\x1b[?1049l") == 1  # the screen is as it was
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1


def test_a_new_size_is_taken_over_at_once(terminal: Callable[..., Terminal], nowhere: str) -> None:
    fill(nowhere, 1)
    shown = terminal("status", "--watch", "--every", "1000", "--url", nowhere)
    eventually(lambda: "1 job is safe" in shown.text, within=60)
    assert len(shown.screen) <= 40
    drawings = shown.read().count("\x1b[H")
    shown.resize(6, 40)
    os.kill(shown.process.pid, signal.SIGWINCH)
    eventually(lambda: shown.read().count("\x1b[H") > drawings)
    eventually(lambda: len(shown.screen) == 6, what="all of that drawing, which may come in parts")
    assert all(len(line) <= 40 for line in shown.screen)
    assert "more lines" in shown.screen[-1]


def test_interrupted_in_the_middle_of_a_look_it_leaves_cleanly(terminal: Callable[..., Terminal], nowhere: str) -> None:
    shown = terminal("status", "--watch", "--every", "0.1", "--url", nowhere)
    eventually(lambda: "\x1b[?1049h" in shown.read())
    os.kill(shown.process.pid, signal.SIGINT)
    eventually(lambda: shown.read() is not None and shown.process.poll() is not None)
    assert shown.process.returncode == 0
    assert "Traceback" not in shown.read()
    assert "\x1b[?1049l" in shown.read()


def test_on_a_narrow_terminal_what_to_do_is_not_cut_off(terminal: Callable[..., Terminal], nowhere: str) -> None:
    fill(nowhere, 1)
    for arguments in ((), ("--watch",)):
        shown = terminal("status", *arguments, "--url", nowhere, columns=60)
        eventually(lambda one=shown: "full" in _CONTROL.sub("", one.read()), within=60)
        lines = [line.rstrip("\r") for line in _CONTROL.sub("", shown.read()).split("\n")]
        text = " ".join(" ".join(lines).split())
        assert "Nothing is lost on this host. Start Redis, then run `spoolq drain`." in text
        assert "look whether" in text or "start Redis, or mend the address" in text
        assert [line for line in lines if len(line) > 60] == []
