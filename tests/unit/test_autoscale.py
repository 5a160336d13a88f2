"""How many processes a pool should have: pure, from samples and their times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoolq.autoscale import GROW_AFTER, SHRINK_AFTER, Autoscaler, Sample
from spoolq.errors import ConfigError


def after(scaler: Autoscaler, size: int, threads: int, busy: int, seconds: float, step: float = 0.25) -> int:
    """What it wants after so many seconds of the same."""
    at, wanted = 0.0, size
    while at <= seconds:
        wanted = scaler.wanted(Sample(at, size, threads, busy))
        if wanted != size:
            return wanted
        at += step
    return wanted


@pytest.mark.parametrize("bounds", [(0, 1), (2, 1), (-1, 3)])
def test_bounds_that_are_none_are_refused(bounds: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="MIN:MAX"):
        Autoscaler(*bounds)


def test_all_busy_for_a_moment_is_nothing_for_longer_it_grows_by_one_and_says_why() -> None:
    scaler = Autoscaler(1, 4)
    assert after(scaler, 1, 4, 4, GROW_AFTER - 0.5) == 1
    scaler = Autoscaler(1, 4)
    assert after(scaler, 1, 4, 4, GROW_AFTER) == 2
    assert scaler.why == "4 of 4 threads were busy for 2 s"


def test_a_pause_in_between_begins_the_time_anew() -> None:
    scaler = Autoscaler(1, 4)
    for at in range(20):
        assert scaler.wanted(Sample(float(at), 1, 4, 4 if at % 2 else 0)) == 1


def test_it_shrinks_by_one_after_a_minute_with_room_to_spare() -> None:
    scaler = Autoscaler(1, 4)
    assert after(scaler, 3, 12, 5, SHRINK_AFTER - 1) == 3
    scaler = Autoscaler(1, 4)
    assert after(scaler, 3, 12, 5, SHRINK_AFTER) == 2
    assert scaler.why == "for 60 s 2 process(es) would have been enough"


def test_it_doesnt_shrink_to_what_would_grow_again() -> None:
    assert after(Autoscaler(1, 4), 3, 12, 7, 10 * SHRINK_AFTER) == 3


@given(
    st.tuples(st.integers(1, 5), st.integers(0, 5)),
    st.lists(st.tuples(st.floats(0.1, 100), st.integers(0, 10)), max_size=50),
    st.integers(1, 3),
)
def test_it_never_leaves_its_bounds_and_changes_by_one(
    bounds: tuple[int, int], steps: list[tuple[float, int]], threads: int
) -> None:
    least, more = bounds
    scaler = Autoscaler(least, least + more)
    at, size = 0.0, least
    for step, busy in steps:
        at += step
        wanted = scaler.wanted(Sample(at, size, size * threads, min(busy, size * threads)))
        assert least <= wanted <= least + more
        assert abs(wanted - size) <= 1
        size = wanted
