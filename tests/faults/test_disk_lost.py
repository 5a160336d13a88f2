"""A disk that hangs, becomes read-only or dies, a process without descriptors, bits that flip where no checksum is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spoolq import EnqueueError, MaybeStored, NotStored, SpoolQ
from spoolq.errors import StoreUnavailable
from spoolq.store.sqlite import SQLiteStore
from spoolq.store.sqlite.session import Session
from tests.disks import Disk, mounted
from tests.faults.app import application, arrived, drain
from tests.servers import Server
from tests.unit.sqlite.helpers import ROOT, message, run, worker
from tests.waiting import eventually

LIMIT = 5.0  # seconds: enough for a busy machine
THAWED = 60


@contextmanager
def thawed_later(disk: Disk) -> Iterator[Callable[[], None]]:
    """A way to freeze it, so that nothing is written to it. A process of its own thaws it, whatever becomes of this one."""
    thaws = subprocess.Popen(["sh", "-c", f"sleep {THAWED}; fsfreeze -u {disk.path}"], start_new_session=True)
    try:
        yield lambda: (subprocess.run(["fsfreeze", "-f", str(disk.path)], check=True), None)[1]
    finally:
        subprocess.run(["fsfreeze", "-u", str(disk.path)], check=False, stderr=subprocess.DEVNULL)
        os.killpg(thaws.pid, signal.SIGKILL)
        thaws.wait()


@pytest.fixture
def hanging(fresh_server: Server, tmp_path: Path) -> Iterator[tuple[SpoolQ, Disk, list[str]]]:
    """An application whose Redis is gone, with three jobs in a spool on a disk of its own."""
    with mounted("ext4-4096", tmp_path, 64 << 20) as disk:
        q = application(fresh_server.url, disk.path, disk_limit=LIMIT)
        fresh_server.kill()
        stored = [eventually(lambda: spooled(q), 60) for _ in range(3)]
        q.client._prober.stop(20.0)  # it writes into the journal: the next commit is that of a test's job
        yield q, disk, stored
        q.close()


@pytest.mark.root
def test_a_disk_that_hangs_in_a_commit_is_unknown_and_the_same_id_is_safe(
    fresh_server: Server, hanging: tuple[SpoolQ, Disk, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    q, disk, stored = hanging
    task, commit = q.remote("t", "work"), Session.commit
    with thawed_later(disk) as freeze:

        def hangs(session: Session) -> None:
            freeze()
            commit(session)

        monkeypatch.setattr(Session, "commit", hangs)
        began = time.monotonic()
        with pytest.raises(MaybeStored, match=r"the disk has not answered within 5 s") as unknown:
            task.enqueue("hangs")
        with pytest.raises(NotStored, match=r"so it was not asked again\. Nothing was stored") as refused:
            task.enqueue("later")
        with pytest.raises(MaybeStored):
            task.using(id=unknown.value.id).enqueue("hangs")
        assert time.monotonic() - began < THAWED / 2  # all that while it hung
        monkeypatch.undo()
    assert unknown.value.unknown == (unknown.value.id,)
    assert refused.value.not_stored == (refused.value.id,)
    assert eventually(lambda: answered(q, unknown.value.id), 60) == unknown.value.id
    fresh_server.start()
    empty(fresh_server, disk)
    assert arrived(fresh_server) == dict.fromkeys([*stored, unknown.value.id], 1)


@pytest.mark.root
def test_a_disk_that_hangs_already_takes_nothing_and_says_so(
    fresh_server: Server, hanging: tuple[SpoolQ, Disk, list[str]]
) -> None:
    q, disk, stored = hanging
    task = q.remote("t", "work")
    with thawed_later(disk) as freeze:
        freeze()
        began = time.monotonic()
        tried = []
        for number in range(20):
            with pytest.raises(EnqueueError) as caught:
                task.enqueue(number)
            tried.append(caught.value)
        assert time.monotonic() - began < THAWED / 2
    unknown = {id for error in tried for id in error.unknown}
    assert len(unknown) <= 1
    for error in tried:
        eventually(lambda id=error.id: answered(q, id), 60)  # type: ignore[misc]
    fresh_server.start()
    empty(fresh_server, disk)
    assert arrived(fresh_server) == dict.fromkeys([*stored, *(error.id for error in tried)], 1)


@pytest.mark.root
def test_a_disk_that_hangs_before_the_first_outage_hangs_no_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was ever spooled by this process: even the directory of the spool is to be made."""
    with mounted("ext4-4096", tmp_path, 64 << 20) as disk, thawed_later(disk) as freeze:
        monkeypatch.setenv("STATE_DIRECTORY", str(disk.path / "state"))
        monkeypatch.delenv("SPOOLQ_SPOOL", raising=False)
        q = SpoolQ("redis://127.0.0.1:1/0", spool_min_free=0, disk_limit=LIMIT)
        freeze()
        began = time.monotonic()
        for _ in range(2):
            with pytest.raises(NotStored):
                q.remote("t", "work").enqueue("x")
        assert time.monotonic() - began < THAWED / 2
        subprocess.run(["fsfreeze", "-u", str(disk.path)], check=True)
        assert eventually(lambda: spooled(q), 60)
        q.close()
        assert {path.suffix for path in (disk.path / "state").iterdir()} >= {".db"}


@pytest.mark.root
@pytest.mark.parametrize("used", [False, True])
def test_a_disk_that_hangs_holds_up_no_close(tmp_path: Path, used: bool) -> None:
    with mounted("ext4-4096", tmp_path, 64 << 20) as disk, thawed_later(disk) as freeze:
        q = SpoolQ("redis://127.0.0.1:1/0", spool=disk.path / "spool.db", spool_min_free=0, disk_limit=LIMIT)
        if used:
            eventually(lambda: spooled(q), 60)
        freeze()
        with pytest.raises(EnqueueError):
            q.remote("t", "work").enqueue("x")
        began = time.monotonic()
        q.close(0.1)
        assert time.monotonic() - began < THAWED / 2


def empty(server: Server, disk: Disk) -> None:
    """Drain the spool, patiently."""
    with application(server.url, disk.path, disk_limit=60.0) as q:
        drain(q)


def spooled(q: SpoolQ) -> str:
    """The id of a job that was stored; none while the machine is too busy for the limit."""
    try:
        return q.remote("t", "work").enqueue("x").id
    except NotStored:
        return ""
    except MaybeStored as error:
        id = error.id
        return eventually(lambda: answered(q, id), 60)


def answered(q: SpoolQ, id: str) -> str:
    """Enqueued again with the id, once the disk answers."""
    try:
        return q.remote("t", "work").using(id=id).enqueue("hangs").id
    except (MaybeStored, NotStored):
        return ""


@pytest.mark.root
def test_a_disk_that_became_read_only_is_told_and_nothing_is_stored(tmp_path: Path) -> None:
    with mounted("ext4-4096", tmp_path) as disk:
        store = SQLiteStore(disk.path / "spool.db", role="spool", min_free=0, timeout=20)
        store.spool([message("before")])
        store.close()
        subprocess.run(["mount", "-o", "remount,ro", str(disk.path)], check=True)
        store = SQLiteStore(disk.path / "spool.db", role="spool", min_free=0, timeout=20)
        with pytest.raises(StoreUnavailable, match="Nothing was stored") as refused:
            store.spool([message("now")])
        assert (refused.value.reason, refused.value.maybe_applied) == ("readonly", False)
        subprocess.run(["mount", "-o", "remount,rw", str(disk.path)], check=True)
        assert store.spool([message("now")]) == [True]
        assert store.waiting() == 2
        store.close()


def test_a_process_without_descriptors_is_told_and_goes_on_when_it_has_some(tmp_path: Path) -> None:
    code = """
import os, resource, sys
from spoolq.errors import StoreUnavailable
from spoolq.job import Message
from spoolq.store.sqlite import SQLiteStore
from spoolq.store.sqlite.session import Session
opened = SQLiteStore(sys.argv[1] + "/a.db", role="spool", timeout=20, min_free=0)
opened.spool([Message("1", "q", b"")])
fresh = SQLiteStore(sys.argv[1] + "/b.db", role="spool", timeout=20, min_free=0)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
taken = []
try:
    while True:
        taken.append(os.dup(0))
except OSError:
    pass
print(opened.spool([Message("2", "q", b"")]))
try:
    fresh.spool([Message("1", "q", b"")])
except StoreUnavailable as error:
    print(error.reason, error.maybe_applied, "Nothing was stored" in str(error))
for fd in taken:
    os.close(fd)
print(fresh.spool([Message("1", "q", b"")]), opened.waiting())
"""
    done = run(code, tmp_path)
    assert done.stdout.splitlines() == ["[True]", "io False True", "[True] 2"], done.stderr


def killed_with_a_wal(path: Path, count: int) -> bytes:
    """A spool whose rows are in the -wal alone, left by a process that was killed. The -wal's content."""
    code = (
        "import os, sys; from spoolq.store.sqlite import SQLiteStore; from spoolq.job import Message\n"
        "store = SQLiteStore(sys.argv[1], role='spool', min_free=0, timeout=20)\n"
        f"for n in range({count}): store.spool([Message(str(n), 'q', b'x' * 100)])\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, check=False)
    return path.with_name(f"{path.name}-wal").read_bytes()


def test_a_bit_that_flips_in_the_wal_hides_later_commits_and_nobody_can_see_it(tmp_path: Path) -> None:
    """What can't be seen, and so isn't promised: the file opens cleanly, and is what it was before that commit."""
    path = tmp_path / "spool.db"
    wal = bytearray(killed_with_a_wal(path, 30))
    wal[len(wal) // 2] ^= 1
    path.with_name("spool.db-wal").write_bytes(wal)
    store = SQLiteStore(path, role="spool", min_free=0, timeout=20)
    assert 0 < store.waiting() < 30
    assert store.upkeep.check() == []
    assert store.spool([message("new")]) == [True]
    store.close()


def test_without_the_flip_all_of_it_is_there(tmp_path: Path) -> None:
    """The control."""
    path = tmp_path / "spool.db"
    killed_with_a_wal(path, 30)
    store = SQLiteStore(path, role="spool", min_free=0, timeout=20)
    assert store.waiting() == 30
    store.close()


def test_a_bit_that_flips_in_a_row_is_found_when_it_is_its_turn(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    store = SQLiteStore(path, role="spool", min_free=0, timeout=20)
    store.spool([message(str(n), payload=f"payload-of-{n}-{'x' * 200}".encode()) for n in range(20)])
    store.close()
    content = bytearray(path.read_bytes())
    content[content.index(b"payload-of-7-xxx") + 40] ^= 4
    path.write_bytes(content)
    store = SQLiteStore(path, role="spool", min_free=0, timeout=20)
    assert store._run(lambda session: session.scalar("PRAGMA integrity_check"), writes=False) == "ok"
    [found] = store.upkeep.check()
    assert (found.name, "1 of 20 rows" in found.what) == ("checksum", True)
    taken = store.take(worker("d", kind="drainer"), 100, 1 << 20, store.now() + 5)
    assert len(taken) == 19  # those behind it are not blocked
    assert [one.id for _, one in store.upkeep.quarantined()] == ["7"]
    store.close()
