"""What the disk changed is noticed before anybody runs it: such a row is set aside, with the reason, and nothing is deleted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from spoolq.errors import SpoolDamaged
from spoolq.store.effects import Effects
from spoolq.store.sqlite import SQLiteStore
from tests.unit.sqlite.helpers import claim, message, raw, worker

Open = Callable[..., SQLiteStore]
BIG = 1 << 30


def flip(path: Path, id: str, column: str = "payload") -> None:
    """One bit of a row."""
    change = {
        "payload": "payload = CAST('garbled' AS BLOB)",
        "queue": "queue = 'other'",
        "id": "id = 'other'",
    }[column]
    foreign = raw(path)
    assert foreign.execute(f"UPDATE jobs SET {change} WHERE id = ?", (id,)).rowcount == 1
    foreign.close()


@pytest.mark.parametrize("column", ["payload", "id"])
def test_a_changed_row_is_set_aside_and_the_next_is_claimed(
    path: Path, store: SQLiteStore, column: str, caplog: pytest.LogCaptureFixture
) -> None:
    store.put([message("1"), message("2"), message("3")])
    flip(path, "1", column)
    claims = claim(store, 1, limit=2)
    assert len(claims) == 2
    assert (store.info().quarantined, store.waiting()) == (1, 2)
    assert "set aside in quarantine: its checksum does not fit" in caplog.text
    look = raw(path)
    assert look.execute("SELECT reason FROM jobs WHERE state = 'q'").fetchone()[0].startswith("its checksum does not fit")
    look.close()


def test_a_row_that_moved_to_another_queue_is_set_aside(path: Path, store: SQLiteStore) -> None:
    store.put([message("1")])
    flip(path, "1", "queue")
    assert store.claim(worker(), 1, ["other", "q"], 10).claims == ()
    assert store.info().quarantined == 1


def test_a_changed_row_is_not_handed_over(path: Path, spool: SQLiteStore) -> None:
    spool.spool([message("1"), message("2")])
    flip(path, "1")
    taken = spool.take(worker("d", kind="drainer"), 10, BIG, 0.0)
    assert [handoff.message.id for handoff in taken] == ["2"]
    assert (spool.info().quarantined, spool.waiting()) == (1, 1)


def test_a_changed_row_is_not_rescued(path: Path, store: SQLiteStore) -> None:
    store.put([message("1"), message("2")])
    claim(store, 1)
    flip(path, "1")
    store.unregister(worker())
    assert len(store.rescue(worker("r"), 10)) == 1
    assert store.info().quarantined == 1
    assert [view.info.key for view in store.workers()] == ["r"]


def test_an_id_in_quarantine_is_still_there(path: Path, spool: SQLiteStore) -> None:
    spool.spool([message("1")])
    flip(path, "1")
    assert spool.take(worker("d", kind="drainer"), 10, BIG, 0.0) == []
    assert spool.spool([message("1")]) == [False]
    assert spool.recall(["1"]) == ["waiting"]


def test_a_retried_row_has_a_checksum_of_its_new_payload(store: SQLiteStore) -> None:
    store.put([message("1")])
    store.retry(claim(store, 1)[0], b"new", 0.0)
    assert [one.payload for one in claim(store, 2)] == [b"new"]


def test_a_file_damaged_in_the_middle_is_left_as_it_is(path: Path, store: SQLiteStore, open_store: Open) -> None:
    store.put([message(str(n), payload=b"x" * 500) for n in range(500)])
    store.close()
    with path.open("r+b") as file:
        for page in range(1, 30):
            file.seek(page * 4096)
            file.write(b"\xff" * 200)
    content = path.read_bytes()
    damaged = open_store()
    with pytest.raises(SpoolDamaged, match=r"is damaged .*left as it is"):
        claim(damaged, 1)
    assert path.read_bytes() == content
    path.rename(path.with_name("damaged.db"))
    assert damaged.put([message("new")]) == [True]


def change(path: Path, sql: str) -> None:
    foreign = raw(path)
    assert foreign.execute(sql).rowcount > 0
    foreign.close()


@pytest.mark.parametrize("name", ["char(10) || 'put'", "char(10) || 'pvt' || char(10) || 'q'", "char(10)", "char(11)"])
def test_a_count_whose_name_was_changed_is_nobodys(path: Path, store: SQLiteStore, name: str) -> None:
    store.put([message("1"), message("2", "r")])
    change(path, f"UPDATE counters SET name = {name} WHERE name = char(10) || 'put' || char(10) || 'q'")
    assert store.counts() == {"r": {"put": 1}}
    assert store.sample() is not None
    change(path, "UPDATE about SET value = 'name of it' WHERE key = 'tally-since'")
    found = store.tally()
    assert (found.birth, found.since, found.queues["q"].ready, found.queues["r"].counts) == ("name", 0.0, 1, {"put": 1})


@pytest.mark.parametrize("total", [2**63 - 1, -(2**63)])
def test_a_counter_at_its_end_keeps_no_job_from_its_end(path: Path, store: SQLiteStore, total: int) -> None:
    effects = Effects(counters=(("processed", 1 if total > 0 else -1),))
    store.put([message("1"), message("2")], effects)
    change(path, f"UPDATE counters SET n = {total}")
    store.put([message("3")], effects)
    store.ack(claim(store, 1), effects)
    assert store.waiting() == 0
    assert store.counters()["processed"] == total


@pytest.mark.parametrize("detail", ["{", "[]", "7", "[" * 100_000])
def test_an_event_that_was_changed_keeps_none_from_being_read_or_written(path: Path, spool: SQLiteStore, detail: str) -> None:
    for text in ("one", "two"):
        spool.events.record("action", text, who="ann")
    change(path, f"UPDATE events SET detail = '{detail}' WHERE text = 'two'")
    assert [(one.text, one.detail) for one in spool.events.page()] == [("two", {}), ("one", {"who": "ann"})]
    spool.events.record("action", "two")
    assert [(one.text, one.detail) for one in spool.events.after(0)][1] == ("two", {"times": 2})
