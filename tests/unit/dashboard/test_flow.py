"""What came and went over time, out of samples that may have gaps, and of stores that lose their count."""

from __future__ import annotations

from spoolq.dashboard.flow import STRETCHES, add, flow, together
from spoolq.store.tally import ALL, Sample

NOW = 1_700_000_020.0  # 40 s into a minute
MINUTE = 1_700_000_000 // 60 * 60
HOUR = STRETCHES["1h"]


def sample(minutes_ago: int, **counts: int) -> Sample:
    return Sample(MINUTE - 60.0 * minutes_ago, {ALL: counts})


def test_it_is_the_difference_between_samples() -> None:
    samples = [sample(3, done=10), sample(2, done=15), sample(1, done=15), sample(0, done=40)]
    assert flow(samples, ("done",), HOUR, NOW) == {MINUTE - 120: 5, MINUTE - 60: 0, MINUTE: 25}


def test_several_words_are_added_up() -> None:
    assert flow([sample(1), sample(0, done=2, failed=3)], ("done", "failed"), HOUR, NOW) == {MINUTE: 5}


def test_what_came_in_a_gap_belongs_to_its_end() -> None:
    assert flow([sample(30, done=1), sample(0, done=61)], ("done",), HOUR, NOW) == {MINUTE: 60}


def test_a_count_that_began_anew_takes_nothing_back() -> None:
    assert flow([sample(2, done=100), sample(1, done=3), sample(0, done=5)], ("done",), HOUR, NOW) == {MINUTE - 60: 0, MINUTE: 2}


def test_what_is_before_the_stretch_is_left_out() -> None:
    found = flow([sample(90, done=1), sample(61, done=2), sample(59, done=4)], ("done",), HOUR, NOW)
    assert found == {MINUTE - 59 * 60: 2}


def test_without_samples_there_is_nothing() -> None:
    assert flow([], ("done",), HOUR, NOW) == flow([sample(0, done=1)], ("done",), HOUR, NOW) == {}
    assert together(NOW, HOUR, {}, {}) == []


def test_rows_go_from_the_first_known_step_to_now() -> None:
    rows = together(NOW, HOUR, {MINUTE - 120: 5}, {MINUTE - 60: 7})
    assert rows == [(MINUTE - 120, 5, 0), (MINUTE - 60, 0, 7), (MINUTE, 0, 0)]


def test_two_flows_are_added_step_by_step() -> None:
    assert add({1: 2, 2: 3}, {2: 4, 3: 5}) == {1: 2, 2: 7, 3: 5}


def test_no_stretch_has_more_rows_than_a_person_reads() -> None:
    assert all(stretch.steps <= 60 for stretch in STRETCHES.values())
