"""Real services as systemd would have them, and in its place a socket of ours: who is healthy beats, in an outage too."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.working import Place, at
from tests.servers import NOWHERE
from tests.waiting import eventually, pass_time

SPAN = 1.5  # the watchdog's, in seconds
HOLDS_AT_FIRST = """
@q.task(queue="work", retries=20, max_crashes=20, backoff=lambda state: 0)
def holds_at_first():
    tell("BEGIN")
    ctypes.PyDLL(None).sleep(60 if current_job().fresh else 0)  # for longer than this test may be kept from ending it
    tell("RUN")
"""


class Systemd:
    """Hears what services say, and when."""

    def __init__(self, path: Path) -> None:
        self.said: list[str] = []
        self.beats: list[float] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while word := self._socket.recv(65536).decode():
            if word == "WATCHDOG=1":
                self.beats.append(time.monotonic())
            else:
                self.said += word.split("\n")

    def beats_on(self, times: int = 4) -> None:
        """Wait for so many more beats."""
        before = len(self.beats)
        eventually(lambda: len(self.beats) >= before + times, what=f"{times} more beats")

    def is_silent(self) -> None:
        """Wait until systemd would think it stuck."""
        began = time.monotonic()
        eventually(lambda: time.monotonic() - max([began, *self.beats[-1:]]) > SPAN, what="silence for the watchdog's span")

    def close(self) -> None:
        end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        end.sendto(b"", self._socket.getsockname())
        self._thread.join(10)
        end.close()
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    end = Systemd(tmp_path / "notify")
    yield end
    end.close()


def watched(place: Place, tmp_path: Path) -> Place:
    place.environment |= {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": str(int(SPAN * 1e6))}
    return place


@pytest.fixture
def outage(tmp_path: Path, systemd: Systemd) -> Iterator[Place]:
    """A place whose Redis refuses."""
    with at(tmp_path, NOWHERE) as one:
        yield watched(one, tmp_path)


@pytest.fixture
def box(tmp_path: Path, systemd: Systemd) -> Iterator[Place]:
    with at(tmp_path, f"sqlite:///{tmp_path}/jobs.db") as one:
        yield watched(one, tmp_path)


def test_a_healthy_worker_beats_in_a_long_job_and_in_an_outage(outage: Place, systemd: Systemd) -> None:
    outage.enqueue("hold")
    outage.enqueue("note", queue="other")
    worker = outage.worker("--queues", "work")
    outage.begun()
    eventually(lambda: "READY=1" in systemd.said)  # how it is may be told before
    systemd.beats_on()
    eventually(lambda: any("away" in word and "in the spool" in word for word in systemd.said if word.startswith("STATUS=")))
    outage.open_gate()
    eventually(lambda: outage.runs())
    worker.send(signal.SIGHUP)
    eventually(lambda: "RELOADING=1" in systemd.said and systemd.said.count("READY=1") == 2)
    assert "STOPPING=1" not in systemd.said
    worker.end()
    eventually(lambda: "STOPPING=1" in systemd.said)


def test_a_worker_beats_on_while_it_waits_at_its_end_without_a_limit(box: Place, systemd: Systemd) -> None:
    box.enqueue("hold")
    worker = box.worker()
    box.begun()
    worker.send(signal.SIGQUIT)
    eventually(lambda: worker.said("waiting for running jobs: no limit"))
    systemd.beats_on()
    assert "STOPPING=1" not in systemd.said, "systemd would kill it after TimeoutStopSec"
    box.open_gate()
    assert worker.ended() == 0
    assert box.runs().total() == 1


def test_a_stopped_worker_is_silent(box: Place, systemd: Systemd) -> None:
    worker = box.worker().ready()
    systemd.beats_on(1)
    worker.send(signal.SIGSTOP)
    systemd.is_silent()
    worker.send(signal.SIGCONT)
    systemd.beats_on()
    worker.end()


def test_a_main_loop_that_hangs_is_silent_and_its_restart_runs_the_job(box: Place, systemd: Systemd) -> None:
    """C code that holds the interpreter: no thread of the process runs. systemd ends it by SIGABRT, and starts another."""
    with (box.folder / "app_under_test.py").open("a") as module:
        module.write(HOLDS_AT_FIRST)
    job = box.enqueue("holds_at_first")
    worker = box.worker()
    box.begun()
    systemd.is_silent()
    worker.send(signal.SIGABRT)
    assert worker.process.wait(30) == -signal.SIGABRT
    box.environment["WATCHDOG_USEC"] = "60000000"
    again = box.worker()
    box.done()
    assert box.runs() == {job: 1}
    again.end()


def test_a_drainer_beats_through_an_outage_and_says_what_it_waits_for(outage: Place, systemd: Systemd) -> None:
    for _ in range(3):
        outage.enqueue("note")
    log = outage.folder / "drain.log"
    with log.open("wb") as file:
        drain = subprocess.Popen(
            [sys.executable, "-m", "spoolq", "drain"], env=outage.environment, cwd=outage.folder, stdout=file, stderr=file
        )
    try:
        eventually(lambda: "READY=1" in systemd.said, what=log.read_text())
        eventually(lambda: "STATUS=3 jobs safe in the spool, waiting for Redis (refused)" in systemd.said)
        systemd.beats_on()
        drain.send_signal(signal.SIGUSR2)  # paused it sleeps for an hour, and beats all the same
        eventually(lambda: any("paused by a signal" in word for word in systemd.said))
        systemd.beats_on()
        drain.send_signal(signal.SIGSTOP)
        systemd.is_silent()
        drain.send_signal(signal.SIGCONT)
        drain.send_signal(signal.SIGTERM)
        assert drain.wait(30) == 0
        eventually(lambda: "STOPPING=1" in systemd.said)
    finally:
        drain.kill()
        drain.wait()


@pytest.mark.parametrize("command", ["dashboard", "exporter"])
def test_a_page_beats_through_an_outage_and_lives_through_hup(outage: Place, systemd: Systemd, command: str) -> None:
    outage.enqueue("note")
    log = outage.folder / "page.log"
    with log.open("wb") as file:
        page = subprocess.Popen(
            [sys.executable, "-m", "spoolq", command, "--port", "0"],
            env=outage.environment,
            cwd=outage.folder,
            stdout=file,
            stderr=file,
        )
    try:
        eventually(lambda: "READY=1" in systemd.said, what=log.read_text())
        systemd.beats_on()
        page.send_signal(signal.SIGHUP)
        eventually(lambda: "RELOADING=1" in systemd.said and systemd.said.count("READY=1") == 2)
        page.send_signal(signal.SIGSTOP)
        systemd.is_silent()
        page.send_signal(signal.SIGCONT)
        systemd.beats_on()
        page.send_signal(signal.SIGTERM)
        assert page.wait(30) in (0, -signal.SIGTERM), log.read_text()
        eventually(lambda: "STOPPING=1" in systemd.said)
    finally:
        page.kill()
        page.wait()


def test_a_pools_first_process_beats_and_its_others_do_not_speak_for_it(outage: Place, systemd: Systemd) -> None:
    outage.enqueue("hold")
    outage.enqueue("note", queue="other")
    pool = outage.worker("--processes", "2", "--queues", "work")
    [line] = outage.begun()
    eventually(lambda: "READY=1" in systemd.said)
    systemd.beats_on()
    eventually(lambda: any("the store is away" in word and "in the spool, 2 process(es) wanted" in word for word in systemd.said))
    pool.send(signal.SIGSTOP)
    systemd.is_silent()
    pass_time(SPAN)
    systemd.is_silent()
    assert line.pid != pool.pid
    os.kill(line.pid, 0)
    pool.send(signal.SIGCONT)
    outage.open_gate()
    eventually(outage.runs)
    assert systemd.said.count("READY=1") == 1
    pool.end_pool()
    eventually(lambda: "STOPPING=1" in systemd.said)
