"""`put`: all or nothing, once for each id, in order, byte for byte."""

from __future__ import annotations

import pytest

from spoolq.errors import StoreUnavailable
from spoolq.job import Message
from spoolq.store.base import Store
from spoolq.store.effects import Effects
from tests.contract.hands import Hand, claimable, ids, message, messages


def test_what_was_put_is_claimed_in_the_order_of_putting(store: Store, hand: Hand) -> None:
    assert store.put(messages("a", "b")) == [True, True]
    assert store.put(messages("c")) == [True]
    assert ids(hand.claim()) == ["a", "b", "c"]


def test_an_id_that_waits_is_not_put_twice(store: Store, hand: Hand) -> None:
    first = store.put([message("a", given=True)])
    again = store.put([message("a", given=True), message("b")])
    assert (first, again) == ([True], [False, True])
    assert ids(hand.claim()) == ["a", "b"]


def test_an_id_that_is_being_worked_on_is_not_put_twice(store: Store, hand: Hand) -> None:
    store.put([message("a", given=True)])
    assert ids(hand.claim()) == ["a"]
    assert store.put([message("a", given=True)]) == [False]
    assert claimable(store) == []


def test_an_id_twice_in_one_call_is_put_once(store: Store, hand: Hand) -> None:
    assert store.put(messages("a", "a", "b")) == [True, False, True]
    assert ids(hand.claim()) == ["a", "b"]


def test_an_id_counts_across_queues(store: Store) -> None:
    """An id names a job, wherever it is."""
    assert store.put([message("a", "q", given=True)]) == [True]
    assert store.put([message("a", "r", given=True)]) == [False]
    assert (claimable(store, "q"), claimable(store, "r")) == (["a"], [])


def test_payloads_are_opaque_bytes(store: Store, hand: Hand) -> None:
    odd = [b"", b"\x00\xff\xfe\r\n*1\r\n", b'{"args":[]}', "é\u2028".encode(), bytes(range(256)) * 40]
    store.put([Message(f"id{n}", "q", payload) for n, payload in enumerate(odd)])
    assert [claim.payload for claim in hand.claim()] == odd


def test_queue_names_are_kept_as_they_are(store: Store, hand: Hand) -> None:
    names = ["q", "mail-low", "spaced out", "größe", "a:b", "*", "quo'te\""]
    store.put([message(f"id{n}", name) for n, name in enumerate(names)])
    assert [claim.queue for claim in hand.claim(queues=names)] == names


def test_a_large_batch_goes_in_one_call(store: Store, hand: Hand) -> None:
    batch = messages(*(f"id{n:03}" for n in range(500)))
    assert store.put(batch) == [True] * 500
    assert ids(hand.claim(500)) == [m.id for m in batch]


def test_a_large_payload_comes_back_whole(store: Store, hand: Hand) -> None:
    payload = bytes(range(256)) * 4096
    store.put([Message("a", "q", payload)])
    assert hand.claim()[0].payload == payload


def test_putting_nothing_applies_the_effects(store: Store) -> None:
    assert store.put([]) == []
    assert store.put([], Effects(counters=(("seen", 2),))) == []
    assert store.counters()["seen"] == 2


def test_a_put_whose_time_has_passed_is_not_applied(store: Store) -> None:
    store.put(messages("before"))
    with pytest.raises(StoreUnavailable) as late:
        store.put(messages("a"), Effects(counters=(("seen", 1),)), not_after=store.now() - 1.0)
    assert not late.value.maybe_applied
    assert claimable(store) == ["before"]
    assert "seen" not in store.counters()


def test_a_put_whose_time_is_to_come_is_applied(store: Store) -> None:
    assert store.put(messages("a"), not_after=store.ready(5.0) + 30.0, timeout=5.0) == [True]


def test_the_store_is_ready_and_its_clock_runs(store: Store) -> None:
    ready = store.ready(5.0)
    first, second = store.now(), store.now()
    assert first <= second
    assert abs(first - ready) < 2.0
    assert abs(store.ready(5.0) - second) < 2.0  # measured anew: a step, either way


def test_what_was_put_is_there_for_another_that_opens_the_store(backend: object, store: Store) -> None:
    store.put(messages("a"))
    store.close()
    other = backend.open()  # type: ignore[attr-defined]
    try:
        assert claimable(other) == ["a"]
    finally:
        other.close()


def test_closing_twice_is_fine(store: Store) -> None:
    store.put(messages("a"))
    store.close()
    store.close()
