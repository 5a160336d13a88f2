"""Numbers that processes add up in a store: what metrics are made of."""

from __future__ import annotations

from threading import Thread

from spoolq.store.base import MOST_SERIES, Store
from spoolq.store.effects import Effects
from tests.contract.hands import message


def test_numbers_add_up_under_their_names(store: Store) -> None:
    store.add_series({"a\tmail": 2, "b": 3})
    store.add_series({"a\tmail": 40, "c:\u00fc": 1})
    assert store.series() == {"a\tmail": 42, "b": 3, "c:\u00fc": 1}


def test_nothing_to_add_adds_nothing(store: Store) -> None:
    store.add_series({})
    assert store.series() == {}


def test_many_names_at_once(store: Store) -> None:
    store.add_series({f"n{n}": n for n in range(1, 1001)}, timeout=5.0)
    assert store.series(timeout=5.0) == {f"n{n}": n for n in range(1, 1001)}


def test_they_are_no_counters_and_counters_are_none_of_them(store: Store) -> None:
    store.add_series({"processed": 5})
    store.put([message("1")], Effects(counters=(("processed", 1),)))
    assert store.counters() == {"processed": 1}
    assert store.series() == {"processed": 5}


def test_one_at_its_end_is_left_as_it_is_and_the_others_are_added(store: Store) -> None:
    most = 2**63 - 1
    store.add_series({"full": most, "other": 1})
    store.add_series({"full": 5, "other": 1})
    assert store.series() == {"full": most, "other": 2}


def test_there_is_no_end_of_adding_but_of_names(store: Store) -> None:
    store.add_series({f"n{n}": 1 for n in range(MOST_SERIES)}, timeout=20.0)
    store.add_series({"one too many": 1, "n7": 1})
    assert len(found := store.series()) == MOST_SERIES
    assert (found["n7"], "one too many" in found) == (2, False)


def test_threads_that_add_at_once_lose_nothing(store: Store) -> None:
    threads = [Thread(target=lambda: [store.add_series({"n": 1}) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.series() == {"n": 80}
