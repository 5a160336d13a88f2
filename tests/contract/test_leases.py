"""Leases and rescue: a claim of a worker that fell silent is taken over, once, under a new token.

Silence is real: short leases and the store's own clock. Where a lease must be seen not to run out, a witness with a short one,
claimed later, runs out first.
"""

from __future__ import annotations

import pytest

from spoolq.errors import LeaseLost
from spoolq.job import Claim, Message
from spoolq.store.base import Store
from tests.contract.hands import SHORT, Hand, claimable, failure, id_of, ids, message, messages, worker
from tests.waiting import eventually


def rescued(store: Store, rescuer: Hand, limit: int = 10) -> list[Claim]:
    return eventually(lambda: store.rescue(rescuer.info, limit), what="a lease that runs out")


@pytest.fixture
def rescuer(store: Store) -> Hand:
    return Hand(store, "rescuer")


def test_a_silent_workers_claim_is_taken_over(store: Store, rescuer: Hand) -> None:
    sent = message("a")
    store.put([sent])
    [old] = Hand(store, "silent", lease=SHORT).claim()
    [new] = rescued(store, rescuer)
    assert (new.worker, new.queue, new.payload) == ("rescuer", "q", sent.payload)
    assert new.token != old.token
    assert rescuer.holds() == 1
    assert store.reconcile(rescuer.info, 1) == (new,)


def test_a_taken_over_claim_is_lost_to_its_first_holder(store: Store, rescuer: Hand) -> None:
    store.put(messages("a"))
    [old] = Hand(store, "silent", lease=SHORT).claim()
    [new] = rescued(store, rescuer)
    with pytest.raises(LeaseLost) as lost:
        store.ack([old])
    assert lost.value.tokens == (old.token,)
    with pytest.raises(LeaseLost):
        store.fail(old, failure(old))
    with pytest.raises(LeaseLost):
        store.release([old])
    store.ack([new])
    assert rescuer.holds() == 0
    assert store.failures.count() == 0


def test_a_claim_is_taken_over_once(store: Store, rescuer: Hand) -> None:
    store.put(messages("a", "b", "c"))
    Hand(store, "silent", lease=SHORT).claim()
    first = rescued(store, rescuer)
    second = store.rescue(worker("rescuer-2"), 10)
    assert sorted(ids(first + second)) == ["a", "b", "c"]
    assert store.rescue(worker("rescuer-3"), 10) == []


def test_a_limit_of_rescue_is_kept(store: Store, rescuer: Hand) -> None:
    store.put(messages("a", "b", "c"))
    Hand(store, "silent", lease=SHORT).claim()
    took = rescued(store, rescuer, 2)
    assert len(took) <= 2
    rest = eventually(lambda: store.rescue(rescuer.info, 2)) if len(took) < 3 else []
    assert len(took) + len(rest) <= 3
    assert rescuer.holds() == len(took) + len(rest)


def test_a_late_ack_that_nobody_took_over_succeeds(store: Store, rescuer: Hand) -> None:
    store.put(messages("a"))
    late = Hand(store, "late", lease=SHORT)
    [claim] = late.claim()
    eventually(lambda: all(view.lease_left < 0 for view in store.workers()), what="a lease seen to have run out")
    store.ack([claim])
    assert store.rescue(rescuer.info, 10) == []
    assert claimable(store) == []


def test_a_claim_within_its_lease_is_left_alone(store: Store, hand: Hand, rescuer: Hand) -> None:
    store.put(messages("a", "witness"))
    hand.claim(1)
    Hand(store, "silent", lease=SHORT).claim(1)
    assert ids(rescued(store, rescuer)) == ["witness"]
    assert store.rescue(rescuer.info, 10) == []
    assert hand.holds() == 1


def test_one_heartbeat_prolongs_every_lease_of_the_worker(store: Store, rescuer: Hand) -> None:
    store.put(messages("a", "b", "c", "witness"))
    short = Hand(store, "w1", lease=0.3)
    held = short.claim(1) + short.claim(2)
    assert store.heartbeat(worker("w1", lease=60.0)) == 3
    Hand(store, "silent", lease=0.35).claim(1)
    assert ids(rescued(store, rescuer)) == ["witness"]
    store.ack(held)


def test_who_keeps_anothers_lease_prolongs_it_and_makes_a_forgotten_one_known(store: Store, rescuer: Hand) -> None:
    store.put(messages("a"))
    Hand(store, "w1", lease=SHORT).claim()
    assert store.heartbeat(worker("w1", lease=60.0), None) == 1
    [view] = store.workers()
    assert view.lease_left > 30.0
    assert store.rescue(rescuer.info, 10) == []
    assert store.heartbeat(worker("w2"), None) == 0
    assert {"w1", "w2"} <= {view.info.key for view in store.workers()}


def test_a_heartbeat_says_how_many_claims_are_held(store: Store, hand: Hand) -> None:
    store.put(messages("a", "b"))
    assert hand.holds() == 0
    store.ack(hand.claim(2)[:1])
    assert hand.holds() == 1


def test_a_heartbeat_tells_a_worker_whose_claims_were_taken_over(store: Store, rescuer: Hand) -> None:
    store.put(messages("a", "b"))
    silent = Hand(store, "silent", lease=SHORT)
    silent.claim()
    took = rescued(store, rescuer)
    while len(took) < 2:
        took += rescued(store, rescuer)
    assert silent.holds() == 0


def test_a_heartbeat_makes_a_forgotten_worker_known_again(store: Store, hand: Hand) -> None:
    store.register(hand.info)
    store.unregister(hand.info)
    assert store.workers() == []
    store.heartbeat(hand.info)
    assert [view.info.key for view in store.workers()] == ["w1"]


def test_claims_of_a_worker_that_ended_are_taken_over_at_once(store: Store, hand: Hand, rescuer: Hand) -> None:
    store.put(messages("a", "b"))
    hand.claim()
    store.unregister(hand.info)
    took = store.rescue(rescuer.info, 10)
    assert sorted(ids(took)) == ["a", "b"]


def test_a_dead_worker_without_claims_is_forgotten(store: Store, rescuer: Hand) -> None:
    store.put(messages("a"))
    Hand(store, "silent", lease=SHORT).claim()
    store.register(worker("idle", lease=SHORT))

    def only_the_living() -> bool:
        store.rescue(rescuer.info, 10)
        return {view.info.key for view in store.workers()} <= {"rescuer"}

    eventually(only_the_living)
    assert rescuer.holds() == 1


def test_a_rescued_claim_is_settled_like_any_other(store: Store, rescuer: Hand) -> None:
    store.put(messages("acked", "retried", "failed", "released"))
    silent = Hand(store, "silent", lease=SHORT)
    silent.claim()
    took: dict[str, Claim] = {}
    while len(took) < 4:
        took |= {id_of(claim): claim for claim in rescued(store, rescuer)}
    store.ack([took["acked"]])
    store.retry(took["retried"], message("retried", attempt=1).payload, 0.0)
    store.fail(took["failed"], failure(took["failed"]))
    store.release([took["released"]])
    store.promote(10)
    assert rescuer.holds() == 0
    assert sorted(claimable(store)) == ["released", "retried"]
    assert [kept.id for kept in store.failures.page()] == ["failed"]


def test_a_rescuer_that_dies_is_rescued(store: Store, rescuer: Hand) -> None:
    store.put(messages("a"))
    Hand(store, "silent", lease=SHORT).claim()
    mortal = Hand(store, "mortal", lease=SHORT)
    assert ids(rescued(store, mortal)) == ["a"]
    assert ids(rescued(store, rescuer)) == ["a"]


def test_claims_that_cannot_be_read_are_rescued_too(store: Store, rescuer: Hand) -> None:
    store.put([Message("a", "q", b"\xff not a job")])
    Hand(store, "silent", lease=SHORT).claim()
    assert [claim.payload for claim in rescued(store, rescuer)] == [b"\xff not a job"]


def test_a_call_that_was_answered_is_not_answered_with_claims_that_were_taken_over(store: Store, rescuer: Hand) -> None:
    """The same number again gives the same claims; those somebody took over meanwhile can't be settled under it."""
    store.put(messages("a"))
    silent = Hand(store, "silent", lease=SHORT)
    [old] = silent.claim()
    rescued(store, rescuer)
    again = store.claim(silent.info, silent.call, ["q"], 10)
    for claim in again.claims:
        assert claim == old
        with pytest.raises(LeaseLost):
            store.ack([claim])
    assert rescuer.holds() == 1
