"""Chains and batches: what may be launched, how it travels, and what follows when a job has ended."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spoolq import SpoolQ, chains, reruns, wire
from spoolq.errors import Discard, PayloadError
from spoolq.following import DEPTH
from spoolq.job import Claim, Job, Member
from spoolq.outcome import Done, Failed, Outcome, Pending, RetryLater
from spoolq.store.effects import NONE, Effects
from tests.unit.test_runner import NOW, raising, runner

MAIL = Job("m1", "mail", "mail", ("a@example.com",), {"loud": True}, enqueued_at=NOW - 60, retries=2, extra={"trace": "t"})


@pytest.fixture
def q(tmp_path: Path) -> Iterator[SpoolQ]:
    with SpoolQ(f"sqlite:///{tmp_path / 'jobs.db'}", spool_min_free=0) as q:
        yield q


@pytest.fixture
def ran(q: SpoolQ) -> list[Any]:
    """What the tasks `note` and `fail` were given, in the order in which they ran."""
    ran: list[Any] = []

    @q.task
    def note(value: object) -> None:
        ran.append(value)

    @q.task(retries=0)
    def fail(value: object) -> None:
        ran.append(value)
        if ran.count(value) == 1:
            raise ValueError(value)

    @q.task
    def drop(value: object) -> None:
        raise Discard

    return ran


def work(q: SpoolQ, **options: Any) -> None:
    assert q.worker(burst=True, threads=1, **options).run() == 0


# on the wire


def test_what_follows_travels_as_payloads_of_its_own_and_comes_back() -> None:
    later = replace(MAIL, id="m2", run_at=NOW + 60, given=True, at_front=True, after=(replace(MAIL, id="m3"),))
    job = Job("j1", "resize", "images", after=(MAIL, later), batch=Member("m4", 3, "complete", replace(MAIL, id="m4")))
    fields = json.loads(wire.encode(job))
    assert fields["after"][0] == json.loads(wire.encode(MAIL))
    assert fields["after"][1]["after"][0]["id"] == "m3"
    assert fields["batch"] | {"then": None} == {"id": "m4", "size": 3, "on": "complete", "then": None}
    assert wire.decode(wire.encode(job), "images") == job


def test_a_job_without_has_no_field_of_it() -> None:
    assert json.loads(wire.encode(Job("j1", "resize", "images"))).keys() == {"class", "queue", "args", "id"}


@pytest.mark.parametrize(
    "after", [5, "later", {}, ["x"], [{}], [{"class": "mail"}], [{"class": "mail", "queue": "a\nb", "args": [], "id": "x"}]]
)
def test_a_field_of_that_name_by_somebody_else_says_nothing(after: object) -> None:
    payload = json.dumps({"class": "t", "args": [], "id": "x", "after": after, "batch": after}).encode()
    job = wire.decode(payload, "q")
    assert (job.after, job.batch) == ((), None)
    assert json.loads(wire.attempted(payload, job))["after"] == after


@pytest.mark.parametrize(
    "change",
    [
        {"size": 0},
        {"size": True},
        {"size": 10**30},
        {"size": "3"},
        {"on": "never"},
        {"id": 5},
        {"then": None},
        {"then": {"id": 5}},
    ],
)
def test_a_batch_that_makes_no_sense_is_none(change: dict[str, object]) -> None:
    fields = json.loads(wire.encode(Job("j1", "t", "q", batch=Member("m1", 3, "success", MAIL))))
    fields["batch"] |= change
    assert wire.decode(json.dumps(fields).encode(), "q").batch is None


@pytest.mark.parametrize("run_at", [True, "soon", -1, 1e300, None])
def test_a_time_that_makes_no_sense_is_at_once(run_at: object) -> None:
    fields = json.loads(wire.encode(Job("j1", "t", "q", after=(MAIL,))))
    fields["after"][0]["run_at"] = run_at
    assert wire.decode(json.dumps(fields).encode(), "q").after == (MAIL,)


def test_a_payload_without_end_is_not_read() -> None:
    fields: dict[str, Any] = {"class": "t", "queue": "q", "args": [], "id": "x"}
    for n in range(DEPTH + 1):
        assert n == 0 or wire.decode(json.dumps(fields).encode(), "q").after
        fields = fields | {"after": [fields]}
    with pytest.raises(PayloadError, match="one after the other"):
        wire.decode(json.dumps(fields).encode(), "q")


def test_more_jobs_than_one_step_puts_are_not_read() -> None:
    """Redis would cut the connection each time at so many values, and the worker never be rid of it."""
    many = [json.loads(wire.encode(MAIL))] * 501
    with pytest.raises(PayloadError, match="501 jobs, 500 at most"):
        wire.decode(json.dumps({"class": "t", "args": [], "id": "x", "after": many}).encode(), "q")
    assert len(wire.decode(json.dumps({"class": "t", "args": [], "id": "x", "after": many[1:]}).encode(), "q").after) == 500


def test_a_run_again_keeps_what_follows() -> None:
    payload = wire.encode(Job("j1", "t", "q", after=(MAIL,)))
    again = reruns.rerun(payload, "q")
    assert wire.decode(again.payload, "q").after == (MAIL,)


# at the launch


def test_what_comes_after_is_checked_at_once(q: SpoolQ, ran: list[Any]) -> None:
    note = q.tasks.get("note")
    for wrong in (5, "mail", note.job(1), [note], [None], [note.job(1), "mail"]):
        with pytest.raises(PayloadError, match=r"make (one|jobs) with task.job"):
            note.using(after=wrong)
    with pytest.raises(PayloadError, match="501 jobs"):
        note.using(after=[note.job(n) for n in range(501)])
    chain = note.job(0)
    for n in range(DEPTH):
        chain = note.using(after=[chain]).job(n)
    with pytest.raises(PayloadError, match="one after the other"):
        note.using(after=[chain])
    with pytest.raises(PayloadError, match="callback has more than 29"):
        q.batch([note.job(1)], then=chain)


def test_chains_that_meet_are_refused_where_they_do(q: SpoolQ, ran: list[Any]) -> None:
    """Before all their ways are gone: twice as many with each link."""
    note = q.tasks.get("note")
    last = note.job(0)
    ways = [note.using(after=[last]).job(n) for n in (1, 2)]
    with pytest.raises(PayloadError, match=f"{last.id} is there twice"):
        note.using(after=ways)


def test_the_longest_chain_that_is_taken_runs(q: SpoolQ, ran: list[Any]) -> None:
    note = q.tasks.get("note")
    chain = note.job(DEPTH)
    for n in reversed(range(DEPTH)):
        chain = note.using(after=[chain]).job(n)
    q.enqueue_many([chain])
    work(q)
    assert ran == list(range(DEPTH + 1))
    ran.clear()
    q.batch([note.job("member")], then=chain.after[0])
    work(q)
    assert ran == ["member", *range(1, DEPTH + 1)]


def test_a_job_that_is_there_twice_is_refused(q: SpoolQ, ran: list[Any]) -> None:
    note = q.tasks.get("note")
    once = note.job(1)
    for after in ([once, once], [once, note.using(after=[once]).job(2)]):
        with pytest.raises(PayloadError, match=f"{once.id} is there twice"):
            note.using(after=after).enqueue(0)
    with pytest.raises(PayloadError, match="is there twice"):
        note.using(id=once.id, after=[note.using(after=[once]).job(2)]).enqueue(0)
    assert q.primary.depths() == []


def test_all_of_a_chain_must_fit_the_payload(q: SpoolQ, ran: list[Any]) -> None:
    note = q.tasks.get("note")
    with pytest.raises(PayloadError, match=r"MiB, more than max_payload"):
        note.using(after=[note.job("x" * 600_000) for _ in range(2)]).enqueue(0)


def test_arguments_that_json_can_not_hold_are_named_in_what_follows_too(q: SpoolQ, ran: list[Any]) -> None:
    note = q.tasks.get("note")
    with pytest.raises(PayloadError, match=r"args\[0\]"):
        note.using(after=[note.job({1, 2})]).enqueue(0)
    with pytest.raises(PayloadError, match=r"args\[0\]"):
        q.batch([note.job(1)], then=note.job({1, 2}))
    assert q.primary.depths() == []


def test_stock_workers_would_lose_what_follows(tmp_path: Path) -> None:
    with SpoolQ("redis://127.0.0.1:1/0", spool=tmp_path / "s.db", wire="resque", spool_min_free=0) as q:
        note = q.remote("note")
        with pytest.raises(PayloadError, match="Resque's workers would ignore"):
            note.using(after=[note.job(1)]).enqueue(0)
    with SpoolQ("redis://127.0.0.1:1/0", spool=tmp_path / "s.db", delayed="resque", spool_min_free=0) as q:
        note = q.remote("note")
        for parent in (note.using(after=[note.using(delay=60).job(1)]), note.using(delay=60, after=[note.job(1)])):
            with pytest.raises(PayloadError, match="Resque's own delayed keys"):
                parent.enqueue(0)


def test_what_follows_goes_to_no_front_where_queues_keep_their_order(tmp_path: Path) -> None:
    with SpoolQ("redis://127.0.0.1:1", spool=tmp_path / "spool.db", ordering="fifo") as q:
        note = q.task(name="note")(lambda: None)
        first = note.using(at_front=True).job()
        for job in (
            note.using(after=[note.using(after=[first]).job()]).job(),
            Job("m", "t", "q", batch=Member("b", 1, "success", first)),
        ):
            with pytest.raises(PayloadError, match="at_front breaks the order"):
                q.message(job)


def test_a_batch_is_checked_at_once(q: SpoolQ, ran: list[Any]) -> None:
    note = q.tasks.get("note")
    then, one = note.job("then"), note.job(1)
    for wrong, match in (
        ([], "no job"),
        (None, "list of jobs"),
        (one, "list of jobs"),
        ([one, note], "is not a job"),
        ([one, one], f"{one.id} is there twice"),
        ([one, then], f"{then.id} is there twice"),
        ([note.job(0)] * 10_001, "10000 at most"),
        ([replace(one, batch=Member("b", 1, "success", then))], "in a batch already"),
    ):
        with pytest.raises(PayloadError, match=match):
            q.batch(wrong, then=then)  # type: ignore[arg-type]
    for callback in (None, "mail", note):
        with pytest.raises(PayloadError, match="is not a job"):
            q.batch([one], then=callback)  # type: ignore[arg-type]
    with pytest.raises(PayloadError, match="on='done'"):
        q.batch([one], then=then, on="done")  # type: ignore[arg-type]
    assert q.primary.depths() == []


# when a job has ended


def effects(outcome: Outcome | Pending) -> Effects:
    assert not isinstance(outcome, Pending)
    return outcome.effects


def claimed(**more: Any) -> Claim:
    return Claim("t1", "w", "q", wire.encode(Job("j1", "note", "q", (1,), **more)))


def test_only_a_job_that_is_done_launches_what_comes_after_it() -> None:
    claim = claimed(after=(MAIL,))
    done = runner(lambda x: None).run(claim)
    assert isinstance(done, Done)
    [message] = effects(done).put
    assert message == wire.message(replace(MAIL, enqueued_at=NOW))
    assert effects(runner(raising(Discard())).run(claim)) == NONE
    failed = runner(raising(ValueError()), retries=0).run(claim)
    assert isinstance(failed, Failed)
    assert failed.effects == NONE
    retried = runner(raising(ValueError()), retries=1).run(claim)
    assert isinstance(retried, RetryLater)
    assert retried.effects == NONE
    assert effects(runner(lambda x: None).run(claimed(after=(MAIL,), expires_at=NOW - 1))) == NONE


@pytest.mark.parametrize("on", ["success", "complete"])
def test_a_member_counts_by_how_it_ended(on: Any) -> None:
    batch = Member("m1", 3, on, MAIL)
    claim, all_count = claimed(batch=batch), on == "complete"

    def counts(outcome: Outcome | Pending) -> bool:
        found = effects(outcome).countdown
        assert [(one.key, one.member, one.size, one.then.id, one.then.given) for one in found] in (
            [],
            [("m1", "j1", 3, "m1", True)],
        )
        return bool(found)

    assert counts(runner(lambda x: None).run(claim))
    assert counts(runner(raising(Discard())).run(claim)) == all_count
    assert counts(runner(raising(ValueError()), retries=0).run(claim)) == all_count
    assert counts(runner(lambda x: None).run(claimed(batch=batch, expires_at=NOW - 1))) == all_count
    assert counts(runner(lambda x: None, max_crashes=1).died(claim)) == all_count
    assert not counts(runner(raising(ValueError()), retries=1).run(claim))


def test_an_async_task_does_so_when_it_was_awaited() -> None:
    async def task(x: int) -> None: ...

    one = runner(task, retries=0)
    pending = one.run(claimed(after=(MAIL,)))
    assert isinstance(pending, Pending)
    pending.close()
    assert [message.id for message in effects(one.finish(pending, None, 0, 0.1)).put] == ["m1"]
    assert effects(one.finish(pending, ValueError(), 0, 0.1)) == NONE


def test_a_plain_job_has_the_outcome_that_all_of_them_share() -> None:
    assert runner(lambda x: None).run(claimed()) is runner(lambda x: None).run(claimed())


# all together, on a file


def test_a_chain_runs_in_order_each_once(q: SpoolQ, ran: list[Any]) -> None:
    note = q.tasks.get("note")
    last = note.job(3)
    receipt = note.using(after=[note.using(after=[last]).job(2), note.job(4)]).enqueue(1)
    assert receipt.id
    work(q)
    assert ran[0] == 1
    assert sorted(ran) == [1, 2, 3, 4]
    assert ran.index(2) < ran.index(3)


def test_a_chain_goes_on_when_a_person_retries_what_failed(q: SpoolQ, ran: list[Any]) -> None:
    fail, note = q.tasks.get("fail"), q.tasks.get("note")
    receipt = fail.using(after=[note.job("after")]).enqueue(1)
    work(q)
    assert ran == [1]
    q.primary.failures.retry([receipt.id])
    work(q)
    assert ran == [1, 1, "after"]


def test_what_comes_after_may_be_delayed(q: SpoolQ, ran: list[Any]) -> None:
    note = q.tasks.get("note")
    note.using(after=[note.using(at=time.time() + 3600).job(2)]).enqueue(1)
    work(q)
    assert ran == [1]
    [depth] = q.primary.depths()
    assert depth.scheduled == 1


def test_a_batch_calls_back_once_when_all_are_done(q: SpoolQ, ran: list[Any]) -> None:
    note = q.tasks.get("note")
    then = note.using(after=[note.job("last")]).job("then")
    batch = q.batch((note.job(n) for n in range(20)), then=then)
    assert (batch.id, len(batch.receipts), batch.receipts[0].route) == (then.id, 20, "primary")
    work(q)
    assert sorted(ran[:20]) == list(range(20))
    assert ran[20:] == ["then", "last"]


def test_a_batch_of_more_than_one_put_can_be_called_again(q: SpoolQ, ran: list[Any]) -> None:
    note = q.tasks.get("note")
    jobs, then = [note.job(n) for n in range(700)], note.job("then")
    assert all(receipt.new for receipt in q.batch(jobs, then=then).receipts)
    assert not any(receipt.new for receipt in q.batch(jobs, then=then).receipts)
    work(q)
    assert sorted(ran[:700]) == list(range(700))
    assert ran[700:] == ["then"]


def test_a_callback_waits_for_what_failed_until_a_person_has_it_run_again(q: SpoolQ, ran: list[Any]) -> None:
    note, fail = q.tasks.get("note"), q.tasks.get("fail")
    bad = fail.job("bad")
    q.batch([note.job(1), bad], then=note.job("then"))
    work(q)
    assert sorted(map(str, ran)) == ["1", "bad"]
    q.primary.failures.retry([bad.id])
    work(q)
    assert ran[2:] == ["bad", "then"]


def test_a_callback_that_was_cancelled_does_not_come(q: SpoolQ, ran: list[Any]) -> None:
    note = q.tasks.get("note")
    then = note.job("then")
    q.batch([note.job(1)], then=then)
    q.cancel(then.id)
    work(q)
    assert ran == [1]


def test_a_member_that_was_cancelled_has_ended(q: SpoolQ, ran: list[Any]) -> None:
    note = q.tasks.get("note")
    member, waits = note.using(delay=3600).job(1), note.using(delay=3600).job(2)
    q.batch([member, note.job(3)], then=note.job("then"), on="complete")
    q.batch([waits, note.job(4)], then=note.job("never"))
    assert q.cancel(member.id)
    assert q.cancel(waits.id)
    work(q)
    assert sorted(map(str, ran)) == ["3", "4", "then"]


def test_a_callback_on_complete_waits_for_nobody_s_retry(q: SpoolQ, ran: list[Any]) -> None:
    note, fail, drop = (q.tasks.get(name) for name in ("note", "fail", "drop"))
    jobs = [note.job(1), fail.job("bad"), drop.job(1), note.using(expires=0.000001).job("stale")]
    q.batch(jobs, then=note.job("then"), on="complete")
    work(q)
    assert sorted(map(str, ran)) == ["1", "bad", "then"]


def test_a_batch_from_asyncio(q: SpoolQ, ran: list[Any]) -> None:
    note = q.tasks.get("note")
    batch = asyncio.run(q.abatch([note.job(1)], then=note.job("then")))
    assert batch.receipts[0].new
    work(q)
    assert ran == [1, "then"]


def test_the_callback_of_a_batch_is_bounded_with_each_member(q: SpoolQ, ran: list[Any]) -> None:
    note = q.tasks.get("note")
    with pytest.raises(PayloadError, match="more than max_payload"):
        q.batch([note.job(1)], then=note.job("x" * (1 << 20)))


def test_what_follows_has_its_size_from_the_launch() -> None:
    """A worker with a smaller max_payload puts it all the same."""
    big = Job("b", "note", "q", ("x" * (2 << 20),))
    [message] = chains.following(Job("j", "t", "q", after=(big,)), "done", NOW).put
    assert len(message.payload) > 2 << 20
