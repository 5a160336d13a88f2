"""Drainers that die or hang between their two steps, as real processes with real signals: each row arrives once."""

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
from tests.faults.app import application, arrived, drain
from tests.servers import Server
from tests.waiting import eventually

DRAINER = """
import os, signal, sys
from spoolq import SpoolQ
from spoolq.drain import Drainer

url, spool, point, number = sys.argv[1:]

def die(self, *args, **options):
    os.kill(os.getpid(), int(number))
    return original(self, *args, **options)

target = SpoolQ(url, spool=spool, spool_min_free=0, lease=1.0, disk_limit=20)
owner, name = {
    "claimed": (type(target.primary), "put"),
    "put": (Drainer, "_delete"),
    "deleted": (type(target.primary), "forget"),
}[point]
original = getattr(owner, name)
setattr(owner, name, die)
print("begun", flush=True)
drainer = target.drainer()
if int(number) == signal.SIGKILL:  # it dies after a put that was answered, and not in a second one, of fewer rows
    drainer._timeout = drainer._hand._timeout = 20.0
drainer.run_once(10.0)
drainer.stop()
drainer.close()
"""


def patient() -> dict[str, str]:
    """The environment of a command that a disk that others keep busy doesn't end."""
    return {**os.environ, "SPOOLQ_DISK_LIMIT": "20s"}


@contextmanager
def drainer(server: Server, spool: Path, point: str, number: int) -> Iterator[subprocess.Popen[bytes]]:
    """A drainer process that sends itself a signal at a point: rows claimed, put into Redis, or deleted."""
    process = subprocess.Popen([sys.executable, "-c", DRAINER, server.url, str(spool), point, str(int(number))])
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.wait()


@pytest.fixture
def outage(fresh_server: Server, tmp_path: Path) -> Iterator[tuple[Server, SpoolQ, list[str]]]:
    """Thirty jobs that were spooled while the server was dead, and the server up again."""
    fresh_server.kill()
    with application(fresh_server.url, tmp_path, lease=1.0) as q:
        task = q.remote("t", "work")
        accepted = [task.enqueue(number).id for number in range(30)]
        fresh_server.start()
        yield fresh_server, q, accepted


@pytest.mark.parametrize("point", ["claimed", "put", "deleted"])
def test_a_drainer_killed_between_its_steps_loses_and_doubles_nothing(point: str, outage: tuple[Server, SpoolQ, list[str]]):
    server, q, accepted = outage
    with drainer(server, q.settings.spool_path, point, signal.SIGKILL) as process:
        assert process.wait(60) == -signal.SIGKILL
    assert sum(arrived(server).values()) == (0 if point == "claimed" else 30)
    assert q.spool is not None
    assert q.spool.waiting() == (0 if point == "deleted" else 30)
    eventually(lambda: drain(q).rows >= 0 and q.spool is not None and not q.spool.waiting(), what="an empty spool")
    assert arrived(server) == dict.fromkeys(accepted, 1)


@pytest.mark.parametrize("point", ["claimed", "put"])
def test_a_drainer_that_hangs_past_its_lease_and_wakes_up_delivers_nothing_twice(
    point: str, outage: tuple[Server, SpoolQ, list[str]]
):
    server, q, accepted = outage
    with drainer(server, q.settings.spool_path, point, signal.SIGSTOP) as process:
        eventually(lambda: os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT), within=60)
        eventually(lambda: drain(q).rows >= 0 and q.spool is not None and not q.spool.waiting(), within=60, what="an empty spool")
        assert arrived(server) == dict.fromkeys(accepted, 1)
        process.send_signal(signal.SIGCONT)
        assert process.wait(60) == 0
    assert arrived(server) == dict.fromkeys(accepted, 1)


def test_put_first_is_what_saves_them_a_drainer_that_deletes_first_loses_jobs(outage: tuple[Server, SpoolQ, list[str]]):
    """The control: the same kill with the two steps the other way round is seen by the same count."""
    server, q, accepted = outage
    assert q.spool is not None
    one = q.drainer()
    handoffs = q.spool.take(q.worker_info((), 1, "drainer"), 100, 1 << 20, q.primary.now() + 1)
    one._delete(handoffs, ())
    # and here it dies
    drain(q)
    assert set(accepted) - set(arrived(server)) == set(accepted)


def test_two_drain_commands_and_a_stream_of_new_jobs(fresh_server: Server, tmp_path: Path):
    fresh_server.kill()
    with application(fresh_server.url, tmp_path) as q:
        task = q.remote("t", "work")
        accepted = [task.enqueue(number).id for number in range(500)]
        fresh_server.start()
        command = [sys.executable, "-m", "spoolq", "drain", "-q", "--once", "--timeout", "60"]
        command += ["--url", fresh_server.url, "--spool", str(q.settings.spool_path), "--batch", "20"]
        both = [subprocess.Popen(command, env=patient()) for _ in range(2)]
        accepted += [task.enqueue(number).id for number in range(200)]
        assert [process.wait(100) for process in both] == [0, 0]
        drain(q)
        assert arrived(fresh_server) == dict.fromkeys(accepted, 1)


def test_term_ends_a_drain_after_its_batch_and_leaves_nothing_claimed(fresh_server: Server, tmp_path: Path):
    fresh_server.kill()
    with application(fresh_server.url, tmp_path) as q:
        task = q.remote("t", "work")
        accepted = [receipt.id for receipt in q.enqueue_many([task.job(number) for number in range(3000)])]
        fresh_server.start()
        command = [sys.executable, "-m", "spoolq", "drain", "-q", "--rate", "200", "--batch", "50"]
        process = subprocess.Popen([*command, "--url", fresh_server.url, "--spool", str(q.settings.spool_path)], env=patient())
        eventually(lambda: sum(arrived(fresh_server).values()) >= 100, within=60, what="the first batches")
        process.terminate()
        assert process.wait(60) == 0
        assert q.spool is not None
        assert q.spool.info().claimed == 0
        assert 0 < q.spool.waiting() < 3000
        drain(q)
        assert arrived(fresh_server) == dict.fromkeys(accepted, 1)
