"""Periodic jobs while processes and servers are killed for real."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from spoolq import SpoolQ
from spoolq.store.base import Store
from tests.contract.hands import Hand, id_of
from tests.faults.working import ROOT
from tests.servers import Server
from tests.waiting import eventually

DIES = """
import os, signal, sys
from spoolq import SpoolQ
from spoolq.ticker import Ticker

q = SpoolQ(sys.argv[1], spool=sys.argv[2], spool_min_free=0, deadline=5.0)
q.periodic(1)(q.task(name="tick", queue="ticks")(lambda: None))

class Dies:
    def __getattr__(self, name):
        if name == "set_meta" and enqueued:
            os.kill(os.getpid(), signal.SIGKILL)  # between enqueue and note
        return getattr(q.primary, name)

enqueued = []

def submit(jobs):
    q.submit(jobs)
    enqueued.extend(jobs)
    print(*(job.id for job in jobs), flush=True)

q.primary.promote(1)
one = Ticker(q.entries.values(), Dies(), submit, spool=q.spool)
while True:
    one.turn()
"""


def scheduler(url: str, spool: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", DIES, url, str(spool)], env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def taken(store: Store) -> Counter[str]:
    """Every job of the ticks' queue, claimed and put back."""
    hand = Hand(store, queues=("ticks",))
    claims = hand.claim(1000)
    if claims:
        store.release(claims)
    store.unregister(hand.info)
    return Counter(id_of(claim) for claim in claims)


@pytest.mark.parametrize("store", ["redis", "sqlite"])
def test_a_leader_that_is_killed_between_enqueue_and_note_leaves_one_job_of_the_tick(store: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path}/jobs.db"
        if store == "redis":
            url = stack.enter_context(Server()).url
        said: list[str] = []
        for _ in range(3):
            process = scheduler(url, tmp_path / "spool.db")
            out, _ = process.communicate(timeout=60)
            assert process.returncode == -signal.SIGKILL
            said += out.split()
        q = stack.enter_context(SpoolQ(url, spool=tmp_path / "spool.db", spool_min_free=0, deadline=5.0))
        assert taken(q.primary) == Counter(set(said))
        assert Counter(said).most_common(1)[0][1] > 1, "those that followed enqueued that tick again"


def test_a_host_whose_redis_is_gone_spools_its_ticks_and_they_come_once_redis_is_back(tmp_path: Path) -> None:
    """Two hosts: both spool each tick, one of the copies becomes the job."""
    with Server(appendonly=True, appendfsync="always") as server, ExitStack() as stack:
        spools = []
        for name in ("one", "two"):
            q = stack.enter_context(SpoolQ(server.url, spool=tmp_path / f"{name}.db", spool_min_free=0, deadline=1.0))
            q.periodic(1)(q.task(name="tick", queue="ticks")(lambda: None))
            worker = q.worker(queues="elsewhere", threads=1, async_concurrency=0)
            thread = threading.Thread(target=worker.run)
            thread.start()
            stack.callback(thread.join)
            stack.callback(worker.stop)
            assert q.spool is not None
            spools.append(q.spool)

        def queued() -> Counter[str]:
            with server.client() as control:
                found = control.lrange("resque:queue:ticks", 0, -1)
            return Counter(json.loads(payload)["id"] for payload in found)

        eventually(queued)
        server.kill()
        eventually(lambda: all(spool.waiting() >= 3 for spool in spools), what="ticks in both spools")
        server.start()
        eventually(lambda: not any(spool.waiting() for spool in spools), within=60, what="drained spools")
        before = len(queued())
        eventually(lambda: len(queued()) > before)

        def steps() -> set[int]:
            seconds = [int(id[-3:-1]) for id in sorted(queued())]
            return {(later - earlier) % 60 for earlier, later in itertools.pairwise(seconds)}

        # one that Redis had no time for comes by way of the spool, after the next
        eventually(lambda: steps() == {1}, what="each tick")
        assert set(queued().values()) == {1}
