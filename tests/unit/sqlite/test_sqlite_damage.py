"""What the disk changed is noticed before anybody runs it: such a row is set aside, with the reason, and nothing is deleted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from spoolq.errors import SpoolDamaged
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
