from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolq import SpoolQ
from spoolq.dashboard import sampler, serving
from tests.servers import NOWHERE


@pytest.fixture(autouse=True)
def _patient_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is late since the machine is busy is none of these tests' business."""
    monkeypatch.setattr(serving, "LONGEST", 60.0)
    monkeypatch.setattr(serving, "CHANGING", 60.0)
    # nor that it shows what was seen before, where a look takes more than a second
    patient = {"every": sampler.EVERY, "wait": 40.0, "clock": time.monotonic}
    monkeypatch.setattr(sampler.Sampler.__init__, "__kwdefaults__", patient)


@pytest.fixture
def q(tmp_path: Path) -> Iterator[SpoolQ]:
    """An application whose Redis is gone."""
    with SpoolQ(NOWHERE, spool=tmp_path / "spool.db", spool_min_free=0) as q:
        yield q


@pytest.fixture
def box(tmp_path: Path) -> Iterator[SpoolQ]:
    """An application on an SQLite file alone."""
    with SpoolQ(f"sqlite:///{tmp_path}/jobs.db", spool_min_free=0) as q:
        yield q
