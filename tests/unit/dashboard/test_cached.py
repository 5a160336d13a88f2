"""What was asked a moment ago is not asked again."""

from __future__ import annotations

import threading

import pytest

from spoolq.dashboard.cached import Cached
from tests.clock import Clock


class Store:
    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> int:
        self.asked += 1
        return self.asked


def test_an_answer_serves_for_its_time() -> None:
    clock, store = Clock(), Store()
    cached = Cached(clock)
    assert [cached.get("a", 2.0, store), cached.get("a", 2.0, store)] == [1, 1]
    clock.later(2.1)
    assert cached.get("a", 2.0, store) == 2
    assert cached.get("b", 2.0, store) == 3
    cached.forget()
    assert cached.get("a", 2.0, store) == 4


def test_of_many_at_the_same_time_one_asks() -> None:
    store, cached, gate = Store(), Cached(), threading.Event()

    def slow() -> int:
        gate.wait(40.0)
        return store()

    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(cached.get("a", 60.0, slow))) for _ in range(20)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join(40.0)
    assert (found, store.asked) == ([1] * 20, 1)


def test_an_answer_that_was_on_its_way_when_something_changed_serves_nobody_who_asks_later() -> None:
    store, cached = Store(), Cached()

    def changed_meanwhile() -> int:
        found = store()
        cached.forget()
        return found

    assert [cached.get("a", 60.0, changed_meanwhile), cached.get("a", 60.0, store), cached.get("a", 60.0, store)] == [1, 2, 2]


def test_an_error_is_raised_and_not_kept() -> None:
    cached = Cached()

    def broken() -> int:
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        cached.get("a", 60.0, broken)
    assert cached.get("a", 60.0, Store()) == 1


def test_it_holds_a_bounded_number() -> None:
    cached = Cached()
    for n in range(1000):
        cached.get(n, 60.0, Store())
    assert len(cached._found) <= 200
