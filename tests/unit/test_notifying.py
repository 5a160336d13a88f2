"""What systemd hears, read from sockets of our own."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolq import config
from spoolq.notifying import SILENT, Notifier


class Systemd:
    """The other end."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self.socket.setblocking(False)

    def heard(self) -> list[str]:
        """What was said since the last look, one entry a datagram."""
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                found.append(self.socket.recv(65536).decode())
        return found


@pytest.fixture(params=["file", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    end = Systemd(str(tmp_path / "notify") if request.param == "file" else f"@spoolq-test-{os.getpid()}-{tmp_path.name}")
    yield end
    end.socket.close()


def test_it_says_what_systemd_understands(systemd: Systemd) -> None:
    told = Notifier(systemd.address)
    told.ready("begins")
    told.status("312 jobs safe;\n Redis is away")
    told.status("312 jobs safe; Redis is away")  # the same: said once
    told.stopping()
    assert systemd.heard() == ["READY=1\nSTATUS=begins", "STATUS=312 jobs safe; Redis is away", "STOPPING=1"]
    assert told.listens


def test_a_status_cannot_say_anything_else(systemd: Systemd) -> None:
    Notifier(systemd.address).status("queue\nWATCHDOG=1\r\nMAINPID=1 " + "x" * 500)
    (said,) = systemd.heard()
    assert said.startswith("STATUS=queue WATCHDOG=1 MAINPID=1 xxx")
    assert "\n" not in said
    assert len(said) < 220


def test_a_reload_begins_and_ends(systemd: Systemd) -> None:
    before = time.monotonic_ns() // 1000
    Notifier(systemd.address).reloaded()
    begun, over = systemd.heard()
    word, at = begun.split("\n")
    assert word == "RELOADING=1"
    assert before <= int(at.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
    assert over == "READY=1"


def test_the_watchdog_is_fed_three_times_in_its_span(systemd: Systemd) -> None:
    now = [1000.0]
    told = Notifier(systemd.address, 30.0, clock=lambda: now[0])
    assert told.pause == 10.0
    for _ in range(61):  # a loop that goes round every half second, for thirty
        told.beat()
        now[0] += 0.5
    assert systemd.heard() == ["WATCHDOG=1"] * 4


def test_where_there_is_no_watchdog_nothing_is_fed(systemd: Systemd) -> None:
    Notifier(systemd.address).beat()
    assert systemd.heard() == []


def test_nobody_there_is_no_error(tmp_path: Path) -> None:
    for told in (SILENT, Notifier(str(tmp_path / "gone")), Notifier("@nobody"), Notifier("vsock:2:1234")):
        told.ready("x")
        told.beat()
        told.reloaded()
        told.stopping()
    assert not SILENT.listens


def test_a_listener_that_does_not_read_is_not_waited_for(systemd: Systemd) -> None:
    told = Notifier(systemd.address)
    began = time.monotonic()
    for number in range(5000):
        told.status(f"turn {number}")
    assert time.monotonic() - began < 60.0
    assert systemd.heard()[0] == "STATUS=turn 0"


def test_the_environment_names_it_and_children_do_not_inherit_it(systemd: Systemd, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}.items():
        monkeypatch.setenv(name, value)
    told = config.notifier()
    told.beat()
    assert (systemd.heard(), told.pause) == (["WATCHDOG=1"], 10.0)
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & set(os.environ)
    assert not config.notifier().listens


@pytest.mark.parametrize("env", [{"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}])
def test_a_watchdog_of_another_process_or_none_is_not_fed(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch, env: dict[str, str]
) -> None:
    for name, value in {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "30000000", **env}.items():
        monkeypatch.setenv(name, value)
    told = config.notifier()
    told.beat()
    told.ready()
    assert systemd.heard() == ["READY=1"]
