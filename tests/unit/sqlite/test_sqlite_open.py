"""Opening: what is made, and what is refused with a name for it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spoolq.errors import ConfigError, SpoolDamaged, StoreFull, StoreUnavailable
from spoolq.store.sqlite import SQLiteStore, driver
from tests.unit.sqlite.helpers import ROOT, claim, message, raw, run

Open = Callable[..., SQLiteStore]


def test_constructing_touches_nothing(path: Path, store: SQLiteStore) -> None:
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("there", [False, True], ids=["new", "touched"])
def test_all_files_are_for_their_owner_alone(path: Path, store: SQLiteStore, there: bool) -> None:
    old = os.umask(0)
    try:
        if there:
            path.touch()
        store.put([message("1")])
    finally:
        os.umask(old)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(("jobs.db", *(f"jobs.db-{part}" for part in ("wal", "shm", "lock", "wake", "reserve"))), 0o600)


def test_the_file_is_in_wal_mode_and_synced(path: Path, store: SQLiteStore) -> None:
    store.put([message("1")])
    session = store._writer._transactions._session
    assert session is not None
    assert store._run(lambda session: session.scalar("PRAGMA journal_mode"), writes=False) == "wal"
    assert store._run(lambda session: session.scalar("PRAGMA synchronous"), writes=False) == 2


def test_a_copy_in_another_mode_is_put_back_into_wal_mode(path: Path, store: SQLiteStore, open_store: Open) -> None:
    store.put([message("1")])
    copy = path.with_name("copy.db")
    look = raw(path)
    look.execute("VACUUM INTO ?", (str(copy),))
    look.close()
    other = open_store(copy)
    assert other.put([message("2")]) == [True]
    assert other._run(lambda session: session.scalar("PRAGMA journal_mode"), writes=False) == "wal"
    assert other.waiting() == 2


@pytest.mark.parametrize("how", ["FULL", "NORMAL", "EXTRA", "OFF"])
def test_synchronous_is_as_asked(open_store: Open, how: str) -> None:
    found = open_store(synchronous=how)._run(lambda session: session.scalar("PRAGMA synchronous"), writes=False)
    assert found == {"OFF": 0, "NORMAL": 1, "FULL": 2, "EXTRA": 3}[how]


@pytest.mark.parametrize(
    "bad",
    [
        {"role": "queue"},
        {"max_bytes": 1 << 20},
        {"max_rows": 0},
        {"min_free": -1},
        {"timeout": 0.0},
        {"timeout": float("inf")},
        {"remember": -1.0},
        {"synchronous": "full; drop table jobs"},
    ],
    ids=lambda bad: next(iter(bad)),
)
def test_a_setting_that_cannot_work_is_named(path: Path, bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        SQLiteStore(path, **bad)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"no directory {tmp_path}/nowhere"):
        SQLiteStore(tmp_path / "nowhere" / "jobs.db").put([message("1")])
    assert list(tmp_path.iterdir()) == []


def test_a_directory_is_made_where_that_is_asked_for(tmp_path: Path, open_store: Open) -> None:
    folder = tmp_path / "state" / "spoolq"
    store = open_store(folder / "jobs.db", make_directory=True)
    assert not folder.exists()
    store.put([message("1")])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a directory: name a file in it"):
        SQLiteStore(tmp_path).put([message("1")])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("empty", ["", "a\0b"])
def test_no_path_at_all(empty: str) -> None:
    with pytest.raises(ConfigError, match="can't be the path"):
        SQLiteStore(empty)


def test_looking_makes_no_file(path: Path) -> None:
    with pytest.raises(ConfigError, match=f"no spool at {path}"):
        SQLiteStore(path, create=False)
    assert not path.exists()


def test_looking_makes_no_file_when_it_goes_away_later(path: Path, store: SQLiteStore, open_store: Open) -> None:
    store.put([message("1")])
    looking = open_store(create=False)
    assert looking.waiting() == 1
    store.close()
    path.unlink()
    with pytest.raises(StoreUnavailable, match="no spool at") as caught:
        looking.waiting()
    assert caught.value.reason == "missing"
    assert not path.exists()


@pytest.mark.parametrize("content", [b"this is a text file, not a database\n" * 200, bytes(range(256)) * 16])
def test_a_file_that_is_no_database_is_left_as_it_is(path: Path, store: SQLiteStore, content: bytes) -> None:
    path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(SpoolDamaged, match=f"{path} is not a SQLite database.*left as it is"):
            store.put([message("1")])
    assert path.read_bytes() == content


def test_an_empty_file_becomes_a_queue(path: Path, store: SQLiteStore) -> None:
    path.touch()
    assert store.put([message("1")]) == [True]


def test_somebody_elses_database_is_left_as_it_is(path: Path, store: SQLiteStore) -> None:
    path.touch()
    other = raw(path)
    other.execute("CREATE TABLE theirs (a)")
    other.close()
    with pytest.raises(ConfigError, match="something else"):
        store.put([message("1")])
    other = raw(path)
    assert other.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]
    other.close()


def test_a_newer_schema_is_refused(path: Path, store: SQLiteStore, open_store: Open) -> None:
    store.put([message("1")])
    store.close()
    newer = raw(path)
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(ConfigError, match=r"newer spoolq .schema 99, this one knows 1"):
        open_store().put([message("2")])


def test_a_file_from_before_the_first_release_is_refused_with_its_jobs_kept(
    path: Path, store: SQLiteStore, open_store: Open
) -> None:
    store.put([message("1")])
    store.close()
    older = raw(path)
    older.executescript("DROP INDEX jobs_ready; DROP INDEX jobs_in_doubt; ALTER TABLE jobs DROP COLUMN front")
    older.close()
    with pytest.raises(ConfigError, match=r"earlier spoolq.* with its jobs: drain or export it with that one"):
        open_store().put([message("2")])
    older = raw(path)
    assert older.execute("SELECT id FROM jobs").fetchall() == [("1",)]
    older.close()


def test_the_destination_is_recorded_and_another_one_refused(path: Path, open_store: Open) -> None:
    open_store(role="spool", destination="redis://a:6379/0 resque").spool([message("1")])
    open_store(role="spool", destination="redis://a:6379/0 resque").spool([message("2")])
    other = open_store(role="spool", destination="redis://b:6379/0 resque")
    with pytest.raises(ConfigError, match="holds jobs for redis://a:6379/0 resque, not for redis://b:6379/0 resque"):
        other.spool([message("3")])
    looking = open_store(create=False)
    assert (looking.info().destination, looking.waiting()) == ("redis://a:6379/0 resque", 2)


def test_a_file_made_without_a_destination_takes_the_first(open_store: Open) -> None:
    open_store().put([message("1")])
    open_store(destination="redis://a").put([message("2")])
    with pytest.raises(ConfigError):
        open_store(destination="redis://b").put([message("3")])


def test_a_full_disk_is_not_even_opened(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where -shm can't be laid out, SQLite's mapping of it kills the process."""
    disk = os.statvfs("/")
    full = os.statvfs_result((*disk[:4], 0, *disk[5:]))
    monkeypatch.setattr("spoolq.store.sqlite.session.os.statvfs", lambda path: full)
    with pytest.raises(StoreFull, match="can't even be opened"):
        store.put([message("1")])


NOBODY = "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n" if os.geteuid() == 0 else ""


def test_a_directory_that_is_not_writable_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    _open_to_all(tmp_path)
    done = run(
        "from spoolq.store.sqlite import SQLiteStore; import sys\n" + NOBODY + "SQLiteStore(sys.argv[1], timeout=20.0).waiting()",
        folder / "jobs.db",
    )
    assert f"NoPlace: {folder / 'jobs.db'}: the directory {folder} is not writable" in done.stderr


def test_a_file_that_is_not_writable_is_named(tmp_path: Path, open_store: Open) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    store = open_store(folder / "jobs.db")
    store.put([message("1")])
    store.close()
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)
    _open_to_all(tmp_path)
    done = run(
        "from spoolq.store.sqlite import SQLiteStore; from spoolq.job import Message; import sys\n"
        + NOBODY
        + "SQLiteStore(sys.argv[1], timeout=20.0).put([Message('2', 'q', b'')])",
        folder / "jobs.db",
    )
    folder.chmod(0o755)
    assert "StoreUnavailable" in done.stderr
    assert "Nothing was stored" in done.stderr
    assert str(folder / "jobs.db") in done.stderr


def _open_to_all(folder: Path) -> None:
    """Let another user reach it."""
    for parent in (folder, *folder.parents):
        if parent.stat().st_uid == os.geteuid() and not stat.S_IMODE(parent.stat().st_mode) & 0o001:
            parent.chmod(stat.S_IMODE(parent.stat().st_mode) | 0o011)


def test_processes_that_open_a_new_file_at_once_all_get_it(path: Path) -> None:
    code = (
        "import sys; from spoolq.store.sqlite import SQLiteStore; from spoolq.job import Message\n"
        "store = SQLiteStore(sys.argv[1], timeout=20.0); store.put([Message(sys.argv[2], 'q', b'')]); store.close()"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(path), str(n)], cwd=ROOT) for n in range(6)]
    assert [process.wait(60) for process in processes] == [0] * 6
    assert SQLiteStore(path, create=False).waiting() == 6


def test_what_was_acknowledged_is_there_after_closing(path: Path, store: SQLiteStore, open_store: Open) -> None:
    store.put([message("1")])
    store.close()
    assert not path.with_name("jobs.db-wal").exists()
    assert len(claim(open_store(), 1)) == 1


@pytest.mark.parametrize("name", ["a b.db", "50%25.db", "q?mode=memory#x.db", "é.db", os.fsdecode(b"\xff.db")])
def test_a_path_is_taken_as_it_is(tmp_path: Path, open_store: Open, name: str) -> None:
    assert open_store(tmp_path / name).put([message("1")]) == [True]
    assert (tmp_path / name).is_file()


def test_closing_twice_and_calling_after_it(store: SQLiteStore) -> None:
    store.put([message("1")])
    store.close()
    store.close()
    with pytest.raises(StoreUnavailable, match="was closed") as caught:
        store.put([message("2")])
    assert (caught.value.reason, caught.value.maybe_applied) == ("closed", False)


def test_closing_what_was_never_used(store: SQLiteStore) -> None:
    store.close()


def test_an_old_sqlite_is_told_in_one_line() -> None:
    driver.check_version("3.37.0")
    driver.check_version("4.0.0")
    with pytest.raises(ConfigError, match=r"SQLite 3\.36\.0 is too old.*pip install 'spoolq\[sqlite\]'"):
        driver.check_version("3.36.0")


def test_the_package_alone_loads_no_sqlite_utils() -> None:
    done = run(
        "import sys, tempfile; from spoolq.store.sqlite import SQLiteStore; from spoolq.job import Message\n"
        "store = SQLiteStore(tempfile.mkdtemp() + '/a.db'); store.put([Message('1', 'q', b'')]); store.close()\n"
        "print([name for name in ('sqlite_utils', 'click', 'redis', 'tenacity') if name in sys.modules])"
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_an_idle_store_does_not_hold_the_exit() -> None:
    done = run(
        "import tempfile; from spoolq.store.sqlite import SQLiteStore; from spoolq.job import Message\n"
        "store = SQLiteStore(tempfile.mkdtemp() + '/a.db'); print(store.put([Message('1', 'q', b'')]))"
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "[True]", "")


def test_the_whole_schema_is_on_the_files_first_page(store: SQLiteStore, path: Path) -> None:
    """A damage to the second page would make everything unreadable."""
    store.depths()
    connection = raw(path)
    try:
        [(pages,)] = connection.execute("SELECT count(*) FROM dbstat WHERE name = 'sqlite_schema'")
    except driver.Error:  # an SQLite that was built without it
        pages = 1
    connection.close()
    assert pages == 1


def test_a_path_with_two_slashes_in_front_is_that_path(path: Path, open_store: Open) -> None:
    store = SQLiteStore(f"/{path}")
    assert store.put([message("a")]) == [True]
    store.close()
    assert open_store().info().rows == 1
