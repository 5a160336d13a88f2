"""How fast a drainer goes, with every measurement and the clock passed in; then fifty of them on one simulated Redis."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from spoolq.pace import LEAST, MOST, Pace, Room

QUICK, SLOW = 0.0001, 0.2


class Middle(random.Random):
    """Jitter that is always its mean."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


def paced(rows: int = 500, ceiling: float | None = None) -> Pace:
    return Pace(rows, ceiling, Middle())


def settled(pace: Pace) -> Pace:
    """After enough quick answers."""
    for number in range(20):
        pace.waited(QUICK, number * 0.01)
    return pace


def test_it_begins_with_a_small_share_and_small_batches_and_doubles_while_nobody_waits() -> None:
    pace = paced()
    shares, batches = [], []
    for number in range(8):
        pace.waited(QUICK, number * 0.01)
        batches.append(pace.batch)
        shares.append(pace.share)
    assert batches == [31, 62, 125, 250, 500, 500, 500, 500]
    assert shares[:4] == [1 / 64, 1 / 32, 1 / 16, 1 / 8]
    assert shares[-1] == MOST


@pytest.mark.parametrize(("rows", "first"), [(10, 10), (100, 25), (500, 31), (1000, 31), (10_000, 31)])
def test_the_first_batch_is_small_however_large_they_become(rows: int, first: int) -> None:
    pace = paced(rows)
    assert pace.batch == first
    assert settled(pace).batch == rows
    pace.begin_anew()
    assert pace.batch == first


def test_as_it_starts_a_quick_put_is_followed_by_a_short_pause_until_somebody_waits() -> None:
    pace = paced()
    pace.waited(QUICK, 0.0)
    assert pace.pause(31, put=0.002, spent=0.0) == pytest.approx(0.01), "not 2 ms for a sixty-fourth of the primary's time"
    assert pace.pause(31, put=0.1, spent=0.0) == pytest.approx(0.4), "of a slow one no more than a quarter"
    pace.waited(QUICK, 0.01)
    pace.waited(SLOW, 0.02)
    assert pace.pause(31, put=0.002, spent=0.0) == pytest.approx(0.128), "the control"


def test_an_idle_primary_is_drained_without_a_pause() -> None:
    """A batch takes longer in the spool's file than in the primary, so the share is kept by itself."""
    assert settled(paced()).pause(500, put=0.0035, spent=0.0055) == 0.0


def test_the_share_is_kept_by_pausing_in_proportion_to_what_the_put_took() -> None:
    pace = settled(paced())
    pace.waited(SLOW, 1.0)
    assert pace.share == MOST / 2
    assert pace.pause(500, put=0.030, spent=0.040) == pytest.approx(0.030 / (MOST / 2) - 0.040)


def test_each_sign_that_others_wait_halves_the_share_down_to_the_least() -> None:
    pace = settled(paced())
    for number in range(30):
        pace.waited(SLOW, 1 + number * 0.001)
    assert pace.share == LEAST
    assert pace.batch == 25
    assert pace.pause(25, put=0.5, spent=0.5) == 1.0, "no drainer is stopped for good"


def test_the_share_comes_back_with_time_not_with_the_number_of_puts() -> None:
    pace = settled(paced())
    for number in range(4):
        pace.waited(SLOW, 1.0 + number * 0.001)
    low = pace.share
    for number in range(100):
        pace.waited(QUICK, 1.01 + number * 0.007)
    assert pace.share == pytest.approx(2 * low, rel=0.1)


def test_a_distant_primary_is_not_taken_for_a_busy_one() -> None:
    pace = paced()
    for number in range(10):
        pace.waited(0.060 + 0.001 * (number % 3), number * 0.1)
    assert pace.share == MOST


def test_a_route_that_became_longer_is_accepted_after_a_while() -> None:
    pace = settled(paced())
    for second in range(100):
        pace.waited(0.050, 1.0 + second)
    assert pace.share == MOST


@pytest.mark.parametrize(("ceiling", "batch"), [(None, 500), (1000.0, 500), (12.5, 12), (0.1, 1)])
def test_a_batch_is_no_more_than_a_second_may_take(ceiling: float | None, batch: int) -> None:
    assert settled(paced(ceiling=ceiling)).batch == batch


def test_the_ceiling_is_kept_whatever_the_share() -> None:
    assert settled(paced(ceiling=100.0)).pause(50, put=0.001, spent=0.1) == pytest.approx(0.4)


def test_after_an_outage_it_begins_slowly_again() -> None:
    pace = settled(paced())
    pace.begin_anew()
    assert pace.batch == 31


def test_batches_are_never_larger_than_was_asked_for() -> None:
    assert paced(rows=10).batch == 10
    assert settled(paced(rows=10)).batch == 10


def test_room_is_kept_for_live_traffic() -> None:
    room = Room(part=0.1, every=1.0)
    assert room.due(0.0)
    room.seen(850, 1000, 0.0)
    assert not room.full
    assert not room.due(0.5)
    assert room.due(1.0)
    room.seen(901, 1000, 1.0)
    assert room.full
    assert room.due(1.0), "a full one is looked at again at each turn"


def test_the_memory_is_looked_at_again_when_half_of_what_was_left_has_been_put() -> None:
    room = Room(part=0.1, every=1.0)
    room.seen(500, 1000, 0.0)
    assert room.left == 200
    room.put(199)
    assert not room.due(0.1)
    room.put(1)
    assert room.due(0.1)


@pytest.mark.parametrize("memory", [(None, None), (10**12, None), (10**12, 0), (None, 10)])
def test_a_memory_that_is_not_known_or_not_bounded_is_never_full(memory: tuple[int | None, int | None]) -> None:
    room = Room()
    room.seen(*memory, 0.0)
    room.put(1 << 40)
    assert not room.full


# fifty hosts


@dataclass
class Crowd:
    """Hosts that come back at the same moment, and live traffic, on one Redis that serves one request after the other.

    Virtual seconds. `row` is what Redis needs for a row, `hop` the way there and back, `local` what the spool's file needs for a
    batch. `figures`: what each live enqueue took.
    """

    hosts: int = 50
    rows: int = 20_000
    live: float = 500.0
    row: float = 20e-6
    hop: float = 0.0002
    local: float = 0.004
    seed: int = 1
    figures: list[float] = field(default_factory=list)
    took: float = 0.0

    def run(self, pace: Callable[[random.Random], Pace | None], seconds: float = 5.0) -> Crowd:
        """Until all are drained, and for `seconds` at least."""
        rng = random.Random(self.seed)
        events: list[tuple[float, int, Callable[[float], None]]] = []
        free_at = 0.0
        left = [self.rows if pace is not nobody else 0] * self.hosts

        def at(time: float, what: Callable[[float], None]) -> None:
            heapq.heappush(events, (time, rng.getrandbits(40), what))

        def ask(now: float, service: float) -> float:
            """When the answer to a request that arrives now is back."""
            nonlocal free_at
            free_at = max(now, free_at) + service
            return free_at + self.hop

        def live(now: float) -> None:
            self.figures.append(ask(now, 15e-6) - now)
            if now < seconds or any(left):
                at(now + rng.expovariate(self.live), live)

        def host(number: int, policy: Pace | None) -> None:
            def turn(now: float) -> None:
                if left[number] <= 0:
                    self.took = max(self.took, now)
                    return
                answered = ask(now, 5e-6)
                at(answered, lambda then: put(now, then))

            def put(began: float, now: float) -> None:
                if policy is not None:
                    policy.waited(now - began, now)
                rows = min(left[number], policy.batch if policy is not None else 500)
                sent = now + self.local / 2
                at(sent, lambda then: done(began, rows, then, ask(then, 50e-6 + rows * self.row)))

            def done(began: float, rows: int, sent: float, answered: float) -> None:
                left[number] -= rows
                ended = answered + self.local / 2
                at(ended + (policy.pause(rows, answered - sent, ended - began) if policy is not None else 0.0), turn)

            at(0.0, turn)

        for number in range(self.hosts):
            host(number, pace(random.Random(self.seed * 1000 + number)))
        at(0.0, live)
        while events:
            now, _, what = heapq.heappop(events)
            what(now)
        return self

    def late(self, deadline: float = 0.25) -> int:
        """Live enqueues that took longer, and so fell back to the spool."""
        return sum(took > deadline for took in self.figures)


def nobody(rng: random.Random) -> Pace | None:
    return None


def with_policy(rng: random.Random) -> Pace | None:
    return Pace(500, rng=rng)


def without_policy(rng: random.Random) -> Pace | None:
    return None


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_fifty_hosts_that_come_back_at_once_keep_no_live_enqueue_from_its_deadline(seed: int) -> None:
    """A Redis that takes 50,000 rows a second, and a million rows on the hosts' disks."""
    crowd = Crowd(seed=seed).run(with_policy)
    quiet = Crowd(seed=seed).run(nobody)
    assert (crowd.late(), quiet.late()) == (0, 0)
    assert max(crowd.figures) < 0.1
    assert sorted(crowd.figures)[len(crowd.figures) // 2] < 0.02
    assert crowd.took < 100.0, "a million rows in less than five times of what that Redis needs for them"


def test_the_control_without_the_policy_live_enqueues_miss_their_deadline() -> None:
    crowd = Crowd(seed=1).run(without_policy)
    assert crowd.late() > len(crowd.figures) / 2


def test_one_host_alone_is_drained_as_fast_as_without_the_policy() -> None:
    fast = Crowd(hosts=1, rows=200_000, live=1.0, row=6.4e-6).run(without_policy, 0.1).took
    assert Crowd(hosts=1, rows=200_000, live=1.0, row=6.4e-6).run(with_policy, 0.1).took < 1.15 * fast
