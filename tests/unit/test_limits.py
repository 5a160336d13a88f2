"""A strike ends what it is meant for, and never what follows."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from spoolq import limits
from spoolq.errors import SoftTimeLimit, TimeLimit
from spoolq.limits import STUCK, Exposure, Limit, Timed, Watch
from tests.clock import Clock
from tests.unit.hands import warnings
from tests.unit.scene import many_switches
from tests.waiting import eventually


@pytest.fixture
def watch() -> Iterator[Watch]:
    made = Watch()
    yield made
    made.end()


def spin(until: float = float("inf")) -> str:
    """Computes in Python until then."""
    while time.monotonic() < until:
        pass
    return "done"


def spin_unless(over: threading.Event) -> None:
    while not over.is_set():
        pass


def exposed(watch: Watch, soft: float | None, hard: float | None, function: Callable[[], Any], stuck: Any = None) -> Any:
    return Exposure(watch, soft, hard, stuck or (lambda: None)).run(function)


# what is due when


class Noted(Timed):
    """Notes its strikes."""

    def __init__(self, *limits: float | None, delicate: bool = False) -> None:
        super().__init__(100.0, *limits, lambda: None)
        self.struck: list[Limit] = []
        self.delicate = delicate

    def may_strike(self) -> bool:
        return not self.delicate

    def strike(self, limit: Limit) -> None:
        self.struck.append(limit)


def test_the_soft_limit_comes_first_then_the_hard_one_then_it_is_given_up() -> None:
    one = Noted(10.0, 30.0)
    assert one.at == 110
    assert one.fire(110.1) is None
    assert (one.struck, one.at) == ([SoftTimeLimit], 130)
    assert one.fire(130.2) is None
    assert (one.struck, one.at) == ([SoftTimeLimit, TimeLimit], 130.2 + STUCK)
    assert one.fire(130.2 + STUCK) is not None
    assert (one.struck, one.at) == ([SoftTimeLimit, TimeLimit], float("inf"))


def test_either_limit_may_be_missing() -> None:
    soft, hard = Noted(10.0, None), Noted(None, 30.0)
    soft.fire(110)
    assert (soft.struck, soft.at) == ([SoftTimeLimit], float("inf"))
    hard.fire(130)
    assert (hard.struck, hard.at) == ([TimeLimit], 130 + STUCK)


def test_a_watch_that_comes_very_late_strikes_before_it_gives_up() -> None:
    one = Noted(10.0, 30.0)
    assert one.fire(1000) is None
    assert (one.struck, one.at) == ([TimeLimit], 1000 + STUCK)


def test_a_strike_waits_a_little_for_a_good_moment() -> None:
    one = Noted(None, 30.0, delicate=True)
    now, looks = 130.0, 0
    while not one.struck:
        assert one.fire(now) is None
        assert one.at > now
        now, looks = one.at, looks + 1
    assert looks > 10
    assert now - STUCK < 130.1


def test_the_words() -> None:
    one = Noted(0.5, 30.0)
    assert str(one.error(TimeLimit)) == "the task ran longer than its timeout of 30 s"
    assert str(one.error(SoftTimeLimit)) == "the task ran longer than its soft_timeout of 0.5 s"
    assert str(TimeLimit()) == "the task ran longer than its timeout"
    assert str(SoftTimeLimit()) == "the task ran longer than its soft_timeout"


# in threads


def test_what_computes_is_ended_at_its_limit(watch: Watch) -> None:
    with pytest.raises(TimeLimit, match=r"timeout of 0\.05 s"):
        exposed(watch, None, 0.05, spin)
    with pytest.raises(SoftTimeLimit, match=r"soft_timeout of 0\.05 s"):
        exposed(watch, 0.05, 60, spin)


def test_what_ends_in_time_is_left_alone(watch: Watch) -> None:
    assert exposed(watch, 50, 60, lambda: 7) == 7
    with pytest.raises(KeyError):
        exposed(watch, 50, 60, lambda: {}["no"])
    assert watch._timed == set()


def test_after_a_soft_limit_the_task_may_clean_up_until_the_hard_one(watch: Watch) -> None:
    seen: list[str] = []

    def cleaning() -> str:
        try:
            spin()
        except SoftTimeLimit:
            seen.append("soft")
        return "cleaned"

    def dawdling() -> None:
        try:
            spin()
        except Exception:
            spin()

    assert exposed(watch, 0.05, 60, cleaning) == "cleaned"
    assert seen == ["soft"]
    with pytest.raises(TimeLimit):
        exposed(watch, 0.02, 0.05, dawdling)


def test_what_can_not_be_struck_is_told(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STUCK", 0.05)
    told = threading.Event()
    with pytest.raises(TimeLimit):
        exposed(watch, None, 0.01, lambda: told.wait(30), told.set)


def test_one_watch_serves_many_threads_and_the_earliest_limit_comes_first(watch: Watch) -> None:
    ended: list[float] = []
    over = threading.Event()

    def run(hard: float) -> None:
        try:
            exposed(watch, None, hard, lambda: spin_unless(over))
        except TimeLimit:
            ended.append(hard)

    threads = [threading.Thread(target=run, args=(hard,)) for hard in (100.0, 60.0, 0.2, 0.1)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(ended) == 2)
    over.set()
    for thread in threads:
        thread.join(40)
    assert sorted(ended) == [0.1, 0.2], "those with later limits were left alone"
    assert sum(thread.name == "spoolq-limits" for thread in threading.enumerate()) >= 1


def test_what_has_no_limit_starts_no_thread() -> None:
    watch = Watch()
    assert watch._thread is None
    assert not watch.dead
    watch.end()


def test_an_error_of_what_it_calls_does_not_end_the_watch(
    watch: Watch, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STUCK", 0.01)

    def wrong() -> None:
        raise ValueError

    with pytest.raises(TimeLimit):
        exposed(watch, None, 0.01, lambda: eventually(lambda: warnings(caplog)), wrong)
    with pytest.raises(TimeLimit):
        exposed(watch, None, 0.01, spin)
    assert not watch.dead


def test_a_thread_is_not_struck_while_it_is_in_code_that_holds_locks_by_hand(clock: Clock) -> None:
    watch = Watch(clock)
    event, inside = threading.Event(), threading.Event()
    found: list[Exposure[Any]] = []

    def wait() -> None:
        found.append(Exposure(watch, None, 30.0, lambda: None))
        inside.set()
        event.wait(30)

    thread = threading.Thread(target=wait)
    thread.start()
    inside.wait(30)
    eventually(lambda: not found[0].may_strike())
    event.set()
    thread.join(30)
    assert found[0].may_strike(), "it is no more"


@pytest.mark.parametrize("soft", [None, 0.001])
def test_a_strike_at_the_very_end_hits_nothing_that_comes_after(watch: Watch, soft: float | None) -> None:
    """Thousands of runs that end as their limit comes, each followed by work that must not notice."""
    rng = random.Random(5)
    problems: list[BaseException] = []
    ended: list[int] = []

    def body() -> None:
        try:
            for _ in range(600):
                began = time.monotonic()
                until = began + 0.0012 + rng.uniform(-0.0002, 0.0006)
                with suppress(SoftTimeLimit, TimeLimit):
                    exposed(watch, soft, 0.0012, lambda until=until: spin(until))  # type: ignore[misc]
                spin(time.monotonic() + 0.0005)  # the next job, which has no limit
                ended.append(1)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=body) for _ in range(3)]
    with many_switches():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    assert problems == []
    assert len(ended) == 1800
    assert watch._timed == set()
