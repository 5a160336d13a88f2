"""Enqueue under real faults: what it answers, how long it takes, and that each accepted id arrives once after the healing.

A control stands beside what could pass for the wrong reason: without the marker, or with a library's own retries, the same test
sees a job queued twice.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import pytest

from spoolq import MaybeStored, SpoolFull, SpoolQ
from spoolq.errors import StoreUnavailable
from spoolq.store.base import Spool, WorkerInfo
from spoolq.store.sqlite.operation import Operation
from spoolq.store.sqlite.session import Session
from tests.faults.app import DEADLINE, application, arrived, drain, within
from tests.proxy import Action, Proxy
from tests.servers import Server
from tests.waiting import eventually

EXECUTED = {"cut_reply", "fin_reply", "part_reply", "swallow", "late", "late_request", "dribble", "garbage", "wrong_type"}


@pytest.fixture
def proxied(server: Server, tmp_path: Path) -> Iterator[tuple[SpoolQ, Proxy]]:
    """An application whose Redis lies behind a proxy."""
    with Proxy(server.port) as proxy, application(proxy.url, tmp_path) as q:
        yield q, proxy


@pytest.fixture
def patient(server: Server, tmp_path: Path) -> Iterator[tuple[SpoolQ, Proxy]]:
    """The same with time for Redis: a call is cut and not late, however busy the machine is."""
    with Proxy(server.port) as proxy, application(proxy.url, tmp_path, deadline=10.0) as q:
        yield q, proxy


def warm(q: SpoolQ) -> str:
    """A first job: the driver is loaded, a connection made, the script known."""
    return eventually(
        lambda: r.id if (r := q.remote("t", "work").enqueue("warm")).route == "primary" else "", what="a warm connection"
    )


@pytest.mark.parametrize("action", get_args(Action))
def test_an_answer_that_is_cut_held_back_or_spoilt_never_loses_or_doubles_a_job(
    action: Action, server: Server, proxied: tuple[SpoolQ, Proxy], tmp_path: Path
):
    q, proxy = proxied
    accepted = [warm(q)]
    rule = proxy.rule(b"the one", action, delay=0.3)

    def met() -> bool:
        eventually(q.breaker.allows)
        with within(DEADLINE, tmp_path):
            accepted.append(q.remote("t", "work").enqueue("the one").id)
        with suppress(AssertionError):
            rule.wait(within=2.0)
        return rule.fired > 0  # not where the machine was too busy for a connection within the deadline

    eventually(met, what="a request that the rule meets")
    accepted += [q.remote("t", "work").enqueue(number).id for number in range(5)]  # the outage goes on for these
    proxy.heal()
    eventually(q.breaker.allows, what="the breaker's probe")
    eventually(lambda: not drain(q).error and q.spool is not None and not q.spool.waiting(), what="an empty spool")
    if action in EXECUTED:
        eventually(lambda: len(arrived(server)) >= len(set(accepted)), what="all jobs in Redis")
    counts = arrived(server)
    assert set(counts) >= set(accepted)
    assert {id: n for id, n in counts.items() if n > 1} == {}


def answered(spool: Spool) -> bool:
    """Whether the disk answers again."""
    with suppress(StoreUnavailable):
        spool.waiting(1)
        return True
    return False


@pytest.mark.parametrize("marked", [True, False])
def test_an_unknown_job_enqueued_again_with_its_id_is_queued_once_also_after_it_was_drained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, marked: bool
):
    """The disk answers after the caller has gone with *unknown*. The control leaves the row as any other: drained, its id is
    forgotten."""
    with Server() as one, application(one.url, tmp_path, disk_limit=4.0) as q:
        assert q.spool is not None
        q.spool.waiting(1)
        one.kill()
        q.client._prober.first = 10.0  # what a probe finds is written down as well: the commit that hangs is that of the job
        go_on = threading.Event()
        commit = Session.commit

        def hanging(session: Session) -> None:
            go_on.wait(30)
            commit(session)

        monkeypatch.setattr(Session, "commit", hanging)
        if not marked:
            monkeypatch.setattr(Operation, "heard", lambda operation: True)
        with pytest.raises(MaybeStored) as unknown:
            q.remote("t", "work").enqueue("the one")
        go_on.set()
        eventually(lambda: q.spool and answered(q.spool) and q.spool.waiting(), what="the row")
        monkeypatch.undo()
        one.start()
        drainer = q.drainer()
        drainer.run_once(20.0)
        drainer.close()  # waits until the ids of its puts may be forgotten, and has them forgotten
        if not marked:  # later, where the put was sent again
            eventually(lambda: not (q.primary.forget(()) or q.primary.remembers([unknown.value.id])[0]), what="a free id")
        assert arrived(one) == {unknown.value.id: 1}
        eventually(q.breaker.allows)
        q.remote("t", "work").using(id=unknown.value.id).enqueue("the one")
        drain(q)  # on a busy machine it may have gone to the spool
        assert arrived(one) == {unknown.value.id: 1 if marked else 2}


def test_a_lost_answer_puts_the_row_in_doubt_and_no_local_worker_takes_it(server: Server, patient: tuple[SpoolQ, Proxy]):
    q, proxy = patient
    warm(q)
    proxy.rule(b"the one", "cut_reply")
    doubtful = q.remote("t", "work").enqueue("the one")
    proxy.refuse()
    eventually(lambda: proxy.idle, what="closed connections")  # a probe may have made one meanwhile, to be sent into in doubt
    sure = q.remote("t", "work").enqueue("another")
    assert (doubtful.route, sure.route) == ("spool", "spool")
    assert q.spool is not None
    local = WorkerInfo("local", "host", 1, ("work",))
    claims = q.spool.claim(local, 1, ("work",), 10).claims
    assert [json.loads(claim.payload)["id"] for claim in claims] == [sure.id]
    q.spool.release(claims)
    proxy.heal()
    done = drain(q, patience=20.0)
    assert (done.moved, done.already_there) == (1, 1)
    assert arrived(server)[doubtful.id] == 1


def test_the_same_test_sees_a_job_queued_twice_without_the_marker(server: Server, patient: tuple[SpoolQ, Proxy]):
    q, proxy = patient
    warm(q)
    proxy.rule(b"the one", "cut_reply")
    receipt = q.remote("t", "work").enqueue("the one")
    with server.client() as control:
        control.delete("resque:spoolq:markers")
    drain(q)
    assert arrived(server)[receipt.id] == 2


def test_redis_killed_under_load_and_restarted_empty_handed_by_nobody(durable: Server, tmp_path: Path):
    with application(durable.url, tmp_path) as q:
        task = q.remote("t", "work")
        warm(q)
        accepted = [task.enqueue(number).id for number in range(50)]
        durable.kill()
        with within(DEADLINE, tmp_path):
            first = task.enqueue("first of the outage")
        with within(0, tmp_path):
            second = task.enqueue("second")
        assert (first.route, second.route) == ("spool", "spool")
        accepted += [first.id, second.id, *(task.enqueue(number).id for number in range(50))]
        durable.start()
        eventually(q.breaker.allows, what="the breaker's probe")
        eventually(lambda: task.enqueue("after").route == "primary")
        drain(q)
        counts = arrived(durable)
        assert set(accepted) <= set(counts)
        assert max(counts.values()) == 1


@pytest.mark.parametrize("state", ["cold", "warm"])
def test_a_stopped_server_costs_one_deadline_and_its_zombie_request_is_refused(state: str, fresh_server: Server, tmp_path: Path):
    with application(fresh_server.url, tmp_path) as q:
        task = q.remote("t", "work")
        if state == "warm":
            warm(q)
        else:
            import redis.connection  # noqa: F401 - loading the driver is not what is measured

        fresh_server.stop()
        try:
            with within(DEADLINE, tmp_path):
                first = task.enqueue("first")
            with within(0, tmp_path):
                second = task.enqueue("second")
        finally:
            fresh_server.cont()
        assert (first.route, second.route) == ("spool", "spool")
        eventually(q.breaker.allows, what="the breaker's probe")
        assert arrived(fresh_server)[first.id] == 0  # the abandoned write came after its not-after
        drain(q)
        counts = arrived(fresh_server)
        assert (counts[first.id], counts[second.id]) == (1, 1)


@pytest.mark.parametrize(
    "call",
    [
        lambda q, task: task.using(deadline=0.2).enqueue(1),
        lambda q, task: asyncio.run(task.using(deadline=0.2).aenqueue(1)),
        lambda q, task: asyncio.run(q.aenqueue(task.job(1), deadline=0.2)),
        lambda q, task: q.enqueue_many([task.job(1)], deadline=0.2)[0],
    ],
    ids=["enqueue", "aenqueue", "a job", "many"],
)
def test_a_call_may_have_a_deadline_of_its_own(call: Callable[[SpoolQ, Any], Any], fresh_server: Server, tmp_path: Path):
    with application(fresh_server.url, tmp_path, deadline=30.0) as q:
        warm(q)
        call(q, q.remote("t", "work"))  # an event loop and its threads take a while to be made
        fresh_server.stop()
        try:
            with within(0.2, tmp_path):
                receipt = call(q, q.remote("t", "work"))
        finally:
            fresh_server.cont()
        assert receipt.route == "spool"
        drain(q)
        assert arrived(fresh_server)[receipt.id] == 1


def test_a_full_redis_sends_jobs_to_the_spool_and_gets_them_when_it_has_room(fresh_server: Server, tmp_path: Path):
    with application(fresh_server.url, tmp_path, deadline=10.0) as q:
        warm(q)
        with fresh_server.full():
            receipt = q.remote("t", "work").enqueue("x")
            assert receipt.route == "spool"
            assert q.breaker.reason == "oom"
            assert drain_refused(q)
        eventually(q.breaker.allows, what="the breaker's probe")
        drain(q)
        assert arrived(fresh_server)[receipt.id] == 1


def drain_refused(q: SpoolQ) -> bool:
    """A drain into a full Redis ends with the reason, and the rows can still be run here."""
    drainer = q.drainer()
    done = drainer.run_once(0.0)
    drainer.stop()
    drainer.close()
    assert q.spool is not None
    return done.error is not None and q.spool.info().in_doubt == 0


def test_a_full_spool_refuses_loudly_and_keeps_what_it_has(fresh_server: Server, tmp_path: Path):
    with application(fresh_server.url, tmp_path, spool_max_rows=3, deadline=10.0) as q:
        warm(q)  # and no row in the spool
        fresh_server.kill()
        task = q.remote("t", "work")
        kept = [task.enqueue(number).id for number in range(3)]
        with pytest.raises(SpoolFull) as caught:
            task.enqueue("one too many")
        assert caught.value.not_stored == (caught.value.id,)
        fresh_server.start()
        drain(q)
        assert set(kept) <= set(arrived(fresh_server))


def test_enqueuing_again_with_the_id_of_an_error_queues_one_job(server: Server, patient: tuple[SpoolQ, Proxy], monkeypatch):
    q, proxy = patient
    warm(q)
    assert q.spool is not None
    proxy.rule(b"the one", "cut_reply")
    monkeypatch.setattr(type(q.spool), "spool", _disk_error)
    with pytest.raises(MaybeStored) as caught:
        q.remote("t", "work").enqueue("the one")
    monkeypatch.undo()
    eventually(q.breaker.allows, what="the breaker's probe")
    again = q.remote("t", "work").using(id=caught.value.id).enqueue("the one")
    assert (again.id, again.new) == (caught.value.id, False)
    assert arrived(server)[again.id] == 1


def _disk_error(*args: object, **options: object) -> list[bool]:
    raise StoreUnavailable("the disk failed", reason="io")


def test_a_forked_child_and_its_parent_enqueue_as_if_each_were_alone(server: Server, tmp_path: Path):
    with application(server.url, tmp_path) as q:
        task = q.remote("t", "work")
        before = [warm(q)]
        child = os.fork()
        if child == 0:
            try:
                ids = [task.enqueue(number).id for number in range(20)]
                (tmp_path / "child").write_text(" ".join(ids))
            finally:
                os._exit(0)
        mine = [task.enqueue(number).id for number in range(20)]
        os.waitpid(child, 0)
        theirs = (tmp_path / "child").read_text().split()
        drain(q)  # a child's first call may find the machine too busy for its deadline
        counts = arrived(server)
        assert set(counts) == {*before, *mine, *theirs}
        assert max(counts.values()) == 1
