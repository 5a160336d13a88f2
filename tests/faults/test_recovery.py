"""Drainers beside live traffic on a real server: memory is left to it, an operator's pause holds, signals pause `--once`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spoolq import SpoolQ
from spoolq.errors import StoreFull
from tests.faults.app import application, arrived, drain
from tests.servers import Server
from tests.waiting import eventually

MIB = 1 << 20


def spooled(server: Server, q: SpoolQ, count: int, size: int = 10) -> list[str]:
    """So many jobs that were taken while the server was dead; it is up again."""
    server.kill()
    task = q.remote("t", "work")
    ids = [receipt.id for receipt in q.enqueue_many([task.job("x" * size) for _ in range(count)])]
    server.start()
    return ids


def used(server: Server) -> int:
    with server.client() as control:
        return int(control.info("memory")["used_memory"])


@pytest.mark.one_server
def test_a_nearly_full_server_is_not_filled_up_and_live_traffic_has_room(fresh_server: Server, tmp_path: Path):
    with application(fresh_server.url, tmp_path) as q:
        ids = spooled(fresh_server, q, 400, 50_000)
        limit = used(fresh_server) + 10 * MIB
        with fresh_server.client() as control:
            control.config_set("maxmemory", limit)
            done = drain(q)
            assert isinstance(done.error, StoreFull)
            assert done.error.reason == "headroom"
            assert 0 < done.moved < 400
            # what it read a batch into is let go of after two seconds
            eventually(lambda: used(fresh_server) < limit * 0.97, what="memory for others")
            eventually(lambda: q.remote("t", "live").enqueue("y" * 50_000).route == "primary")
            control.config_set("maxmemory", 0)
        drain(q)
        assert arrived(fresh_server) == dict.fromkeys(ids, 1)


def test_the_control_without_the_look_at_its_memory_the_server_is_filled_up(
    fresh_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("spoolq.pace.Room.seen", lambda *ignored: None)
    with application(fresh_server.url, tmp_path) as q:
        spooled(fresh_server, q, 400, 50_000)
        with fresh_server.client() as control:
            control.config_set("maxmemory", used(fresh_server) + 10 * MIB)
        done = drain(q, patience=20.0, away=1.0)
        assert done.error is not None
        assert done.error.reason == "oom"
        assert q.remote("t", "live").enqueue("y" * 50_000).route == "spool"


def test_a_server_whose_acl_refuses_info_is_drained_all_the_same(fresh_server: Server, tmp_path: Path):
    with fresh_server.client() as control:
        control.acl_setuser("poor", enabled=True, passwords=["+secret"], commands=["+@all", "-info"], keys=["*"], channels=["*"])
    url = fresh_server.url.replace("://", "://poor:secret@")
    with application(url, tmp_path) as q:
        assert q.primary.load(5.0, memory=True).limit is None
        fresh_server.client().config_set("maxmemory", 1 << 40)
        assert q.primary.load(5.0, memory=True).limit is None
        assert q.spool is not None
        q.spool.spool([q.message(q.remote("t", "work").job(n)) for n in range(10)])
        assert drain(q, patience=20.0).moved == 10


@contextmanager
def command(server: Server, q: SpoolQ, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A `spoolq drain` of that spool."""
    where = ["--url", server.url, "--spool", str(q.settings.spool_path)]
    line = [sys.executable, "-m", "spoolq", "drain", *arguments, *where]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> int:
    process.communicate(timeout=60)
    return process.returncode


def test_a_pause_holds_every_drainer_through_restarts_and_an_outage(fresh_server: Server, tmp_path: Path):
    with application(fresh_server.url, tmp_path) as q:
        ids = spooled(fresh_server, q, 500)
        fresh_server.kill()
        with command(fresh_server, q, "pause") as pause:
            assert ended(pause) == 0, "it needs no Redis"
        fresh_server.start()
        for _ in range(2):
            with command(fresh_server, q, "--once") as once:
                assert ended(once) == 75
        assert sum(arrived(fresh_server).values()) == 0
        with command(fresh_server, q) as going_on:
            assert going_on.stderr is not None
            eventually(lambda: "paused by an operator" in going_on.stderr.readline(), what="that it says so")
            with command(fresh_server, q, "resume") as resume:
                assert ended(resume) == 0
            eventually(lambda: arrived(fresh_server) == dict.fromkeys(ids, 1), what="all of them")


@pytest.mark.parametrize("number", [signal.SIGTSTP, signal.SIGUSR2])
def test_a_signal_pauses_drain_once_too(number: int, fresh_server: Server, tmp_path: Path):
    with application(fresh_server.url, tmp_path) as q:
        ids = spooled(fresh_server, q, 3000)
        with command(fresh_server, q, "--once", "--rate", "200", "--batch", "20") as process:
            eventually(lambda: sum(arrived(fresh_server).values()) >= 40, what="the first batches")
            process.send_signal(number)

            def paused() -> bool:  # Python's own handlers run in the order of their numbers, whichever signal came first
                process.send_signal(signal.SIGTTIN)
                assert process.stderr is not None
                return "paused by a signal" in next(line for line in process.stderr if "drain: " in line)

            eventually(paused, what="that it says so")
            counts: list[int] = []

            def at_rest() -> bool:
                counts.append(sum(arrived(fresh_server).values()))
                return len(counts) > 40 and len(set(counts[-40:])) == 1 and process.poll() is None

            eventually(at_rest, what="rest")
            assert counts[-1] < 3000
            os.kill(process.pid, signal.SIGCONT)
            eventually(lambda: sum(arrived(fresh_server).values()) > counts[-1], what="that it goes on")
            process.terminate()
            assert ended(process) == 75
        drain(q)
        assert arrived(fresh_server) == dict.fromkeys(ids, 1)
