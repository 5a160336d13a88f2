"""Rows in quarantine have negative numbers in the order of arrival; nobody else may ever get one."""

from pathlib import Path

from spoolq.job import Message
from spoolq.store.base import WorkerInfo
from spoolq.store.sqlite import SQLiteStore


def test_what_is_spooled_after_a_quarantine_is_still_handed_over_and_many_can_be_set_aside(tmp_path: Path):
    spool = SQLiteStore(tmp_path / "spool.db", role="spool", min_free=0, timeout=20.0)
    drainer = WorkerInfo("drainer", "host", 1, (), kind="drainer")
    for turn in range(3):
        ids = [f"{turn}-{number}" for number in range(3)]
        spool.spool([Message(id, "q", b"{}") for id in ids])
        handoffs = spool.take(drainer, 10, 1 << 20, spool.now() + 1)
        assert [handoff.message.id for handoff in handoffs] == ids
        for handoff in handoffs:
            spool.quarantine(handoff, "set aside by this test")
    assert (spool.info().quarantined, spool.waiting()) == (9, 0)
    spool.close()
