"""From an older schema to a newer one: in one transaction, by one of the processes that try, or not at all."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlite_utils import Database

from spoolq.errors import ConfigError, StoreUnavailable
from spoolq.store.sqlite import SQLiteStore
from spoolq.store.sqlite.migrations import migrate
from spoolq.store.sqlite.session import VERSION
from tests.unit.sqlite.helpers import ROOT, claim, message, raw

Open = Callable[..., SQLiteStore]


def add_priority(database: Database) -> None:
    database["jobs"].add_column("priority", int, not_null_default=0)  # type: ignore[union-attr]


def add_notes(database: Database) -> None:
    database["notes"].create({"id": str, "text": str}, pk="id", if_not_exists=False)  # type: ignore[union-attr]


STEPS = {2: add_priority, 3: add_notes}


@pytest.fixture
def old(path: Path, open_store: Open) -> Path:
    """A file as an older version left it, with a job in it."""
    store = open_store()
    store.put([message("1")])
    store.close()
    return path


def version(path: Path) -> int:
    look = raw(path)
    try:
        found: int = look.execute("PRAGMA user_version").fetchone()[0]
        return found
    finally:
        look.close()


def test_a_file_of_this_version_is_left_alone(old: Path) -> None:
    assert migrate(old) == VERSION == version(old)


def test_each_step_is_taken(old: Path) -> None:
    assert migrate(old, steps=STEPS, to=3) == 1
    assert version(old) == 3
    look = raw(old)
    assert look.execute("SELECT id, priority FROM jobs").fetchall() == [("1", 0)]
    assert look.execute("SELECT count(*) FROM notes").fetchone() == (0,)
    look.close()


def test_a_process_that_has_the_file_open_goes_on(old: Path, open_store: Open) -> None:
    store = open_store()
    store.put([message("2")])
    assert migrate(old, steps=STEPS, to=3) == 1
    assert store.put([message("3")]) == [True]
    assert len(claim(store, 1)) == 3


def test_a_step_that_fails_leaves_the_file_as_it_was(old: Path) -> None:
    def fails(database: Database) -> None:
        database["half"].create({"id": int})  # type: ignore[union-attr]
        raise StoreUnavailable("no", reason="test")

    with pytest.raises(StoreUnavailable, match=r"the step to schema 3 failed.*left at schema 1"):
        migrate(old, steps={2: add_priority, 3: fails}, to=3)
    assert version(old) == 1
    look = raw(old)
    assert look.execute("SELECT name FROM sqlite_schema WHERE name = 'half'").fetchall() == []
    look.close()
    assert migrate(old, steps=STEPS, to=3) == 1


def test_a_missing_step_is_told(old: Path) -> None:
    with pytest.raises(StoreUnavailable, match="no step to schema 3"):
        migrate(old, steps={2: add_priority}, to=3)
    assert version(old) == 1


def test_a_newer_file_that_older_code_can_use_is_used(old: Path, open_store: Open) -> None:
    migrate(old, steps=STEPS, to=3)
    assert migrate(old) == 3
    store = open_store()
    assert store.put([message("2")]) == [True]
    assert len(claim(store, 1)) == 2
    assert version(old) == 3


def test_a_newer_file_that_it_can_not_use_is_left_as_it_is(old: Path, open_store: Open) -> None:
    migrate(old, steps=STEPS, to=3, oldest=2)
    with pytest.raises(ConfigError, match=r"newer spoolq .schema 3, this one knows 1.*with its jobs: upgrade spoolq"):
        migrate(old)
    with pytest.raises(ConfigError, match=r"newer spoolq .schema 3, this one knows 1.*with its jobs: upgrade spoolq"):
        open_store().put([message("2")])
    look = raw(old)
    assert look.execute("SELECT id FROM jobs").fetchall() == [("1",)]
    look.close()


def test_a_step_that_keeps_producers_waiting_is_undone(old: Path) -> None:
    def slow(database: Database) -> None:
        database.execute("CREATE TABLE slow AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n")

    with pytest.raises(StoreUnavailable, match=r"schema 2 takes longer than 0.05 s.*left at schema 1; `spoolq spool upgrade"):
        migrate(old, steps={2: slow}, to=2, limit=0.05)
    assert version(old) == 1
    assert migrate(old, steps=STEPS, to=3) == 1


def test_what_is_none_of_ours_is_left_as_it_is(path: Path) -> None:
    with pytest.raises(ConfigError, match="no spool at"):
        migrate(path)
    Database(path)["theirs"].insert({"a": 1})  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="not a spool of spoolq's"):
        migrate(path)


RACE = """
import sys
from spoolq.store.sqlite.migrations import migrate
from tests.unit.sqlite.test_sqlite_migrations import STEPS
sys.stdin.readline()
print(migrate(sys.argv[1], steps=STEPS, to=3, timeout=20))
"""


def test_processes_that_migrate_at_once_do_it_once(old: Path) -> None:
    command = [sys.executable, "-c", RACE, str(old)]
    processes = [subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0] * 6
    assert sorted(said) == ["1", "3", "3", "3", "3", "3"]
    assert version(old) == 3
