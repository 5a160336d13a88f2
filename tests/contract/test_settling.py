"""`ack`, `retry`, `fail`, `release`: one end for each claim, fenced by its token."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from spoolq.errors import LeaseLost
from spoolq.job import Claim, Message
from spoolq.store.base import Store
from tests.contract.hands import Hand, claimable, failure, ids, message, messages
from tests.waiting import eventually

Settle = Callable[[Store, Claim], None]


AGAIN = message("a", attempt=1).payload
SETTLE: dict[str, Settle] = {
    "ack": lambda store, claim: store.ack([claim]),
    "retry": lambda store, claim: store.retry(claim, AGAIN, 0.0),
    "fail": lambda store, claim: store.fail(claim, failure(claim)),
    "release": lambda store, claim: store.release([claim]),
}


@pytest.fixture(params=SETTLE)
def settle(request: pytest.FixtureRequest) -> Settle:
    return SETTLE[request.param]


def test_a_settled_claim_is_no_longer_held(store: Store, hand: Hand, settle: Settle) -> None:
    store.put(messages("a"))
    [claim] = hand.claim()
    settle(store, claim)
    assert hand.holds() == 0
    assert store.reconcile(hand.info, hand.call + 1) == ()


def test_a_claim_is_settled_once(store: Store, hand: Hand, settle: Settle) -> None:
    store.put(messages("a", "b"))
    claim, other = hand.claim()
    settle(store, claim)
    for second in SETTLE.values():
        with pytest.raises(LeaseLost) as lost:
            second(store, claim)
        assert lost.value.tokens == (claim.token,)
    assert store.reconcile(hand.info, hand.call + 1) == (other,)


def test_another_token_settles_nothing(store: Store, hand: Hand, settle: Settle) -> None:
    store.put(messages("a"))
    [claim] = hand.claim()
    with pytest.raises(LeaseLost):
        settle(store, claim._replace(token=claim.token[::-1] + "0"))
    assert hand.holds() == 1
    assert store.failures.count() == 0


def test_what_is_acked_is_gone(store: Store, hand: Hand) -> None:
    store.put(messages("a", "b", "c"))
    store.ack(hand.claim(2))
    assert ids(hand.claim()) == ["c"]


def test_acking_nothing_is_fine(store: Store) -> None:
    store.ack([])
    store.release([])


def test_claims_of_several_queues_are_acked_together(store: Store, hand: Hand) -> None:
    store.put([message("a"), message("b", "r"), message("c", "s")])
    store.ack(hand.claim(10, ["q", "r", "s"]))
    assert hand.holds() == 0


@pytest.mark.parametrize("verb", ["ack", "release"])
def test_those_still_held_are_settled_and_the_others_named(store: Store, hand: Hand, verb: str) -> None:
    store.put(messages("a", "b", "c"))
    a, b, c = hand.claim()
    store.ack([b])
    with pytest.raises(LeaseLost) as lost:
        getattr(store, verb)([a, b, c])
    assert lost.value.tokens == (b.token,)
    assert hand.holds() == 0
    assert claimable(store) == ([] if verb == "ack" else ["a", "c"])


@pytest.mark.parametrize("verb", ["ack", "release"])
def test_claims_of_two_workers_and_queues_in_turn_are_settled_together(store: Store, hand: Hand, verb: str) -> None:
    other = Hand(store, "w2")
    store.put([message("a"), message("b"), message("c", "r"), message("d", "r")])
    several = (*hand.claim(1, ["q"]), *other.claim(1, ["r"]), *hand.claim(1, ["r"]), *other.claim(1, ["q"]))
    assert ids(several) == ["a", "c", "d", "b"]
    getattr(store, verb)(several)
    assert hand.holds() == other.holds() == 0
    assert (claimable(store), claimable(store, "r")) == (([], []) if verb == "ack" else (["a", "b"], ["c", "d"]))


def test_what_is_released_is_at_the_front_again_in_its_order(store: Store, hand: Hand) -> None:
    store.put([message("a"), message("b"), message("c"), message("r1", "r"), message("r2", "r")])
    claims = hand.claim(2, ["q"]) + hand.claim(1, ["r"])
    store.release(claims)
    assert ids(hand.claim(10, ["q", "r"])) == ["a", "b", "c", "r1", "r2"]


def test_what_is_released_is_as_it_was(store: Store, hand: Hand) -> None:
    sent = message("a", attempt=2)
    store.put([sent])
    store.release(hand.claim())
    [claim] = hand.claim()
    assert claim.payload == sent.payload


def test_what_is_retried_comes_back_with_its_new_payload(store: Store, hand: Hand) -> None:
    store.put(messages("a"))
    [claim] = hand.claim()
    store.retry(claim, AGAIN, 0.0)
    store.promote(10)
    [back] = hand.claim()
    assert (back.queue, back.payload) == ("q", AGAIN)
    assert back.token != claim.token


def test_what_is_retried_later_is_not_claimed_before(store: Store, hand: Hand) -> None:
    store.put(messages("a"))
    [claim] = hand.claim()
    store.retry(claim, AGAIN, store.ready(5.0) + 3600.0)
    store.promote(10)
    assert hand.claim() == ()
    assert [(d.ready, d.scheduled, d.claimed) for d in store.depths()] == [(0, 1, 0)]


def test_what_is_retried_soon_is_claimed_then(store: Store, hand: Hand) -> None:
    store.put(messages("a"))
    [claim] = hand.claim()
    store.retry(claim, AGAIN, store.ready(5.0) + 0.1)

    def due() -> tuple[Claim, ...]:
        store.promote(10)
        return hand.claim()

    assert ids(eventually(due)) == ["a"]


def test_a_job_can_be_retried_many_times(store: Store, hand: Hand) -> None:
    store.put(messages("a"))
    for attempt in range(1, 5):
        [claim] = hand.claim()
        store.retry(claim, message("a", attempt=attempt).payload, 0.0)
        store.promote(10)
    assert [c.payload for c in hand.claim()] == [message("a", attempt=4).payload]


def test_what_failed_is_in_the_failure_log_and_nowhere_else(store: Store, hand: Hand) -> None:
    store.put(messages("a"))
    [claim] = hand.claim()
    store.fail(claim, failure(claim))
    store.promote(10)
    assert hand.claim() == ()
    [kept] = store.failures.page()
    told = failure(claim)
    assert (kept.id, kept.queue, kept.worker, kept.payload) == ("a", "q", told.worker, claim.payload)
    assert (kept.exception, kept.error, kept.backtrace, kept.failed_at) == (
        told.exception,
        told.error,
        told.backtrace,
        told.failed_at,
    )


def test_a_payload_that_cannot_be_read_fails_like_any_other(store: Store, hand: Hand) -> None:
    odd = [b"\xff\x00not json", b"null", b'{"class":1}']
    store.put([Message(f"id{n}", "q", payload) for n, payload in enumerate(odd)])
    for claim in hand.claim():
        store.fail(claim, failure(claim))
    assert [kept.payload for kept in store.failures.page()] == odd[::-1]
