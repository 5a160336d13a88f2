"""How long an id is remembered: given ones and held ones for long, others only while the job is there."""

from __future__ import annotations

from spoolq.store.base import Store
from tests.contract.hands import Hand, failure, ids, message, messages
from tests.waiting import eventually


def run_all(store: Store, hand: Hand) -> list[str]:
    claims = hand.claim(100)
    store.ack(claims)
    return ids(claims)


def test_a_given_id_is_remembered_after_its_job_is_done(store: Store, hand: Hand) -> None:
    store.put([message("a", given=True)])
    run_all(store, hand)
    store.put(messages("other"))
    assert store.put([message("a", given=True)]) == [False]
    assert run_all(store, hand) == ["other"]


def test_a_held_id_is_remembered_after_its_job_is_done(store: Store, hand: Hand) -> None:
    """A drainer's put: the row may be sent once more, as long as nobody said that it's gone."""
    store.put(messages("a"), hold=True)
    run_all(store, hand)
    store.put(messages("other"))
    store.put(messages("another"))
    assert store.put(messages("a"), hold=True) == [False]
    assert run_all(store, hand) == ["other", "another"]


def test_being_answered_as_there_does_not_free_a_held_id(store: Store, hand: Hand) -> None:
    store.put(messages("a"), hold=True)
    run_all(store, hand)
    assert store.put(messages("a")) == [False]
    store.put(messages("other"))
    store.put(messages("another"))
    assert store.put(messages("a"), hold=True) == [False]


def test_a_forgotten_id_can_be_put_again_once_its_time_has_passed(store: Store, hand: Hand) -> None:
    store.put(messages("a"), hold=True)
    run_all(store, hand)
    store.forget([("a", store.ready(5.0) - 1.0)])
    store.put(messages("other"))  # the forgetting travels with a later call
    assert eventually(lambda: store.put(messages("a"), hold=True) == [True])
    assert sorted(run_all(store, hand)) == ["a", "other"]


def test_an_id_is_not_forgotten_before_its_time(store: Store, hand: Hand) -> None:
    store.put(messages("a"), hold=True)
    run_all(store, hand)
    store.forget([("a", store.ready(5.0) + 3600.0)])
    store.put(messages("other"))
    store.put(messages("another"))
    assert store.put(messages("a"), hold=True) == [False]


def test_forgetting_an_id_does_not_touch_its_job(store: Store, hand: Hand) -> None:
    store.put(messages("a"), hold=True)
    store.forget([("a", store.ready(5.0) - 1.0), ("never seen", 0.0)])
    store.put(messages("b"))
    assert run_all(store, hand) == ["a", "b"]


def test_a_job_of_a_given_id_that_failed_is_remembered(store: Store, hand: Hand) -> None:
    store.put([message("a", given=True)])
    [claim] = hand.claim()
    store.fail(claim, failure(claim))
    assert store.put([message("a", given=True)]) == [False]
    assert hand.claim() == ()
