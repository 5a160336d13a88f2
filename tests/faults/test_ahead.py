"""Redis loses what it had acknowledged: with write-ahead every job is there all the same. The control, beside it in each run, is
the same application with `accept="primary"`, which loses what Redis loses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, cast

import pytest

from spoolq import SpoolQ
from spoolq.errors import StoreUnavailable
from spoolq.store.base import Kept, Spool, Watch
from spoolq.store.looking import SpoolInfo
from spoolq.watch import Watcher
from tests.faults.app import application, arrived, drain
from tests.proxy import Proxy
from tests.servers import Server
from tests.waiting import eventually


def facts(q: SpoolQ) -> SpoolInfo:
    assert q.spool is not None
    return q.spool.info()


def handed_over(q: SpoolQ) -> None:
    """Until Redis has all that was accepted."""
    eventually(lambda: facts(q).rows == 0, within=60, what="an empty spool")


def looked(watcher: Watcher) -> bool:
    """One look of it; False where Redis was not heard in time: then nothing is known, and every row stays."""
    with suppress(StoreUnavailable):
        watcher.turn()
        return True
    return False


class Pair:
    """The same jobs to two queues of one Redis: written ahead, and the control."""

    def __init__(self, url: str, folder: Path, **settings: Any) -> None:
        for name in ("ahead", "control"):
            (folder / name).mkdir()
        self.ahead = application(url, folder / "ahead", deadline=5.0, accept="spool", **settings)
        self.control = application(url, folder / "control", deadline=5.0)
        self.accepted: dict[str, list[str]] = {"ahead": [], "control": []}

    def enqueue(self, count: int) -> None:
        for number in range(count):
            for name, q, route in (("ahead", self.ahead, "spool"), ("control", self.control, "primary")):
                receipt = q.remote("t", name).enqueue(number)
                assert receipt.route == route
                self.accepted[name].append(receipt.id)
        handed_over(self.ahead)

    def counts(self, server: Server, name: str) -> Counter[str]:
        return arrived(server, name)

    def none_lost(self, server: Server) -> None:
        """Each job that was written ahead is there once."""
        expected = Counter(self.accepted["ahead"])
        eventually(lambda: arrived(server, "ahead") >= expected, within=60, what="every job that was written ahead")
        handed_over(self.ahead)
        assert arrived(server, "ahead") == expected

    def lost(self, server: Server) -> set[str]:
        """What the control lost."""
        return set(self.accepted["control"]) - set(arrived(server, "control"))


@contextmanager
def pair(url: str, folder: Path, **settings: Any) -> Iterator[Pair]:
    both = Pair(url, folder, **settings)
    with both.ahead, both.control:
        yield both


@pytest.fixture
def servers(start_server: Callable[..., Server]) -> tuple[Server, Server]:
    """A master and its replica, linked."""
    master, replica = start_server(repl_diskless_sync_delay=0), start_server()
    with replica.client() as control:
        control.replicaof("127.0.0.1", master.port)
        eventually(lambda: control.info("replication")["master_link_status"] == "up", within=60, what="a linked replica")
    return master, replica


def test_a_fail_over_to_a_replica_that_was_cut_off_loses_no_job_that_was_written_ahead(
    servers: tuple[Server, Server], tmp_path: Path
):
    master, replica = servers
    with Proxy(master.port) as proxy, pair(proxy.url, tmp_path) as both:
        both.enqueue(10)
        with master.client(socket_timeout=60.0) as control:
            control.set("a write of its own", 1)  # WAIT speaks of this connection's last write, and of all that came before
            assert control.wait(1, 50_000) == 1
            replica.stop()
            control.execute_command("CLIENT", "KILL", "TYPE", "replica")  # or the kernel delivers what it holds later
        both.enqueue(20)
        master.kill()
        replica.cont()
        with replica.client() as control:
            control.replicaof("NO", "ONE")
        proxy.upstream = replica.port
        proxy.reset_all()
        both.none_lost(replica)
        assert both.lost(replica) == set(both.accepted["control"][10:])


def test_a_redis_without_persistence_that_is_restarted_empty_loses_no_job_that_was_written_ahead(
    fresh_server: Server, tmp_path: Path
):
    with pair(fresh_server.url, tmp_path) as both:
        both.enqueue(20)
        fresh_server.restart()
        both.none_lost(fresh_server)
        assert both.lost(fresh_server) == set(both.accepted["control"])


def test_flushall_is_found_out_when_the_rows_are_due(fresh_server: Server, tmp_path: Path):
    """The server's life goes on, so nothing but the missing ids tells. Until then the jobs are on the disk: for longer than it
    takes a busy machine to come from the first of them to the flush."""
    with pair(fresh_server.url, tmp_path, keep=6) as both:
        both.enqueue(20)
        with fresh_server.client() as control:
            control.flushall()
        both.none_lost(fresh_server)
        assert both.lost(fresh_server) == set(both.accepted["control"])


def test_a_restart_that_lost_nothing_queues_nothing_twice(durable: Server, tmp_path: Path):
    with pair(durable.url, tmp_path, keep=2) as both:
        both.enqueue(20)
        durable.restart()
        both.none_lost(durable)
        assert both.lost(durable) == set()
        eventually(lambda: facts(both.ahead).kept == 0, within=60, what="rows that are let go")
        assert both.counts(durable, "ahead") == Counter(both.accepted["ahead"])


def test_rows_in_doubt_follow_when_redis_comes_back_empty(fresh_server: Server, tmp_path: Path):
    """Redis took the job and its answer was lost; then it lost the job as well. The drainer's put is answered as a new one."""
    with Proxy(fresh_server.port) as proxy, application(proxy.url, tmp_path, deadline=5.0) as q:
        task = q.remote("t", "work")
        q.primary.ready(20.0)
        assert task.enqueue("warm").route == "primary"
        rule = proxy.rule(b"the one", "cut_reply")
        id = task.enqueue("the one").id
        rule.wait()
        assert arrived(fresh_server)[id] == 1
        assert facts(q).in_doubt == 1
        fresh_server.restart()
        proxy.heal()
        drain(q)
        assert arrived(fresh_server) == {id: 1}


# two who watch


class Interrupted:
    """A spool whose next `let_go` comes late: something happens before."""

    def __init__(self, spool: Spool, meanwhile: Callable[[], None]) -> None:
        self._spool, self._meanwhile = spool, meanwhile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._spool, name)

    def let_go(self, watch: Watch, kept: Sequence[Kept]) -> list[Kept]:
        self._meanwhile()
        return self._spool.let_go(watch, kept)


def test_who_looked_before_redis_lost_its_data_does_not_free_the_ids_that_were_put_since(fresh_server: Server, tmp_path: Path):
    """Or the row's next look would find its id gone, and queue the job a second time."""
    with application(fresh_server.url, tmp_path, deadline=5.0) as q:
        spool, watcher = q.spool, q.watcher()
        assert spool is not None
        message = q.message(q.remote("t", "work").job(1))._replace(keep=0.5)
        spool.spool([message])
        drain(q)
        [watch] = spool.watches()
        [row] = spool.kept(watch, 10)
        eventually(lambda: spool.watches()[0].due)

        lives = []

        def lost() -> None:
            lives.append("another")
            fresh_server.restart()
            eventually(lambda: q.primary.ready(20.0))
            eventually(lambda: looked(watcher))
            drain(q)
            assert arrived(fresh_server) == {message.id: 1}

        late = Watcher(cast(Spool, Interrupted(spool, lost)), q.primary)
        eventually(lambda: looked(late) or lives)
        assert lives == ["another"]
        eventually(lambda: q.primary.now() > row.not_after + 1.0, what="the time from which its id could be freed")
        q.primary.forget(())
        assert q.primary.remembers([message.id]) == [True]
        eventually(lambda: spool.watches()[0].due)
        eventually(lambda: looked(watcher))
        drain(q)
        assert arrived(fresh_server) == {message.id: 1}
        assert facts(q).kept == 0


# the process dies

AHEAD = """
import os, signal, sys, time
from spoolq import SpoolQ
from spoolq.store.sqlite import SQLiteStore
from spoolq.store.redis import RedisStore

url, spool, point = sys.argv[1:]

def die(self, *args, **options):
    if name == "forget" and not args[0]:
        return original(self, *args, **options)
    if point == "sent again":
        original(self, *args, **options)
    os.kill(os.getpid(), signal.SIGKILL)

owner, name = {
    "spooled": (SQLiteStore, "take"),
    "claimed": (RedisStore, "put"),
    "put": (SQLiteStore, "keep"),
    "kept": (RedisStore, "persisted"),
    "looked": (SQLiteStore, "let_go"),
    "send again": (SQLiteStore, "send_again"),
    "sent again": (SQLiteStore, "send_again"),
    "let go": (RedisStore, "forget"),
}[point]
original = getattr(owner, name)
setattr(owner, name, die)
keep = 60.0 if "again" in point else 1.0
q = SpoolQ(url, spool=spool, spool_min_free=0, disk_limit=20, accept="spool", keep=keep, lease=0.5)
jobs = [q.remote("t", "work").job(number) for number in range(40)]
for job in jobs:
    print("TRY", job.id, flush=True)
for receipt in q.enqueue_many(jobs):
    print("ACK", receipt.id, flush=True)
time.sleep(60)
"""


@pytest.mark.one_server
@pytest.mark.parametrize("point", ["spooled", "claimed", "put", "kept", "looked", "let go"])
def test_a_process_killed_at_any_step_leaves_its_rows_to_whoever_comes(point: str, server: Server, tmp_path: Path):
    command = [sys.executable, "-c", AHEAD, server.url, str(tmp_path / "spool.db"), point]
    died = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    assert died.returncode == -signal.SIGKILL
    said = [line.split() for line in died.stdout.splitlines()]
    tried = {id for word, id in said if word == "TRY"}
    accepted = {id for word, id in said if word == "ACK"}
    assert len(tried) == 40
    with application(server.url, tmp_path, lease=0.5) as q:
        watcher = q.watcher()
        eventually(lambda: drain(q) and facts(q).rows == 0, within=60, what="an empty spool")
        eventually(lambda: looked(watcher) and facts(q).kept == 0, within=60, what="rows that are let go")
        counts = arrived(server)
    assert accepted <= set(counts) <= tried
    assert set(counts.values()) == {1}


@pytest.mark.parametrize("point", ["send again", "sent again"])
def test_a_process_killed_as_it_sends_again_what_redis_has_lost_leaves_each_job_once(
    point: str, fresh_server: Server, tmp_path: Path
):
    command = [sys.executable, "-c", AHEAD, fresh_server.url, str(tmp_path / "spool.db"), point]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
        application(fresh_server.url, tmp_path, lease=0.5) as q,
    ):
        assert process.stdout is not None
        said = (line.split()[1] for line in process.stdout if line.startswith("ACK"))
        accepted = set(islice(said, 40))  # before it is killed: its rows may be kept before it has said so
        assert len(accepted) == 40
        eventually(lambda: facts(q).kept == 40, within=60, what="rows that are kept")
        fresh_server.restart()
        assert process.wait(60) == -signal.SIGKILL
        watcher, expected = q.watcher(), Counter(accepted)
        eventually(lambda: looked(watcher) and drain(q) and facts(q).rows == 0 and arrived(fresh_server) >= expected)
        assert arrived(fresh_server) == expected


def test_two_processes_and_a_drainer_beside_them_hand_over_each_job_once(fresh_server: Server, tmp_path: Path):
    code = """
import sys
from spoolq import SpoolQ
with SpoolQ(sys.argv[1], spool=sys.argv[2], spool_min_free=0, disk_limit=20, accept="spool", keep=1.0) as q:
    for number in range(150):
        print(q.remote("t", "work").enqueue(number).id, flush=True)
"""
    command = [sys.executable, "-c", code, fresh_server.url, str(tmp_path / "spool.db")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    drainer = subprocess.Popen(
        [sys.executable, "-m", "spoolq", "drain", "-q", "--url", fresh_server.url, "--spool", str(tmp_path / "spool.db")]
    )
    try:
        accepted = Counter(line.strip() for process in both for line in process.communicate(timeout=60)[0].splitlines())
        assert [process.returncode for process in both] == [0, 0]
        with application(fresh_server.url, tmp_path) as q:
            eventually(lambda: facts(q).rows == 0 and facts(q).kept == 0, within=60, what="rows that are let go")
        assert arrived(fresh_server) == accepted
        assert len(accepted) == 300
    finally:
        drainer.terminate()
        drainer.wait(60)


def test_a_fork_hands_over_what_it_accepts_itself(fresh_server: Server, tmp_path: Path):
    with application(fresh_server.url, tmp_path, accept="spool") as q:
        task = q.remote("t", "work")
        task.enqueue("parent")
        handed_over(q)
        child = os.fork()
        if child == 0:
            try:
                task.enqueue("child")
                handed_over(q)
            except BaseException:
                os._exit(1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        task.enqueue("parent again")
        handed_over(q)
        assert sum(arrived(fresh_server).values()) == 3


# confirming


def has_waitaof(server: Server) -> bool:
    """It came with 7.2."""
    return server.binary.kind == "valkey" or tuple(map(int, server.binary.version.split(".")[:2])) >= (7, 2)


def test_a_put_that_no_replica_confirms_is_kept_here_and_queued_once(
    fresh_server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with application(fresh_server.url, tmp_path, confirm="replica", deadline=4.0) as q:
        q.primary.ready(20.0)  # a warm connection
        receipt = q.remote("t", "work").enqueue(1)
        assert receipt.route == "spool"
        assert "unconfirmed" in caplog.text
        assert arrived(fresh_server) == {receipt.id: 1}  # it is queued already
        assert facts(q).in_doubt == 1
        drain(q)
        assert (facts(q).rows, facts(q).kept) == (0, 1)
        fresh_server.restart()  # and loses it
        watcher = q.watcher()
        eventually(lambda: looked(watcher) and drain(q) and arrived(fresh_server), what="what was sent again")
        assert arrived(fresh_server) == {receipt.id: 1}


def test_a_put_that_a_replica_confirms_survives_the_master(servers: tuple[Server, Server], tmp_path: Path):
    master, replica = servers
    with application(master.url, tmp_path, confirm="replica", deadline=20.0) as q:
        receipt = q.remote("t", "work").enqueue(1)
        assert receipt.route == "primary"
        master.kill()
    assert arrived(replica) == {receipt.id: 1}


def test_a_row_is_let_go_once_the_append_only_file_has_been_synced(start_server: Callable[..., Server], tmp_path: Path):
    """The server says when that was, where it has WAITAOF; elsewhere the time alone decides."""
    server = start_server(appendonly=True, appendfsync="no")
    with application(server.url, tmp_path, accept="spool", keep=1, deadline=5.0) as q:
        q.remote("t", "work").enqueue(1)
        handed_over(q)
        if has_waitaof(server):
            watcher = q.watcher()
            until = time.monotonic() + 3.5
            eventually(lambda: looked(watcher) and time.monotonic() > until, within=60)
            assert facts(q).kept == 1  # three times as long as it has to be kept, and not synced yet
            with server.client() as control:
                control.config_set("appendfsync", "everysec")
        eventually(lambda: facts(q).kept == 0, within=60, what="a row that is let go")
        assert sum(arrived(server).values()) == 1


def test_a_put_that_the_append_only_file_confirms_survives_the_server(start_server: Callable[..., Server], tmp_path: Path):
    server = start_server(appendonly=True, appendfsync="everysec")
    with application(server.url, tmp_path, confirm="aof", deadline=20.0) as q:
        receipt = q.remote("t", "work").enqueue(1)
        knows = has_waitaof(server)
        assert receipt.route == ("primary" if knows else "spool")
        server.restart()
        if not knows:
            drain(q)
        assert arrived(server) == {receipt.id: 1}
