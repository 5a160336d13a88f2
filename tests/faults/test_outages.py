"""One outage is one row of the host's journal: with real processes that are killed, and servers that die, hang and are full."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolq.store.events import STALE, Outage
from spoolq.store.sqlite import SQLiteStore
from tests.faults.prefork import Prefork
from tests.faults.working import at
from tests.servers import Binary, Server
from tests.waiting import eventually

CHILDREN = 4

DYING = """
import os, signal, sys
from spoolq import SpoolQ

q = SpoolQ(sys.argv[1], spool=sys.argv[2], spool_min_free=0, deadline=3.0, disk_limit=20.0)
for n in range(int(sys.argv[3])):
    assert q.remote("t", "work").enqueue(n).route == "spool"
os.kill(os.getpid(), signal.SIGKILL)
"""

PATIENT = """
from spoolq.cli import main
from spoolq.drain import Drainer

Drainer.__init__.__kwdefaults__["timeout"] = 20.0  # the answer to a put may be late: what is sent again counts as a duplicate
main()
"""


@pytest.fixture
def fresh_server(one_binary: Binary) -> Iterator[Server]:
    with Server(one_binary) as server:
        yield server


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[SQLiteStore]:
    """The host's spool, to look into."""
    store = SQLiteStore(tmp_path / "spool.db", role="spool", timeout=20.0)
    yield store
    store.close()


def killed_after(count: int, server: Server, folder: Path) -> None:
    """A web server process that spools so many jobs and is killed."""
    done = subprocess.run(
        [sys.executable, "-c", DYING, server.url, str(folder / "spool.db"), str(count)], timeout=60, check=False
    )
    assert done.returncode == -signal.SIGKILL


def draining(server: Server, folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", PATIENT, "drain", "--url", server.url, "--spool", str(folder / "spool.db")]
    return subprocess.Popen(
        command, env={**os.environ, "SPOOLQ_SPOOL_MIN_FREE": "0"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def ended(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(60)


def only(spool: SQLiteStore) -> Outage:
    [outage] = spool.events.outages()
    return outage


@pytest.mark.parametrize("fault", ["killed", "stopped", "full"])
def test_a_pre_fork_server_has_one_outage_and_the_next_is_another(
    fault: str, fresh_server: Server, tmp_path: Path, spool: SQLiteStore
) -> None:
    server = fresh_server
    begin = {"killed": server.kill, "stopped": server.stop, "full": lambda: server.client().config_set("maxmemory", 1)}[fault]
    over = {"killed": server.start, "stopped": server.cont, "full": lambda: server.client().config_set("maxmemory", 0)}[fault]
    with Prefork(server, tmp_path, CHILDREN) as prefork:
        for _ in range(2):
            eventually(lambda: {prefork.enqueue(child)[0] for child in range(CHILDREN)} == {"primary"})
            eventually(lambda: spool.events.outage() is None)
            before, known = spool.waiting(), len(spool.events.outages())
            begin()
            for child in [*range(CHILDREN)] * 3:
                assert prefork.enqueue(child)[0] == "spool"
            over()
            eventually(lambda: spool.events.outage() is None, what="its end is told")
            assert len(spool.events.outages()) == known + 1
            newest = spool.events.outages()[0]
            assert 3 * CHILDREN <= newest.spooled == spool.waiting() - before
            assert newest.cause in {"killed": {"refused", "cut"}, "stopped": {"timeout"}, "full": {"oom"}}[fault]
    kinds = [event.kind for event in spool.events.page(kinds=["breaker_opened", "breaker_closed"])]
    assert kinds.count("breaker_opened") == kinds.count("breaker_closed") >= 2


def test_killed_in_the_outage_it_is_ended_by_the_drainer_alone(fresh_server: Server, tmp_path: Path, spool: SQLiteStore) -> None:
    """The drainer comes when Redis is back: it was never away from it."""
    fresh_server.kill()
    killed_after(5, fresh_server, tmp_path)
    assert only(spool).ended_at is None
    fresh_server.start()
    drain = draining(fresh_server, tmp_path)
    try:
        eventually(lambda: spool.events.outage() is None, within=STALE + 40)
        outage = eventually(lambda: only(spool) if only(spool).drained_at is not None else None)
        assert outage is not None
        assert (outage.spooled, outage.peak, outage.duplicates) == (5, 5, 0)
        kinds = [event.kind for event in reversed(spool.events.page())]
        assert kinds.index("drain_begun") > kinds.index("breaker_opened")
        assert {"breaker_closed", "drain_ended"} <= set(kinds)
    finally:
        ended(drain)


def test_a_drainer_that_was_there_all_along_ends_it_at_once(fresh_server: Server, tmp_path: Path, spool: SQLiteStore) -> None:
    drain = draining(fresh_server, tmp_path)
    try:
        eventually(spool.attended)
        fresh_server.kill()
        killed_after(3, fresh_server, tmp_path)
        eventually(lambda: spool.events.outage() is not None)
        fresh_server.start()
        eventually(lambda: only(spool).drained_at is not None)
        assert only(spool).spooled == 3
    finally:
        ended(drain)
    assert not spool.attended()


def test_all_processes_are_started_anew_in_the_middle_of_it(fresh_server: Server, tmp_path: Path, spool: SQLiteStore) -> None:
    fresh_server.kill()
    for _ in range(3):
        killed_after(2, fresh_server, tmp_path)
    assert (only(spool).spooled, only(spool).ended_at) == (6, None)
    assert len(spool.events.page(kinds=["breaker_opened"])) == 1


def test_a_drainer_that_is_killed_is_seen_no_more(fresh_server: Server, tmp_path: Path, spool: SQLiteStore) -> None:
    spool.waiting()
    assert not spool.attended()
    drain = draining(fresh_server, tmp_path)
    try:
        eventually(spool.attended)
        drain.kill()
        eventually(lambda: not spool.attended())
    finally:
        ended(drain)


def test_a_worker_that_is_killed_is_written_down(tmp_path: Path, fresh_server: Server) -> None:
    with at(tmp_path, fresh_server.url) as place:
        place.enqueue("hold")
        first = place.worker()
        place.begun(1)
        first.kill()
        place.open_gate()
        second = place.worker()
        place.done()
        log = place.q.journal()
        assert log is not None
        [event] = eventually(lambda: log.page(kinds=["worker_died"]))
        assert event.detail["worker_pid"] == first.pid
        assert event.detail["jobs"] == 1
        second.end()


def test_a_redis_that_would_throw_jobs_away_is_written_down_by_a_worker(tmp_path: Path, fresh_server: Server) -> None:
    fresh_server.client().config_set("maxmemory-policy", "allkeys-lru")
    with at(tmp_path, fresh_server.url) as place:
        place.enqueue("note")
        worker = place.worker()
        place.done()
        log = place.q.journal()
        assert log is not None
        [event] = eventually(lambda: log.page(kinds=["config_fault"]))
        assert event.detail["setting"] == "maxmemory-policy"
        assert "allkeys-lru" in event.text
        worker.end()
