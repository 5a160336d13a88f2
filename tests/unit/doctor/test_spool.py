"""Each finding on the spool, provoked on real files, and cleared by its remedy."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

import spoolq
from spoolq.app import SpoolQ
from spoolq.doctor import check
from spoolq.doctor.look import Look
from spoolq.job import Claim, Handoff
from spoolq.store.base import WorkerInfo
from spoolq.store.journal import Settlement
from spoolq.store.sqlite import peeking
from tests.disks import mounted, served
from tests.servers import NOWHERE, Server
from tests.unit.doctor.conftest import Make
from tests.unit.doctor.hands import finding, findings, level, spool_of
from tests.unit.sqlite.helpers import raw
from tests.unit.sqlite.test_sqlite_aside import behead, spoil
from tests.unit.sqlite.test_sqlite_damage import flip
from tests.waiting import eventually

DRAINER = WorkerInfo("d", "host", 1, (), kind="drainer")
NOBODY = 65534


@pytest.fixture
def url() -> str:
    return NOWHERE


@pytest.fixture
def q(url: str, make: Make) -> SpoolQ:
    """One whose Redis is away, with three jobs in its spool."""
    made = make(url)
    fill(made, 3)
    return made


def fill(q: SpoolQ, count: int, size: int = 1) -> None:
    q.enqueue_many([q.remote("send", "mail").job("x" * size) for _ in range(count)])


def take(q: SpoolQ, count: int = 1) -> list[Handoff]:
    spool = spool_of(q)
    return spool.take(DRAINER, count, 1 << 20, spool.now() + 5)


@contextmanager
def open_elsewhere(path: Path, code: str = "", **env: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has the file open."""
    program = f"{code}\nheld = open({str(path)!r}, 'rb')\nprint('open', flush=True)\nimport sys\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **env},
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "open\n"
        try:
            yield process
        finally:
            process.stdin.close()
            process.wait(60)


# its place


def test_a_directory_that_is_not_there(url: str, make: Make, tmp_path: Path) -> None:
    q = make(url, spool=tmp_path / "new" / "spool.db")
    found = finding(q, "place")
    assert found.level == "problem"
    assert found.remedy.startswith(f"mkdir -p {tmp_path / 'new'}")
    (tmp_path / "new").mkdir()
    assert level(q, "place") == "ok"
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("make_it", [os.mkfifo, os.mkdir])
def test_what_is_no_file(make_it: Callable[[Path], None], url: str, make: Make, tmp_path: Path) -> None:
    make_it(tmp_path / "spool.db")
    q = make(url)
    began = time.monotonic()
    levels = {one.name: one.level for one in check(q, only={"spool"})}
    assert time.monotonic() - began < 40
    assert (levels["place"], levels["schema"], levels["structure"]) == ("problem", "unknown", "unknown")


def as_nobody(q: SpoolQ, name: str) -> tuple[str, str]:
    """Level and text of a finding as another user sees it, who shares no rights with this one."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            [one] = check(q, only={name}, look=Look(q, limit=60.0))
            os.write(write, f"{one.level}\n{one.what}".encode())
        except BaseException as error:
            os.write(write, f"failed\n{error!r}".encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as said:
        text = said.read()
    os.waitpid(child, 0)
    first, _, rest = text.partition("\n")
    return first, rest


@pytest.fixture
def open_path(tmp_path: Path) -> Iterator[None]:
    """Every user may come as far as the test's own directory."""
    changed = [(each, each.stat().st_mode) for each in (tmp_path, *tmp_path.parents) if not each.stat().st_mode & 1]
    for each, mode in changed:
        each.chmod(mode | 0o011)
    yield
    for each, mode in changed:
        each.chmod(mode)


@pytest.mark.root
@pytest.mark.usefixtures("open_path")
def test_a_file_of_another_user(q: SpoolQ) -> None:
    path = q.settings.spool_path
    q.close()
    said = as_nobody(q, "place")
    assert (said[0], "may not read and write it" in said[1]) == ("problem", True)
    path.chmod(0o666)
    assert as_nobody(q, "place")[0] == "ok"
    said = as_nobody(q, "owner")
    assert (said[0], f"belongs to uid 0, and this is uid {NOBODY}" in said[1]) == ("warning", True)
    os.chown(path, NOBODY, NOBODY)
    for part in path.parent.glob("spool.db-*"):
        os.chown(part, NOBODY, NOBODY)
    path.chmod(0o600)
    assert as_nobody(q, "owner")[0] == as_nobody(q, "place")[0] == "ok"


@pytest.mark.root
@pytest.mark.usefixtures("open_path")
def test_a_user_who_may_look_at_nothing_is_told_so(q: SpoolQ) -> None:
    q.settings.spool_path.parent.chmod(0o700)
    q.close()
    said = as_nobody(q, "place")
    assert (said[0], "this user may not look there" in said[1]) == ("problem", True)
    for name in ("filesystem", "schema", "owner", "structure", "drainer"):
        assert as_nobody(q, name)[0] == "unknown", name
    for name in ("orphans", "replaced", "versions", "open-files"):
        assert as_nobody(q, name)[0] in ("ok", "unknown"), name


@pytest.mark.root
def test_a_part_that_belongs_to_another_user(q: SpoolQ) -> None:
    path = q.settings.spool_path
    assert level(q, "owner") == "ok"
    os.chown(f"{path}-lock", 1, 1)
    found = finding(q, "owner")
    assert (found.level, "spool.db-lock belong" in found.what) == ("problem", True)
    assert found.remedy == f"chown --reference={path} {path}-*"
    subprocess.run(["/bin/sh", "-c", found.remedy], check=True)
    assert level(q, "owner") == "ok"


def test_a_directory_in_which_everybody_may_write(q: SpoolQ) -> None:
    folder = q.settings.spool_path.parent
    folder.chmod(0o777)
    found = finding(q, "owner")
    assert (found.level, found.remedy) == ("warning", f"chmod o-w {folder}")
    subprocess.run(found.remedy.split(), check=True)
    assert level(q, "owner") == "ok"


@pytest.mark.root
def test_a_disk_that_is_gone_after_a_reboot_or_full(url: str, make: Make, tmp_path: Path) -> None:
    with mounted("tmpfs", tmp_path) as disk:
        q = make(url, spool=disk.path / "spool.db", spool_min_free=2 << 20)
        found = finding(q, "filesystem")
        assert (found.level, "on tmpfs: what it holds is gone after a reboot" in found.what) == ("problem", True)
        assert level(q, "space") == "ok"
        disk.fill(leave=3 << 20)
        assert level(q, "space") == "warning"
        disk.fill(leave=1 << 20)
        found = finding(q, "space")
        assert (found.level, "below 2 MiB jobs are refused" in found.what) == ("problem", True)
        disk.clear()
        assert level(q, "space") == "ok"
        q.close()
    with mounted("ext4-4096", tmp_path) as disk:
        assert level(make(url, spool=disk.path / "spool.db"), "filesystem") == "ok"


@pytest.mark.root
def test_a_disk_that_is_a_containers_own_layer(url: str, make: Make, tmp_path: Path) -> None:
    with mounted("tmpfs", tmp_path) as disk:
        for name in ("lower", "upper", "work", "merged"):
            (disk.path / name).mkdir()
        options = ",".join(f"{name}dir={disk.path / name}" for name in ("lower", "upper", "work"))
        merged = disk.path / "merged"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, merged], check=True)
        try:
            found = finding(make(url, spool=merged / "spool.db"), "filesystem")
            assert (found.level, "on overlay: what it holds goes with its container" in found.what) == ("warning", True)
        finally:
            subprocess.run(["umount", "--lazy", merged], check=True)


@pytest.mark.root
@pytest.mark.parametrize(("program", "level"), [("sshfs", "problem"), ("mergerfs", "ok")])
def test_a_network_disk(url: str, make: Make, tmp_path: Path, program: str, level: str) -> None:
    with served(program, tmp_path) as folder:
        found = finding(make(url, spool=folder / "spool.db"), "filesystem")
    assert (found.level, f"network file system ({program})" in found.what) == (level, level == "problem")


# the file


def test_another_applications_database(url: str, make: Make, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE t (x)")
    other.close()
    content = (tmp_path / "other.db").read_bytes()
    q = make(url, spool=tmp_path / "other.db")
    assert level(q, "schema") == "problem"
    assert level(q, "quarantine") == "unknown"
    assert (tmp_path / "other.db").read_bytes() == content


def test_a_file_of_a_newer_version(q: SpoolQ) -> None:
    path = q.settings.spool_path
    with SpoolQ(q.settings.url, spool=path) as beside:
        assert level(beside, "schema") == "ok"
    foreign = raw(path)
    foreign.execute("PRAGMA user_version = 99")
    found = finding(q, "schema")
    assert (found.level, "and this one can't use it" in found.what) == ("problem", True)
    foreign.execute("INSERT INTO about (key, value) VALUES ('oldest_code', '1')")
    found = finding(q, "schema")
    assert (found.level, "this one can use it" in found.what) == ("warning", True)
    foreign.execute("PRAGMA user_version = 1")
    foreign.close()
    assert level(q, "schema") == "ok"


def test_a_file_of_an_older_version(q: SpoolQ, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peeking, "VERSION", 2)
    found = finding(q, "schema")
    assert (found.level, "`spoolq spool upgrade`" in found.remedy) == ("warning", True)


def test_a_copy_that_is_not_in_wal(q: SpoolQ, url: str, make: Make, tmp_path: Path) -> None:
    assert level(q, "journal") == "ok"
    q.close()
    foreign = sqlite3.connect(q.settings.spool_path)
    foreign.execute("VACUUM INTO ?", (str(tmp_path / "copy.db"),))
    foreign.close()
    copy = make(url, spool=tmp_path / "copy.db")
    content = (tmp_path / "copy.db").read_bytes()
    found = finding(copy, "journal")
    assert (found.level, "journal mode delete" in found.what) == ("warning", True)
    assert level(copy, "quarantine") == "unknown"
    check(copy)
    assert (tmp_path / "copy.db").read_bytes() == content
    assert spool_of(copy).info().rows == 3
    assert level(copy, "journal") == "ok"


def test_a_spool_for_another_redis(q: SpoolQ, make: Make) -> None:
    other = make("redis://127.0.0.1:1/5")
    found = finding(other, "destination")
    assert found.level == "problem"
    assert f"holds 3 jobs for {q.settings.destination}, not for redis://127.0.0.1:1/5#resque" in found.what
    assert level(q, "destination") == "ok"


def test_a_file_that_others_may_read(q: SpoolQ) -> None:
    q.settings.spool_path.chmod(0o644)
    found = finding(q, "mode")
    assert found.level == "warning"
    subprocess.run(found.remedy.split(), check=True)
    assert stat.S_IMODE(q.settings.spool_path.stat().st_mode) == 0o600
    assert level(q, "mode") == "ok"


def test_a_library_with_the_wal_reset_fault(q: SpoolQ) -> None:
    info = spool_of(q).info()
    assert level(q, "sqlite") == ("note" if (3, 7) <= tuple(map(int, info.sqlite.split("."))) < (3, 51, 3) else "ok")
    assert level(q, "sqlite", known={"info": replace(info, sqlite="3.51.2")}) == "note"
    assert level(q, "sqlite", known={"info": replace(info, sqlite="3.53.4")}) == "ok"


def test_processes_with_a_file_that_is_no_longer_there(q: SpoolQ) -> None:
    path = q.settings.spool_path
    with open_elsewhere(path) as process:
        assert level(q, "replaced") == "ok"
        q.close()
        path.unlink()
        found = finding(q, "replaced")
        assert (found.level, f"{process.pid} (python" in found.what) == ("problem", True)
    assert level(q, "replaced") == "ok"


def test_two_versions_of_spoolq_on_one_spool(q: SpoolQ, tmp_path: Path) -> None:
    import uuid_utils

    site = tmp_path / "site"
    shutil.copytree(Path(uuid_utils.__file__).parent, site / "uuid_utils")
    (site / "spoolq-0.0.1.dist-info").mkdir()
    with open_elsewhere(q.settings.spool_path, f"import sys; sys.path.insert(0, {str(site)!r}); import uuid_utils") as process:
        found = finding(q, "versions")
        assert (found.level, f"0.0.1 ({process.pid})" in found.what) == ("warning", True)
    with open_elsewhere(q.settings.spool_path, "import spoolq.job; spoolq.job.new_id()") as process:
        assert level(q, "versions") == "ok"
        found = finding(q, "versions", known={"installed": (spoolq.__version__, time.time() + 60)})
        assert (found.level, f"{process.pid} (python" in found.what) == ("warning", True)
    assert level(q, "versions") == "ok"


def test_where_spoolq_was_not_installed_its_version_is_not_known(q: SpoolQ, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", nowhere)
    found = finding(q, "versions")
    assert (found.level, "it was not installed" in found.what) == ("unknown", True)


def test_a_damaged_structure_and_what_was_set_aside(q: SpoolQ) -> None:
    fill(q, 500, 400)
    q.close()
    spoil(q.settings.spool_path)
    assert level(q, "structure") == "problem"
    path = q.settings.spool_path
    q.close()
    for part in ("", "-wal", "-shm"):
        if os.path.exists(f"{path}{part}"):
            os.rename(f"{path}{part}", f"{path}.damaged-1{part}")
    fill(q, 1)
    found = finding(q, "damaged")
    assert (found.level, ".damaged-1" in found.what) == ("problem", True)
    [done] = spool_of(q).upkeep.recover()
    found = finding(q, "damaged")
    assert (found.level, done.path in found.what, "move the file out" in found.remedy) == ("problem", True, True)
    os.rename(done.path, f"{path}.elsewhere")
    assert level(q, "damaged") == level(q, "structure") == "ok"


def test_a_file_without_its_head(q: SpoolQ) -> None:
    q.close()
    behead(q.settings.spool_path)
    found = finding(q, "structure")
    assert (found.level, "spoolq spool recover" in found.remedy) == ("problem", True)
    assert level(q, "waiting") == "unknown"


def test_a_row_that_the_disk_changed(q: SpoolQ) -> None:
    assert level(q, "checksum") == "ok"
    path = q.settings.spool_path
    foreign = raw(path)
    [[id]] = foreign.execute("SELECT id FROM jobs LIMIT 1").fetchall()
    foreign.close()
    flip(path, id)
    found = finding(q, "checksum")
    assert (found.level, id in found.what) == ("problem", True)


def test_rows_that_are_set_aside(q: SpoolQ) -> None:
    [handoff] = take(q)
    spool_of(q).quarantine(handoff, "Redis refuses it")
    found = finding(q, "quarantine")
    assert found.level == "warning"
    spool_of(q).upkeep.release([handoff.message.id])
    assert level(q, "quarantine") == "ok"


def test_a_file_near_its_bound(url: str, make: Make) -> None:
    q = make(url, spool_max_rows=10)
    fill(q, 9)
    found = finding(q, "full")
    assert (found.level, "90 % full, by spool_max_rows" in found.what) == ("warning", True)
    q.close()
    assert level(make(url, spool_max_rows=100), "full") == "ok"


def test_a_wal_that_a_reader_keeps(url: str, make: Make) -> None:
    q = make(url, spool_max_bytes=8 << 20)
    fill(q, 1)
    reader = raw(q.settings.spool_path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM jobs").fetchall()
    for _ in range(30):
        fill(q, 1, 80_000)
    found = finding(q, "wal")
    assert (found.level, "a reader keeps it" in found.what) == ("warning", True)
    reader.close()
    q.close()
    assert level(q, "wal") == "ok"


def test_a_spool_that_was_only_opened_needs_no_reserve(url: str, make: Make) -> None:
    q = make(url)
    assert spool_of(q).info().rows == 0
    assert not Path(f"{q.settings.spool_path}-reserve").exists()
    assert level(q, "reserve") == "ok"


def test_a_reserve_that_is_not_there(q: SpoolQ) -> None:
    reserve = Path(f"{q.settings.spool_path}-reserve")
    assert level(q, "reserve") == "ok"
    q.close()
    reserve.unlink()
    assert level(q, "reserve") == "warning"
    q.close()
    fill(q, 1)
    assert level(q, "reserve") == "ok"


# what is in it


def older(q: SpoolQ, seconds: float) -> None:
    """The rows as if they had been spooled so long ago."""
    foreign = raw(q.settings.spool_path)
    foreign.execute("UPDATE jobs SET created_at = created_at - ?", (int(seconds * 1e6),))
    foreign.close()


def test_rows_that_wait_while_redis_answers(fresh_server: Server, make: Make) -> None:
    fresh_server.kill()
    q = make(fresh_server.url)
    fill(q, 3)
    older(q, 300)
    assert level(q, "waiting") == "ok"
    fresh_server.start()
    found = finding(q, "waiting")
    assert (found.level, "5 min" in found.what) == ("warning", True)
    drain(q)
    assert level(q, "waiting") == "ok"


def drain(q: SpoolQ) -> None:
    drainer = q.drainer()
    drainer.run_once(30.0, wait=lambda delay: time.sleep(min(delay, 0.05)), report=lambda done: None)
    drainer.close()


def test_rows_in_doubt(fresh_server: Server, make: Make) -> None:
    fresh_server.kill()
    q = make(fresh_server.url)
    fill(q, 2)
    assert level(q, "doubt") == "ok"
    spool_of(q).give_back(take(q, 2), applied="maybe")
    spool_of(q).unregister(DRAINER)
    assert finding(q, "doubt").level == "note"
    older(q, 300)
    fresh_server.start()
    found = finding(q, "doubt")
    assert (found.level, "2 rows in doubt" in found.what) == ("warning", True)
    eventually(lambda: drain(q) or spool_of(q).info().rows == 0)
    assert level(q, "doubt") == "ok"


def test_outcomes_that_redis_was_not_told(q: SpoolQ) -> None:
    settlements = spool_of(q).settlements
    told = Settlement(Claim("w:1:1", "w", "mail", b""), "ack")
    settlements.keep("holder", [told], [], 1.0)
    found = finding(q, "untold")
    assert (found.level, "1 jobs" in found.what or "1 job" in found.what) == ("note", True)
    settlements.keep("holder", [], ["w:1:1"], 1.0)
    assert level(q, "untold") == "ok"


def test_a_spool_that_was_left_behind(q: SpoolQ, make: Make, tmp_path: Path) -> None:
    left = make("redis://127.0.0.1:1/7", spool=tmp_path / "left.db")
    fill(left, 2)
    left.close()
    found = finding(q, "orphans")
    assert found.level == "warning"
    assert f"{tmp_path / 'left.db'} holds 2 jobs for redis://127.0.0.1:1/7#resque" in found.what
    assert f"--spool {tmp_path / 'left.db'}" in found.remedy
    with open_elsewhere(tmp_path / "left.db"):
        assert level(q, "orphans") == "ok"
    (tmp_path / "notes.db").write_text("no database " * 100)
    assert len(findings(q, "orphans")) == 2
    (tmp_path / "notes.db").unlink()
    (tmp_path / "left.db").unlink()
    assert level(q, "orphans") == "ok"
