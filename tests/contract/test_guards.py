"""Guards as unique jobs and locks use them: with a put, looked at only, and under the names of node-resque's own locks."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from spoolq.errors import GuardHeld
from spoolq.store.base import Store
from spoolq.store.effects import Effects
from tests.contract.hands import LONG, Hand, claimable, message, messages
from tests.waiting import eventually

NAMES = ["unique:t:1", 'lock:t:q:["é",1]', "workerslock:t:q:[]"]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def holder(store: Store, name: str) -> str | None:
    try:
        store.put([], Effects(acquire=((name, "somebody else", 0.0),)))
    except GuardHeld as refused:
        return refused.holder
    return None


def test_a_job_that_was_put_before_acquires_nothing(store: Store, name: str) -> None:
    """A put that is sent again, when the job may have run and let go meanwhile, must not lock out those that come after it."""
    a = message("a", given=True)
    store.put([a], Effects(acquire=((name, "a", LONG),)))
    assert holder(store, name) == "a"
    store.put([], Effects(release=((name, "a"),)))
    assert store.put([a], Effects(acquire=((name, "a", LONG),))) == [False]
    assert holder(store, name) is None


def test_a_job_that_was_put_before_is_refused_by_nobody(store: Store, name: str) -> None:
    a = message("a", given=True)
    store.put([a], Effects(acquire=((name, "a", LONG),)))
    store.put([], Effects(release=((name, "a"),)))
    store.put(messages("b"), Effects(acquire=((name, "b", LONG),)))
    assert store.put([a], Effects(acquire=((name, "a", LONG),))) == [False]
    assert holder(store, name) == "b"


def test_a_guard_without_time_is_looked_at_only(store: Store, name: str) -> None:
    assert store.put(messages("a"), Effects(acquire=((name, "a", 0.0),))) == [True]
    assert holder(store, name) is None
    store.put([], Effects(acquire=((name, "b", LONG),)))
    with pytest.raises(GuardHeld) as refused:
        store.put(messages("c"), Effects(acquire=((name, "c", 0.0),)))
    assert (refused.value.key, refused.value.holder) == (name, "b")
    assert claimable(store) == ["a"]


def test_a_guard_lasts_its_time_whatever_its_name(store: Store, name: str) -> None:
    store.put([], Effects(acquire=((name, "a", 0.2), ("witness", "a", LONG))))
    eventually(lambda: holder(store, name) is None)
    assert holder(store, "witness") == "a"


def test_it_is_let_go_by_its_holder_alone(store: Store, hand: Hand, name: str) -> None:
    store.put([message("a")], Effects(acquire=((name, "a", LONG),)))
    [claim] = hand.claim(1)
    store.put([], Effects(release=((name, "b"),)))
    assert holder(store, name) == "a"
    store.ack([claim], Effects(release=((name, "a"),)))
    assert holder(store, name) is None


def test_of_many_that_put_an_equal_job_one_does(store: Store, open_store: Any, name: str) -> None:
    stores = [store, open_store()]
    for n in range(20):
        with contextlib.suppress(GuardHeld):
            stores[n % 2].put(messages(f"j{n}"), Effects(acquire=((name, f"j{n}", LONG),)))
    assert claimable(store) == ["j0"]


def test_guards_are_listed_and_can_be_taken_away(store: Store) -> None:
    store.put([], Effects(acquire=tuple((name, f"job {n}", LONG) for n, name in enumerate(NAMES))))
    found = {guard.key: guard for guard in store.guards()}
    assert {key: guard.holder for key, guard in found.items()} == {name: f"job {n}" for n, name in enumerate(NAMES)}
    assert all(0 < guard.left <= LONG for guard in found.values())
    store.put([], Effects(release=tuple((guard.key, guard.holder) for guard in found.values())))
    assert store.guards() == []
