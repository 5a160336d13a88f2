"""Lines from the end of a file, whatever its blocks."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest

from spoolq.failurelog import entry, source
from tests.unit.failurelog.hands import failure


def test_lines_come_from_the_last_to_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(1)
    for size in range(1, 9):
        monkeypatch.setattr(source, "_BLOCK", size)
        for length in range(40):
            data = bytes(rng.choice(b"ab\n") for _ in range(length))
            assert list(source.backwards(io.BytesIO(data))) == data.split(b"\n")[::-1]


def test_a_file_that_goes_while_others_are_read_is_passed_over(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.jsonl").write_bytes(entry.written(failure(name)))
    records = source.source(str(tmp_path)).records(oldest=True)
    assert next(records).failure.id == "a"
    (tmp_path / "b.jsonl").unlink()
    assert [record.failure.id for record in records] == ["c"]
