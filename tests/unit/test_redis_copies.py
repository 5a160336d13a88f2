"""A copy that node-resque put into `failed` of a job that a worker of ours has: taken back, and nothing else with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from spoolq import wire
from spoolq.job import Claim, Job
from spoolq.store.base import Working
from spoolq.store.redis import RedisStore
from tests.contract.hands import LONG, SHORT, Hand, failure
from tests.servers import Server
from tests.waiting import eventually

TIMED_OUT = "Worker Timeout (killed manually)"


@pytest.fixture
def store(server: Server) -> Iterator[RedisStore]:
    store = RedisStore(server.url, deadline=20.0, timeout=20.0)
    yield store
    store.close()


def at_work(store: RedisStore, payload: bytes | None = None, lease: float = LONG) -> tuple[Hand, Claim]:
    """A worker that is shown to have a job."""
    job = Job("a-1", "Send", "q", ({"id": "of a customer"},))
    if payload is None:
        store.put([wire.message(job, "resque")])
    else:
        store._command(b"RPUSH", b"resque:queue:q", payload)
    hand = Hand(store, lease=lease)
    [claim] = hand.claim(1)
    store.heartbeat(hand.info, [Working(0, claim, 1.0)])
    return hand, claim


def cleaned(server: Server, hand: Hand, job: bytes, **fields: Any) -> bytes:
    """What node's forceCleanWorker leaves."""
    id = hand.info.resque_id(0)
    entry = {
        "worker": id.rpartition(":")[0],
        "queue": "q",
        "payload": json.loads(job),
        "exception": TIMED_OUT,
        "error": TIMED_OUT,
        "backtrace": ["killed by host at Thu Nov 26 2026", "queue#forceCleanWorker", "node-resque"],
        "failed_at": "Thu Nov 26 2026 09:00:00 GMT+0000 (Coordinated Universal Time)",
    }
    text = json.dumps({**entry, **fields}, separators=(",", ":"), ensure_ascii=False).encode()
    with server.client() as control:
        control.srem("resque:workers", id)
        control.rpush("resque:failed", text)
    return text


def log(server: Server) -> list[bytes]:
    with server.client() as control:
        found: list[bytes] = control.lrange("resque:failed", 0, -1)
    return found


@pytest.mark.parametrize("payload", [None, b'{"class":"Send","queue":"q","args":[[],{},"\xc3\xa9%d"]}'], ids=["id", "bare"])
def test_a_live_workers_next_heartbeat_takes_the_copy_back(server: Server, store: RedisStore, payload: bytes | None) -> None:
    hand, claim = at_work(store, payload)
    cleaned(server, hand, claim.payload)
    assert store.heartbeat(hand.info, [Working(0, claim, 1.0)]) == 1
    assert log(server) == []


def test_the_rescue_of_a_dead_worker_takes_the_copy_back(server: Server, store: RedisStore) -> None:
    hand, claim = at_work(store, lease=SHORT)
    cleaned(server, hand, claim.payload)
    [rescued] = eventually(lambda: store.rescue(replace(hand.info, key="w2", pid=1), 10))
    assert rescued.payload == claim.payload
    assert log(server) == []


@pytest.mark.parametrize("how", ["ack", "retry", "release"])
def test_a_job_that_ends_before_the_next_heartbeat_takes_the_copy_back(server: Server, store: RedisStore, how: str) -> None:
    hand, claim = at_work(store)
    cleaned(server, hand, claim.payload)
    match how:
        case "ack":
            store.ack([claim])
        case "retry":
            store.retry(claim, claim.payload, 0.0)
        case "release":
            store.release([claim])
    assert log(server) == []


def test_a_job_that_fails_before_the_next_heartbeat_leaves_its_own_failure_alone(server: Server, store: RedisStore) -> None:
    hand, claim = at_work(store)
    cleaned(server, hand, claim.payload)
    store.fail(claim, failure(claim))
    [left] = log(server)
    assert json.loads(left)["exception"] == "FileNotFoundError"


@pytest.mark.parametrize(
    "fields",
    [
        {"payload": {"class": "Send", "queue": "q", "args": [{"id": "of a customer"}], "id": "a-2"}},
        {"worker": "host:4243"},
        {"exception": "ValueError", "error": f'"exception":"{TIMED_OUT}"'},
    ],
    ids=["another job", "another worker", "a failure of its own"],
)
def test_what_is_no_copy_of_it_stays(server: Server, store: RedisStore, fields: dict[str, Any]) -> None:
    hand, claim = at_work(store)
    other = cleaned(server, hand, claim.payload, **fields)
    store.heartbeat(hand.info, [Working(0, claim, 1.0)])
    assert log(server) == [other]


def test_a_worker_that_nobody_cleaned_is_not_looked_for(server: Server, store: RedisStore) -> None:
    hand, claim = at_work(store)
    copy = cleaned(server, hand, claim.payload)
    with server.client() as control:
        control.sadd("resque:workers", hand.info.resque_id(0))
    store.heartbeat(hand.info, [Working(0, claim, 1.0)])
    assert log(server) == [copy], "a look at the failure log with every heartbeat would cost too much"


def test_only_the_newest_are_looked_at_and_a_log_that_is_none_keeps_nobody_from_living(server: Server, store: RedisStore) -> None:
    hand, claim = at_work(store)
    copy = cleaned(server, hand, claim.payload)
    with server.client() as control:
        control.rpush("resque:failed", *(b"x%d" % number for number in range(100)))
        assert store.heartbeat(hand.info, [Working(0, claim, 1.0)]) == 1
        assert log(server)[0] == copy
        cleaned(server, hand, claim.payload)
        control.delete("resque:failed")
        control.set("resque:failed", "no list")
    assert store.heartbeat(hand.info, [Working(0, claim, 1.0)]) == 1
