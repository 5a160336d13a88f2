"""Jobs that wait are found by their id wherever they are, shown page by page, and taken away in one step."""

from __future__ import annotations

import json

import pytest

from spoolq.job import Message
from spoolq.store.base import Spool, Store, WorkerInfo
from spoolq.store.effects import Effects
from spoolq.store.waiting import WaitingJob
from tests.contract.hands import LONG, Hand, at_front, claimable, id_of, message, messages

COUNTED = Effects(counters=(("gone", 1),), values=(("said", b"x", LONG),))


def found(store: Store, id: str) -> WaitingJob:
    [job] = store.waiting_jobs.find(id)
    return job


def ids(jobs: list[WaitingJob]) -> list[str]:
    return [json.loads(job.payload)["id"] for job in jobs]


def later(store: Store, seconds: float = 3600.0) -> float:
    return store.ready(5.0) + seconds


def test_several_values_are_read_as_one_reads_them(store: Store) -> None:
    store.put([], Effects(values=(("a", b"1", LONG), ("c", b"\x00\xff", LONG))))
    assert store.values(["a", "b", "c"], timeout=5.0) == [b"1", None, b"\x00\xff"]
    assert store.values([]) == []


def test_a_value_without_time_is_gone_at_once(store: Store) -> None:
    store.put([], Effects(values=(("a", b"1", LONG),)))
    store.put([], Effects(values=(("a", b"", 0.0),)))
    store.ready(5.0)
    assert store.value("a") in (None, b"")


def test_a_ready_job_is_found_and_removed_with_effects(store: Store) -> None:
    store.put([*messages("a", "b", "c"), message("d", "other")])
    job = found(store, "b")
    assert (job.queue, job.run_at, job.holder) == ("q", 0.0, "")
    assert store.waiting_jobs.remove(job, COUNTED)
    assert claimable(store) == ["a", "c"]
    assert store.counters()["gone"] == 1
    assert store.value("said") == b"x"


def test_what_is_gone_is_not_removed_again_and_has_no_effects(store: Store, hand: Hand) -> None:
    store.put(messages("a"))
    job = found(store, "a")
    assert len(hand.claim()) == 1
    assert not store.waiting_jobs.remove(job, COUNTED)
    assert "gone" not in store.counters()
    assert store.value("said") is None
    assert hand.holds() == 1


def test_a_scheduled_job_is_found_and_removed(store: Store) -> None:
    at = later(store)
    store.put([message("a", run_at=at), message("b", run_at=at)])
    job = found(store, "a")
    assert job.run_at == pytest.approx(at, abs=0.01)
    assert store.waiting_jobs.remove(job)
    assert [depth.scheduled for depth in store.depths() if depth.queue == "q"] == [1]
    assert store.waiting_jobs.find("a") == []


def test_a_job_that_waits_to_be_tried_again_is_found(store: Store, hand: Hand) -> None:
    store.put(messages("a"))
    [claim] = hand.claim()
    store.retry(claim, message("a", attempt=1).payload, later(store))
    job = found(store, "a")
    assert json.loads(job.payload)["attempt"] == 1
    assert store.waiting_jobs.remove(job)
    assert sum(depth.scheduled for depth in store.depths()) == 0


def test_no_other_id_is_taken_for_it(store: Store) -> None:
    store.put([*messages("a", "ab", "xa"), Message("other", "q", b'{"class":"t","queue":"q","args":[{"id":"a"}],"id":"other"}')])
    assert ids(store.waiting_jobs.find("a")) == ["a"]
    assert store.waiting_jobs.find("b") == []


@pytest.mark.parametrize("id", ["é?*[x]", 'a"b\\c', "100%_"])
def test_an_id_is_a_text_and_no_pattern(store: Store, id: str) -> None:
    store.put([message(id), message(f"{id}2", run_at=later(store)), message("other")])
    store.put([message(f"{id}3", run_at=later(store))])
    assert ids(store.waiting_jobs.find(id)) == [id]
    assert ids(store.waiting_jobs.find(f"{id}3")) == [f"{id}3"]


def test_a_re_run_is_found_by_the_jobs_id(store: Store, hand: Hand) -> None:
    payload = message("a").payload[:-1] + b',"run":1}'
    store.put([Message("a\t1", "q", payload)])
    assert store.waiting_jobs.remove(found(store, "a"))
    assert hand.claim() == ()


def test_one_of_many_is_found(store: Store) -> None:
    for n in range(5):
        store.put([message(f"j{n}-{m}") for m in range(500)])
    assert id_of_first(store) == "j0-0"
    assert store.waiting_jobs.remove(found(store, "j0-0"))
    assert store.waiting_jobs.remove(found(store, "j4-499"))
    assert id_of_first(store) == "j0-1"


def id_of_first(store: Store) -> str:
    [job], _ = store.waiting_jobs.page("q", limit=1)
    return ids([job])[0]


def pages(store: Store, queue: str | None, *, scheduled: bool, limit: int) -> list[str]:
    shown, after = [], None
    while True:
        jobs, after = store.waiting_jobs.page(queue, scheduled=scheduled, after=after, limit=limit)
        shown += ids(jobs)
        if after is None:
            return shown


def test_ready_jobs_are_shown_in_the_order_in_which_they_are_taken(store: Store) -> None:
    store.put(messages(*(f"j{n}" for n in range(7))))
    store.put(at_front("first"))
    assert pages(store, "q", scheduled=False, limit=3) == ["first", *(f"j{n}" for n in range(7))]
    assert pages(store, "none", scheduled=False, limit=3) == []


def test_scheduled_jobs_are_shown_in_the_order_of_their_time(store: Store) -> None:
    at = later(store)
    store.put([message(f"j{n}", "even" if n % 2 == 0 else "odd", run_at=at - n) for n in range(6)])
    assert pages(store, None, scheduled=True, limit=4) == [f"j{n}" for n in (5, 4, 3, 2, 1, 0)]
    assert pages(store, "odd", scheduled=True, limit=4) == ["j5", "j3", "j1"]


def test_a_job_in_a_workers_hands_is_held_until_it_is_settled(store: Store, hand: Hand) -> None:
    store.put(messages("a", "b"))
    assert not store.waiting_jobs.held("a")
    claims = hand.claim()
    assert store.waiting_jobs.held("a")
    assert not store.waiting_jobs.held("c")
    store.ack(claims[:1])
    assert not store.waiting_jobs.held("a")
    assert store.waiting_jobs.held("b")


def test_a_refused_id_is_answered_as_one_that_is_there(store: Store, hand: Hand) -> None:
    assert store.waiting_jobs.refuse("a")
    assert not store.waiting_jobs.refuse("a")
    assert store.put([message("a", given=True)], hold=True) == [False]
    assert hand.claim() == ()


def test_an_id_that_was_put_and_is_remembered_is_told_from_one_that_was_not(store: Store) -> None:
    store.put(messages("a"), hold=True)
    assert not store.waiting_jobs.refuse("a")
    assert claimable(store) == ["a"]


# a spool


def test_a_row_in_doubt_and_one_in_hands_say_so(spool: Spool, hand: Hand) -> None:
    spool.spool(messages("sure"))
    spool.spool(messages("doubt"), not_after=spool.now() + 5)
    assert not found(spool, "sure").in_doubt
    assert found(spool, "doubt").in_doubt
    handoffs = spool.take(WorkerInfo("d", "host", 1, (), kind="drainer"), 10, 1 << 20, spool.now() + 5)
    assert {found(spool, id).holder for id in ("sure", "doubt")} == {"drainer"}
    assert not spool.waiting_jobs.held("sure")
    assert not spool.waiting_jobs.remove(found(spool, "sure"))
    spool.give_back(handoffs, applied="no")
    worker = Hand(spool, "w")
    assert [id_of(claim) for claim in worker.claim()] == ["sure"]
    assert found(spool, "sure").holder == "worker"
    assert spool.waiting_jobs.held("sure")


def test_a_removed_row_is_remembered_as_one_that_ran(spool: Spool) -> None:
    spool.spool(messages("a"))
    assert spool.waiting_jobs.remove(found(spool, "a"))
    assert spool.spool(messages("a")) == [False]
    assert spool.recall(["a"]) == ["ran"]


def test_a_row_that_has_come_into_doubt_since_it_was_found_is_not_removed(spool: Spool) -> None:
    """A drainer took it, and gave it back as one that may have arrived: who removed it as surely not sent would be wrong."""
    spool.spool(messages("a"))
    before = found(spool, "a")
    handoffs = spool.take(WorkerInfo("d", "host", 1, (), kind="drainer"), 10, 1 << 20, spool.now() + 5)
    spool.give_back(handoffs, applied="maybe")
    assert not spool.waiting_jobs.remove(before)
    assert spool.spool(messages("a")) == [False], "it is there, and not remembered as one that ran"
    assert spool.waiting() == 1
    assert spool.waiting_jobs.remove(found(spool, "a"))
