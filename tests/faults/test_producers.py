"""Producers that fork, run threads and event loops, are interrupted, ended and left, with Redis there, gone, and none at all."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from spoolq import SpoolQ
from spoolq.store.base import Store
from tests.faults.app import application, drain
from tests.faults.producing import EACH
from tests.faults.working import ROOT
from tests.servers import Binary, Server
from tests.torture.check import Log, verdict
from tests.waiting import eventually

PLACES = ("redis", "gone", "ahead", "sqlite")


class Place:
    """Where the producers' jobs go, and how to count what arrived."""

    def __init__(self, kind: str, server: Server, folder: Path) -> None:
        self.folder = folder / "logs"
        self.folder.mkdir()
        self.spool = folder / "spool.db"
        self._kind, self._server = kind, server
        # generous for the disk: who isn't run for longer than the default is told that it took too long, rightly
        self.environment = os.environ | {"SPOOLQ_DISK_LIMIT": "20s"} | ({"SPOOLQ_ACCEPT": "spool"} if kind == "ahead" else {})
        self.url = f"sqlite:///{folder}/jobs.db" if kind == "sqlite" else server.url
        if kind == "gone":
            server.kill()

    def start(self, mode: str) -> subprocess.Popen[Any]:
        """The producers."""
        arguments = [mode, self.url, str(self.spool), str(self.folder)]
        return subprocess.Popen([sys.executable, "-m", "tests.faults.producing", *arguments], cwd=ROOT, env=self.environment)

    def log(self) -> Log:
        """What they said."""
        return Log.read(self.folder.glob("*.log"))

    def arrived(self) -> Counter[str]:
        """Every id that is in the primary, after the spool was drained into it."""
        if self._kind == "gone":
            self._server.start()
        spool = None if self._kind == "sqlite" else self.spool
        with SpoolQ(self.url, spool=spool, spool_min_free=0, deadline=5.0) as q:
            if spool is not None:
                drain(q)
            return everything(q.primary, q)


def everything(store: Store, q: SpoolQ) -> Counter[str]:
    """The ids of all jobs of the queue `work`, claimed and so counted."""
    info = q.worker_info(("work",), 1)
    ids: Counter[str] = Counter()
    number = 0
    while True:
        number += 1
        claims = store.claim(info, number, ("work",), 500).claims
        if not claims:
            return ids
        ids += Counter(json.loads(claim.payload)["id"] for claim in claims)


@pytest.fixture
def one_server(one_binary: Binary) -> Iterator[Server]:
    """One binary is enough: the producers are what differs."""
    with Server(one_binary) as server:
        yield server


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, one_server: Server, tmp_path: Path) -> Place:
    return Place(request.param, one_server, tmp_path)


def sound(place: Place, *, tried_only: bool = False) -> Log:
    """Check what was said against what arrived: nothing lost, nothing twice. With `tried_only` a call without an end may have
    arrived."""
    log = place.log()
    broken = verdict(log, place.arrived())
    if tried_only:
        ended = log.acknowledged.keys() | log.raised.keys()
        unexplained = [id for id in broken.pop("3 arrived, neither acknowledged nor raised as unknown") if id in ended]
        assert not unexplained
    assert not any(broken.values()), broken
    return log


@pytest.mark.parametrize(
    ("mode", "calls"), [("prefork", 2 * (3 + 6 * EACH)), ("fork", 2 * (3 + 5 * EACH)), ("spawn", 2 * (3 + 3 * EACH))]
)
def test_forks_and_threads_enqueue_as_if_each_were_alone(place: Place, mode: str, calls: int) -> None:
    process = place.start(mode)
    assert process.wait(60) == 0
    log = sound(place)
    assert len(log.acknowledged) == len(log.tried) == calls


EARLY = """
import faulthandler, os, sys, threading
from spoolq import SpoolQ

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[3] and threading.current_thread() is first:
            importing.set()
            forked.wait(0.3)  # in vain where the fork waits for the import

q = SpoolQ(sys.argv[1], spool=sys.argv[2], spool_min_free=0)
task = q.remote("t", "work")
importing, forked = threading.Event(), threading.Event()
first = threading.Thread(target=task.enqueue)
sys.meta_path.insert(0, Slow())
first.start()
while first.is_alive() and not importing.wait(0.01):
    pass
if (child := os.fork()) == 0:
    faulthandler.dump_traceback_later(20, exit=True)
    task.enqueue()
    os._exit(0)
forked.set()
first.join()
sys.exit(os.waitpid(child, 0)[1] != 0)
"""


@pytest.mark.parametrize("module", ["uuid_utils", "spoolq.store.redis.store", "redis.client", "spoolq.store.sqlite.driver"])
def test_a_fork_in_an_import_of_another_thread_s_first_call_leaves_a_child_that_can_enqueue(place: Place, module: str) -> None:
    """The module's lock is taken then, and nobody in the child would ever let it go."""
    command = [sys.executable, "-c", EARLY, place.url, str(place.spool), module]
    subprocess.run(command, cwd=ROOT, env=place.environment, check=True, timeout=60)
    assert sum(place.arrived().values()) == 2


def test_an_interrupted_call_can_be_made_again_with_its_id(place: Place) -> None:
    process = place.start("interrupted")
    rng = random.Random(7)
    eventually(lambda: len(place.log().tried) > 3)
    until = time.monotonic() + 30  # a starved process may never get as far as the end of a call between two of them
    while process.poll() is None and time.monotonic() < until:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(0.002, 0.03))
    assert process.wait(60) == 0
    log = sound(place)
    assert set(log.tried) == set(log.acknowledged)
    assert len(log.tried) > len(set(log.tried))  # some were made again


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", ["nested", "nested-cold", "raised", "raised-cold"])
def test_a_signal_handler_may_enqueue_or_raise_at_every_line_of_a_call(place: Place, mode: str) -> None:
    """In the first call of a process it may meet Python in the middle of starting a thread, which nobody has while that call is
    held: `producing` ends with an error if one is refused anywhere else."""
    waits = 4.0 if mode == "nested-cold" else 2.0  # only what meets that start waits for as long as it may
    if mode == "nested-cold":
        place.environment["SPOOLQ_DISK_LIMIT"] = f"{waits}s"
    process = place.start(mode)
    assert process.wait(270) == 0
    log = sound(place, tried_only=True)
    assert len(log.acknowledged) > 60
    assert mode == "nested-cold" or not log.raised
    assert max(log.took) < 1000 * (0.25 + waits + 1.0)


def test_term_in_mid_call_ends_at_once_and_loses_nothing(place: Place) -> None:
    for _ in range(3):
        process = place.start("terminated")
        log = place.folder / f"{process.pid}.log"
        eventually(lambda: log.exists() and log.read_text().count("ACK") > 20)  # noqa: B023
        process.terminate()
        assert process.wait(40) == 3
    sound(place, tried_only=True)


def test_a_process_that_ends_with_calls_in_flight_does_not_hang(place: Place) -> None:
    process = place.start("leaving")
    assert process.wait(100) == 0
    assert len(sound(place, tried_only=True).acknowledged) > 8


def test_a_cancelled_aenqueue_may_have_stored_its_job_once(place: Place) -> None:
    process = place.start("cancelled")
    assert process.wait(60) == 0
    assert sound(place, tried_only=True).acknowledged


def test_a_redis_that_hangs_holds_no_event_loop(one_server: Server, tmp_path: Path) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.01)
            turns += 1

    async def main(q: SpoolQ) -> None:
        counting = asyncio.create_task(count())
        receipt = await q.aenqueue(q.remote("t", "work").job(1))
        assert receipt.route == "spool"
        counting.cancel()

    one_server.stop()
    with application(one_server.url, tmp_path, deadline=5.0) as q:
        asyncio.run(main(q))
    assert turns > 5  # of 500; a loop that was held sees one


def test_the_check_sees_what_a_lost_and_a_doubled_job_look_like(one_server: Server, tmp_path: Path) -> None:
    """The control."""
    place = Place("redis", one_server, tmp_path)
    assert place.start("prefork").wait(60) == 0
    with one_server.client() as control:
        control.lpop("resque:queue:work")
        control.rpush("resque:queue:work", control.lindex("resque:queue:work", 0))
    broken = verdict(place.log(), place.arrived())
    assert [len(ids) for ids in broken.values()] == [1, 1, 0, 0]
