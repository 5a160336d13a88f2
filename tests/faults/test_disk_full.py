"""Disks that are really full: nothing acknowledged is lost, nothing hangs, no SIGBUS; the reserve lets a full disk be drained.

Each process that works on the disk is one of its own, so that a signal would be seen.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.disks import KINDS, Disk, mounted
from tests.unit.sqlite.helpers import ROOT, run
from tests.waiting import eventually

pytestmark = pytest.mark.root

HANDS = """
import sys
from spoolq.errors import StoreFull
from spoolq.job import Message
from spoolq.store.base import WorkerInfo
from spoolq.store.sqlite import SQLiteStore

store = SQLiteStore(sys.argv[1], role="spool", min_free=0, timeout=20)
drainer = WorkerInfo("drainer", "host", 1, (), kind="drainer")

def put(name, most, size=1000):
    done = 0
    try:
        while done < most:
            store.spool([Message(f"{name}-{done}", "q", b"x" * size)])
            done += 1
    except StoreFull as error:
        print(name, "full", error.reason)
    return done

def drain(most=1 << 30):
    done = 0
    while done < most and (taken := store.take(drainer, min(200, most - done), 1 << 20, store.now() + 60)):
        store.handed_over(taken)
        done += len(taken)
    return done

def tries(call):
    try:
        return call()
    except StoreFull as error:
        return error.reason
"""


@pytest.fixture(params=KINDS)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    with mounted(request.param, tmp_path, 32 << 20) as disk:
        yield disk


class Hand:
    """A process that has the spool open, and does what it is told, line by line."""

    def __init__(self, path: Path) -> None:
        code = HANDS + "for line in sys.stdin:\n    exec(line)\n    print('.', flush=True)\n"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )

    def does(self, line: str) -> list[str]:
        """What it printed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        said = []
        while (one := self._process.stdout.readline()) != ".\n":
            assert one, f"it died: {self._process.wait(10)}"  # -7 would be SIGBUS
            said.append(one.strip())
        return said

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def hands(disk: Disk) -> Iterator[list[Hand]]:
    both = [Hand(disk.path / "spool.db") for _ in range(2)]
    yield both
    for one in both:
        one.kill()


def count(said: list[str]) -> int:
    return int(said[-1])


def test_full_drained_freed_full_again_and_drained(disk: Disk, hands: list[Hand]) -> None:
    producer, drainer = hands
    stored = count(producer.does("print(put('a', 1000))"))
    assert stored == 1000
    drainer.does("print(drain(100))")
    disk.fill()
    refused = producer.does("print(put('b', 20_000))")
    assert refused[0].startswith("b full")
    stored += count(refused)
    assert count(drainer.does("print(store.waiting())")) == stored - 100
    assert count(drainer.does("print(drain())")) == stored - 100
    assert count(drainer.does("print(store.waiting())")) == 0
    disk.clear()
    again = count(producer.does("print(put('c', 1000))"))
    assert again == 1000
    reserve = disk.path / "spool.db-reserve"
    eventually(lambda: (producer.does("put('c', 1)"), reserve.stat().st_size == 8 << 20)[1], what="a reserve that is whole again")
    disk.fill()
    assert producer.does("put('d', 20_000)")[0].startswith("d full")
    more = count(producer.does("print(store.waiting())"))
    assert count(drainer.does("print(drain())")) == more >= 1000
    assert producer.does("print(store._run(lambda s: s.scalar('PRAGMA integrity_check'), writes=False))") == ["ok"]


def test_a_drainer_that_starts_on_a_full_disk_drains_it(disk: Disk, hands: list[Hand]) -> None:
    """SQLite must make its -shm file before it can read anything, and that is where it would die of SIGBUS."""
    producer, drainer = hands
    producer.does("put('a', 1000)")
    producer.kill()
    disk.fill()
    assert count(drainer.does("print(store.waiting())")) == 1000
    assert count(drainer.does("print(drain())")) == 1000


def test_puts_do_not_get_the_reserve(disk: Disk, hands: list[Hand]) -> None:
    producer, other = hands
    producer.does("put('a', 500)")
    disk.fill()
    assert other.does("print(put('b', 20_000))")[0].startswith("b full")
    producer.does("put('c', 20_000)")
    assert (disk.path / "spool.db-reserve").stat().st_size == 8 << 20


def test_without_the_reserve_a_full_disk_is_not_drained(disk: Disk, hands: list[Hand]) -> None:
    """The control: it is the reserve that makes the room."""
    producer, drainer = hands
    producer.does("put('a', 1000)")
    producer.kill()
    (disk.path / "spool.db-reserve").unlink()
    disk.fill()
    assert drainer.does("print(tries(drain))") == ["disk"]


def test_without_the_look_at_the_disk_opening_dies_of_sigbus(tmp_path: Path) -> None:
    """The control: where a block is smaller than a page, SQLite's -shm has holes that the full disk can't fill."""
    with mounted("ext4-1024", tmp_path, 32 << 20) as disk:
        producer = Hand(disk.path / "spool.db")
        producer.does("put('a', 100)")
        producer.does("store.close()")
        disk.fill(9 << 10)  # room for the file's length, not for what is written there
        code = HANDS + "from spoolq.store.sqlite.transactions import Transactions\n"
        code += "Transactions._check_room = lambda *given: None\nprint(tries(drain))\n"
        done = run(code, disk.path / "spool.db")
        assert done.returncode == -signal.SIGBUS, (done.stdout, done.stderr)
        assert "can't even be opened" in run(HANDS + "put('b', 1)\nstore.put([])", disk.path / "spool.db").stderr
