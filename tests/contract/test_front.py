"""`front`: before all that is ready in its queue, on every store; all else about a put is as ever."""

from __future__ import annotations

import pytest

from spoolq import wire
from spoolq.errors import GuardHeld
from spoolq.job import Job
from spoolq.store.base import Store
from spoolq.store.effects import Effects
from tests.contract.hands import Hand, at_front, claimable, failure, ids, message, messages


def test_it_goes_before_all_that_wait(store: Store, hand: Hand) -> None:
    store.put(messages("a", "b"))
    assert store.put(at_front("c")) == [True]
    assert ids(hand.claim()) == ["c", "a", "b"]


def test_of_several_the_last_is_the_first(store: Store, hand: Hand) -> None:
    store.put(messages("a"))
    store.put(at_front("b"))
    store.put(at_front("c", "d"))
    assert ids(hand.claim(2)) == ["d", "c"]
    assert ids(hand.claim(2)) == ["b", "a"]


def test_it_may_be_put_together_with_others(store: Store, hand: Hand) -> None:
    store.put([message("z", "r")])
    assert store.put([*messages("a"), *at_front("b"), *messages("c"), *at_front("y", queue="r")]) == [True] * 4
    assert ids(hand.claim(queues=["q", "r"])) == ["b", "a", "c", "y", "z"]


def test_into_an_empty_queue(store: Store, hand: Hand) -> None:
    store.put(at_front("a"))
    assert "q" in store.queues()
    store.put(messages("b"))
    assert ids(hand.claim()) == ["a", "b"]


def test_an_id_that_is_there_stays_where_it_is(store: Store) -> None:
    store.put([*messages("a"), message("b", given=True)])
    assert store.put(at_front("b", given=True)) == [False]
    assert claimable(store) == ["a", "b"]
    assert store.put(at_front("c", "c", given=True)) == [True, False]
    assert store.put([message("c", given=True)]) == [False]
    assert claimable(store) == ["c", "a", "b"]


def test_all_or_nothing(store: Store) -> None:
    store.put(messages("a"))
    store.put([], Effects(acquire=(("lock", "somebody", 60.0),)))
    with pytest.raises(GuardHeld):
        store.put([*at_front("b"), *messages("c")], Effects(acquire=(("lock", "us", 60.0),)))
    assert claimable(store) == ["a"]


def test_a_step_may_put_there(store: Store, hand: Hand) -> None:
    store.put(messages("a", "b"))
    store.ack(hand.claim(1), Effects(put=tuple(at_front("c"))))
    assert ids(hand.claim()) == ["c", "b"]


def test_what_is_put_back_is_before_it_and_after_a_retry_it_is_one_of_many(store: Store, hand: Hand) -> None:
    store.put([*messages("a", "b"), *at_front("c")])
    [claim] = hand.claim(1)
    store.release([claim])
    assert claimable(store) == ["c", "a", "b"]
    [claim] = hand.claim(1)
    store.retry(claim, claim.payload, 0.0)
    store.put(at_front("d"))
    assert claimable(store)[0] == "d"
    assert sorted(claimable(store)) == ["a", "b", "c", "d"]


def test_a_lost_answer_gives_the_same_claims_in_the_same_order(store: Store, hand: Hand) -> None:
    store.put([*messages("a", "b"), *at_front("c")])
    first = store.claim(hand.info, 1, ["q"], 10)
    assert store.claim(hand.info, 1, ["q"], 10) == first
    assert ids(first.claims) == ["c", "a", "b"]


def test_what_is_not_due_yet_comes_due_as_any_other(store: Store, hand: Hand) -> None:
    later = store.ready(5.0) + 0.05
    store.put([message("a", run_at=later, at_front=True), message("past", run_at=1.0, at_front=True)])
    store.put(messages("b"))
    assert claimable(store)[:1] == ["past"]
    while store.now() < later or not store.promote(10):
        if len(claimable(store)) == 3:
            break
    assert sorted(claimable(store)) == ["a", "b", "past"]
    assert claimable(store)[0] == "past"


def test_it_can_fail_and_be_purged_as_any_other(store: Store, hand: Hand) -> None:
    store.put([*messages("a"), *at_front("b", "c")])
    [claim] = hand.claim(1)
    store.fail(claim, failure(claim))
    assert [found.id for found in store.failures.page()] == ["c"]
    assert store.purge("q") == 2
    assert claimable(store) == []


def test_the_payload_says_nothing_of_it() -> None:
    assert wire.message(Job("a", "t", "q", at_front=True)).payload == wire.message(Job("a", "t", "q")).payload
