"""Times as Resque's peers write them."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoolq import stamps

AT = 1795511017.0


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-24T09:03:37Z", AT),
        ("2026-11-24T09:03:37.250Z", AT + 0.25),
        ("2026-11-24T09:03:37.123456Z", AT + 0.123456),
        ("2026-11-24T10:03:37+01:00", AT),
        ("2026-11-24 09:03:37 +0000", AT),
        ("2026-11-24T09:03:37", AT),
        (" 2026-11-24T09:03:37Z ", AT),
        ("Tue Nov 24 2026 09:03:37 GMT+0000 (Coordinated Universal Time)", AT),
        ("Tue Nov 24 2026 10:03:37 GMT+0100 (Central European Standard Time)", AT),
        ("Mon Nov 23 2026 23:33:37 GMT-0930 (GMT-09:30)", AT),
        ("Tue Nov 24 2026 09:03:37 GMT+0000", AT),
        ("2026/11/24 09:03:37 UTC", AT),
        ("2026/11/24 09:03:37", AT),
        ("2026/11/24 10:03:37 +0100", AT),
        ("2026/11/24 01:33:37 -07:30", AT),
        ("2026/11/24 09:03:37 CET", AT),
        ("Tue, 24 Nov 2026 09:03:37 GMT", AT),
        ("Tue, 24 Nov 2026 10:03:37 +0100", AT),
        (1795511017, AT),
        (1795511017.5, AT + 0.5),
    ],
)
def test_the_forms_that_peers_write(text: object, at: float) -> None:
    assert stamps.epoch(text) == at


@pytest.mark.parametrize(
    "text",
    [
        None, True, [], {}, "", "soon", "Tue Foo 24 2026 09:03:37 GMT+0000", "2026/13/24 09:03:37 UTC", "2026/11/24 25:03:37",
        1e300, float("nan"), float("inf"), 10**400, "9" * 400, "\ud800", "2026/11/24 09:03:37 +9900",
    ],
)  # fmt: skip
def test_what_is_no_time_is_nought(text: object) -> None:
    assert stamps.epoch(text) == 0.0


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (AT, "2026-11-24T09:03:37Z"),
        (AT + 0.25, "2026-11-24T09:03:37.250000Z"),
        (0, "1970-01-01T00:00:00Z"),
        (-1.5, "1969-12-31T23:59:58.500000Z"),
        (float("nan"), "1970-01-01T00:00:00Z"),
        (float("-inf"), "1970-01-01T00:00:00Z"),
        (1e20, "1970-01-01T00:00:00Z"),
    ],
)
def test_iso(at: float, text: str) -> None:
    assert stamps.iso(at) == text


@given(st.floats(0, 4e9).map(lambda at: round(at, 6)))
def test_iso_is_read_back(at: float) -> None:
    assert stamps.epoch(stamps.iso(at)) == pytest.approx(at, abs=1e-6)


@given(st.text())
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert isinstance(stamps.epoch(text), float)


def test_the_calendar_ends_are_read_without_an_error() -> None:
    for moment in (datetime.datetime.min, datetime.datetime.max):
        for zone in ("+14:00", "-14:00", "Z", ""):
            assert isinstance(stamps.epoch(moment.isoformat() + zone), float)
