"""Durations, sizes, ages, counts and times as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoolq.units import duration, jobs, kept, say_age, say_duration, say_size, size, when


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "250ms"), (0, "0s"), (2, "2s"), (2.5, "2.5s"), (30, "30s"), (90, "90s"), (300, "5m"), (7200, "2h"), (604800, "7d")],
)
def test_say_duration(seconds: float, text: str) -> None:
    assert say_duration(seconds) == text


@given(st.integers(0, 10**7))
def test_a_duration_said_reads_back(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert duration(say_duration(seconds)) == pytest.approx(seconds, rel=1e-5)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (2**20, "1 MiB"),
        (123 * 2**30 + 7, "123 GiB"),
        (5 * 2**40, "5 TiB"),
        (5000 * 2**40, "5000 TiB"),
    ],
)
def test_say_size(count: int, text: str) -> None:
    assert say_size(count) == text


@pytest.mark.parametrize("text", ["1 MiB", "1.5 KiB", "0 B", "5 TiB"])
def test_a_size_said_reads_back(text: str) -> None:
    assert say_size(size(text)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (-1, "0.0 s"),
        (0.44, "0.4 s"),
        (9.97, "10.0 s"),
        (10, "10 s"),
        (59.6, "1 min"),
        (252, "4 min 12 s"),
        (3600, "1 h"),
        (3601, "1 h"),
        (3660, "1 h 1 min"),
        (86400 * 3 + 7200, "3 d 2 h"),
        (86400 * 400, "400 d"),
        (float("inf"), "11574074 d 1 h"),
        (1e300, "11574074 d 1 h"),
        (float("nan"), "0.0 s"),
    ],
)
def test_say_age(seconds: float | None, text: str) -> None:
    assert say_age(seconds) == text


def test_counts_read_as_words() -> None:
    assert (jobs(0), jobs(1), jobs(12000)) == ("0 jobs", "1 job", "12,000 jobs")
    assert (kept(1), kept(2)) == ("1 job is safe", "2 jobs are safe")


def test_times_are_utc() -> None:
    assert when(0.5) == "1970-01-01T00:00:00.500Z"
    assert when(None) is None


@pytest.mark.parametrize("at", [-1e12, 5e11, 1e300, -1e300, float("inf"), float("nan")])
def test_a_time_that_no_calendar_has_is_none(at: float) -> None:
    assert when(at) is None
