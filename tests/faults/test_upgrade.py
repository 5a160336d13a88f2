"""A newer spoolq comes to a host on which the older one runs: real processes of both, on one spool and one Redis.

The older one is this checkout. The newer ones are copies of it, whose schema is a version further.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.disks import mounted
from tests.faults.working import ROOT, Place, at
from tests.servers import Binary, Server
from tests.unit.sqlite.helpers import raw
from tests.waiting import eventually

STEP = """
def _add(database):
    database["jobs"].add_column("shade", str, not_null_default="none")
    database["notes"].create({"id": str, "text": str}, pk="id")
"""
BLOCKS = """
    import os, pathlib, time
    pathlib.Path(os.environ["IN_STEP"]).touch()
    while True:
        time.sleep(1)
"""
GROWS = """
    database.execute("CREATE TABLE large (b)")
    for _ in range(64):
        database.execute("INSERT INTO large VALUES (zeroblob(1 << 20))")
"""
PRODUCER = """
import os, sys
from spoolq import SpoolQ
from tests.waiting import pass_time
q = SpoolQ.from_env()
note = q.remote("note", "work")
out = open(sys.argv[1], "a", buffering=1)
for number in range(int(sys.argv[2])):
    if number == 3 and sys.argv[3:] == ["forks"]:
        child = os.fork()  # one that opens the file anew, as web servers' processes do
        if child == 0:
            out = open(sys.argv[1] + "-child", "a", buffering=1)
    print(note.enqueue(number).id, file=out)
    pass_time(0.02)
"""


@dataclass(frozen=True)
class Release:
    """A spoolq at `path`."""

    path: Path

    def run(self, place: Place, *words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words), env=self.environment(place), cwd=place.folder, capture_output=True, text=True, timeout=60
        )

    def start(self, place: Place, *words: object) -> subprocess.Popen[bytes]:
        log = place.folder / f"{'-'.join(str(word) for word in words[:1])}-{self.path.name}.log"
        with log.open("ab") as out:
            return subprocess.Popen(self.command(*words), env=self.environment(place), cwd=place.folder, stdout=out, stderr=out)

    def command(self, *words: object) -> list[str]:
        return [sys.executable, "-m", "spoolq", *map(str, words)]

    def environment(self, place: Place) -> dict[str, str]:
        return {**place.environment, "PYTHONPATH": os.pathsep.join([str(self.path), str(ROOT), str(place.folder)])}


OLD = Release(ROOT)


def newer(folder: Path, *, version: int = 2, oldest: int = 1, step: str = STEP) -> Release:
    """A copy whose schema is `version`, which code from `oldest` on can use."""
    path = folder / f"release-{version}-{oldest}"
    shutil.copytree(ROOT / "spoolq", path / "spoolq", ignore=shutil.ignore_patterns("__pycache__"))
    session, migrations = (path / "spoolq/store/sqlite" / f"{name}.py" for name in ("session", "migrations"))
    text = session.read_text()
    assert "\nVERSION = 1\n" in text
    assert "\nOLDEST = 1\n" in text
    session.write_text(
        text.replace("\nVERSION = 1\n", f"\nVERSION = {version}\n").replace("\nOLDEST = 1\n", f"\nOLDEST = {oldest}\n")
    )
    text = migrations.read_text()
    steps = "STEPS: Steps = MappingProxyType({})"
    assert steps in text
    migrations.write_text(text.replace(steps, f"{step}\n\nSTEPS: Steps = MappingProxyType({{{version}: _add}})"))
    return Release(path)


def schema(path: Path) -> int:
    look = raw(path)
    try:
        found: int = look.execute("PRAGMA user_version").fetchone()[0]
        assert look.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        return found
    finally:
        look.close()


def ids(*files: Path) -> set[str]:
    return {line for file in files if file.exists() for line in file.read_text().splitlines()}


@contextmanager
def ended(*processes: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.fixture
def durable(one_binary: Binary) -> Iterator[Server]:
    """One will do: what is upgraded is a file."""
    with Server(one_binary, appendonly=True, appendfsync="always") as server:
        yield server


@pytest.fixture
def place(tmp_path: Path, durable: Server) -> Iterator[Place]:
    with at(tmp_path, durable.url) as one:
        one.environment |= {"SPOOLQ_DISK_LIMIT": "20s", "SPOOLQ_DEADLINE": "2s"}
        yield one


def test_live_producers_worker_and_drainer_go_on_while_the_newer_migrates(place: Place, durable: Server, tmp_path: Path) -> None:
    new = newer(tmp_path)
    durable.kill()
    files = [tmp_path / f"ids-{number}" for number in range(3)]

    def producer(number: int, count: int, *how: str) -> subprocess.Popen[bytes]:
        with (tmp_path / f"producer-{number}.log").open("wb") as log:
            command = [sys.executable, "-c", PRODUCER, str(files[number]), str(count), *how]
            return subprocess.Popen(command, env=OLD.environment(place), cwd=place.folder, stdout=log, stderr=log)

    producers = [producer(0, 150), producer(1, 150, "forks")]
    drainer = OLD.start(place, "drain")
    worker = place.worker("--threads", "2")
    with ended(*producers, drainer):
        eventually(lambda: len(ids(*files)) > 20 and place.runs(), what="work of the older version, in an outage")
        began = place.spool
        assert schema(began) == 1
        young = new.start(place, "worker", "app_under_test:q")
        with ended(young):
            log = place.folder / f"worker-{new.path.name}.log"
            eventually(lambda: "its schema is 2 now, and was 1" in log.read_text(), what="the newer worker's migration")
            so_far = len(ids(*files))
            producers.append(producer(2, 50))  # the older program, started on the newer file
            for process in producers:
                assert process.wait(60) == 0
            assert not [log for log in tmp_path.glob("producer-*.log") if "could not be stored" in log.read_text()]
            assert len(ids(*files)) > so_far
            child = Path(f"{files[1]}-child")
            eventually(lambda: len(ids(child)) == 147, what="the forked producer's jobs")
            accepted = ids(*files, child)
            assert len(accepted) == 150 + 150 + 147 + 50
            durable.start()
            eventually(lambda: set(place.runs()) == accepted, what="each job run")
            place.done()
            assert drainer.poll() is None, (tmp_path / "drain.log").read_text()
            assert worker.process.poll() is None
            assert young.poll() is None
            young.send_signal(signal.SIGTERM)
            assert young.wait(60) == 0
        assert schema(place.spool) == 2
        assert place.runs() == dict.fromkeys(accepted, 1)
        # rolled back: the older program on the newer file
        eventually(lambda: OLD.run(place, "health").returncode == 0, what="a host that is well")
        drainer.send_signal(signal.SIGTERM)
        assert drainer.wait(60) == 0
    worker.end()


def test_a_newer_file_that_the_older_program_cannot_use_is_told_and_kept(place: Place, durable: Server, tmp_path: Path) -> None:
    new = newer(tmp_path, oldest=2)
    durable.kill()
    for number in range(3):
        place.enqueue("note", number)
    place.q.close()
    said = new.run(place, "spool", "upgrade")
    assert (said.returncode, said.stdout) == (0, f"{place.spool} went from schema 1 to 2.\n")
    old = OLD.run(place, "enqueue", "note", "1", "--queue", "work")
    assert old.returncode == 73, old.stderr
    assert "was made by a newer spoolq (schema 2, this one knows 1)" in old.stderr
    assert "upgrade spoolq here too, or drain or export it with the newer one" in old.stderr
    assert OLD.run(place, "health").returncode in (2, 3)
    durable.start()
    drained = new.run(place, "drain", "--once", "--timeout", "20s")
    assert drained.returncode == 0, drained.stderr
    assert durable.client().llen("resque:queue:work") == 3


def test_of_those_that_migrate_at_once_one_does(place: Place, durable: Server, tmp_path: Path) -> None:
    new = newer(tmp_path)
    durable.kill()
    place.enqueue("note")
    place.q.close()
    dry = new.run(place, "spool", "upgrade", "--dry-run")
    assert (dry.returncode, dry.stdout) == (0, f"{place.spool} would go from schema 1 to 2.\n")
    assert schema(place.spool) == 1
    running = [
        subprocess.Popen(
            new.command("spool", "upgrade"), env=new.environment(place), cwd=place.folder, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    said = sorted(process.communicate(timeout=60)[0] for process in running)
    assert [process.returncode for process in running] == [0] * 4
    assert said == [f"{place.spool} has schema 2: nothing to do.\n"] * 3 + [f"{place.spool} went from schema 1 to 2.\n"]
    assert schema(place.spool) == 2


def test_one_that_is_killed_in_the_middle_leaves_the_file_as_it_was(place: Place, durable: Server, tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    blocked = newer(tmp_path / "half", step=STEP + BLOCKS)
    place.environment["IN_STEP"] = str(tmp_path / "in-step")
    durable.kill()
    first = place.enqueue("note")
    place.q.close()
    dying = blocked.start(place, "spool", "upgrade")
    with ended(dying):
        eventually((tmp_path / "in-step").exists)
        with subprocess.Popen(
            [sys.executable, "-c", PRODUCER, str(tmp_path / "ids"), "1"], env=OLD.environment(place), cwd=place.folder
        ) as waits:
            dying.kill()
            assert waits.wait(60) == 0, "it waited for the disk, and was served"
    assert schema(place.spool) == 1
    new = newer(tmp_path)
    assert "went from schema 1 to 2" in new.run(place, "spool", "upgrade").stdout
    durable.start()
    assert new.run(place, "drain", "--once", "--timeout", "20s").returncode == 0
    worker = place.worker()
    place.done()
    assert set(place.runs()) == {first, *ids(tmp_path / "ids")}
    worker.end()


@pytest.mark.root
def test_a_disk_that_is_full_in_the_middle_leaves_the_file_as_it_was(tmp_path: Path, durable: Server) -> None:
    with mounted("ext4-4096", tmp_path, 32 << 20) as disk, at(tmp_path, durable.url, spool=disk.path / "spool.db") as place:
        place.environment |= {"SPOOLQ_SPOOL": str(disk.path / "spool.db"), "SPOOLQ_DEADLINE": "2s"}
        (tmp_path / "large").mkdir()
        grows, new = newer(tmp_path / "large", step=STEP + GROWS), newer(tmp_path)
        durable.kill()
        jobs = {place.enqueue("note", number) for number in range(20)}
        place.q.close()
        said = grows.run(place, "spool", "upgrade", "--limit", "1m")
        assert said.returncode == 73, said.stdout
        assert "left at schema 1" in said.stderr
        assert schema(disk.path / "spool.db") == 1
        jobs |= {line.split()[0] for line in [OLD.run(place, "enqueue", "note", "9", "--queue", "work").stdout] if line}
        log = tmp_path / f"worker-{grows.path.name}.log"
        young = grows.start(place, "worker", "app_under_test:q")  # it goes on with the older schema
        with ended(young):
            eventually(lambda: "can't be brought to this version's now" in log.read_text())
            eventually(lambda: len(place.runs()) == 21)
        assert new.run(place, "spool", "upgrade").returncode == 0
        assert schema(disk.path / "spool.db") == 2
