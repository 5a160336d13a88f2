"""What an orchestrator is answered, soon: an outage that the spool absorbs takes nobody out of service."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from spoolq.app import SpoolQ
from spoolq.facts import Facts, Side, gather
from spoolq.probes import Readiness, livez, readyz, workers_live
from tests.servers import NOWHERE
from tests.waiting import eventually

UP = Side("redis", "redis://h:6379/0#resque", "up", latency=0.001)
AWAY = replace(UP, state="away", error="Redis refused at h:6379", reason="refused")
FULL = replace(UP, state="refusing", error="Redis at h:6379: oom", reason="oom")
SPOOL = Side("spool", "/s.db", "up")
FULL_SPOOL = replace(SPOOL, refuses="the disk is full")
NONE = Side("spool", "/s.db", "absent", "no spool at /s.db")
FORBIDDEN = Side("spool", "/s.db", "forbidden", "/s.db: this user may not read and write it")
BROKEN = Side("spool", "/s.db", "unreadable", "not a database", refuses="not a database")
FILE = Side("sqlite", "/q.db", "up")


@pytest.mark.parametrize(
    ("primary", "spool", "status", "state"),
    [
        (UP, SPOOL, 200, "ok"),
        (UP, NONE, 200, "ok"),
        (AWAY, SPOOL, 200, "degraded"),
        (FULL, SPOOL, 200, "degraded"),
        (AWAY, NONE, 200, "degraded"),
        (UP, FULL_SPOOL, 200, "degraded"),
        (UP, BROKEN, 200, "degraded"),
        (AWAY, FULL_SPOOL, 503, "critical"),
        (AWAY, BROKEN, 503, "critical"),
        (UP, FORBIDDEN, 503, "unknown"),
        (FILE, None, 200, "ok"),
        (replace(FILE, state="absent", error="no queue at /q.db"), None, 200, "unknown"),
        (replace(FILE, state="unreadable", error="not a database"), None, 503, "critical"),
    ],
)
def test_ready_is_who_would_keep_a_job_safe(primary: Side, spool: Side | None, status: int, state: str) -> None:
    answer = readyz(Facts(primary, spool))
    assert (answer.status, answer.body["state"], answer.body["ready"]) == (status, state, status == 200)
    assert answer.yes is (status == 200)
    assert answer.body["schema"] == 1
    assert answer.body["summary"]


def test_who_answers_is_alive() -> None:
    assert livez() == (200, {"schema": 1, "live": True})


@pytest.mark.parametrize(
    ("silent", "status", "says"),
    [
        ({"worker 1": 0.4}, 200, "all go round"),
        ({"pool 1": 0.4, "worker 2": 29.9}, 200, "all go round"),
        ({"pool 1": 31.0, "worker 2": 0.2}, 503, "silent for more than 30 s: pool 1"),
        ({}, 503, "no worker runs here"),
    ],
)
def test_workers_live_when_each_main_loop_goes_round(silent: dict[str, float], status: int, says: str) -> None:
    answer = workers_live(silent)
    assert (answer.status, answer.body["summary"], answer.body["live"]) == (status, says, status == 200)


def test_redis_down_while_the_spool_works_is_ready(tmp_path: Path) -> None:
    with SpoolQ(NOWHERE, spool=tmp_path / "s.db", spool_min_free=0) as q:
        q.remote("send", "mail").enqueue("ada@example.com")
        answer = Readiness(lambda: gather(q), wait=10.0).readyz()
    assert (answer.status, answer.body["state"]) == (200, "degraded")
    assert "1 job is safe in the spool" in str(answer.body["summary"])


class Stores:
    """What is found, as slow as the test wants it."""

    def __init__(self) -> None:
        self.go, self.looks = threading.Event(), 0
        self.found = Facts(UP, SPOOL)

    def __call__(self) -> Facts:
        self.looks += 1
        self.go.wait(30)
        return self.found


def test_a_look_that_hangs_is_not_waited_for_and_is_never_joined_by_a_second_one() -> None:
    now = [1000.0]
    stores = Stores()
    readiness = Readiness(stores, wait=0.01, clock=lambda: now[0])
    began = time.monotonic()
    first = [readiness.readyz() for _ in range(5)]
    assert time.monotonic() - began < 20.0
    eventually(lambda: stores.looks)
    assert stores.looks == 1
    assert {(answer.status, answer.body["state"]) for answer in first} == {(503, "unknown")}
    stores.go.set()
    eventually(lambda: readiness.readyz().yes)
    stores.go.clear()
    now[0] += 2.0  # no longer fresh: a look is begun, and the last one serves meanwhile
    assert readiness.readyz().yes
    eventually(lambda: stores.looks == 2, what="a look that was begun")
    now[0] += 30.0
    late = readiness.readyz()
    assert (late.status, late.body["state"]) == (503, "unknown")
    assert "for 32.0 s" in str(late.body["summary"])
    stores.go.set()
    eventually(lambda: readiness.readyz().yes)


def test_one_look_serves_for_a_while() -> None:
    now = [1000.0]
    stores = Stores()
    stores.go.set()
    readiness = Readiness(stores, wait=30.0, clock=lambda: now[0])
    assert [readiness.readyz().status for _ in range(3)] == [200] * 3
    assert stores.looks == 1
    now[0] += 1.5
    stores.found = Facts(AWAY, FULL_SPOOL)
    assert readiness.readyz().status == 503
    assert stores.looks == 2


def test_an_error_of_our_own_is_not_ready_and_not_told_to_the_world(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Facts:
        raise ValueError("secret")

    answer = Readiness(broken, wait=30.0).readyz()
    assert (answer.status, answer.body["state"]) == (503, "unknown")
    assert "secret" not in str(answer.body)
    assert "secret" in caplog.text
