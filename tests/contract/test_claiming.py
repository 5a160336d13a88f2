"""`claim`: each due job to one worker, queues in their order, oldest first; call numbers make a lost answer harmless."""

from __future__ import annotations

import pytest

from spoolq.errors import StaleCall
from spoolq.job import Message
from spoolq.store.base import Store
from spoolq.store.effects import Effects
from tests.contract.hands import Hand, claimable, ids, message, messages


def test_a_claim_says_whose_it_is_and_what(store: Store, hand: Hand) -> None:
    sent = message("a")
    store.put([sent])
    [claim] = hand.claim()
    assert (claim.worker, claim.queue, claim.payload) == ("w1", "q", sent.payload)
    assert claim.token


def test_each_claim_has_its_own_token(store: Store, hand: Hand) -> None:
    store.put(messages(*(f"id{n}" for n in range(50))))
    tokens = [claim.token for claim in hand.claim(25) + hand.claim(25)]
    assert len(set(tokens)) == 50


def test_a_claimed_job_is_nobody_elses(store: Store, hand: Hand) -> None:
    store.put(messages("a", "b"))
    assert ids(hand.claim(1)) == ["a"]
    assert ids(Hand(store, "w2").claim()) == ["b"]
    assert Hand(store, "w3").claim() == ()


def test_a_limit_is_kept(store: Store, hand: Hand) -> None:
    store.put(messages("a", "b", "c"))
    assert ids(hand.claim(2)) == ["a", "b"]
    assert ids(hand.claim(2)) == ["c"]


def test_queues_are_taken_in_the_order_given_and_each_oldest_first(store: Store, hand: Hand) -> None:
    store.put([message("l1", "low"), message("h1", "high"), message("l2", "low"), message("h2", "high")])
    assert ids(hand.claim(3, ["high", "low"])) == ["h1", "h2", "l1"]
    assert ids(hand.claim(3, ["high", "low"])) == ["l2"]


def test_only_the_queues_named_are_taken(store: Store, hand: Hand) -> None:
    store.put([message("a", "mail"), message("b", "mailbox"), message("c", "q")])
    assert ids(hand.claim(10, ["mail", "absent"])) == ["a"]
    assert hand.claim(10, []) == ()


def test_claiming_from_an_empty_store_takes_nothing(hand: Hand) -> None:
    assert hand.claim() == ()
    assert hand.holds() == 0


def test_claiming_makes_an_unknown_worker_known(store: Store, hand: Hand) -> None:
    hand.claim()
    assert [view.info.key for view in store.workers()] == ["w1"]


def test_finished_jobs_travel_with_the_next_claim(store: Store, hand: Hand) -> None:
    store.put(messages("a", "b", "c"))
    done = hand.claim(2)
    assert ids(hand.claim(2, ack=done)) == ["c"]
    assert hand.holds() == 1


def test_a_claim_of_none_settles_what_it_brings(store: Store, hand: Hand) -> None:
    store.put(messages("a", "b"))
    done = hand.claim(1)
    assert hand.claim(0, ack=done) == ()
    assert hand.holds() == 0
    assert claimable(store) == ["b"]


def test_what_was_no_longer_held_is_told_and_the_rest_goes_on(store: Store, hand: Hand) -> None:
    store.put(messages("a", "b", "c"))
    first, second = hand.claim(2)
    store.ack([first])
    hand.call += 1
    claimed = store.claim(hand.info, hand.call, ["q"], 10, ack=[first, second])
    assert claimed.lost == (first.token,)
    assert ids(claimed.claims) == ["c"]
    assert hand.holds() == 1


def test_the_same_call_again_gets_the_same_answer_and_changes_nothing(store: Store, hand: Hand) -> None:
    """The answer was lost: the worker asks once more."""
    store.put(messages("a", "b", "c", "d"))
    [done] = hand.claim(1)
    effects = Effects(counters=(("done", 1),))
    first = store.claim(hand.info, 2, ["q"], 2, ack=[done], effects=effects)
    again = store.claim(hand.info, 2, ["q"], 2, ack=[done], effects=effects)
    assert again == first
    assert ids(first.claims) == ["b", "c"]
    assert first.lost == ()
    assert hand.holds() == 2
    assert store.counters()["done"] == 1
    assert claimable(store) == ["d"]


def test_the_same_call_again_gets_what_is_still_held_of_it(store: Store, hand: Hand) -> None:
    store.put(messages("a", "b", "c", "d"))
    a, b, c, d = hand.claim()
    store.ack([b])
    store.release([d])
    assert store.claim(hand.info, hand.call, ["q"], 10).claims == (a, c)


def test_the_same_call_again_is_told_the_same_losses(store: Store, hand: Hand) -> None:
    store.put(messages("a"))
    [done] = hand.claim(1)
    store.ack([done])
    first = store.claim(hand.info, 2, ["q"], 2, ack=[done])
    again = store.claim(hand.info, 2, ["q"], 2, ack=[done])
    assert first.lost == again.lost == (done.token,)


def test_the_same_call_again_takes_nothing_that_came_since(store: Store, hand: Hand) -> None:
    assert store.claim(hand.info, 1, ["q"], 5).claims == ()
    store.put(messages("a"))
    assert store.claim(hand.info, 1, ["q"], 5).claims == ()
    assert ids(store.claim(hand.info, 2, ["q"], 5).claims) == ["a"]


def test_an_earlier_call_that_arrives_late_is_refused(store: Store, hand: Hand) -> None:
    store.put(messages("a", "b"))
    store.claim(hand.info, 7, ["q"], 1)
    with pytest.raises(StaleCall):
        store.claim(hand.info, 6, ["q"], 1, effects=Effects(counters=(("seen", 1),)))
    assert claimable(store) == ["b"]
    assert "seen" not in store.counters()


def test_call_numbers_are_each_workers_own(store: Store, hand: Hand) -> None:
    store.put(messages("a", "b"))
    store.claim(hand.info, 7, ["q"], 1)
    assert ids(Hand(store, "w2").claim()) == ["b"]


def test_reconciling_lists_what_is_held(store: Store, hand: Hand) -> None:
    store.put([message("a"), message("b", "r"), message("c")])
    held = hand.claim(3, ["q", "r"])
    Hand(store, "w2").claim(1)
    listed = store.reconcile(hand.info, hand.call + 1)
    assert sorted(listed) == sorted(held)


def test_reconciling_lists_what_is_known_too(store: Store, hand: Hand) -> None:
    store.put([message("a"), message("b", "r"), message("c")])
    first, second, third = hand.claim(3, ["q", "r"])
    listed = store.reconcile(hand.info, hand.call + 1, {first.token, third.token, "none of ours"})
    assert {claim.token for claim in listed} == {first.token, second.token, third.token}
    assert second in listed


def test_large_jobs_may_come_a_few_at_a_time_and_all_come_in_order(store: Store, hand: Hand) -> None:
    large = [Message(f"{n}", "q", b"%d" % n + b"." * 400_000) for n in range(6)]
    for one in large:
        store.put([one])
    got, more = list[bytes](), True
    while more:
        claimed = store.claim(hand.info, hand.call + 1, ["q"], 100)
        hand.call += 1
        more = claimed.more
        assert claimed.claims
        got += [claim.payload for claim in claimed.claims]
    assert got == [one.payload for one in large]


def test_reconciling_lists_nothing_where_nothing_is_held(store: Store, hand: Hand) -> None:
    assert store.reconcile(hand.info, 1) == ()


def test_after_reconciling_an_earlier_call_is_refused(store: Store, hand: Hand) -> None:
    """Its request was on the way, and is overtaken."""
    store.put(messages("a"))
    store.reconcile(hand.info, 3)
    with pytest.raises(StaleCall):
        store.claim(hand.info, 2, ["q"], 1)
    assert ids(store.claim(hand.info, 4, ["q"], 1).claims) == ["a"]


def test_an_earlier_reconciling_is_refused(store: Store, hand: Hand) -> None:
    store.claim(hand.info, 5, ["q"], 1)
    with pytest.raises(StaleCall):
        store.reconcile(hand.info, 4)
