"""Every check has a name, a word on why, and a line in the docs."""

from __future__ import annotations

import re
from pathlib import Path

from spoolq.doctor import CHECKS

DOCS = (Path(__file__).parents[3] / "docs" / "doctor.md").read_text("utf-8")
ROWS = re.compile(r"^\| `([a-z-]+)` \| (.+?) \| (.+?) \|$", re.MULTILINE)


def test_each_name_is_one_checks_alone() -> None:
    names = [check.name for check in CHECKS] + ["server", "spool", "work", "host"]
    assert len(names) == len(set(names))


def test_every_check_is_documented_as_it_is() -> None:
    assert ROWS.findall(DOCS) == [(check.name, check.asks, check.why) for check in CHECKS]


def test_they_are_told_by_subject() -> None:
    subjects = [check.subject for check in CHECKS]
    assert list(dict.fromkeys(subjects)) == ["server", "spool", "work", "host"]
    assert subjects == sorted(subjects, key=["server", "spool", "work", "host"].index)


def test_none_calls_for_less_than_a_finding_can_be_read() -> None:
    for check in CHECKS:
        assert check.asks[0].islower() or check.asks.startswith(("Redis", "Resque", "SQLite"))
        assert max(len(check.asks), len(check.why)) < 90, check.name
