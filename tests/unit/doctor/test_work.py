"""Each finding on who works, provoked on real servers and processes, and cleared by its remedy."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from spoolq import bookkeeping
from spoolq.app import SpoolQ
from spoolq.doctor import check, processes
from spoolq.doctor.look import Look
from spoolq.facts import gather
from spoolq.failurelog.assembly import Waiting
from spoolq.store.base import WorkerInfo
from tests.servers import Server
from tests.unit.doctor.conftest import Make
from tests.unit.doctor.hands import finding, level, spool_of
from tests.unit.doctor.test_spool import drain, fill
from tests.waiting import eventually

HOST = socket.gethostname()
ROOT = Path(__file__).parents[3]


def worker(key: str = "w", *queues: str, pid: int = 1, host: str = "host", lease: float = 60.0) -> WorkerInfo:
    return WorkerInfo(key, host, pid, queues, lease=lease)


@pytest.fixture
def q(fresh_server: Server, make: Make) -> SpoolQ:
    return make(fresh_server.url)


def spooled(q: SpoolQ, server: Server, count: int) -> None:
    """So many jobs in the spool, from an outage that is over."""
    server.kill()
    fill(q, count)
    server.start()


def test_jobs_that_redis_has_lost(q: SpoolQ, fresh_server: Server) -> None:
    fill(q, 3)
    assert level(q, "missing") == "ok"
    with fresh_server.client() as control:
        control.ltrim("resque:queue:mail", 2, -1)
    found = finding(q, "missing")
    assert (found.level, found.what) == ("problem", "2 jobs that Redis took are gone from it")
    bookkeeping.write_off(q.primary, None)
    assert level(q, "missing") == "ok"


def test_a_spool_that_nobody_drains(fresh_server: Server, q: SpoolQ) -> None:
    assert level(q, "drainer") == "ok"  # there is none
    spooled(q, fresh_server, 3)
    found = finding(q, "drainer")
    assert (found.level, found.what) == ("warning", "nobody drains the spool of this host: 3 jobs in it")
    drain(q)
    q.close()  # with it ends the drainer's part
    assert finding(q, "drainer").what == "nobody drains the spool of this host: what the next outage brings would stay in it"
    with draining(q):
        assert level(q, "drainer") == "ok"


@contextmanager
def draining(q: SpoolQ) -> Iterator[subprocess.Popen[bytes]]:
    """A real `spoolq drain` of this spool, at work."""
    command = [sys.executable, "-m", "spoolq", "drain", "--url", q.settings.url, "--spool", str(q.settings.spool_path)]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as process:
        try:
            eventually(lambda: spool_of(q).attended())
            yield process
        finally:
            process.kill()


def test_a_drainer_that_is_stopped(fresh_server: Server, q: SpoolQ) -> None:
    spooled(q, fresh_server, 2)
    with draining(q) as process:
        eventually(lambda: not spool_of(q).info().rows)  # with rows in its hands it would be told of these for a while
        process.send_signal(signal.SIGSTOP)
        eventually(lambda: processes.state(process.pid) == "T")
        found = finding(q, "drainer")
        assert (found.level, found.what) == ("warning", f"process {process.pid}, which drains the spool, is stopped")
        subprocess.run(found.remedy.partition(";")[0].split(), check=True)
        eventually(lambda: level(q, "drainer") == "ok")


def test_a_drainer_that_hangs_with_rows_in_its_hands(fresh_server: Server, q: SpoolQ) -> None:
    spooled(q, fresh_server, 2)
    spool_of(q).attend()
    me = WorkerInfo("me", HOST, 77, (), lease=0.1, kind="drainer")
    spool_of(q).take(me, 10, 1 << 20, time.time())
    eventually(lambda: all(view.lease_left < 0 for view in spool_of(q).workers()))
    found = finding(q, "drainer")
    assert (found.level, f"the drainer {HOST}:77 holds 2 rows" in found.what) == ("warning", True)
    eventually(lambda: drain(q) or spool_of(q).info().rows == 0)
    spool_of(q).attend()  # which that drainer has given up at its end
    assert level(q, "drainer") == "ok"


def test_a_queue_on_which_nobody_works(q: SpoolQ, fresh_server: Server) -> None:
    fill(q, 2)
    q.remote("send", "images").enqueue()
    found = finding(q, "queues", app="shop:q")
    assert (found.level, found.what) == ("warning", "nobody works on images (1 job), mail (2 jobs)")
    assert found.remedy == "`spoolq worker shop:q --queues images,mail`"
    q.primary.register(worker("w", "mail"))
    assert "images (1 job)" in finding(q, "queues").what
    q.primary.register(worker("v", "*", "!mail"))
    assert level(q, "queues") == "ok"
    q.primary.unregister(worker("v", "*", "!mail"))
    with fresh_server.client() as control:
        control.sadd("resque:workers", "ruby:5:images,films")
        assert level(q, "queues") == "ok"
        control.hset("resque:workers:heartbeat", "ruby:5:images,films", "2020-01-01T00:00:00Z")
    assert level(q, "queues") == "warning"


def test_a_queue_that_is_paused(q: SpoolQ) -> None:
    fill(q, 2)
    assert level(q, "paused") == "ok"
    q.primary.pause("mail")
    found = finding(q, "paused")
    assert (found.level, found.what) == ("warning", "2 jobs behind a pause of mail")
    assert found.remedy == "`spoolq queues resume mail`"
    q.primary.resume("mail")
    q.primary.pause("*")
    assert finding(q, "paused").remedy == "`spoolq queues resume --all`"
    q.primary.resume("*")
    assert level(q, "paused") == "ok"


def test_a_dead_worker_that_holds_jobs(q: SpoolQ, fresh_server: Server) -> None:
    fill(q, 1)
    dead = worker("dead", "mail", pid=77)
    q.primary.claim(dead, 1, ["mail"], 1)
    assert level(q, "claims") == "ok"
    with fresh_server.client() as control:
        control.zadd("resque:spoolq:leases", {"dead": time.time() - 100})
    found = finding(q, "claims")
    assert (found.level, found.what) == ("warning", "1 job held by workers that are gone: host:77")
    alive = worker("alive", "mail")
    q.primary.ack(q.primary.rescue(alive, 10))
    assert level(q, "claims") == "ok"


def test_two_workers_of_one_name(q: SpoolQ, fresh_server: Server) -> None:
    one, two = worker("one", "mail", host="box", pid=1), worker("two", "mail", host="box", pid=1)
    q.primary.register(one)
    assert level(q, "names") == "ok"
    q.primary.register(two)
    found = finding(q, "names")
    assert (found.level, "several workers call themselves box:1" in found.what) == ("warning", True)
    q.primary.unregister(two)
    with fresh_server.client() as control:
        control.sadd("resque:workers", "box:1:films")
        assert "other Resque workers have the names of spoolq's: box:1:films" in finding(q, "names").what
        control.srem("resque:workers", "box:1:films")
    assert level(q, "names") == "ok"


def test_workers_in_resques_list_that_are_gone(q: SpoolQ, fresh_server: Server) -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as ended:
        ended.wait(30)
    gone, silent = f"{HOST}:{ended.pid}:mail", "elsewhere:5:mail"
    with fresh_server.client() as control:
        control.sadd("resque:workers", f"{HOST}:{os.getpid()}:mail", "elsewhere:6:mail")
        assert level(q, "strangers") == "ok"
        control.sadd("resque:workers", gone, silent)
        control.hset("resque:workers:heartbeat", silent, "2020-01-01T00:00:00Z")
        found = finding(q, "strangers")
        assert (found.level, gone in found.what, silent in found.what) == ("warning", True, True)
        assert found.what.startswith("2 workers in Resque's list")
        control.srem("resque:workers", gone, silent)
    assert level(q, "strangers") == "ok"


def test_jobs_of_a_task_that_nobody_has(q: SpoolQ, fresh_server: Server) -> None:
    assert level(q, "tasks") == "unknown"

    @q.task(queue="mail")
    def send(to: str) -> None: ...

    send.enqueue("a")
    q.remote("other", "films").enqueue()  # another application's
    assert level(q, "tasks") == "ok"
    q.remote("lost", "mail").enqueue()
    found = finding(q, "tasks", app="shop:q")
    assert (found.level, found.what) == ("problem", "no task of shop:q has these names: lost in mail")

    @q.task(queue="mail")
    def lost() -> None: ...

    assert level(q, "tasks") == "ok"
    with fresh_server.client() as control:
        control.rpush("resque:queue:mail", b"\xff not a job", '{"class": "' + "n" * 5000 + '", "args": []}')
    found = finding(q, "tasks")
    assert "(unreadable) in mail" in found.what
    assert len(found.what) < 300


def test_failures_that_wait_for_a_bucket(q: SpoolQ) -> None:
    now = time.time()
    waits = Waiting(Path("/outbox"), "s3://failures", 3, now - 600)
    facts = replace(gather(q), waiting=(waits,))
    found = finding(q, "uploads", known={"facts": facts})
    assert (found.level, "3 files of failures wait in /outbox, the oldest for 10 min" in found.what) == ("warning", True)
    assert level(q, "uploads") == "ok"


def test_an_sqlite_queue_is_looked_at_alike(make: Make, tmp_path: Path) -> None:
    q = make(f"sqlite:///{tmp_path / 'queue.db'}", spool=None)
    assert {one.level for one in check(q, look=Look(q, known={"disk": ""}))} <= {"ok", "note", "unknown"}
    assert not (tmp_path / "queue.db").exists()
    fill(q, 2)
    found = {one.name: one for one in check(q, look=Look(q, known={"disk": ""}))}
    assert {name for name, one in found.items() if one.level in ("warning", "problem")} == {"queues"}
    assert "redis" not in found
    q.primary.register(worker("w", "mail"))
    assert level(q, "queues") == "ok"
