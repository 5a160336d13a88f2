"""What became of what a store answered: its life, what it remembers, and whether it has persisted it."""

from __future__ import annotations

import time

import pytest

from spoolq.store.base import Life, Store
from tests.contract.hands import message, messages


def test_a_store_that_goes_on_is_in_the_same_life(store: Store) -> None:
    before = store.life(5.0)
    store.put(messages("a"))
    after = store.life(5.0)
    assert after.continues(before)
    assert after.continues(after)


@pytest.mark.parametrize(
    ("now", "continues"),
    [
        (Life("r", "l", 7), True),
        (Life("r", "l", 8), True),
        (Life("r", "l", 6), False),
        (Life("r2", "l", 8), False),
        (Life("r", "l2", 8), False),
        (Life(), False),
    ],
)
def test_another_run_or_line_or_less_progress_is_another_life(now: Life, continues: bool) -> None:
    assert now.continues(Life("r", "l", 7)) is continues


def test_what_is_held_or_given_is_remembered(store: Store) -> None:
    store.put(messages("held"), hold=True)
    store.put([message("given", given=True)])
    assert store.remembers(["held", "never put", "given"]) == [True, False, True]
    assert store.remembers([]) == []


def test_thousands_are_asked_for_in_order(store: Store) -> None:
    for start in range(0, 1500, 500):
        store.put(messages(*(f"j{n}" for n in range(start, start + 500))), hold=True)
    assert store.remembers([f"j{n}" for n in range(1600)]) == [True] * 1500 + [False] * 100


def test_whether_it_is_persisted_is_answered_in_time_or_cannot_be_told(store: Store) -> None:
    store.put(messages("a"), hold=True)
    began = time.monotonic()
    assert store.persisted(replica=False, timeout=20.0) in (True, None)  # no server here writes a file
    assert store.persisted(replica=True, timeout=2.0) in (False, None)  # nor has a replica
    assert time.monotonic() - began < 60
