"""Jobs for later become claimable."""

from __future__ import annotations

import random
from pathlib import Path

from spoolq.scheduler import Scheduler
from tests.unit.hands import file, job, left


def test_what_is_due_is_promoted_and_what_is_not_stays(tmp_path: Path) -> None:
    now = [1_800_000_000.0]
    store = file(tmp_path / "jobs.db", clock=lambda: now[0])
    store.put([job("soon", run_at=now[0] + 5), job("later", run_at=now[0] + 500)])
    scheduler = Scheduler(store)
    scheduler.turn()
    assert sum(depth.ready for depth in store.depths()) == 0
    now[0] += 6
    scheduler.turn()
    assert left(store) == ["soon"]
    store.close()


def test_a_full_batch_is_followed_by_the_next_at_once_and_else_by_a_pause_with_jitter(tmp_path: Path) -> None:
    now = [1_800_000_000.0]
    store = file(tmp_path / "jobs.db", clock=lambda: now[0])
    store.put([job(f"j{n}", run_at=now[0] + 1) for n in range(5)])
    now[0] += 2
    scheduler = Scheduler(store, batch=2, every=10.0, rng=random.Random(1))
    pauses = [scheduler.turn() for _ in range(4)]
    assert pauses[:2] == [0.0, 0.0]
    assert all(8.0 <= pause <= 12.0 for pause in pauses[2:])
    assert pauses[2] != pauses[3]
    store.close()
