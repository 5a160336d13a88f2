"""Jobs that wait are moved in one step each: never lost, never twice, in their order, and the same jobs as before."""

from __future__ import annotations

import json
from itertools import count

import pytest

from spoolq import guards, moving, wire
from spoolq.errors import GuardHeld
from spoolq.job import Job
from spoolq.store.base import Spool, Store, WorkerInfo
from spoolq.store.effects import Effects
from spoolq.store.waiting import Move, WaitingJob
from spoolq.unique import Uniqueness
from tests.contract.hands import LONG, Hand, claimable, ids, message, messages


def found(store: Store, id: str) -> WaitingJob:
    [job] = store.waiting_jobs.find(id)
    return job


def depth(store: Store, queue: str) -> tuple[int, int]:
    [one] = [one for one in store.depths() if one.queue == queue] or [None]
    return (one.ready, one.scheduled) if one else (0, 0)


def later(store: Store, seconds: float = 3600.0) -> float:
    return store.ready(5.0) + seconds


def test_ready_jobs_go_to_the_end_of_the_other_queue_in_their_order(store: Store) -> None:
    store.put([*messages("a", "b", "c"), *messages("x", queue="other")])
    assert moving.to_queue(store, [found(store, id) for id in ("a", "c")], "other") == 2
    assert claimable(store) == ["b"]
    assert claimable(store, "other") == ["x", "a", "c"]


def test_its_payload_names_its_new_queue_and_nothing_else_changes(store: Store) -> None:
    before = json.loads(message("a").payload)
    store.put(messages("a"))
    moving.to_queue(store, [found(store, "a")], "other")
    assert json.loads(found(store, "a").payload) == {**before, "queue": "other"}


def test_a_scheduled_job_keeps_its_time(store: Store) -> None:
    at = later(store)
    store.put([message("a", run_at=at)])
    assert moving.to_queue(store, [found(store, "a")], "other") == 1
    assert found(store, "a").run_at == pytest.approx(at, abs=0.01)
    assert (depth(store, "q"), depth(store, "other")) == ((0, 0), (0, 1))


def test_a_job_that_waits_to_be_tried_again_keeps_its_attempts(store: Store, hand: Hand) -> None:
    store.put(messages("a"))
    [claim] = hand.claim()
    store.retry(claim, message("a", attempt=2).payload, later(store))
    moving.to_queue(store, [found(store, "a")], "other")
    assert wire.decode(found(store, "a").payload, "other").attempt == 2


def test_run_now_makes_a_scheduled_job_the_first(store: Store) -> None:
    store.put([*messages("a", "b"), message("s", run_at=later(store))])
    assert moving.to_front(store, found(store, "s"), 0.0)
    assert claimable(store) == ["s", "a", "b"]
    assert depth(store, "q") == (3, 0)
    assert moving.to_front(store, found(store, "b"), 0.0)
    assert claimable(store) == ["b", "s", "a"]


def test_a_job_that_was_taken_meanwhile_stays_where_it_is(store: Store, hand: Hand) -> None:
    store.put(messages("a", "b"))
    jobs = [found(store, "a"), found(store, "b")]
    assert len(hand.claim(1)) == 1
    moves = [Move(job, "other", job.payload) for job in jobs]
    assert store.waiting_jobs.move(moves) == [False, True]
    assert claimable(store, "other") == ["b"]
    assert hand.holds() == 1
    assert store.waiting_jobs.move(moves) == [False, False], "the second time nothing is there to move"
    assert claimable(store, "other") == ["b"]
    assert store.waiting_jobs.move([]) == []


def test_its_id_is_remembered_as_before(store: Store) -> None:
    store.put([message("a", given=True)])
    moving.to_queue(store, [found(store, "a")], "other")
    assert store.put([message("a", given=True)]) == [False]
    assert claimable(store, "other") == ["a"]


def test_a_unique_job_goes_on_keeping_equal_ones_out_until_it_is_done(store: Store, hand: Hand) -> None:
    unique = Uniqueness("done").of("t", "q", ["x"], {})
    first, second = (wire.message(Job(id, "t", "q", ("x",), unique=unique)) for id in ("a", "b"))
    store.put([first], guards.acquiring(first, 0.0))
    moving.to_queue(store, [found(store, "a")], "other")
    with pytest.raises(GuardHeld):
        store.put([second], guards.acquiring(second, 0.0))
    [claim] = hand.claim(queues=["other"])
    job = wire.decode(claim.payload, claim.queue)
    assert job.unique is not None
    assert job.unique.key == unique.key
    store.ack([claim], guards.releasing(job, job.unique))
    assert store.put([second], guards.acquiring(second, 0.0)) == [True]


def test_a_unique_job_that_is_moved_twice_holds_the_same_guard(store: Store) -> None:
    unique = Uniqueness("start").of("t", "q", ["x"], {})
    first = wire.message(Job("a", "t", "q", ("x",), unique=unique))
    store.put([first], guards.acquiring(first, 0.0))
    for queue in ("other", "q"):
        moving.to_queue(store, [found(store, "a")], queue)
    job = found(store, "a")
    assert store.waiting_jobs.remove(job, guards.freed(job.payload, job.queue))
    assert store.guards() == []


def test_what_is_no_job_is_moved_as_it_is(store: Store) -> None:
    from spoolq.job import Message

    store.put([Message("raw", "q", b"\xff no job")])
    jobs, _ = store.waiting_jobs.page("q")
    assert moving.to_queue(store, jobs, "other") == 1
    assert [job.payload for job in store.waiting_jobs.page("other")[0]] == [b"\xff no job"]


@pytest.mark.parametrize("scheduled", [False, True])
def test_a_whole_queue_is_moved_in_its_order(store: Store, scheduled: bool) -> None:
    at = later(store) if scheduled else 0.0
    names = [f"j{n:03}" for n in range(450)]
    store.put([message(name, run_at=at and at + n) for n, name in enumerate(names)], timeout=5.0)
    store.put([message("x", "other", run_at=at and at - 1), message("y", "third", run_at=at)])
    told: list[int] = []
    assert moving.whole_queue(store, "q", "other", 10_000, scheduled=scheduled, report=told.append) == 450
    assert told[0] < 450 == told[-1]
    assert depth(store, "q") == (0, 0)
    jobs, after = store.waiting_jobs.page("other", scheduled=scheduled, limit=1000)
    while after is not None:
        more, after = store.waiting_jobs.page("other", scheduled=scheduled, after=after, limit=1000)
        jobs += more
    assert [json.loads(job.payload)["id"] for job in jobs] == ["x", *names]


def test_no_more_are_moved_than_were_there_when_it_began(store: Store) -> None:
    """Else producers that go on would keep it going for ever."""
    store.put(messages("a", "b"))
    numbers = count()

    def another(moved: int) -> None:
        store.put(messages(f"new{next(numbers)}"))

    assert moving.whole_queue(store, "q", "other", 2, report=another) == 2
    assert claimable(store, "other") == ["a", "b"]
    assert claimable(store)[0] == "new0"


def test_a_move_wakes_who_waits_for_the_other_queue(store: Store) -> None:
    store.put(messages("a"))
    worker = WorkerInfo("w", "host", 1, ("other",), started_at=1.0, lease=LONG)
    store.register(worker)
    assert not store.wait(worker, ["other"], 0.01)
    moving.to_queue(store, [found(store, "a")], "other")
    assert store.wait(worker, ["other"], 5.0)


def test_a_move_has_no_part_in_guards_of_others(store: Store) -> None:
    store.put(messages("a"), Effects(acquire=(("g", "somebody", LONG),)))
    moving.to_queue(store, [found(store, "a")], "other")
    assert [guard.key for guard in store.guards()] == ["g"]


# a spool


def test_a_spooled_row_is_moved_and_its_doubt_goes_along(spool: Spool) -> None:
    spool.spool(messages("a"), not_after=spool.now() + 5)
    spool.spool(messages("b"))
    assert moving.whole_queue(spool, "q", "other", 10) == 2
    assert [(found(spool, id).queue, found(spool, id).in_doubt) for id in ("a", "b")] == [("other", True), ("other", False)]
    handoffs = spool.take(WorkerInfo("d", "host", 1, (), kind="drainer"), 10, 1 << 20, spool.now() + 5)
    assert [(handoff.message.id, handoff.message.queue) for handoff in handoffs] == [("a", "other"), ("b", "other")]


def test_a_moved_row_is_sound(spool: Spool) -> None:
    """Its checksum is that of what it says now."""
    spool.spool(messages("a"))
    moving.whole_queue(spool, "q", "other", 10)
    assert spool.upkeep.check() == []
    assert ids(Hand(spool, "w", queues=("other",)).claim()) == ["a"]
