"""A job is found wherever it is, and its way is told in order; jobs are chosen by what they are, a bounded look at a time."""

from __future__ import annotations

import json

import pytest

from spoolq import choosing, whereabouts, wire
from spoolq.choosing import JobChoice
from spoolq.errors import StoreUnavailable
from spoolq.failurelog import groups
from spoolq.job import Attempt, Job, Message
from spoolq.store.base import Spool, Store, WorkerInfo, Working
from spoolq.tracking import Status
from tests.contract.hands import Hand, failure, message, messages


def later(store: Store, seconds: float = 3600.0) -> float:
    return store.ready(5.0) + seconds


def states(store: Store, id: str) -> list[str]:
    return [one.state for one in whereabouts.find(id, store, None).sightings]


def test_it_is_found_in_each_state_of_its_way(store: Store, hand: Hand) -> None:
    store.put([message("a", run_at=later(store))])
    assert states(store, "a") == ["scheduled"]
    store.put(messages("b"))
    assert states(store, "b") == ["ready"]
    [claim] = hand.claim()
    assert states(store, "b") == ["claimed"]
    store.heartbeat(hand.info, [Working(0, claim, 1_700_000_000.0)])
    [one] = whereabouts.find("b", store, None).sightings
    assert (one.state, one.worker, one.since, one.queue) == ("running", "w1", 1_700_000_000.0, "q")
    store.retry(claim, message("b", attempt=1).payload, later(store))
    assert states(store, "b") == ["retrying"]
    assert not whereabouts.find("c", store, None).known


def test_a_failed_one_is_found_and_one_that_was_put_back_twice(store: Store, hand: Hand) -> None:
    store.put(messages("a"))
    [claim] = hand.claim()
    store.fail(claim, failure(claim))
    [one] = whereabouts.find("a", store, None, newest=10).sightings
    assert one.failure is not None
    assert (one.state, one.failure.exception) == ("failed", "FileNotFoundError")
    store.failures.retry(["a"])
    assert states(store, "a") == ["ready"]


def test_a_failure_behind_the_newest_ones_may_be_left_out(store: Store, hand: Hand) -> None:
    store.put(messages("old", "new"))
    for claim in hand.claim():
        store.fail(claim, failure(claim))
    assert store.failures.get("new", newest=1) is not None
    assert store.failures.get("old") is not None


def test_a_search_that_is_cut_short_can_go_on(store: Store) -> None:
    store.put([message(f"j{n}", f"q{n}") for n in range(20)])
    found = whereabouts.find("j19", store, None, steps=1)
    rounds = 1
    while not found.sightings and found.after is not None:
        found, rounds = whereabouts.find("j19", store, None, steps=1, after=json.loads(json.dumps(found.after))), rounds + 1
    assert [one.queue for one in found.sightings] == ["q19"]
    assert rounds <= 22


def test_a_store_that_is_away_is_named_and_the_other_is_asked(spool: Spool) -> None:
    class Away:
        @property
        def waiting_jobs(self) -> None:
            raise StoreUnavailable("refused", reason="refused")

    spool.spool(messages("a"), not_after=spool.now() + 5)
    found = whereabouts.find("a", Away(), spool)  # type: ignore[arg-type]
    assert ([one.state for one in found.sightings], found.away) == (["ready"], ("refused",))
    assert "the primary may have it too" in whereabouts.timeline(found, spool.now())[-1].detail


def test_a_row_in_a_drainers_hands(spool: Spool) -> None:
    spool.spool(messages("a"))
    spool.take(WorkerInfo("d", "host", 1, (), kind="drainer"), 10, 1 << 20, spool.now() + 5)
    [one] = whereabouts.find("a", None, spool).sightings
    assert (one.state, one.waits) == ("handed over", False)


def test_its_way_is_told_in_order(store: Store, hand: Hand) -> None:
    history = (Attempt(1, 1000.0, "ValueError", "first", "host:1", 0.5), Attempt(2, 2000.0, "KeyError", "second"))
    at = later(store)
    job = Job("a", "t", "q", ("x",), attempt=2, history=history, enqueued_at=500.0, run=1, run_at=at)
    store.put([wire.message(job)])
    way = whereabouts.timeline(whereabouts.find("a", store, None), 3000.0)
    assert [moment.what for moment in way] == ["put back", "enqueued", "attempt 1", "attempt 2", "due"]
    assert way[2] == (1000.0, "attempt 1", "ValueError: first after 0.500 s on host:1")
    assert way[-1].at == pytest.approx(at, abs=0.01)


def test_what_is_remembered_of_its_end_is_part_of_it(store: Store) -> None:
    found = whereabouts.find("a", store, None, lambda id: Status("done", at=7.0))
    assert found.known
    assert whereabouts.timeline(found, 10.0) == [(7.0, "done", "")]


# choosing


def fill(store: Store) -> None:
    at = later(store)
    store.put([wire.message(Job(f"m{n}", "mail", "q", (f"user{n}@x",))) for n in range(30)])
    store.put([wire.message(Job(f"o{n}", "other", "q2", (n,), run_at=at + n, attempt=n % 2)) for n in range(30)])
    store.put([Message("raw", "q", b"no job")])


def ids(store: Store, choice: JobChoice, **which: bool) -> list[str]:
    return [json.loads(job.payload)["id"] for job in choosing.every(store, choice, **which)]


def test_jobs_are_chosen_by_task_queue_text_and_attempts(store: Store) -> None:
    fill(store)
    assert ids(store, JobChoice(task="mail")) == [f"m{n}" for n in range(30)]
    assert ids(store, JobChoice(queue="q2", retrying=True)) == [f"o{n}" for n in range(1, 30, 2)]
    assert ids(store, JobChoice(text="USER7@")) == ["m7"]
    assert ids(store, JobChoice(task="other"), scheduled=False) == []
    assert len(list(choosing.every(store, JobChoice()))) == 61


def test_a_look_is_bounded_and_goes_on_where_it_ended(store: Store) -> None:
    fill(store)
    choice = JobChoice(queue="q", text="user29@")
    found, after = choosing.look(store, choice, scheduled=False, limit=5, most=10)
    assert (found, after is not None) == ([], True)
    seen = []
    while after is not None:
        found, after = choosing.look(store, choice, scheduled=False, after=json.loads(json.dumps(after)), limit=5, most=10)
        seen += found
    assert [json.loads(job.payload)["id"] for job in seen] == ["m29"]


def test_a_look_loses_none_where_it_has_enough(store: Store) -> None:
    fill(store)
    seen, after, begun = list[str](), None, False
    while not begun or after is not None:
        found, after = choosing.look(store, JobChoice(queue="q", task="mail"), scheduled=False, after=after, limit=7)
        assert len(found) <= 7
        seen, begun = seen + [json.loads(job.payload)["id"] for job in found], True
    assert seen == [f"m{n}" for n in range(30)]


# failures, grouped


def test_failures_are_grouped_by_error_and_task(store: Store, hand: Hand) -> None:
    store.put([*messages("a", "b"), wire.message(Job("c", "other", "q2", ()))])
    for n, claim in enumerate(hand.claim(queues=["q", "q2"])):
        store.fail(claim, failure(claim, f"file {n}", at=1_700_000_000.0 + n))
    first, second = groups.groups(groups.newest(store.failures))
    assert (first.task, first.count, first.first, first.last) == ("t", 2, 1_700_000_000.0, 1_700_000_001.0)
    assert (first.exception, first.id, first.error, first.queues) == ("FileNotFoundError", "b", "file 1", {"q": 2})
    assert (second.task, second.count, second.queues) == ("other", 1, {"q2": 1})
    assert sum(group.count for group in groups.groups(groups.newest(store.failures, 2))) == 2
