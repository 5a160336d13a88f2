"""The breaker under real faults: one process of a host pays for an outage, a hint keeps no job from Redis for long, a slow Redis
is left alone, and a login that was taken away is said aloud."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spoolq.hint import Hint
from tests.faults.app import application
from tests.faults.prefork import Prefork
from tests.proxy import Proxy
from tests.servers import Binary, Server
from tests.waiting import eventually

CHILDREN = 4


@pytest.fixture
def fresh_server(one_binary: Binary) -> Iterator[Server]:
    """A server of the test's own, one kind only: what is tested here is on this side of the connection."""
    with Server(one_binary) as server:
        yield server


def routes(prefork: Prefork) -> set[str]:
    return {prefork.enqueue(child)[0] for child in range(prefork.children)}


def asked_in_an_outage(prefork: Prefork, begin: Callable[[], None]) -> int:
    """How many of the children asked Redis between them, at one call each."""

    def all_at_redis() -> list[tuple[str, int]]:
        answers = [prefork.enqueue(child) for child in range(prefork.children)]
        return answers if {route for route, _ in answers} == {"primary"} else []

    before = sum(asked for _, asked in eventually(all_at_redis, what="a warm connection in each child"))
    begin()
    answers = [prefork.enqueue(child) for child in range(prefork.children)]
    assert {route for route, _ in answers} == {"spool"}
    return sum(asked for _, asked in answers) - before


@pytest.mark.parametrize("fault", ["stopped", "killed"])
def test_of_a_pre_fork_server_one_process_pays_for_an_outage(fault: str, fresh_server: Server, tmp_path: Path):
    with Prefork(fresh_server, tmp_path, CHILDREN) as prefork:
        assert asked_in_an_outage(prefork, fresh_server.stop if fault == "stopped" else fresh_server.kill) == 1
        if fault == "stopped":
            fresh_server.cont()
        else:
            fresh_server.start()
        eventually(lambda: routes(prefork) == {"primary"}, what="everybody back at Redis")


def test_the_same_test_sees_each_process_pay_where_nobody_tells_the_others(fresh_server: Server, tmp_path: Path):
    with Prefork(fresh_server, tmp_path, CHILDREN, alone=True) as prefork:
        assert asked_in_an_outage(prefork, fresh_server.stop) == CHILDREN
        fresh_server.cont()


DYING = """
import os, signal, sys
from spoolq import SpoolQ
q = SpoolQ(sys.argv[1], spool=sys.argv[2], spool_min_free=0, disk_limit=20)
assert q.remote("t", "work").enqueue("x").route == "spool"
assert not q.breaker.allows()
os.kill(os.getpid(), signal.SIGKILL)
"""


def leave_a_hint(server: Server, folder: Path) -> None:
    """A process finds out about the outage, and is killed."""
    command = [sys.executable, "-c", DYING, server.url, str(folder / "spool.db")]
    assert subprocess.run(command, timeout=60).returncode == -signal.SIGKILL


def test_what_a_killed_process_found_out_is_known_and_keeps_jobs_from_a_healed_redis_for_one_probe_only(
    fresh_server: Server, tmp_path: Path
):
    fresh_server.stop()
    leave_a_hint(fresh_server, tmp_path)
    fresh_server.cont()
    with application(fresh_server.url, tmp_path, deadline=5.0) as q:
        left = q.hint.read()
        assert left is not None
        assert not q.breaker.allows()
        assert q.breaker.open_since == left.since
        assert q.remote("t", "work").enqueue("x").route == "spool"  # nobody has probed yet: that begins now
        eventually(q.breaker.allows, within=FEW_SECONDS, what="a probe of its own")
        assert q.remote("t", "work").enqueue("x").route == "primary"
        eventually(lambda: (note := q.hint.read()) is not None and not note.open, what="the others' being told")  # by its thread


FIRST_AT_THE_END = """
import atexit, sys
from pathlib import Path
from tests.faults.app import application

q = application(sys.argv[1], Path(sys.argv[2]), deadline=10.0)
atexit.register(lambda: print(q.remote("t", "work").enqueue("x").id))
"""


def test_a_process_that_first_enqueues_as_it_ends_tells_nobody_of_an_outage(fresh_server: Server, tmp_path: Path):
    """It can't load the driver any more, and that says nothing of Redis."""
    command = [sys.executable, "-c", FIRST_AT_THE_END, fresh_server.url, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip()
    with application(fresh_server.url, tmp_path, deadline=10.0) as q:
        note = q.hint.read()
        assert note is None or not note.open
        assert q.remote("t", "work").enqueue("x").route == "primary"


FEW_SECONDS = 9.0  # below the ten for which a hint is believed: a probe, and not the hint's age, has ended it


@pytest.mark.parametrize("hostile", ["garbage", "symlink", "fifo", "directory"])
def test_whatever_lies_in_place_of_the_hint_enqueue_goes_its_way(hostile: str, fresh_server: Server, tmp_path: Path):
    with application(fresh_server.url, tmp_path, deadline=5.0) as q:
        path = Path(q.hint.path)
        path.parent.mkdir(0o700)
        target = tmp_path / "target"
        target.write_text("untouched")
        {
            "garbage": lambda: path.write_bytes(os.urandom(200)),
            "symlink": lambda: path.symlink_to(target),
            "fifo": lambda: os.mkfifo(path),
            "directory": path.mkdir,
        }[hostile]()
        eventually(lambda: q.remote("t", "work").enqueue("x").route == "primary", what="a warm connection")
        fresh_server.kill()
        assert q.remote("t", "work").enqueue("x").route == "spool"
        fresh_server.start()
        eventually(q.breaker.allows, what="the breaker's probe")
        assert q.remote("t", "work").enqueue("x").route == "primary"
        assert target.read_text() == "untouched"


def test_without_a_runtime_directory_an_outage_is_survived_all_the_same(fresh_server: Server, tmp_path: Path):
    with application(fresh_server.url, tmp_path, deadline=5.0) as q:
        q.hint = q.breaker._hint = Hint(lambda: ([str(tmp_path / "none")], "x"))
        fresh_server.kill()
        assert q.remote("t", "work").enqueue("x").route == "spool"
        assert not q.breaker.allows()
        fresh_server.start()
        eventually(q.breaker.allows, what="the breaker's probe")


def test_a_redis_that_answers_near_the_deadline_each_time_is_left_alone_until_it_is_quick_again(
    fresh_server: Server, tmp_path: Path
):
    """Slow is more than half of the deadline; what is left of it is for the machine to lose."""
    with Proxy(fresh_server.port) as proxy, application(proxy.url, tmp_path, deadline=4.0) as q:
        task = q.remote("t", "work")
        eventually(lambda: task.enqueue("warm").route == "primary", what="a warm connection")
        once = proxy.rule(b"EVALSHA", "late", delay=2.1)
        assert [task.enqueue("once").route for _ in range(8)] == ["primary"] * 8  # one slow answer is nothing
        assert once.fired == 1
        proxy.rule(b"*", "late", times=-1, delay=2.1)
        slow = [task.enqueue(number).route for number in range(6)]
        assert slow == ["primary"] * 5 + ["spool"]
        assert q.breaker.reason == "slow"
        note = q.hint.read()
        assert note is not None
        assert (note.open, note.reason) == (True, "slow")
        proxy.heal()
        eventually(q.breaker.allows, what="a quick probe")
        assert task.enqueue("after").route == "primary"


@pytest.mark.parametrize(
    ("broken", "healed", "reason"),
    [(("resetpass", ">other"), ("resetpass", ">pw"), "auth"), (("-@all",), ("+@all",), "noperm")],
    ids=["password", "permissions"],
)
def test_a_login_that_is_taken_away_under_live_clients_is_said_aloud_and_told_to_nobody_else(
    broken: tuple[str, ...],
    healed: tuple[str, ...],
    reason: str,
    fresh_server: Server,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
):
    with fresh_server.client() as control:
        control.execute_command("ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all")
        url = fresh_server.url.replace("://", "://app:pw@")
        with (
            application(url, tmp_path, deadline=5.0) as one,
            application(url, tmp_path, deadline=5.0) as two,
            application(fresh_server.url, tmp_path, deadline=5.0) as well,
        ):
            each = [q.remote("t", "work") for q in (one, two, well)]
            for task in each:
                eventually(lambda task=task: task.enqueue("warm").route == "primary", what="a warm connection")
            control.execute_command("ACL", "SETUSER", "app", *broken)
            if reason == "auth":  # a password counts at the next login only
                control.execute_command("CLIENT", "KILL", "USER", "app")
            assert [task.enqueue("x").route for task in each] == ["spool", "spool", "primary"]
            assert (one.breaker.reason, two.breaker.reason, well.breaker.reason) == (reason, reason, None)
            said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
            assert len(said) == 2
            assert all("does not heal by itself" in text and reason in text for text in said)
            control.execute_command("ACL", "SETUSER", "app", *healed)
            eventually(lambda: one.breaker.allows() and two.breaker.allows(), what="the probes of both")
            assert [task.enqueue("x").route for task in each] == ["primary"] * 3
