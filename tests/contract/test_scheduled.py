"""Jobs for later, and `promote`."""

from __future__ import annotations

from spoolq.store.base import Store
from tests.contract.hands import Hand, claimable, ids, message, messages
from tests.waiting import eventually


def test_a_job_for_later_is_not_claimed_before(store: Store, hand: Hand) -> None:
    store.put([message("later", run_at=store.ready(5.0) + 3600.0), message("now")])
    assert store.promote(10) == 0
    assert ids(hand.claim()) == ["now"]
    assert hand.claim() == ()


def test_a_job_whose_time_has_passed_is_due_at_once(store: Store, hand: Hand) -> None:
    store.put([message("a", run_at=store.ready(5.0) - 5.0)])
    assert ids(hand.claim()) == ["a"]


def test_a_job_is_claimed_when_it_has_come_due(store: Store, hand: Hand) -> None:
    store.put([message("soon", run_at=store.ready(5.0) + 0.1), message("later", run_at=store.ready(5.0) + 3600.0)])

    def due() -> list[str]:
        store.promote(10)
        return ids(hand.claim())

    assert eventually(due) == ["soon"]


def test_a_limit_of_promote_is_kept(store: Store, hand: Hand) -> None:
    at = store.ready(5.0) + 0.1
    store.put([message(f"id{n}", run_at=at) for n in range(5)])
    total = 0
    while total < 5:
        promoted = eventually(lambda: store.promote(2))
        assert promoted <= 2
        total += promoted
    assert store.promote(2) == 0
    assert sorted(ids(hand.claim())) == [f"id{n}" for n in range(5)]


def test_what_has_come_due_is_seen_by_the_look_before_a_promote(store: Store, hand: Hand) -> None:
    assert store.due(), "the first time in any case"
    store.promote(10)
    store.put([message("soon", run_at=store.ready(5.0) + 0.1), message("later", run_at=store.ready(5.0) + 3600.0)])
    assert eventually(lambda: store.due() and store.promote(10)) == 1
    assert ids(hand.claim()) == ["soon"]


def test_an_id_that_waits_for_its_time_is_not_put_twice(store: Store) -> None:
    at = store.ready(5.0) + 3600.0
    assert store.put([message("a", run_at=at, given=True)]) == [True]
    assert store.put([message("a", run_at=at, given=True)]) == [False]
    assert store.put([message("a", given=True)]) == [False]
    assert claimable(store) == []
    assert [(depth.queue, depth.ready, depth.scheduled) for depth in store.depths()] == [("q", 0, 1)]


def test_jobs_alike_in_all_but_the_id_are_all_kept(store: Store, hand: Hand) -> None:
    at = store.ready(5.0) + 0.1
    store.put([message("a", run_at=at)._replace(payload=b"same"), message("b", run_at=at)._replace(payload=b"same")])
    taken: list[bytes] = []

    def both() -> bool:
        store.promote(10)
        taken.extend(claim.payload for claim in hand.claim())
        return len(taken) >= 2

    eventually(both)
    assert taken == [b"same", b"same"]


def test_a_scheduled_job_goes_to_its_own_queue(store: Store) -> None:
    at = store.ready(5.0) + 0.05
    store.put([message("a", "one", run_at=at), message("b", "two", run_at=at)])

    def both() -> tuple[list[str], list[str]] | None:
        store.promote(10)
        found = (claimable(store, "one"), claimable(store, "two"))
        return found if all(found) else None

    assert eventually(both) == (["a"], ["b"])


def test_promoting_nothing_is_fine(store: Store) -> None:
    store.put(messages("a"))
    assert store.promote(10) == 0
    assert claimable(store) == ["a"]
