"""`ordering="fifo"`: what was enqueued before is handed off before, through an outage, a drain and local work."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spoolq import NotStored, SpoolQ
from tests.faults.app import drain
from tests.faults.working import Place
from tests.servers import Server
from tests.waiting import eventually

pytestmark = pytest.mark.one_server

PRODUCER = """
import sys
from spoolq import SpoolQ

with SpoolQ(sys.argv[1], spool=sys.argv[2], ordering=sys.argv[3], spool_min_free=0, deadline=10.0, disk_limit=20.0) as q:
    task = q.remote("t", "work")
    for line in sys.stdin:
        print(task.enqueue(int(line)).route, q.breaker.allows(), flush=True)
"""


class Producers:
    """Two processes that enqueue in turn, each after the other has its answer. They count."""

    def __init__(self, server: Server, spool: Path, ordering: str) -> None:
        command = [sys.executable, "-c", PRODUCER, server.url, str(spool), ordering]
        self.processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            for _ in range(2)
        ]
        self.count = 0
        self.believe = [True, True]

    def enqueue(self, times: int = 1) -> list[str]:
        """The routes."""
        routes = []
        for _ in range(times):
            process = self.processes[self.count % 2]
            assert process.stdin is not None
            assert process.stdout is not None
            print(self.count, file=process.stdin, flush=True)
            route, believes = process.stdout.readline().split()
            self.believe[self.count % 2] = believes == "True"
            self.count += 1
            routes.append(route)
        return routes

    def know_it_is_back(self) -> bool:
        """One job more each; whether both think that Redis answers."""
        self.enqueue(2)
        return all(self.believe)


@contextmanager
def producers(server: Server, spool: Path, ordering: str) -> Iterator[Producers]:
    both = Producers(server, spool, ordering)
    try:
        yield both
    finally:
        for process in both.processes:
            process.kill()
            process.communicate()


def handed_off(server: Server) -> list[int]:
    """The numbers in Redis's queue, first come first."""
    with server.client() as control:
        return [json.loads(item)["args"][0] for item in control.lrange("resque:queue:work", 0, -1)]


def through_an_outage(server: Server, folder: Path, ordering: str) -> tuple[list[int], int]:
    """An outage, the time after it, and two drainers (with default settings), while both enqueue. What arrived, of how many."""
    spool = folder / "spool.db"
    with producers(server, spool, ordering) as both:
        assert set(both.enqueue(10)) == {"primary"}
        server.kill()
        assert set(both.enqueue(40)) == {"spool"}
        server.start()
        eventually(both.know_it_is_back, within=60, what="that both have heard of Redis again")
        both.enqueue(10)
        command = [sys.executable, "-m", "spoolq", "drain", "-q", "--batch", "7", "--url", server.url, "--spool", str(spool)]
        drainers = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(2)]
        try:
            both.enqueue(60)
            eventually(lambda: both.enqueue() == ["primary"], within=60, what="an enqueue past the drained spool")
        finally:
            for drainer in drainers:
                drainer.terminate()
                drainer.wait(60)
        count = both.count
    with SpoolQ(server.url, spool=spool, spool_min_free=0, disk_limit=20.0) as q:
        drain(q)
    return handed_off(server), count


def test_nothing_overtakes_through_an_outage_and_a_drain(durable: Server, tmp_path: Path):
    arrived, count = through_an_outage(durable, tmp_path, "fifo")
    assert arrived == list(range(count))


def test_the_control_relaxed_jobs_overtake(durable: Server, tmp_path: Path):
    arrived, count = through_an_outage(durable, tmp_path, "relaxed")
    assert sorted(arrived) == list(range(count)), "none is lost either way"
    assert arrived != sorted(arrived)


def run_here(place: Place, count: int = 60) -> tuple[list[str], list[str]]:
    """So many jobs, spooled in an outage, and two workers of four threads: the ids as they were enqueued, and as they ended."""
    ids = [place.enqueue("labour", 0.0 if number % 5 else 0.05) for number in range(count)]
    for _ in range(2):
        place.worker(threads=4)
    eventually(lambda: len(place.runs()) == count, within=60, what="all of them")
    return ids, [line.id for line in place.trace()]


@pytest.fixture
def nowhere(fresh_server: Server) -> str:
    fresh_server.kill()
    return fresh_server.url


def test_local_workers_keep_the_order_of_each_queue(nowhere: str, tmp_path: Path):
    place = Place(tmp_path, nowhere, ordering="fifo")
    try:
        enqueued, ran = run_here(place)
    finally:
        place.close()
    assert ran == enqueued


def test_the_control_local_workers_that_run_several_at_once_do_not(nowhere: str, tmp_path: Path):
    place = Place(tmp_path, nowhere)
    try:
        enqueued, ran = run_here(place)
    finally:
        place.close()
    assert sorted(ran) == sorted(enqueued)
    assert ran != enqueued


def test_where_the_spool_can_not_tell_nothing_is_sent(fresh_server: Server, tmp_path: Path):
    gone = tmp_path / "gone" / "spool.db"
    with SpoolQ(fresh_server.url, spool=gone, ordering="fifo") as q, pytest.raises(NotStored, match="keeps its order"):
        q.remote("t", "work").enqueue(1)
    assert handed_off(fresh_server) == []
