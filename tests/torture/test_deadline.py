"""The short form of `tests.torture.deadline`, and its control: redis-py with its own settings."""

from __future__ import annotations

import pytest

from tests.faults import lab
from tests.servers import Binary
from tests.torture import deadline

LATE = 0.05  # seconds for all that is neither Redis's nor the spool's part of a call

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.fixture(autouse=True)
def _a_lab(one_binary: Binary) -> None:
    if not lab.possible():
        pytest.fail(f"{lab.MISSING}; to go without: --no-root", pytrace=False)


def test_no_call_outlasts_its_deadline_where_nothing_answers() -> None:
    figures = deadline.run(96, apps=1)
    assert figures.pop("wrong") == []
    assert len(figures) == len(deadline.STATES)
    for state, seen in figures.items():
        assert seen["calls"] == seen["spooled"] == 16, (state, seen)
        assert seen["waited"], (state, seen)  # or nothing was measured
        assert seen["late"] <= LATE, (state, seen)


def test_the_same_black_hole_holds_the_library_for_seconds() -> None:
    assert deadline.held_by_the_library(2.0)
