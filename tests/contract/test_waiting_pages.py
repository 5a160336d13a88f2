"""Pages of what waits are whole, in order, and never more than one answer should hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from spoolq.job import Message
from spoolq.store.base import MAX_BYTES, Spool, Store, WorkerInfo
from spoolq.store.waiting import Page, WaitingJob
from tests.contract.hands import Hand, id_of, message, messages


def large(id: str, queue: str = "q", run_at: float = 0.0, size: int = 400_000) -> Message:
    payload = json.dumps({"class": "t", "queue": queue, "args": ["x" * size], "id": id}).encode()
    return Message(id, queue, payload, run_at)


def ids(jobs: list[WaitingJob]) -> list[str]:
    return [json.loads(job.payload)["id"] for job in jobs]


def walked(ask: Callable[[Any], Page]) -> tuple[list[str], int]:
    """All ids, in order, and the bytes of the largest page. What a page begins after goes through JSON, as in an address."""
    seen, largest, after = list[str](), 0, None
    while True:
        jobs, after = ask(after)
        seen += ids(jobs)
        largest = max(largest, sum(len(job.payload) for job in jobs))
        if after is None:
            return seen, largest
        after = json.loads(json.dumps(after))


def later(store: Store, seconds: float = 3600.0) -> float:
    return store.ready(5.0) + seconds


def test_large_jobs_come_a_few_at_a_time(store: Store) -> None:
    names = [f"j{n}" for n in range(8)]
    for name in names:
        store.put([large(name)], timeout=5.0)
    seen, largest = walked(lambda after: store.waiting_jobs.page("q", after=after))
    assert seen == names
    assert largest <= MAX_BYTES


def test_one_that_is_larger_than_a_page_comes_alone(store: Store) -> None:
    store.put([large("huge", size=MAX_BYTES + 10)], timeout=5.0)
    store.put(messages("small"))
    seen, _ = walked(lambda after: store.waiting_jobs.page("q", after=after))
    assert seen == ["huge", "small"]


def test_large_scheduled_jobs_come_a_few_at_a_time(store: Store) -> None:
    at = later(store)
    for n in range(8):
        store.put([large(f"j{n}", "ab"[n % 2], at + n)], timeout=5.0)
    seen, largest = walked(lambda after: store.waiting_jobs.page(scheduled=True, after=after))
    assert seen == [f"j{n}" for n in range(8)]
    assert largest <= MAX_BYTES


@pytest.mark.parametrize("limit", [1, 7, 100])
def test_jobs_of_one_moment_are_all_shown(store: Store, limit: int) -> None:
    """As a cron that launches many for the same time."""
    at = later(store)
    names = [f"j{n:02}" for n in range(23)]
    store.put([message(name, run_at=at) for name in names])
    seen, _ = walked(lambda after: store.waiting_jobs.page("q", scheduled=True, after=after, limit=limit))
    assert sorted(seen) == names


def test_the_few_of_one_queue_among_many_of_another_are_found(store: Store) -> None:
    at = later(store)
    store.put([message(f"many{n}", "many", run_at=at + n) for n in range(1500)], timeout=5.0)
    store.put([message("few", "few", run_at=at + 1400.5)])
    seen, _ = walked(lambda after: store.waiting_jobs.page("few", scheduled=True, after=after))
    assert seen == ["few"]


def test_a_search_goes_step_by_step_and_survives_an_address(store: Store) -> None:
    store.put([message(f"j{n}", f"q{n % 3}") for n in range(300)], timeout=5.0)
    store.put([message("s", run_at=later(store))])
    for id in ("j0", "j298", "s"):
        assert walked(lambda after, id=id: store.waiting_jobs.search(id, after))[0] == [id]
    assert walked(lambda after: store.waiting_jobs.search("none", after))[0] == []


def test_what_workers_have_is_shown_with_who_has_it(store: Store, hand: Hand) -> None:
    store.put(messages("a", "b", "c", "d"))
    other = Hand(store, "w2")
    assert [len(hand.claim(2)), len(other.claim(1))] == [2, 1]
    seen, _ = walked(lambda after: store.waiting_jobs.claimed(after, 1))
    assert sorted(seen) == ["a", "b", "c"]
    jobs, _ = store.waiting_jobs.claimed()
    assert {(job.worker, job.holder, job.queue) for job in jobs} == {("w1", "worker", "q"), ("w2", "worker", "q")}
    [job] = store.waiting_jobs.held("c")
    assert (job.worker, job.holder) == ("w2", "worker")


def test_what_a_drainer_has_says_so(spool: Spool) -> None:
    spool.spool(messages("a"))
    spool.take(WorkerInfo("d", "host", 1, (), kind="drainer"), 10, 1 << 20, spool.now() + 5)
    [job], _ = spool.waiting_jobs.claimed()
    assert (job.holder, job.worker) == ("drainer", "d")


def test_rows_in_doubt_stand_in_their_place(spool: Spool) -> None:
    spool.spool(messages("a"))
    spool.spool(messages("b"), not_after=spool.now() + 5)
    spool.spool(messages("c"))
    seen, _ = walked(lambda after: spool.waiting_jobs.page("q", after=after, limit=1))
    assert seen == ["a", "b", "c"]


def test_a_job_that_was_claimed_is_on_no_page(store: Store, hand: Hand) -> None:
    store.put(messages("a", "b"))
    [claim] = hand.claim(1)
    assert id_of(claim) == "a"
    assert walked(lambda after: store.waiting_jobs.page("q", after=after))[0] == ["b"]
