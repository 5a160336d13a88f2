"""The policy that follows the load: pure, from samples and their times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoolq.autoscale.load import BLIND, GROW_EVERY, Load
from spoolq.autoscale.sample import Bounds, Decision, Host, Sample, Sight
from spoolq.errors import ConfigError

GIB = 1 << 30
UP_TO_8 = Bounds(1, 8)
Change = Callable[[float, Sample], Sample]


class Pool:
    """A pool that has what its policy wants at once, and stays as it is told to be. `host` and `sight` are what is seen."""

    def __init__(self, size: int = 1, bounds: Bounds = UP_TO_8, **settings: Any) -> None:
        self.policy, self.bounds, self.size, self.at = Load(**settings), bounds, size, 100.0
        self.ran = 0.0
        self.last = Decision(size, "")
        self.history: list[tuple[float, int]] = []

    def goes(
        self,
        seconds: float,
        *,
        busy: float = 1.0,
        backlog: int | None = 0,
        rate: float = 1.0,
        broker: Any = "well",
        host: Host | None = None,
        seen: bool = True,
        **more: Any,
    ) -> Pool:
        """For so long: `rate` jobs a second end in each process that is busy."""
        until = self.at + seconds
        sight = None
        while self.at < until:
            if seen:
                oldest = more.get("oldest")
                sight = Sight(self.at, broker, backlog, oldest, 0.5 if broker == "slow" else 0.001)
            self.ran += rate * busy * self.size * 0.25
            sample = Sample(
                self.at,
                self.size,
                more.get("ready", self.size),
                busy,
                leaving=more.get("leaving", 0),
                ran=int(self.ran),
                each=more.get("each", GIB // 8),
                sight=sight,
                host=host or Host(),
            )
            self.last = self.policy.decide(sample, self.bounds)
            if self.last.size != self.size:
                self.history.append((self.at, self.last.size))
            self.size = self.last.size
            self.at += 0.25
        return self

    @property
    def sizes(self) -> list[int]:
        return [size for _, size in self.history]


@pytest.mark.parametrize("bounds", [(0, 1), (2, 1), (-1, 3), (0, 0), (1, 1001)])
def test_bounds_that_are_none_are_refused(bounds: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="MIN:MAX"):
        Bounds.checked(*bounds)


# it grows


def test_a_backlog_that_would_not_clear_in_time_doubles_it_and_the_reason_is_told() -> None:
    pool = Pool()
    pool.goes(12, backlog=200)
    assert pool.sizes[:3] == [2, 4, 8]
    [first, second, *_] = [at for at, _ in pool.history]
    assert first - 100 <= 4.0
    assert second - first >= GROW_EVERY


def test_the_reason_names_the_backlog_the_time_and_the_target() -> None:
    pool = Pool(target=10.0).goes(30, backlog=4)
    assert pool.size == 1
    reasons = []
    for _ in range(40):
        before = pool.size
        pool.goes(0.25, backlog=40)
        if pool.size != before:
            reasons.append(pool.last.why)
    assert reasons[0].startswith("40 jobs wait")
    assert "the target is 10 s" in reasons[0]


def test_a_backlog_that_clears_in_time_is_left_to_those_there_are() -> None:
    assert Pool(target=10.0).goes(60, backlog=4, rate=1.0).size == 1


def test_it_grows_to_what_the_target_needs_and_no_further() -> None:
    pool = Pool(bounds=Bounds(1, 100), target=10.0).goes(10, backlog=1)
    pool.goes(60, backlog=30)  # what ends comes again: with 1 job a second in each, 30 jobs want about 3 more than keep up
    assert 4 <= pool.size <= 16


@pytest.mark.parametrize(("oldest", "grows"), [(30.0, False), (300.0, True)])
def test_an_old_job_asks_for_more_though_the_rest_would_clear_in_time(oldest: float, grows: bool) -> None:
    """Eight of them do 8 jobs a second, of which one comes again."""
    pool = Pool(size=8, bounds=Bounds(8, 16), target=100.0)
    for second in range(20):
        pool.goes(1, backlog=680 - 7 * second, rate=1.0, oldest=oldest)
    assert (pool.size > 8) == grows
    if grows:
        assert (
            "the oldest for 5 min"
            in pool.policy.decide(
                Sample(pool.at, 8, 8, 1.0, ran=int(pool.ran), sight=Sight(pool.at, "well", 500, oldest)), UP_TO_8
            ).why
        )


def test_where_no_job_has_ended_yet_a_backlog_while_all_are_busy_is_enough() -> None:
    pool = Pool().goes(4, backlog=1, rate=0.0)
    assert pool.size == 2
    assert "none has ended yet" in pool.policy.decide(Sample(pool.at, 1, 1, 1.0, sight=Sight(pool.at, "well", 3)), UP_TO_8).why


def test_what_waits_while_processes_are_idle_waits_for_something_else() -> None:
    """A limit of concurrency, or of a rate."""
    pool = Pool().goes(60, busy=0.3, backlog=1000)
    assert pool.size == 1
    assert "not for a process" in pool.last.why


def test_it_waits_for_those_that_have_not_begun_to_work() -> None:
    assert Pool(size=2).goes(60, backlog=1000, ready=1).size == 2


# it does not grow


@pytest.mark.parametrize(
    ("given", "says", "cause"),
    [
        ({"broker": "away"}, "the store is away", "broker"),
        ({"broker": "refusing"}, "takes nothing", "broker"),
        ({"broker": "slow"}, "it answers after 500 ms", "broker"),
        ({"backlog": None}, "can't be seen", "blind"),
        ({"seen": False}, "nothing is known of the store", "blind"),
        ({"host": Host(cpu=0.97, cores=2.0, stall=0.1)}, "97% of 2 core(s) are used", "cpu"),
        ({"host": Host(free=GIB, total=16 * GIB), "each": GIB}, "of memory are free", "memory"),
        ({"leaving": 7}, "still there", "bounds"),
    ],
)
def test_it_is_held_and_says_why(given: dict[str, Any], says: str, cause: str) -> None:
    pool = Pool().goes(60, **{"backlog": 1000, **given})
    assert (pool.size, pool.last.cause) == (1, cause)
    assert says in pool.last.why


def test_what_was_seen_too_long_ago_is_not_acted_on() -> None:
    pool = Pool()
    old = Sight(pool.at, "well", 1000, 60.0, 0.001)
    for step in range(200):
        at = pool.at + BLIND + 0.1 + step
        decision = pool.policy.decide(Sample(at, 1, 1, 1.0, sight=old), UP_TO_8)
        assert (decision.size, decision.cause) == (1, "blind")
    assert "nothing was heard of the store for" in decision.why


def test_it_does_not_grow_on_what_was_seen_just_before_the_store_stopped_to_answer() -> None:
    pool, sight = Pool(), None
    for step in range(80):
        at = pool.at + step / 4
        sight = Sight(at, "well", 1000) if step < 2 else sight
        assert pool.policy.decide(Sample(at, 1, 1, 0.0 if step < 8 else 1.0, sight=sight), UP_TO_8).size == 1


def test_what_waited_before_all_were_busy_may_be_what_they_run_now() -> None:
    pool = Pool()
    before = Sight(pool.at, "well", 1)
    for step in range(12):
        at = pool.at + step / 4
        assert pool.policy.decide(Sample(at, 1, 1, 1.0, sight=before), UP_TO_8).size == 1
    assert pool.policy.decide(Sample(at, 1, 1, 1.0, sight=Sight(at, "well", 1)), UP_TO_8).size == 2


def test_blind_it_stays_as_large_as_it_is() -> None:
    assert Pool(size=5).goes(600, busy=0.0, seen=False).size == 5
    assert Pool(size=5).goes(600, busy=0.0, broker="away", backlog=None).size == 5


def test_where_the_processor_is_not_to_be_looked_at_it_grows() -> None:
    assert Pool(most_cpu=None).goes(30, backlog=1000, host=Host(cpu=1.0, cores=2.0, stall=1.0)).size == 8


def test_no_more_than_fit_into_memory() -> None:
    host = Host(free=3 * GIB, total=16 * GIB)
    assert Pool(size=1).goes(4, backlog=1000, host=host, each=GIB).size <= 3


def test_what_is_not_known_of_the_host_holds_nothing_up() -> None:
    assert Pool().goes(30, backlog=1000, host=Host()).size == 8


# it shrinks


def test_it_shrinks_by_one_after_the_idle_period_and_then_a_little_faster() -> None:
    pool = Pool(size=4, idle=60.0).goes(59, busy=0.1)
    assert pool.size == 4
    pool.goes(90, busy=0.1)
    assert pool.sizes == [3, 2, 1]
    [first, second, third] = [at for at, _ in pool.history]
    assert first - 100 >= 60.0
    assert second - first >= 15.0
    assert third - second >= 15.0
    assert "would have been enough" in Pool(size=2, idle=1.0).goes(1.25, busy=0.1).last.why or pool.size == 1


def test_it_does_not_shrink_to_what_would_grow_again() -> None:
    assert Pool(size=3).goes(1000, busy=0.6).size == 3
    assert Pool(size=2).goes(1000, busy=0.1, backlog=1000, rate=0.1).size == 2


def test_a_short_rush_begins_the_idle_period_anew() -> None:
    pool = Pool(size=3, idle=60.0)
    for _ in range(10):
        pool.goes(40, busy=0.1).goes(15, busy=1.0)
    assert pool.size == 3


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        ({"host": Host(free=0, total=16 * GIB)}, "memory"),
        ({"host": Host(free=8 * GIB, total=16 * GIB, memory_stall=0.4)}, "memory"),
        ({"host": Host(cpu=1.0, cores=2.0, stall=0.95)}, "cpu"),
        ({"host": Host(cpu=1.0, cores=2.0, load=3.0)}, "cpu"),
        ({"broker": "slow"}, "broker"),
    ],
)
def test_an_overload_brings_it_down_to_the_least_and_no_further(given: dict[str, Any], cause: str) -> None:
    pool = Pool(size=4, bounds=Bounds(2, 8))
    pool.goes(120, backlog=1000, **given)
    assert pool.size == 2
    assert pool.sizes == sorted(pool.sizes, reverse=True)
    assert pool.last.cause == cause or pool.last.why.startswith("held")


def test_too_little_memory_for_several_ends_several_at_once() -> None:
    pool = Pool(size=8)
    pool.goes(1, backlog=1000, host=Host(free=0, total=16 * GIB), each=GIB // 8)
    assert pool.sizes == [4]  # half of the gigabyte that is kept free


def test_it_waits_for_those_that_are_to_end_before_it_ends_more() -> None:
    assert Pool(size=8).goes(60, backlog=9, host=Host(free=0, total=16 * GIB), leaving=1).size == 8


def test_after_an_overload_it_is_in_no_hurry_to_grow_and_less_each_time() -> None:
    pool = Pool(size=4)
    waits = []
    for _ in range(4):
        pool.goes(40, backlog=1000, broker="slow", host=Host())
        shrunk, before = pool.at, pool.size
        while pool.size <= before and pool.at - shrunk < 2000:
            pool.goes(1, backlog=1000)
        waits.append(pool.at - shrunk)
    assert waits == sorted(waits)
    assert waits[-1] > 3 * waits[0]


# bounds


def test_an_operators_word_is_obeyed_at_once_in_either_direction_whatever_else_is() -> None:
    pool = Pool(size=4)
    pool.bounds = Bounds(1, 2, "an operator")
    assert pool.goes(0.25, backlog=1000).size == 2
    assert pool.last.why == "1:2 by an operator"
    pool.bounds = Bounds(6, 6, "an operator")
    assert pool.goes(0.25, broker="away", host=Host(cpu=1.0, stall=1.0, free=0, total=GIB)).size == 6


@given(
    st.tuples(st.integers(1, 5), st.integers(0, 5)),
    st.lists(
        st.tuples(
            st.floats(0.1, 100),
            st.floats(0, 1),
            st.integers(0, 50),
            st.none() | st.integers(0, 10_000),
            st.sampled_from(["well", "slow", "away", "refusing"]),
            st.none() | st.floats(0, 1),
            st.none() | st.integers(0, 1 << 34),
        ),
        max_size=60,
    ),
)
def test_it_never_leaves_its_bounds_never_more_than_doubles_and_never_grows_into_a_sick_store(
    bounds: tuple[int, int], steps: list[tuple[Any, ...]]
) -> None:
    least, more = bounds
    policy, within = Load(), Bounds(least, least + more)
    at, size, ran = 0.0, least, 0
    for step, busy, ended, backlog, broker, cpu, free in steps:
        at, ran = at + step, ran + ended
        host = Host(cpu=cpu, cores=4.0, stall=cpu, free=free, total=1 << 34)
        sample = Sample(at, size, size, busy, ran=ran, each=1 << 28, sight=Sight(at, broker, backlog, None, 0.2), host=host)
        wanted = policy.decide(sample, within).size
        assert least <= wanted <= least + more
        assert wanted <= 2 * size
        if broker != "well" or backlog is None or (cpu or 0.0) >= 0.9:
            assert wanted <= size
        size = wanted
