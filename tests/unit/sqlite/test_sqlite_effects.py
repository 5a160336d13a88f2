"""Effects in a file: what the contract can't see."""

from __future__ import annotations

from pathlib import Path

import pytest

from spoolq.job import Job
from spoolq.store.effects import Countdown, Effects
from spoolq.store.sqlite import SQLiteStore, effects
from spoolq.wire import message


def test_a_batch_that_lacks_members_still_is_not_gone_through_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ten thousand, that would be fifty million rows."""
    then = message(Job("then", "t", "after", given=True))
    store = SQLiteStore(tmp_path / "jobs.db", min_free=0)
    with monkeypatch.context() as patch:
        patch.setattr(effects, "SQL", {**effects.SQL, "count_values": "SELECT count(*) FROM nothing_of_that_name"})
        for n in range(4):
            store.put([], Effects(countdown=(Countdown("b", f"m{n}", 5, then, 60.0),)))
    assert store.queues() == []
    store.put([], Effects(countdown=(Countdown("b", "m4", 5, then, 60.0),)))
    assert store.queues() == ["after"]
    store.close()
