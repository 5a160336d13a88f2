"""A queue that broke is set aside whole, loudly, and jobs are taken in a new one; what is simply not ours is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from spoolq.errors import ConfigError, SpoolDamaged, StoreUnavailable
from spoolq.store.sqlite import SQLiteStore, aside, driver, filesystem
from spoolq.store.sqlite.session import Session
from tests.disks import served
from tests.unit.sqlite.helpers import ROOT, claim, message, raw

Open = Callable[..., SQLiteStore]
ROWS = 500


@pytest.fixture
def filled(path: Path, open_store: Open) -> Path:
    """A spool with rows, closed."""
    store = open_store(role="spool")
    store.spool([message(str(n), payload=b"x" * 500) for n in range(ROWS)])
    store.close()
    return path


def spoil(path: Path) -> bytes:
    """Overwrite a part of many pages, in place. Returns the whole content."""
    with path.open("r+b") as file:
        for page in range(1, 90):
            file.seek(page * 4096)
            file.write(b"\xff" * 200)
    return path.read_bytes()


def behead(path: Path) -> bytes:
    """Overwrite the header, in place."""
    with path.open("r+b") as file:
        file.write(b"\0" * 512)
    return path.read_bytes()


def empty(path: Path) -> bytes:
    os.truncate(path, 0)
    return b""


def damaged(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.damaged-*"))


@pytest.mark.parametrize("harm", [spoil, behead, empty])
def test_a_queue_that_broke_is_set_aside_whole_and_jobs_are_taken(
    filled: Path, open_store: Open, harm: Callable[[Path], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    content = harm(filled)
    spool = open_store(role="spool")
    assert spool.spool([message("new")]) == [True]
    [kept] = [file for file in damaged(filled) if not file.name.endswith(("-wal", "-shm"))]
    assert kept.read_bytes() == content
    assert f"It was set aside whole as {kept}, and a new one was begun" in caplog.text
    info = spool.info()
    assert (info.rows, info.damaged) == (1, (str(kept),))
    [event] = spool.events.page(kinds=["spool_damaged"])
    assert event.detail["to"] == str(kept)
    assert spool.spool([message("newer")]) == [True]
    assert len(damaged(filled)) <= 3


def test_its_wal_stays_with_it(path: Path, open_store: Open) -> None:
    """Left in a process that was killed, the -wal has rows that the file has not."""
    code = (
        "import os, sys; from spoolq.store.sqlite import SQLiteStore; from spoolq.job import Message\n"
        "SQLiteStore(sys.argv[1], role='spool', timeout=20.0).spool([Message('1', 'q', b'')]); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, check=False)
    wal = path.with_name("jobs.db-wal").read_bytes()
    assert wal
    os.truncate(path, 0)
    spool = open_store(role="spool")
    assert spool.spool([message("2")]) == [True]
    [kept] = [file for file in damaged(path) if file.name.endswith("-wal")]
    assert kept.read_bytes() == wal


def test_a_claim_sets_nothing_aside(filled: Path, open_store: Open) -> None:
    """Nobody but a put needs a new file."""
    spoil(filled)
    spool = open_store(role="spool")
    with pytest.raises(SpoolDamaged, match=r"left as it is. If it is the spool, `spoolq spool recover`"):
        claim(spool, 1, ROWS)
    assert damaged(filled) == []


def test_who_makes_no_file_sets_none_aside(filled: Path, open_store: Open) -> None:
    behead(filled)
    with pytest.raises(SpoolDamaged):
        open_store(role="spool", create=False).spool([message("1")])
    assert damaged(filled) == []


def test_many_processes_that_meet_it_at_once_end_in_one_new_file(filled: Path) -> None:
    spoil(filled)
    code = (
        "import sys; from spoolq.store.sqlite import SQLiteStore; from spoolq.job import Message\n"
        "store = SQLiteStore(sys.argv[1], role='spool', timeout=30); sys.stdin.read()\n"
        "for n in range(20): assert store.spool([Message(f'{sys.argv[2]}-{n}', 'q', b'')]) == [True]\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(filled), str(n)], cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for n in range(5)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    errors = [process.stderr.read().decode() for process in processes if process.stderr is not None]
    assert [process.wait(60) for process in processes] == [0] * 5, errors
    assert len([file for file in damaged(filled) if not file.name.endswith(("-wal", "-shm"))]) == 1
    assert sum("set aside whole" in error for error in errors) == 1
    look = raw(filled)
    assert look.execute("SELECT count(*) FROM jobs").fetchone() == (100,)
    assert look.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    look.close()


def test_a_process_that_still_has_the_old_one_open_goes_on_in_the_new(filled: Path, open_store: Open) -> None:
    first = open_store(role="spool")
    assert first.waiting() == ROWS
    aside.set_aside(str(filled), 0.0)
    second = open_store(role="spool")
    assert second.spool([message("a")]) == [True]
    assert first.spool([message("b")]) == [True]
    assert (first.waiting(), second.waiting()) == (2, 2)
    old = open_store(Path(aside.kept(str(filled))[0]), role="spool")
    assert old.waiting() == ROWS


def test_a_text_file_put_in_a_spools_place_is_left_alone(filled: Path, open_store: Open) -> None:
    filled.unlink()
    filled.write_text("notes\n" * 1000)
    with pytest.raises(SpoolDamaged, match="is not a SQLite database"):
        open_store(role="spool").spool([message("1")])
    assert filled.read_text() == "notes\n" * 1000
    assert damaged(filled) == []


def test_another_applications_database_in_a_spools_place_is_left_alone(filled: Path, open_store: Open) -> None:
    filled.write_bytes(b"")  # the very same inode
    other = raw(filled)
    other.execute("CREATE TABLE theirs (a)")
    other.close()
    with pytest.raises(ConfigError, match="something else"):
        open_store(role="spool").spool([message("1")])
    assert damaged(filled) == []


def test_what_only_looked_like_damage_is_not_set_aside(filled: Path) -> None:
    """A read that failed once: the second look finds the file sound."""
    assert not aside.is_damaged(str(filled), 1.0)
    spoil(filled)
    assert aside.is_damaged(str(filled), 1.0)
    assert aside.is_damaged(str(filled), 1.0, limit=-1.0)


def test_a_setting_aside_that_was_cut_short_is_finished(filled: Path, open_store: Open) -> None:
    """Killed between two renames: the -wal is still at the path, and SQLite would delete it."""
    wal = filled.with_name("jobs.db-wal")
    wal.write_bytes(b"the rest")
    filled.rename(filled.with_name("jobs.db.damaged-1"))
    assert open_store(role="spool").spool([message("1")]) == [True]
    assert filled.with_name("jobs.db.damaged-1-wal").read_bytes() == b"the rest"


def test_two_in_one_second_have_names_of_their_own(filled: Path) -> None:
    first = aside.set_aside(str(filled), 0.0)
    filled.write_bytes(b"another")
    second = aside.set_aside(str(filled), 0.0)
    assert first != second
    assert aside.kept(str(filled)) == [first, second]
    assert aside.recovered(first, True) == first.replace("damaged", "recovered")
    assert aside.kept(str(filled)) == [second]
    assert aside.recovered(second, False) == second.replace("damaged", "incomplete")
    assert (aside.kept(str(filled)), aside.kept(str(filled), aside.INCOMPLETE)) == ([], [second.replace("damaged", "incomplete")])


# where a queue can't be


@pytest.mark.parametrize(("kind", "name"), [(0x6969, "NFS"), (0xFF534D42, "CIFS"), (0x01021997, "9P")])
def test_a_network_file_system_is_refused(
    path: Path, store: SQLiteStore, monkeypatch: pytest.MonkeyPatch, kind: int, name: str
) -> None:
    monkeypatch.setattr(filesystem, "kind", lambda directory: kind)
    with pytest.raises(ConfigError, match=rf"network file system \({name}\).*Nothing was stored; name a file on a local disk"):
        store.put([message("1")])
    assert not path.exists()


@pytest.mark.root
@pytest.mark.parametrize("program", ["sshfs", "s3fs", "glusterfs", "bindfs", "gocryptfs"])
def test_one_that_a_program_serves_is_told_by_the_program(program: str, tmp_path: Path) -> None:
    with (
        served(program, tmp_path) as folder,
        closing(SQLiteStore(folder / "spool.db", role="spool", min_free=0, timeout=20.0)) as store,
    ):
        if program in ("bindfs", "gocryptfs"):  # on a disk of this machine
            store.put([message("1")])
            return
        with pytest.raises(ConfigError, match=rf"network file system \({program}\).*Nothing was stored"):
            store.put([message("1")])
        assert not (folder / "spool.db").exists()


def test_a_local_one_is_told_by_its_type(tmp_path: Path) -> None:
    kind = filesystem.kind(str(tmp_path))
    assert kind not in filesystem.NETWORKS
    assert kind or sys.platform != "linux"
    assert filesystem.kind("/nowhere/at/all") == 0
    if Path("/dev/shm").is_dir():
        assert filesystem.kind("/dev/shm") == 0x01021994  # TMPFS_MAGIC


def test_a_queue_that_is_no_spool_is_left_for_a_person(path: Path, open_store: Open) -> None:
    """Its jobs could only be run from a file that nobody drains."""
    queue = open_store()
    queue.put([message("1")])
    queue.close()
    content = behead(path)
    with pytest.raises(SpoolDamaged):
        open_store().put([message("2")])
    assert (path.read_bytes(), damaged(path)) == (content, [])


def test_a_put_whose_commit_may_be_in_the_damaged_file_is_not_stored_in_a_new_one_too(
    filled: Path, open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be saved from the old one by and by, and be there twice. The next call sets the file aside."""
    commit = Session.commit

    def breaks(session: Session) -> None:
        commit(session)
        spoil(filled)
        raise driver.Error("database disk image is malformed")

    spool = open_store(role="spool")
    assert spool.waiting() == ROWS
    monkeypatch.setattr(Session, "commit", breaks)
    with pytest.raises(StoreUnavailable) as caught:
        spool.spool([message("once")])
    monkeypatch.undo()
    assert caught.value.maybe_applied
    assert damaged(filled) == []
    assert spool.spool([message("next")]) == [True]
    assert len([file for file in damaged(filled) if not file.name.endswith(("-wal", "-shm"))]) == 1
