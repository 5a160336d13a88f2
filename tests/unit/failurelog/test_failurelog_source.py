"""Lines from the end of a file, whatever its blocks."""

from __future__ import annotations

import io
import random

import pytest

from spoolq.failurelog import source


def test_lines_come_from_the_last_to_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(1)
    for size in range(1, 9):
        monkeypatch.setattr(source, "_BLOCK", size)
        for length in range(40):
            data = bytes(rng.choice(b"ab\n") for _ in range(length))
            assert list(source.backwards(io.BytesIO(data))) == data.split(b"\n")[::-1]
