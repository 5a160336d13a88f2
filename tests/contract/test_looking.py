"""What people and policies look at: depths, workers, counters, values, meta; and `purge`."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from spoolq.store.base import Store, Working
from spoolq.store.effects import Effects
from spoolq.store.looking import Denied, Depth
from spoolq.store.sqlite import SQLiteStore
from tests.contract.backends import Backend
from tests.contract.hands import SHORT, Hand, claimable, message, messages, worker
from tests.waiting import eventually


def counts(store: Store) -> dict[str, tuple[int, int, int]]:
    return {depth.queue: (depth.ready, depth.scheduled, depth.claimed) for depth in store.depths()}


def test_an_empty_store_has_no_queues(store: Store) -> None:
    assert store.depths() == []
    assert store.workers() == []
    assert dict(store.counters()) == {}
    assert store.failures.count() == 0


def test_who_may_do_everything_is_denied_nothing_and_asking_leaves_nothing(store: Store) -> None:
    denied = store.denied(5.0)
    assert denied is None or denied == Denied()
    assert store.strangers(10) == []
    assert store.queues() == []
    assert store.guards() == []


def test_depths_are_counted_by_state_and_listed_by_name(store: Store, hand: Hand) -> None:
    later = store.ready(5.0) + 3600.0
    store.put([message("r1", "red"), message("b1", "blue"), message("b2", "blue"), message("b3", "blue", run_at=later)])
    hand.claim(1, ["blue"])
    assert [depth.queue for depth in store.depths()] == ["blue", "red"]
    assert counts(store) == {"blue": (1, 1, 1), "red": (1, 0, 0)}


def test_queues_are_those_with_ready_or_scheduled_jobs_at_least(store: Store, hand: Hand) -> None:
    assert store.queues() == []
    later = store.ready(5.0) + 3600.0
    store.put([message("r1", "red"), message("r2", "red"), message("b", "blue"), message("l", "later", run_at=later)])
    store.ack(hand.claim(1, ["blue"]))
    names = store.queues()
    assert len(names) == len(set(names))
    assert {"red", "later"} <= set(names) <= {"red", "blue", "later"}


def test_the_age_of_the_oldest_is_told_where_it_can_be(store: Store) -> None:
    store.put(messages("a", "b"))
    [depth] = store.depths()
    assert isinstance(depth, Depth)
    assert depth.oldest is None or 0 <= depth.oldest < 30


def test_numbers_are_counted_up_to_a_limit_where_one_is_given(store: Store, hand: Hand) -> None:
    later = store.ready(5.0) + 3600.0
    store.put([*messages(*"abcde"), *(message(id, run_at=later) for id in "vwxyz")])
    [whole], [few], [enough] = store.depths(), store.depths(2), store.depths(100)
    assert enough[:4] == whole[:4] == ("q", 5, 5, 0)
    assert (enough.oldest is None) == (whole.oldest is None)
    assert few.queue == "q"
    assert (few.ready, few.scheduled) in {(2, 2), (5, 5)}  # a server that keeps its numbers needs no limit
    assert store.failures.count(2) == store.failures.count() == 0


def test_settled_jobs_are_in_no_depth(store: Store, hand: Hand) -> None:
    store.put(messages("a", "b"))
    store.ack(hand.claim())
    assert all(count == (0, 0, 0) for count in counts(store).values())


def test_a_worker_is_shown_as_it_registered(store: Store) -> None:
    info = worker("w1", lease=45.0, queues=("high", "low"), threads=4)
    store.register(info)
    [view] = store.workers()
    assert view.info == info
    assert 0 < view.lease_left <= 45.0
    assert (view.claims, view.working) == (0, ())


def test_registering_twice_is_fine(store: Store, hand: Hand) -> None:
    store.register(hand.info)
    store.register(hand.info)
    assert len(store.workers()) == 1


def test_a_workers_claims_are_counted(store: Store, hand: Hand) -> None:
    store.put(messages("a", "b", "c"))
    hand.claim(2)
    [view] = store.workers()
    assert view.claims == 2


def test_what_its_threads_work_on_is_shown(store: Store) -> None:
    store.put(messages("a", "b"))
    hand = Hand(store, "w1")
    first, second = hand.claim()
    info = worker("w1", threads=2)
    store.heartbeat(info, [Working(0, first, 1_700_000_001.0), Working(1, second, 1_700_000_002.0)])
    [view] = store.workers()
    assert sorted((w.slot, w.claim.payload, w.since) for w in view.working) == [
        (0, first.payload, 1_700_000_001.0),
        (1, second.payload, 1_700_000_002.0),
    ]
    store.ack([first])
    store.heartbeat(info, [Working(1, second, 1_700_000_002.0)])
    [view] = store.workers()
    assert [(w.slot, w.claim.queue) for w in view.working] == [(1, "q")]
    assert store.heartbeat(info, None) == 1
    assert [(w.slot, w.claim.queue) for w in store.workers()[0].working] == [(1, "q")]
    store.heartbeat(info)
    assert store.workers()[0].working == ()


def test_a_worker_whose_lease_ran_out_is_still_shown(store: Store) -> None:
    store.register(worker("w1", lease=SHORT))
    eventually(lambda: store.workers()[0].lease_left < 0)


def test_a_worker_that_ended_is_not_shown(store: Store, hand: Hand) -> None:
    store.register(hand.info)
    store.register(worker("w2"))
    store.unregister(hand.info)
    assert [view.info.key for view in store.workers()] == ["w2"]
    store.unregister(hand.info)


def test_two_workers_of_one_host_and_pid_are_two(store: Store) -> None:
    """A process id comes back after a restart; the key doesn't."""
    store.put(messages("a", "b"))
    before = Hand(store, "before").claim(1)
    Hand(store, "after").claim(1)
    assert sorted((view.info.key, view.claims) for view in store.workers()) == [("after", 1), ("before", 1)]
    store.release(before)
    store.unregister(worker("before"))
    assert [view.info.key for view in store.workers()] == ["after"]


def test_counters_go_up_and_down(store: Store) -> None:
    store.put([], Effects(counters=(("a", 3), ("b:c d", 1))))
    store.put([], Effects(counters=(("a", -1), ("a", 10))))
    assert dict(store.counters()) == {"a": 12, "b:c d": 1}


def test_a_value_that_was_never_set_is_none(store: Store) -> None:
    assert store.value("absent") is None


def test_meta_is_set_and_deleted(store: Store) -> None:
    assert store.meta("paused:q") is None
    assert store.set_meta("paused:q", "yes, é") is True
    assert store.meta("paused:q") == "yes, é"
    assert store.set_meta("paused:q", "") is True
    assert store.meta("paused:q") == ""
    assert store.set_meta("paused:q", None) is True
    assert store.meta("paused:q") is None
    store.set_meta("paused:q", None)


@pytest.mark.parametrize(
    ("before", "expected", "is_set"),
    [(None, None, True), (None, "a", False), ("a", "a", True), ("a", "b", False), ("a", None, False), ("", None, False)],
)
@pytest.mark.parametrize("value", ["new", None])
def test_meta_is_set_only_when_it_has_the_expected_value(
    store: Store, before: str | None, expected: str | None, is_set: bool, value: str | None
) -> None:
    store.set_meta("leader", before)
    assert store.set_meta("leader", value, expected=expected) is is_set
    assert store.meta("leader") == (value if is_set else before)


def test_purging_deletes_the_ready_jobs_of_one_queue(store: Store, hand: Hand) -> None:
    later = store.ready(5.0) + 3600.0
    store.put([message("a"), message("b"), message("c"), message("later", run_at=later), message("other", "r")])
    hand.claim(1)
    assert store.purge("q") == 2
    assert counts(store) == {"q": (0, 1, 1), "r": (1, 0, 0)}
    assert claimable(store) == []
    assert hand.holds() == 1


def test_purging_a_queue_that_is_not_there_is_none(store: Store) -> None:
    assert store.purge("absent") == 0


def test_the_wait_of_a_small_request_is_measured(store: Store) -> None:
    assert 0 <= store.load(5.0).wait < 5.0


def test_a_store_without_a_limit_of_memory_or_that_will_not_tell_has_none(store: Store) -> None:
    load = store.load(5.0, memory=True)
    assert (load.used, load.limit) == (None, None)


def test_what_came_and_went_is_counted_by_queue_and_word(store: Store, hand: Hand) -> None:
    assert dict(store.counts()) == {}
    store.put([*messages("a", "b", queue="red"), message("c", "blue")])
    store.ack(hand.claim(1, ["red"]))
    assert {queue: dict(words) for queue, words in store.counts().items()} == {"red": {"put": 2, "done": 1}, "blue": {"put": 1}}
    assert {queue: dict(one.counts) for queue, one in store.tally().queues.items()} == store.counts()


def test_a_job_that_changes_hands_is_in_one_place_at_each_look(backend: Backend) -> None:
    with closing(backend.open()) as store, closing(backend.open()) as other:
        store.put([message("a")])
        hand, over = Hand(store), threading.Event()

        def changes_hands() -> None:
            while not over.is_set():
                store.release(hand.claim(1))

        thread = threading.Thread(target=changes_hands)
        thread.start()
        try:
            for _ in range(1000):
                for depths in (other.depths(), other.depths(10)):
                    assert [one.ready + one.claimed for one in depths] == [1]
                if isinstance(other, SQLiteStore):
                    assert other.waiting() == 1
        finally:
            over.set()
            thread.join()
