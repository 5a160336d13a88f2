"""A file is looked at without being changed, and without a file left beside it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from spoolq.errors import SpoolDamaged, StoreUnavailable
from spoolq.store.sqlite import SQLiteStore
from spoolq.store.sqlite.peeking import peek
from tests.unit.sqlite.helpers import message

Open = Callable[..., SQLiteStore]


def beside(path: Path) -> list[str]:
    return sorted(one.name for one in path.parent.iterdir())


def test_a_spool_in_use_and_one_at_rest_are_the_same(path: Path, spool: SQLiteStore) -> None:
    spool.spool([message("1"), message("2")])
    used = peek(path)
    assert (used.ours, used.schema, used.newest, used.journal, used.rows) == (True, 1, 1, "wal", 2)
    spool.close()
    before, content = beside(path), path.read_bytes()
    assert peek(path) == used
    assert (beside(path), path.read_bytes()) == (before, content)


def test_a_copy_in_another_mode_stays_in_it(path: Path, spool: SQLiteStore, tmp_path: Path) -> None:
    spool.spool([message("1")])
    spool.close()
    copy = tmp_path / "copy.db"
    foreign = sqlite3.connect(path)
    foreign.execute("VACUUM INTO ?", (str(copy),))
    foreign.close()
    assert [peek(copy).journal for _ in range(2)] == ["delete", "delete"]
    assert peek(copy).rows == 1


def test_what_is_none_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    foreign = sqlite3.connect(path)
    foreign.execute("CREATE TABLE t (x)")
    foreign.close()
    assert not peek(path).ours
    (tmp_path / "text").write_text("no database " * 100)
    with pytest.raises(SpoolDamaged):
        peek(tmp_path / "text")
    with pytest.raises(StoreUnavailable):
        peek(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()
