"""A move of a whole queue that is killed loses nothing, runs nothing twice, and is ended by the next one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from spoolq import SpoolQ, wire
from spoolq.job import Job
from spoolq.store.base import Store
from tests.cli.conftest import ROOT, finish, start
from tests.servers import Server
from tests.waiting import eventually

pytestmark = pytest.mark.one_server

COUNT = 12_000

MOVER = """
import os, signal
from spoolq import moving
from spoolq.cli import main

step = moving.to_queue

def stops(*given):
    moved = step(*given)
    os.kill(os.getpid(), signal.SIGSTOP)  # or a busy machine would let it come to its end before anybody looks
    return moved

moving.to_queue = stops
main()
"""


def fill(store: Store) -> list[str]:
    names = [f"j{n:05}" for n in range(COUNT)]
    for at in range(0, COUNT, 500):
        store.put([wire.message(Job(name, "t", "from", ())) for name in names[at : at + 500]], timeout=10.0)
    return names


def ids(store: Store, queue: str) -> list[str]:
    found, after = list[str](), None
    while True:
        jobs, after = store.waiting_jobs.page(queue, after=after, limit=500)
        found += [wire.decode(job.payload, queue).id for job in jobs]
        if after is None:
            return found


def ready(store: Store, queue: str) -> int:
    return next((depth.ready for depth in store.depths() if depth.queue == queue), 0)


@pytest.fixture(params=["redis", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path, start_server: Callable[..., Server]) -> str:
    return start_server().url if request.param == "redis" else f"sqlite:///{tmp_path}/jobs.db"


def test_a_move_that_is_killed_is_ended_by_the_next_one(url: str, tmp_path: Path) -> None:
    patient = {"SPOOLQ_DEADLINE": "20s", "SPOOLQ_DISK_LIMIT": "20s"}
    with SpoolQ(url, spool=tmp_path / "spool.db", deadline=20.0, disk_limit=20.0) as q:
        names = fill(q.primary)
        command = ["queues", "move", "from", "to", "--url", url, "--spool", str(tmp_path / "spool.db")]
        moving = subprocess.Popen(
            [sys.executable, "-c", MOVER, *command],
            env={**os.environ, "PYTHONPATH": str(ROOT), **patient},
            stdout=subprocess.DEVNULL,
        )
        eventually(lambda: os.waitid(os.P_PID, moving.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT), what="the end of a step")
        assert ready(q.primary, "to") > 0
        moving.send_signal(signal.SIGCONT)
        moving.kill()  # somewhere in the next step, after which it would stop again
        moving.wait()
        moved, left = ids(q.primary, "to"), ids(q.primary, "from")
        assert moved + left == names, "in their order, each of them once"
        assert 0 < len(moved) < COUNT, "it was killed on its way"
        said = finish(start(*command, **patient), within=100)
        assert (said.code, said.out) == (0, f"Moved {len(left):,} jobs from from to to.\n")
        assert ids(q.primary, "to") == names
        assert ids(q.primary, "from") == []
