"""Limits of queues are kept in the step that claims: at a time, and by when, over all workers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from spoolq.store.base import Store
from spoolq.store.quota import FULL, Quota
from tests.contract.backends import PATIENT
from tests.contract.hands import LONG, SHORT, Hand, failure, ids, message, messages
from tests.waiting import eventually


@pytest.fixture
def ten(store: Store) -> None:
    store.put([message(f"j{n}") for n in range(10)])
    store.put([message("other", "r")])


THREE = [Quota("q", 3)]


def test_so_many_are_claimed_at_a_time_by_all_workers(
    store: Store, hand: Hand, ten: None, open_store: Callable[[], Store]
) -> None:
    other = Hand(open_store(), "w2")
    assert ids(hand.claim(2, quotas=THREE)) == ["j0", "j1"]
    claimed = other.ask(10, ["q", "r"], quotas=THREE)
    assert ids(claimed.claims) == ["j2", "other"], "and of queues without a limit what there is"
    assert claimed.limited == (("q", FULL),)
    assert hand.ask(10, quotas=THREE)[0] == ()
    assert hand.ask(10, quotas=THREE).limited == (("q", FULL),)


def test_what_ends_makes_room_in_the_very_call_that_says_so(store: Store, hand: Hand, ten: None) -> None:
    first = hand.claim(10, quotas=THREE)
    assert ids(first) == ["j0", "j1", "j2"]
    assert ids(hand.claim(10, quotas=THREE, ack=first[:2])) == ["j3", "j4"]
    store.ack(first[2:])
    assert ids(hand.claim(10, quotas=THREE)) == ["j5"]


@pytest.mark.parametrize("verb", ["retry", "fail", "release"])
def test_every_settling_makes_room(store: Store, hand: Hand, ten: None, verb: str) -> None:
    [claim, *_] = hand.claim(10, quotas=THREE)
    if verb == "retry":
        store.retry(claim, claim.payload, store.ready(PATIENT) + 60)
    elif verb == "fail":
        store.fail(claim, failure(claim))
    else:
        store.release([claim])
    assert len(hand.claim(10, quotas=THREE)) == 1


def test_what_a_dead_worker_held_counts_until_somebody_has_settled_it(store: Store, hand: Hand, ten: None) -> None:
    dead = Hand(store, "dead", lease=SHORT)
    assert len(dead.claim(10, quotas=THREE)) == 3
    assert hand.claim(10, quotas=THREE) == ()
    taken = eventually(lambda: store.rescue(hand.info, 10), what="the end of its lease")
    assert hand.claim(10, quotas=THREE) == ()
    store.ack(taken)
    assert len(hand.claim(10, quotas=THREE)) == 3


def test_the_same_call_again_takes_no_more(store: Store, hand: Hand, ten: None) -> None:
    quota = [Quota("q", 0, 60.0)]
    first = hand.claim(10, quotas=quota)
    assert ids(first) == ["j0"]
    assert store.claim(hand.info, hand.call, ["q"], 10, quotas=quota).claims == first
    assert hand.claim(10, quotas=quota) == ()


def test_one_job_each_interval_over_all_workers(store: Store, hand: Hand, ten: None, open_store: Callable[[], Store]) -> None:
    quota, both = [Quota("q", 0, 0.2)], [hand, Hand(open_store(), "w2")]
    times: list[float] = []
    before = store.ready(PATIENT)

    def turn() -> bool:
        for one in both:
            claimed = one.ask(10, quotas=quota)
            assert len(claimed.claims) <= 1
            [(queue, wait)] = claimed.limited
            assert (queue, 0 <= wait <= 0.2) == ("q", True)
            times.extend([store.ready(PATIENT)] * len(claimed.claims))
        return len(times) == 6

    eventually(turn, what="six of them")
    assert times[-1] - before >= 5 * 0.2 - 0.001, "six jobs are five intervals"


def test_a_rate_that_was_not_used_is_not_saved_up(store: Store, hand: Hand, ten: None) -> None:
    quota = [Quota("q", 0, 0.5)]
    hand.claim(1, quotas=quota)
    since = store.ready(PATIENT)
    eventually(lambda: store.ready(PATIENT) > since + 1.1, what="two intervals")
    before = store.ready(PATIENT)
    assert len(hand.claim(10, quotas=quota)) == 1
    assert len(hand.claim(10, quotas=quota)) <= (store.ready(PATIENT) - before) / 0.5


def test_fast_ones_go_in_steps(store: Store, hand: Hand, ten: None) -> None:
    quota = [Quota("q", 0, 10.0, 35.0)]
    claimed = hand.ask(10, quotas=quota)
    assert ids(claimed.claims) == ["j0", "j1", "j2", "j3"]
    [(_, wait)] = claimed.limited
    assert 4.9 < wait <= 5.0


def test_no_job_uses_up_nothing(store: Store, hand: Hand) -> None:
    quota = [Quota("q", 0, 60.0)]
    for _ in range(3):
        claimed = hand.ask(10, quotas=quota)
        assert (claimed.claims, claimed.limited) == ((), ())
    store.put(messages("a", "b"))
    assert ids(hand.claim(10, quotas=quota)) == ["a"]


def test_both_limits_of_a_queue_hold(store: Store, hand: Hand, ten: None) -> None:
    quota = [Quota("q", 2, 0.001, 1.0)]
    assert len(hand.claim(10, quotas=quota)) == 2
    assert hand.ask(10, quotas=quota).limited == (("q", FULL),)


def test_a_call_that_only_acknowledges_is_bound_by_none(store: Store, hand: Hand, ten: None) -> None:
    quota = [Quota("q", 1, 60.0)]
    claims = hand.claim(10, quotas=quota)
    assert hand.claim(0, ack=claims, quotas=quota) == ()
    assert hand.holds() == 0


def test_others_are_not_held_up_by_a_limit(store: Store, ten: None) -> None:
    hand = Hand(store, "both", lease=LONG, queues=("q", "r"))
    quota = [Quota("q", 0, 60.0)]
    assert ids(hand.claim(10, quotas=quota)) == ["j0", "other"]
    store.put([message("more", "r")])
    assert ids(hand.claim(10, quotas=quota)) == ["more"]


def test_a_queue_that_is_empty_is_at_no_limit(store: Store, hand: Hand) -> None:
    quota = [Quota("q", 1, 3600.0)]
    store.put(messages("a"))
    claimed = hand.ask(10, quotas=quota)
    assert (ids(claimed.claims), claimed.limited) == (["a"], ())
    assert hand.ask(10, quotas=quota).limited == ()
    store.put(messages("b"))
    [(queue, _)] = hand.ask(10, quotas=quota).limited
    assert queue == "q"
