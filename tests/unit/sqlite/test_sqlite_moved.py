"""A file that is deleted, renamed or replaced under a process: nothing is acknowledged into a file that nobody can find."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from spoolq.errors import StoreUnavailable
from spoolq.store.sqlite import SQLiteStore
from tests.unit.sqlite.helpers import claim, message, raw

Open = Callable[..., SQLiteStore]


def there(path: Path) -> set[str]:
    """The ids in the file that is at the path now."""
    look = raw(path)
    try:
        return {id for (id,) in look.execute("SELECT id FROM jobs")}
    finally:
        look.close()


@pytest.mark.parametrize("with_wal", [True, False], ids=["all of it", "the database alone"])
def test_after_a_deletion_the_next_job_is_in_a_new_file(path: Path, store: SQLiteStore, with_wal: bool) -> None:
    store.put([message("1")])
    path.unlink()
    if with_wal:
        path.with_name("jobs.db-wal").unlink()
        path.with_name("jobs.db-shm").unlink()
    assert store.put([message("2")]) == [True]
    assert there(path) == {"2"}
    assert store.put([message("3")]) == [True]
    assert there(path) == {"2", "3"}


def test_after_a_renaming_the_next_job_is_in_a_new_file(path: Path, store: SQLiteStore, open_store: Open) -> None:
    store.put([message("1")])
    store.close()
    store = open_store()
    store.put([message("2")])
    store._run(lambda session: session.all("PRAGMA wal_checkpoint(TRUNCATE)"), writes=False)
    path.rename(path.with_name("old.db"))
    assert store.put([message("3")]) == [True]
    assert there(path) == {"3"}
    assert {"1", "2"} <= there(path.with_name("old.db"))


def test_two_processes_meet_again_in_the_new_file(path: Path, store: SQLiteStore, open_store: Open) -> None:
    other = open_store()
    store.put([message("1")])
    other.put([message("2")])
    for file in path.parent.glob("jobs.db*"):
        if "lock" not in file.name and "wake" not in file.name:
            file.unlink()
    assert store.put([message("3")]) == [True]
    assert other.put([message("4")]) == [True]
    assert store.put([message("5")]) == [True]
    assert there(path) == {"3", "4", "5"}
    store.close()
    assert there(path) == {"3", "4", "5"}
    assert len(claim(other, 1)) == 3
    look = raw(path)
    assert look.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    look.close()


def test_readers_notice_too(path: Path, store: SQLiteStore, open_store: Open) -> None:
    store.put([message("1")])
    assert open_store().waiting() == 1
    path.unlink()
    assert store.waiting() == 0


def test_a_file_deleted_under_two_processes_is_made_anew_by_either(path: Path, store: SQLiteStore) -> None:
    store.put([message("1")])
    look = (
        "import sys; from spoolq.store.sqlite import SQLiteStore; store = SQLiteStore(sys.argv[1], timeout=20.0); "
        "print(store.waiting(), flush=True); sys.stdin.readline(); print(store.waiting())"
    )
    with subprocess.Popen([sys.executable, "-c", look, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "1\n"
        path.unlink()
        assert store.put([message("2")]) == [True]
        assert other.communicate("\n")[0] == "1\n"
    assert there(path) == {"2"}


def test_a_directory_that_is_gone_is_told_and_nothing_is_stored(tmp_path: Path, open_store: Open) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    store = open_store(folder / "jobs.db")
    store.put([message("1")])
    folder.rename(tmp_path / "e")
    with pytest.raises(StoreUnavailable) as caught:
        store.put([message("2")])
    assert (caught.value.reason, caught.value.maybe_applied) == ("missing", False)
    folder.mkdir()
    assert store.put([message("2")]) == [True]
