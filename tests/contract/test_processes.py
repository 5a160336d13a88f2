"""Several real processes on one store: each job to one of them, nothing lost, nothing twice."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from spoolq.store.base import Store
from tests.contract.backends import Backend
from tests.contract.hands import Hand

ROOT = Path(__file__).parents[2]
PROCESSES, EACH = 4, 120

pytestmark = pytest.mark.processes


def start(backend: Backend, name: str, log: Path) -> subprocess.Popen[bytes]:
    assert backend.spec is not None
    command = [sys.executable, "-m", "tests.contract.process", *backend.spec, name, str(EACH), str(PROCESSES * EACH), str(log)]
    return subprocess.Popen(command, cwd=ROOT)


def test_each_job_is_put_once_and_claimed_once(backend: Backend, store: Store, tmp_path: Path) -> None:
    """All put their own jobs and some of everybody's, and claim and ack until all are done."""
    logs = [tmp_path / f"{n}.log" for n in range(PROCESSES)]
    processes = [start(backend, f"p{n}", log) for n, log in enumerate(logs)]
    try:
        assert [process.wait(90) for process in processes] == [0] * PROCESSES
    finally:
        for process in processes:
            process.kill()
            process.wait()
    lines = [line.split() for log in logs for line in log.read_text().splitlines()]
    new = Counter(id for word, id in lines if word == "NEW")
    claimed = Counter(id for word, id in lines if word == "CLAIM")
    expected = {f"p{n}-{i}" for n in range(PROCESSES) for i in range(EACH)} | {f"shared-{i}" for i in range(EACH // 10)}
    assert set(new) == set(claimed) == expected
    assert {id: n for id, n in claimed.items() if n != 1} == {}
    assert {id: n for id, n in new.items() if n != 1} == {}
    assert store.counters()["done"] == len(expected)
    assert all((depth.ready, depth.claimed) == (0, 0) for depth in store.depths())
    assert Hand(store).claim() == ()
