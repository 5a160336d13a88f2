"""What stock node-resque sees of spoolq: queues, workers, what they work on, statistics, failures; and what it may do to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from spoolq import wire
from spoolq.job import Claim, Failure, Job
from spoolq.selection import parse
from spoolq.store.base import Store, WorkerInfo, Working
from spoolq.store.effects import Effects
from tests.contract.hands import SHORT, Hand, claimable, ids
from tests.interop.conftest import Node
from tests.servers import Server
from tests.waiting import eventually

pytestmark = pytest.mark.node

ARGS = ({"to": "é@b", "n": [1.5, None, {}]}, 'quo"te\u2028', 2**53 - 1)


@pytest.fixture
def store(server: Server) -> Iterator[Store]:
    from spoolq.store.redis import RedisStore

    store = RedisStore(server.url, deadline=20.0, timeout=20.0)
    yield store
    store.close()


def put(store: Store, *names: str, queue: str = "mail", args: Any = ARGS) -> None:
    store.put([wire.message(Job(name, "SendMail", queue, args, enqueued_at=1_700_000_000.25), "resque") for name in names])


def info(key: str = "w1", **more: Any) -> WorkerInfo:
    return WorkerInfo(key, "web1", 4242, ("mail", "low"), **{"lease": 60.0, "started_at": 1_700_000_000.0, **more})


def fail(store: Store, claim: Claim, error: str = "boom") -> None:
    id = wire.decode(claim.payload, claim.queue).id
    trace = ('File "a.py", line 1, in f', "    open('é')")
    failure = Failure(id, claim.queue, "web1:4242:mail,low", "ValueError", error, trace, 1_700_000_000.0, claim.payload)
    store.fail(claim, failure, Effects(counters=(("failed", 1),)))


def test_queues_and_their_jobs(node: Node, store: Store) -> None:
    put(store, "a", "b")
    put(store, "c", queue="low", args=())
    queues = node.inspect()["queues"]
    assert {name: queue["length"] for name, queue in queues.items()} == {"mail": 2, "low": 1}
    assert [job["id"] for job in queues["mail"]["jobs"]] == ["a", "b"]
    assert queues["mail"]["jobs"][0]["args"] == list(ARGS)
    assert list(queues["low"]["jobs"][0])[:3] == ["class", "queue", "args"]


def test_stock_workers_of_all_queues_see_nothing_of_ours(node: Node, store: Store) -> None:
    """`*` takes every queue in `queues`: a list of our own there would be eaten."""
    put(store, "a")
    store.put([wire.message(Job("later", "SendMail", "mail", run_at=store.ready(5.0) + 3600.0))])
    hand = Hand(store, queues=("mail",))
    hand.claim(1)
    put(store, "b")
    performed = node.work("--idle-ms", "2000", queues="*").of("performed")
    assert [event["job"]["id"] for event in performed] == ["b"]
    assert hand.holds() == 1


def test_workers_and_what_each_thread_works_on(node: Node, store: Store) -> None:
    put(store, "a", "b")
    hand = Hand(store, queues=("mail",))
    hand.info = info(threads=2)
    first, second = hand.claim(2)
    store.heartbeat(hand.info, [Working(0, first, 1_700_000_001.0), Working(1, second, 1_700_000_002.0)])
    report = node.inspect()
    assert set(report["workers"].values()) == {"mail,low"}
    assert all(name.startswith("web1:4242") for name in report["workers"])
    working = {name: record for name, record in report["workingOn"].items() if isinstance(record, dict)}
    assert sorted(record["payload"]["id"] for record in working.values()) == ["a", "b"]
    assert {record["queue"] for record in working.values()} == {"mail"}
    assert all(record["worker"].startswith("web1:4242") for record in working.values())
    assert sorted(record["run_at"] for record in working.values()) == ["2023-11-14T22:13:21Z", "2023-11-14T22:13:22Z"]
    store.ack([first, second])
    store.heartbeat(hand.info)
    assert not any(isinstance(record, dict) for record in node.inspect()["workingOn"].values())
    store.unregister(hand.info)
    assert node.inspect()["workers"] == {}


def test_every_worker_id_has_the_three_parts_that_resque_web_insists_on(server: Server, store: Store) -> None:
    put(store, "a")
    patterns = [parse(text).words for text in ("*", "!slow", "mail:3,bulk_*:1,!bulk_old")]
    for number, queues in enumerate([("mail",), (), *patterns]):
        hand = Hand(store, f"w{number}")
        hand.info = WorkerInfo(f"w{number}", "web1", 100 + number, queues, threads=2)
        claims = hand.claim(1, ["mail"])
        store.heartbeat(hand.info, [Working(slot, claim, 1.0) for slot, claim in enumerate(claims)])
    with server.client() as control:
        members = [member.decode() for member in control.smembers("resque:workers")]
    assert {member.split(":")[2] for member in members} == {"mail", "*", "*,!slow", "mail,bulk_*,!bulk_old"}
    for member in members:
        assert len(member.split(":")) == 3
        assert all(member.split(":"))


def test_statistics(node: Node, store: Store) -> None:
    put(store, "a", "b", "c")
    hand = Hand(store, queues=("mail",))
    a, b, c = hand.claim()
    store.ack([a, b], Effects(counters=(("processed", 2),)))
    fail(store, c)
    stats = node.inspect()["stats"]
    assert (stats["processed"], stats["failed"]) == ("2", "1")


def test_failures_are_seen_with_everything(node: Node, store: Store) -> None:
    put(store, "a")
    fail(store, Hand(store, queues=("mail",)).claim()[0], 'böse "\u2028"')
    report = node.inspect()
    [entry] = report["failed"]
    assert report["failedCount"] == 1
    assert (entry["exception"], entry["error"], entry["queue"]) == ("ValueError", 'böse "\u2028"', "mail")
    assert entry["worker"] == "web1:4242:mail,low"
    assert entry["failed_at"].endswith("Z")
    assert isinstance(entry["backtrace"], list)
    assert (entry["payload"]["id"], entry["payload"]["args"]) == ("a", list(ARGS))


def test_failures_are_removed_by_their_exact_bytes(node: Node, store: Store) -> None:
    put(store, "a", "b", "c")
    for claim in Hand(store, queues=("mail",)).claim():
        fail(store, claim)
    report = node.inspect("--remove-failed", "1")
    assert report["actions"]["removeFailed"] == {"ok": True, "value": 1}
    assert [kept.id for kept in store.failures.page()] == ["c", "a"]


@pytest.mark.parametrize("payload", [b'{"class":"X","args":[1.0,12345678901234567890]}', b"\xff", b"null", b"[1, 2]", b"NaN"])
def test_failures_of_payloads_that_javascript_would_change_are_removed_too(
    node: Node, server: Server, store: Store, payload: bytes
) -> None:
    with server.client() as control:
        control.sadd("resque:queues", "mail")
        control.rpush("resque:queue:mail", payload)
    [claim] = Hand(store, queues=("mail",)).claim()
    store.fail(claim, Failure("x", "mail", "web1:1:mail", "ValueError", "unreadable", (), 1_700_000_000.0, claim.payload))
    assert store.failures.page()[0].payload == payload
    assert node.inspect("--remove-failed", "0")["actions"]["removeFailed"] == {"ok": True, "value": 1}
    assert store.failures.count() == 0


def test_a_failure_put_back_by_node_runs_again(node: Node, store: Store) -> None:
    put(store, "a")
    hand = Hand(store, queues=("mail",))
    fail(store, hand.claim()[0])
    assert node.inspect("--retry-failed", "all")["actions"]["retryFailed"][0]["ok"] is True
    assert store.failures.count() == 0
    [claim] = hand.claim()
    job = wire.decode(claim.payload, claim.queue)
    assert (job.task, job.args) == ("SendMail", ARGS)


def test_a_stock_failure_is_read_and_retried_by_spoolq(node: Node, store: Store) -> None:
    node.run("producer", "--queue", "mail", "--class", "SendMail", "--args", '[{"to":"a@b"}]')
    node.work("--idle-ms", "2000", "--fail", "--fail-name", "TypeError", "--fail-message", "böse")
    [kept] = store.failures.page()
    assert (kept.exception, kept.error, kept.queue) == ("TypeError", "böse", "mail")
    assert abs(kept.failed_at - store.ready(5.0)) < 60
    assert store.failures.retry([kept.id]) == 1
    assert store.failures.count() == 0
    [performed] = node.work("--idle-ms", "2000").of("performed")
    assert performed["job"]["args"] == [{"to": "a@b"}]


def test_jobs_are_found_and_deleted_by_node_where_they_carry_no_id(node: Node, store: Store) -> None:
    node.run("producer", "--queue", "mail", "--class", "SendMail", "--args", "[1]")
    report = node.inspect("--delete-job", '["mail","SendMail",[1]]')
    assert report["actions"]["deleteJob"] == {"ok": True, "value": 1}
    assert claimable(store, "mail") == []


def test_a_worker_that_node_declares_dead_keeps_its_claims(node: Node, store: Store) -> None:
    """Rescue goes by our lease alone, and a heartbeat registers again."""
    put(store, "a")
    hand = Hand(store, queues=("mail",))
    hand.info = info()
    [claim] = hand.claim(1)
    store.heartbeat(hand.info, [Working(0, claim, 1_700_000_001.0)])
    [name] = node.inspect()["workers"]
    assert node.inspect("--force-clean", name)["actions"]["forceClean"]["ok"] is True
    assert store.heartbeat(hand.info, [Working(0, claim, 1_700_000_001.0)]) == 1
    assert name in node.inspect()["workers"]
    store.ack([claim])
    assert hand.holds() == 0


def test_a_stock_worker_killed_in_a_job_does_not_disturb_ours(node: Node, store: Store) -> None:
    put(store, "stock", "ours")
    peer = node.start("worker", "--queues", "mail", "--sleep-ms", "60000", "--idle-ms", "0")
    peer.wait_for("started")
    peer.process.kill()
    silent = Hand(store, "silent", lease=SHORT, queues=("mail",))
    assert ids(silent.claim()) == ["ours"]
    rescuer = Hand(store, "rescuer")
    assert ids(eventually(lambda: store.rescue(rescuer.info, 10))) == ["ours"]
    assert any("mail" in queues for queues in node.inspect()["workers"].values())
    views = {view.info.key for view in store.workers()}
    assert views == {"rescuer"}
