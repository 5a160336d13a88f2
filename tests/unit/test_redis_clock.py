"""Redis's clock, told without asking."""

from __future__ import annotations

import pytest

from spoolq.store.redis.clock import FRESH, RedisClock
from spoolq.store.redis.resp import GarbageError


class Hands:
    """A monotonic and a wall clock, moved by hand."""

    def __init__(self) -> None:
        self.monotonic, self.wall = 100.0, 5_000.0

    def clock(self) -> RedisClock:
        return RedisClock(lambda: self.monotonic, lambda: self.wall)


def test_the_wall_clock_stands_in_until_it_was_measured() -> None:
    hands = Hands()
    clock = hands.clock()
    assert clock.now() == 5_000.0
    assert clock.at(hands.monotonic + 2) == 5_002.0
    assert clock.stale


def test_a_jump_of_the_wall_clock_does_not_matter() -> None:
    hands = Hands()
    clock = hands.clock()
    clock.measured(99.0, [b"7000", b"500000"])  # asked at 99, answered at 100: 7000.5 was at 99.5
    assert clock.now() == pytest.approx(7001.0)
    hands.wall += 3600
    hands.monotonic += 2
    assert clock.now() == pytest.approx(7003.0)
    assert clock.at(hands.monotonic + 0.25) == pytest.approx(7003.25)


def test_it_grows_stale_and_can_be_doubted() -> None:
    hands = Hands()
    clock = hands.clock()
    clock.measured(100.0, (7000, 0))
    assert not clock.stale
    clock.doubt()
    assert clock.stale
    clock.measured(100.0, (7000, 0))
    hands.monotonic += FRESH
    assert clock.stale


def test_a_measurement_that_agrees_changes_nothing_so_that_time_never_steps_back() -> None:
    hands = Hands()
    clock = hands.clock()
    clock.measured(99.9, [b"7000", b"0"])
    before = clock.now()
    clock.measured(98.0, [b"6999", b"900000"])  # a slow round trip: anything within a second of it fits
    assert clock.now() == before


def test_a_step_of_redis_clock_is_taken() -> None:
    hands = Hands()
    clock = hands.clock()
    clock.measured(99.9, [b"7000", b"0"])
    clock.measured(99.9, [b"6000", b"0"])
    assert clock.now() == pytest.approx(6000.05)


@pytest.mark.parametrize("reply", [None, [], [b"1"], [b"a", b"b"], b"OK", 7])
def test_what_is_no_time_is_garbage(reply: object) -> None:
    with pytest.raises(GarbageError):
        Hands().clock().measured(100.0, reply)
