"""Unique jobs: one of its kind waits or runs, on either store, through outages, lost answers and deaths of workers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spoolq import Discard, Middleware, SpoolQ, gate, purging
from spoolq.errors import PayloadError
from spoolq.job import Job, Receipt
from spoolq.store.effects import Effects
from spoolq.tasks import Launch, Task
from tests.faults.app import application, arrived, drain
from tests.faults.working import Place
from tests.proxy import Action, Proxy, Rule
from tests.servers import Server
from tests.waiting import eventually, pass_time

UNTIL = ["until_start", "until_done"]
Open = Callable[..., SpoolQ]


@pytest.fixture(params=["sqlite", "redis"])
def q(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SpoolQ]:
    """An application on a file, and on a server of its own."""
    with ExitStack() as opened:
        if request.param == "sqlite":
            yield opened.enter_context(SpoolQ(f"sqlite:///{tmp_path}/jobs.db", spool_min_free=0))
        else:
            server = opened.enter_context(Server(request.getfixturevalue("one_binary")))
            yield opened.enter_context(application(server.url, tmp_path, deadline=5.0))


def noting(q: SpoolQ, **options: Any) -> tuple[Task[..., Any], list[Any]]:
    """A task that notes what it runs with."""
    ran: list[Any] = []

    @q.task(queue="work", **options)
    def note(*args: Any, **kwargs: Any) -> None:
        ran.append((*args, *kwargs.items()))

    return note, ran


def work(q: SpoolQ) -> None:
    assert q.worker(burst=True, threads=1).run() == 0


def ready(q: SpoolQ) -> int:
    return sum(depth.ready + depth.scheduled for depth in q.primary.depths())


def is_free(q: SpoolQ, task: Task[..., Any], *args: Any) -> bool:
    receipt = task.enqueue(*args)
    return receipt.new


@pytest.mark.parametrize("until", UNTIL)
def test_an_equal_job_is_answered_with_the_one_that_waits(q: SpoolQ, until: Any) -> None:
    note, ran = noting(q, unique=until)
    first = note.enqueue(1, {"a": [2.0]})
    assert first.new
    assert note.enqueue(1, {"a": [2.0]}) == Receipt(first.id, "primary", new=False)
    assert note.enqueue_in(60, 1, {"a": [2]}) == Receipt(first.id, "primary", new=False), "2.0 and 2 are one number there"
    other = note.enqueue(2)
    assert other.new
    assert note.using(queue="else").enqueue(2).new, "another queue is another job, as for node-resque"
    work(q)
    assert ran == [(1, {"a": [2.0]}), (2,)]


def test_many_at_once_are_sorted_one_by_one(q: SpoolQ) -> None:
    note, ran = noting(q, unique="until_done")
    plain = q.remote("note", "work")
    receipts = q.enqueue_many([note.job(1), plain.job(5), note.job(1), note.job(2), plain.job(5)])
    assert [receipt.new for receipt in receipts] == [True, True, False, True, True]
    assert receipts[2].id == receipts[0].id
    work(q)
    assert ran == [(1,), (5,), (2,), (5,)]


def test_keyword_arguments_and_keys_of_ones_own(q: SpoolQ) -> None:
    note, _ = noting(q, unique="until_done")
    assert [note.enqueue(1, **more).new for more in ({}, {"a": 1}, {"a": 1}, {"a": 2})] == [True, True, False, True]

    @q.task(queue="work", unique="until_done", unique_key=lambda user, page: user)
    def show(user: int, page: int) -> None: ...

    first = show.enqueue(7, 1)
    assert show.enqueue(user=7, page=2) == Receipt(first.id, "primary", new=False)
    assert show.enqueue(8, 1).new


def test_by_name_it_can_be_said_at_the_launch(q: SpoolQ) -> None:
    remote = q.remote("note", "work").using(unique="until_done", unique_for=60)
    assert [remote.enqueue(n).new for n in (1, 1, 2)] == [True, False, True]
    _, ran = noting(q)
    work(q)
    assert ran == [(1,), (2,)]
    assert remote.enqueue(1).new, "the worker knows it by the job alone"


@pytest.mark.parametrize("until", UNTIL)
def test_the_end_of_a_job_lets_the_next_one_in(q: SpoolQ, until: Any) -> None:
    ends: dict[str, Any] = {"done": None, "failed": ValueError("no luck"), "discarded": Discard()}

    @q.task(queue="work", unique=until, retries=0)
    def end(how: str) -> None:
        if ends[how] is not None:
            raise ends[how]

    for how in ends:
        assert is_free(q, end, how)
        assert not is_free(q, end, how)
    work(q)
    for how in ends:
        assert is_free(q, end, how), how


@pytest.mark.parametrize("until", UNTIL)
def test_an_expired_job_lets_the_next_one_in(q: SpoolQ, until: Any) -> None:
    note, ran = noting(q, unique=until)
    assert note.using(expires=0.001).enqueue(1).new
    pass_time(0.01)
    work(q)
    assert ran == []
    assert is_free(q, note, 1)


@pytest.mark.parametrize("until", UNTIL)
def test_one_that_has_expired_and_that_nobody_has_looked_at_keeps_nobody_out(q: SpoolQ, until: Any) -> None:
    note, ran = noting(q, unique=until)
    first = note.using(expires=0.3).enqueue(1)
    second = eventually(lambda: receipt if (receipt := note.enqueue(1)).new else None, what="its expiry")
    assert second.id != first.id
    work(q)
    assert ran == [(1,)], "the second one"
    assert is_free(q, note, 1)


def test_one_that_runs_on_past_its_expiry_keeps_others_out(q: SpoolQ) -> None:
    receipts: list[Receipt] = []

    @q.task(queue="work", unique="until_done", expires=3)
    def long(value: int) -> None:
        time.sleep(max(0.0, expires_at + 0.2 - time.time()))
        receipts.append(long.enqueue(value))

    first = long.enqueue(1)
    expires_at = time.time() + 3
    work(q)
    assert receipts == [Receipt(first.id, "primary", new=False)]
    assert q.primary.guards() == []


@pytest.mark.parametrize(("until", "new"), [("until_start", True), ("until_done", False)])
def test_while_it_runs(q: SpoolQ, until: Any, new: bool) -> None:
    receipts: list[Receipt] = []

    @q.task(queue="work", unique=until)
    def again(value: int) -> None:
        if not receipts:
            receipts.append(again.enqueue(value))

    first = again.enqueue(1)
    work(q)
    assert receipts[0].new is new
    assert new or receipts[0].id == first.id
    assert is_free(q, again, 1)


@pytest.mark.parametrize(("until", "new"), [("until_start", True), ("until_done", False)])
def test_while_an_async_task_runs(q: SpoolQ, until: Any, new: bool) -> None:
    receipts: list[Receipt] = []

    @q.task(queue="work", unique=until)
    async def again(value: int) -> None:
        if not receipts:
            receipts.append(await again.aenqueue(value))

    again.enqueue(1)
    work(q)
    assert receipts[0].new is new
    assert is_free(q, again, 1)


def test_a_retry_goes_on_keeping_others_out_and_its_end_lets_them_in(q: SpoolQ) -> None:
    @q.task(queue="work", unique="until_done", unique_for=60, retries=1, backoff=lambda state: 4)  # after the burst's end
    def fails(value: int) -> None:
        raise ValueError("no luck")

    assert is_free(q, fails, 1)
    began = time.monotonic()
    work(q)
    assert not is_free(q, fails, 1)
    [guard] = q.primary.guards()
    assert guard.left + (time.monotonic() - began) > 63.9, "its time began anew with the retry, from when that is due"
    assert guard.left < 64.1
    eventually(lambda: work(q) is None and q.primary.failures.count(), what="the second attempt")
    assert is_free(q, fails, 1)


def test_a_retry_whose_guard_had_run_out_and_is_anothers_is_put_back_all_the_same(q: SpoolQ) -> None:
    ran: list[int] = []

    @q.task(queue="work", unique="until_done", unique_for=60, retries=1, backoff=lambda state: 0)
    def fails(value: int) -> None:
        ran.append(value)
        if len(ran) == 1:  # what its running out and another's enqueue would do
            [guard] = q.primary.guards()
            q.primary.put([], Effects(release=((guard.key, guard.holder),)))
            q.primary.put([], Effects(acquire=((guard.key, "another", 60.0),)))
            raise ValueError("no luck")

    fails.enqueue(1)
    work(q)
    assert ran == [1, 1]
    assert [guard.holder for guard in q.primary.guards()] == ["another"]


def test_a_guard_that_nobody_frees_ends_with_its_time(q: SpoolQ) -> None:
    note, _ = noting(q, unique="until_done", unique_for=0.3)
    assert is_free(q, note, 1)
    eventually(lambda: is_free(q, note, 1), what="the end of its time")


def test_a_job_for_later_keeps_others_out_for_its_time_from_when_it_is_due(q: SpoolQ) -> None:
    note, _ = noting(q, unique="until_done", unique_for=60)
    note.enqueue_in(3600, 1)
    [guard] = q.primary.guards()
    assert 3650 < guard.left < 3661


def test_a_failed_job_that_an_operator_puts_back_is_nobodys_guard_and_frees_nobodys(q: SpoolQ) -> None:
    @q.task(queue="work", unique="until_done", retries=0)
    def fails(value: int) -> None:
        raise ValueError("no luck")

    first = fails.enqueue(1)
    work(q)
    second = fails.enqueue(1)
    assert second.new
    assert q.primary.failures.retry([first.id]) == 1
    assert {guard.holder for guard in q.primary.guards()} == {second.id}
    assert ready(q) == 2
    work(q)
    assert q.primary.guards() == []


def test_what_is_cancelled_or_purged_lets_the_next_one_in(q: SpoolQ) -> None:
    note, _ = noting(q, unique="until_done")
    plain = q.remote("note", "work")
    first = note.enqueue(1)
    assert q.cancel(first.id)
    assert is_free(q, note, 1)
    for n in range(2, 30):
        assert is_free(q, note, n)
        plain.enqueue(n)
    later = note.enqueue_in(3600, 100)
    assert purging.purge(q.primary, "work") == 1 + 2 * 28
    assert [guard.holder for guard in q.primary.guards()] == [later.id], "what is scheduled stays, and so does its guard"
    assert is_free(q, note, 5)


def test_a_unique_job_is_no_member_of_a_batch(q: SpoolQ) -> None:
    note, _ = noting(q, unique="until_done")
    with pytest.raises(PayloadError, match="note is a unique task"):
        q.batch([note.job(1)], note.job(2))
    assert ready(q) == 0


def test_the_guard_of_a_killed_worker_is_kept_until_its_job_is_done(either: Place) -> None:
    remote = either.q.remote("hold", "work").using(unique="until_done")
    first = remote.enqueue("x")
    worker = either.worker(LEASE="1s", threads=1)
    either.begun()
    worker.kill()
    assert remote.enqueue("x") == Receipt(first.id, "primary", new=False)
    either.worker(LEASE="1s", threads=1)
    either.begun(2)
    assert remote.enqueue("x") == Receipt(first.id, "primary", new=False)
    either.open_gate()
    either.done()
    assert either.runs() == {first.id: 1}
    assert remote.enqueue("x").new


# without Redis


def spooled(q: SpoolQ, task: Launch[...], *args: Any) -> Receipt:
    receipt = task.enqueue(*args)
    assert receipt.route == "spool"
    return receipt


def taken(q: SpoolQ, task: Launch[...], *args: Any) -> Receipt:
    """In Redis, at once: one that went to the spool first would be an equal one there."""
    q.primary.ready(20.0)
    receipt = task.enqueue(*args)
    assert receipt.route == "primary"
    return receipt


def test_in_an_outage_it_is_unique_among_what_this_host_spooled(fresh_server: Server, tmp_path: Path) -> None:
    with application(fresh_server.url, tmp_path, deadline=5.0) as q:
        note, _ = noting(q, unique="until_done")
        fresh_server.kill()
        first = spooled(q, note, 1)
        assert spooled(q, note, 1) == Receipt(first.id, "spool", new=False)
        second = spooled(q, note, 2)
        fresh_server.start()
        assert drain(q, patience=20.0).moved == 2
        assert arrived(fresh_server) == {first.id: 1, second.id: 1}
        eventually(q.breaker.allows, what="Redis to be asked again")
        assert note.enqueue(1) == Receipt(first.id, "primary", new=False)
        fresh_server.kill()
        assert spooled(q, note, 1).new, "the spool's own guard went with the row: it is Redis's to say, when it is back"


def test_what_was_spooled_beside_an_equal_one_in_redis_is_dropped_counted_and_told(
    fresh_server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with application(fresh_server.url, tmp_path, deadline=3.0) as q:
        fresh_server.restart()
        note, _ = noting(q, unique="until_done")
        other, _ = noting(q, name="other")
        first = taken(q, note, 1)
        fresh_server.stop()
        dropped, kept, plain = spooled(q, note, 1), spooled(q, note, 2), [spooled(q, other, n).id for n in range(5)]
        assert dropped.new, "that Redis has one can't be known now"
        fresh_server.cont()
        done = drain(q)
        assert (done.moved + done.already_there, done.unique) == (6, 1)
        assert arrived(fresh_server) == dict.fromkeys([first.id, kept.id, *plain], 1)
        assert q.spool is not None
        assert q.spool.counters()["unique"] == 1
        assert q.spool.guards() == []
        assert any(dropped.id in line and first.id in line for line in caplog.messages), caplog.messages


def test_the_spools_of_two_hosts_give_one_job(fresh_server: Server, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    fresh_server.kill()
    with application(fresh_server.url, tmp_path / "a") as a, application(fresh_server.url, tmp_path / "b") as b:
        ours, theirs = noting(a, unique="until_done")[0], noting(b, unique="until_done")[0]
        first, second = spooled(a, ours, 1), spooled(b, theirs, 1)
        assert first.new
        assert second.new
        fresh_server.start()
        assert [(done.moved, done.unique) for done in (drain(a, patience=20.0), drain(b, patience=20.0))] == [(1, 0), (0, 1)]
        assert arrived(fresh_server) == {first.id: 1}


def test_a_local_worker_frees_what_it_has_run(fresh_server: Server, tmp_path: Path) -> None:
    with application(fresh_server.url, tmp_path) as q:
        note, ran = noting(q, unique="until_done")
        fresh_server.kill()
        spooled(q, note, 1)
        q.worker(burst=True, threads=1).run()
        assert ran == [(1,)]
        assert spooled(q, note, 1).new


def met(rule: Rule, q: SpoolQ, task: Task[..., Any]) -> list[Receipt]:
    """Jobs that are spooled, of the arguments 0, 1, …: until the rule has met the request of one. Mostly the first: who gets no
    core for the whole of its deadline has sent nothing."""
    found: list[Receipt] = []

    def fires() -> bool:
        eventually(q.breaker.allows, what="Redis to be asked")
        found.append(spooled(q, task, len(found)))
        assert found[-1].new
        with suppress(AssertionError):
            rule.wait(within=10.0)
        return rule.fired > 0

    eventually(fires, what="a request that the rule meets")
    return found


@pytest.mark.parametrize("action", ["cut_reply", "swallow", "late_request", "cut_before"])
@pytest.mark.parametrize("until", UNTIL)
def test_a_lost_answer_to_its_put_loses_and_doubles_nothing(server: Server, tmp_path: Path, action: Action, until: Any) -> None:
    """Whether the first attempt was applied can't be told: the row is sent again, under its own id and guard."""
    with Proxy(server.port) as proxy, application(proxy.url, tmp_path, deadline=1.0) as q:
        note, _ = noting(q, unique=until)
        eventually(lambda: q.remote("warm", "other").enqueue().route == "primary", what="a warm connection")
        rule = proxy.rule(b'"note"', action, delay=30.0)
        receipts = met(rule, q, note)
        if action == "late_request":
            rule.release()
        proxy.heal()
        drain(q)
        once = dict.fromkeys([receipt.id for receipt in receipts], 1)
        assert arrived(server) == once
        eventually(q.breaker.allows, what="Redis to be asked again")
        for n, receipt in enumerate(receipts):
            assert note.using(deadline=20.0).enqueue(n) == Receipt(receipt.id, "primary", new=False)
        assert arrived(server) == once


@pytest.mark.parametrize("action", ["cut_reply", "cut_before"])
def test_a_lost_answer_as_it_begins_puts_the_job_off_and_it_keeps_equal_ones_out(
    server: Server, tmp_path: Path, action: Action, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its guard ends right before its code runs, in a step of its own: whether that was applied can't be told."""
    monkeypatch.setattr(gate, "_SETTLED", -2 * gate.AGAIN)  # the burst ends while the job is put off
    with application(server.url, tmp_path, deadline=5.0) as q, Proxy(server.port) as proxy:
        note, _ = noting(q, unique="until_start")
        first = note.enqueue(1)
        (tmp_path / "host").mkdir()
        with application(proxy.url, tmp_path / "host", deadline=5.0) as other:
            _, ran = noting(other, unique="until_start")
            rule = proxy.rule(b"lock:note:work:[1]\r\n", action)
            running = threading.Thread(target=other.worker(threads=1, burst=True).run)
            running.start()
            rule.wait()
            running.join(60)
            eventually(lambda: note.enqueue(1) == Receipt(first.id, "primary", new=False), what="its guard")
            eventually(lambda: work(other) is None and ran, what="its next try")
            assert ran == [(1,)]
            assert q.primary.guards() == []


def test_what_ran_before_its_row_was_sent_again_locks_nobody_out(server: Server, tmp_path: Path) -> None:
    with Proxy(server.port) as proxy, application(proxy.url, tmp_path, deadline=20.0) as q:
        note, ran = noting(q, unique="until_done")
        eventually(lambda: q.remote("warm", "other").enqueue().route == "primary", what="a warm connection")
        rule = proxy.rule(b'"note"', "cut_reply")
        first = note.enqueue(1)
        rule.wait()
        proxy.heal()
        (tmp_path / "elsewhere").mkdir()
        with application(server.url, tmp_path / "elsewhere", deadline=5.0) as other:
            theirs, ran = noting(other, unique="until_done")
            work(other)
            assert ran == [(1,)]
            assert drain(q).already_there == 1
            assert other.primary.guards() == []
            assert theirs.enqueue(1).new
        assert first.id not in arrived(server)


@pytest.mark.parametrize("until", UNTIL)
def test_a_row_that_redis_may_have_keeps_nobody_out_for_its_job_may_have_run(server: Server, tmp_path: Path, until: Any) -> None:
    with Proxy(server.port) as proxy, application(proxy.url, tmp_path, deadline=20.0) as q:
        note, _ = noting(q, unique=until)
        eventually(lambda: q.remote("warm", "other").enqueue().route == "primary", what="a warm connection")
        rule = proxy.rule(b'"note"', "cut_reply")
        first = spooled(q, note, 1)
        rule.wait()
        proxy.refuse()
        eventually(lambda: proxy.idle, what="closed connections")  # or the next may be sent into one, and be in doubt as well
        (tmp_path / "elsewhere").mkdir()
        with application(server.url, tmp_path / "elsewhere", deadline=5.0) as other:
            _, ran = noting(other, unique=until)
            work(other)
            assert ran == [(1,)]
            second = spooled(q, note, 1)
            assert second.new, "what changed meanwhile is to be seen by a later run"
            assert spooled(q, note, 1) == Receipt(second.id, "spool", new=False)
            proxy.heal()
            drain(q)
            assert q.spool is not None
            assert q.spool.guards() == []
            work(other)
            assert ran == [(1,), (1,)]
            assert other.primary.guards() == []
        assert first.id != second.id


def test_what_a_hook_adds_to_a_job_keeps_nobody_out_for_good(q: SpoolQ) -> None:
    note, ran = noting(q, unique="until_done")

    class Tracing(Middleware):
        def before_enqueue(self, job: Job) -> Job:
            job.args[0]["trace"] = "1"
            return replace(job, args=(*job.args, "traced"))

    q.middleware(Tracing())
    assert note.enqueue({}).new
    assert not note.enqueue({}).new
    work(q)
    assert ran == [({"trace": "1"}, "traced")]
    assert q.primary.guards() == []
    assert note.enqueue({}).new


def test_a_job_of_a_task_whose_policy_fails_lets_the_next_one_in(q: SpoolQ) -> None:
    class Odd(type):
        def __instancecheck__(cls, instance: object) -> bool:
            raise RuntimeError("no answer")

    class Never(Exception, metaclass=Odd):
        pass

    @q.task(queue="work", unique="until_done", exclusive=True, concurrency=2, retry_on=Never)
    def fails(value: int) -> None:
        raise ValueError("no luck")

    fails.enqueue(1)
    work(q)
    assert q.primary.failures.count() == 1
    assert q.primary.guards() == []
    assert is_free(q, fails, 1)


@pytest.mark.one_server
def test_what_comes_after_a_job_or_is_put_back_comes_also_by_way_of_the_spool(fresh_server: Server, tmp_path: Path) -> None:
    with application(fresh_server.url, tmp_path, deadline=3.0) as q:
        fresh_server.restart()
        note, _ = noting(q, unique="until_done")
        first, _ = noting(q, name="first")

        @q.task(queue="local", unique="until_done", retries=0)
        def fails(value: int) -> None:
            raise ValueError("no luck")

        waits, equal = taken(q, note, 1), taken(q, fails, 1)
        fresh_server.stop()
        doubtful, after = spooled(q, first), note.job(1)
        spooled(q, first.using(queue="local", after=[after]))
        failed = spooled(q, fails, 1)
        q.worker(burst=True, threads=1, queues=("local",)).run()
        assert q.spool is not None
        assert q.spool.failures.retry([failed.id]) == 1
        fresh_server.cont()
        assert drain(q).unique == 0
        assert arrived(fresh_server) == dict.fromkeys([waits.id, doubtful.id, after.id], 1)
        assert arrived(fresh_server, "local") == dict.fromkeys([equal.id, failed.id], 1)


def test_written_ahead_it_is_unique_in_the_spool_and_settled_at_the_hand_off(server: Server, tmp_path: Path) -> None:
    with application(server.url, tmp_path, accept="spool", keep="1s") as q:
        note, _ = noting(q, unique="until_done")
        first = note.enqueue(1)
        eventually(lambda: arrived(server) == {first.id: 1}, what="the hand-off")
        q.drainer().run_once(5.0)
        again = note.enqueue(1)
        assert again.route == "spool"
        eventually(lambda: (q.spool is not None and q.spool.counters().get("unique") == 1) or not again.new)
        assert arrived(server) == {first.id: 1}


def test_in_resques_own_delayed_keys_an_equal_job_waits_once(server: Server, tmp_path: Path) -> None:
    with application(server.url, tmp_path, delayed="resque", deadline=5.0) as q:
        note, _ = noting(q, unique="until_start")
        assert note.enqueue_in(60, 1).new
        assert note.enqueue_in(90, 1) == Receipt("", "primary", new=False)
        assert note.enqueue(1) == Receipt("", "primary", new=False), "as with node's DelayQueueLock"
        assert note.enqueue_in(60, 2).new
        with server.client() as control:
            lists = control.keys("resque:delayed:*")
            jobs = [json.loads(job) for name in lists for job in control.lrange(name, 0, -1)]
            control.delete(*lists)
        assert jobs == [{"class": "note", "queue": "work", "args": [value]} for value in (1, 2)]
        assert note.enqueue(1).new, "what a killed scheduler left behind of it keeps nobody out"
