"""node-resque's rule, case by case as `MultiWorker.checkWorkers` has them."""

from __future__ import annotations

import pytest

from spoolq.autoscale.multiworker import MultiWorker
from spoolq.autoscale.sample import Bounds, Sample

BOUNDS = Bounds(2, 5)


def decided(size: int, working: int, lag: float | None, bounds: Bounds = BOUNDS) -> int:
    sample = Sample(1.0, size, size, 0.0, working=working, lag=lag)
    return MultiWorker(delay=0.01).decide(sample, bounds).size


@pytest.mark.parametrize(
    ("size", "working", "late", "wanted"),
    [
        (3, 3, True, 2),  # blocked, and more than the least: "-"
        (2, 2, True, 2),  # blocked, and the least: "x"
        (1, 1, False, 2),  # fewer than the least: "+"
        (3, 2, False, 4),  # more than half work: "+"
        (5, 5, False, 5),  # no more than the most
        (4, 2, False, 4),  # half: "x"
        (4, 1, False, 3),  # fewer than half: "-"
        (2, 0, False, 2),  # no fewer than the least
    ],
)
def test_as_node_decides(size: int, working: int, late: bool, wanted: int) -> None:
    assert decided(size, working, 0.011 if late else 0.01) == wanted


def test_until_the_delay_is_known_the_loop_counts_as_blocked_and_nothing_is_ended_for_it() -> None:
    assert decided(3, 3, None) == 3
    assert decided(1, 1, None) == 2


def test_more_than_the_bounds_allow_end_at_once() -> None:
    assert decided(9, 9, 0.0) == 5


def test_it_looks_once_each_check_and_says_the_delay_and_who_works() -> None:
    policy, sizes, size = MultiWorker(delay=0.01, check=0.5), [], 2
    for step in range(9):
        decision = policy.decide(Sample(step / 4, size, size, 1.0, working=size, lag=0.002), BOUNDS)
        size = decision.size
        sizes.append(size)
    assert sizes == [3, 3, 4, 4, 5, 5, 5, 5, 5]
    assert decision.why == "5 of 5 processes work"
    assert "is 40 ms, of 10 ms" in policy.decide(Sample(9.0, 5, 5, 1.0, working=5, lag=0.04), BOUNDS).why


def test_a_word_of_an_operator_is_not_put_off_until_the_next_check() -> None:
    policy = MultiWorker(check=3600.0)
    assert policy.decide(Sample(0.0, 5, 5, 1.0, working=5, lag=0.0), BOUNDS).size == 5
    assert policy.decide(Sample(0.3, 5, 5, 1.0, working=5, lag=0.0), Bounds(2, 3)).size == 3
