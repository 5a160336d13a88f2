"""Effects in a file: what the contract can't see."""

from __future__ import annotations

from pathlib import Path

import pytest

from spoolq import tracking
from spoolq.job import Job
from spoolq.store.effects import Countdown, Effects
from spoolq.store.sqlite import SQLiteStore, effects
from spoolq.wire import message
from tests.unit.sqlite.helpers import raw


def test_a_batch_that_lacks_members_still_is_not_gone_through_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ten thousand, that would be fifty million rows."""
    then = message(Job("then", "t", "after", given=True))
    store = SQLiteStore(tmp_path / "jobs.db", min_free=0, timeout=20.0)
    with monkeypatch.context() as patch:
        patch.setattr(effects, "SQL", {**effects.SQL, "count_values": "SELECT count(*) FROM nothing_of_that_name"})
        for n in range(4):
            store.put([], Effects(countdown=(Countdown("b", f"m{n}", 5, then, 60.0),)))
    assert store.queues() == []
    store.put([], Effects(countdown=(Countdown("b", "m4", 5, then, 60.0),)))
    assert store.queues() == ["after"]
    store.close()


def test_values_that_are_over_do_not_pile_up_however_many_jobs_are_tracked(tmp_path: Path) -> None:
    """Who sweeps from time to time, so many at once, came behind a worker of some hundred tracked jobs a second."""
    now = [1_800_000_000.0]
    store = SQLiteStore(tmp_path / "jobs.db", min_free=0, clock=lambda: now[0], timeout=20.0)

    def rows() -> int:
        connection = raw(tmp_path / "jobs.db")
        count: int = connection.execute("SELECT count(*) FROM vals").fetchone()[0]
        connection.close()
        return count

    def work(first: int) -> None:
        for n in range(first, first + 50):
            job = Job(f"j{n}", "t", "q", track=10.0)
            store.put([], tracking.queued([message(job)], now[0]))
            store.put([], tracking.done(job, None, now[0]))

    work(0)
    assert rows() == 50, "of each its end alone"
    now[0] += 60.0
    work(50)
    assert rows() == 50
    store.close()
