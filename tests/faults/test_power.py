"""A writer that dies at each of its system calls in turn, and a disk that forgets what was not synced.

The log of what was acknowledged lies elsewhere: it is what the file must hold afterwards.
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from spoolq.store.sqlite import SQLiteStore
from tests.disks import mounted
from tests.unit.sqlite.helpers import ROOT, raw, run
from tests.waiting import eventually

WRITES = """
import os, sys
from spoolq.job import Message
from spoolq.store.base import WorkerInfo
from spoolq.store.sqlite import SQLiteStore

path, synchronous, most = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = SQLiteStore(path, role="spool", min_free=0, timeout=20, synchronous=synchronous)
info = WorkerInfo(f"worker-{os.getpid()}", "host", 1, ("q",))
drainer = WorkerInfo("drainer", "host", 1, (), kind="drainer")

def say(*words):
    print(*words, flush=True)

n = 0
while n < most:
    store.spool([Message(f"job-{n}", "q", b"x" * 300)])
    say("ACK", f"job-{n}")
    n += 1
    if n % 5 == 4:
        say("TAKING")
        taken = store.take(drainer, 1, 1 << 20, store.now() + 60)
        store.handed_over(taken)
        say("GONE", taken[0].message.id)
    if n % 5 == 2:
        claim = store.claim(info, n, ["q"], 1).claims[0]
        store.release([claim])
store.close()
"""

CALLS = "pwrite64,fdatasync,fsync,ftruncate,unlink"
_SHUTDOWN, _NOLOGFLUSH = 0x8004587D, 2  # FS_IOC_SHUTDOWN of linux/fs.h: at once, without writing the journal out


def check(path: Path, said: list[str], later: list[str] | None = None) -> tuple[int, int]:
    """How many acknowledged jobs are missing, and how many that were handed over are back. The file is sound and can be used.

    `said` was out before the disk forgot, `later` came beside it: what was taken since then may be gone, and may be there.
    """
    acknowledged = {line.split()[1] for line in said if line.startswith("ACK")}
    gone = {line.split()[1] for line in said if line.startswith("GONE")}
    since = {line.split()[1] for line in later or () if line.startswith("GONE")}
    going = [*said, *(later or ())][-1:] == ["TAKING"]  # one row, and nobody knows which
    with closing(SQLiteStore(path, role="spool", min_free=0, timeout=20)) as store:
        store.waiting()  # makes the file, where nobody had come to that
        with closing(raw(path)) as look:
            there = {id for (id,) in look.execute("SELECT id FROM jobs")}
            assert look.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return max(0, len(acknowledged - gone - since - there) - going), len(gone & there)


@pytest.mark.parametrize("first", range(1, 5))
def test_killed_at_its_nth_system_call_it_loses_nothing(first: int, tmp_path: Path) -> None:
    for number in range(first, 1000, 4):
        path = tmp_path / f"{number}.db"
        inject = ["-e", f"trace={CALLS}", "-e", f"inject={CALLS}:signal=SIGKILL:when={number}"]
        ran = run(WRITES, path, "FULL", 6, before=["strace", "-f", "-qq", "-o", "/dev/null", *inject])
        assert check(path, ran.stdout.splitlines()) == (0, 0), f"call {number}"
        if ran.returncode == 0:
            break
    assert number > 20


@pytest.mark.root
@pytest.mark.parametrize(("synchronous", "turns", "loses"), [("FULL", 3, False), ("NORMAL", 12, True)])
def test_a_power_loss_takes_what_was_not_synced(synchronous: str, turns: int, loses: bool, tmp_path: Path) -> None:
    """With NORMAL, the control, acknowledged jobs are gone in one of the turns: the disk really forgets."""
    lost = 0
    for turn in range(turns):
        folder = tmp_path / str(turn)
        folder.mkdir()
        with mounted("ext4-4096", folder, 64 << 20) as disk:
            path = disk.path / "spool.db"
            first = run(WRITES, path, synchronous, 50)  # a new file is synced by being made
            assert first.returncode == 0, first.stderr
            log = tmp_path / "log"
            with log.open("w") as out:
                writer = subprocess.Popen(
                    [sys.executable, "-c", WRITES.replace("job-", "more-"), str(path), synchronous, "1000000"],
                    cwd=ROOT,
                    stdout=out,
                )
            try:
                eventually(lambda: writer.poll() is not None or log.read_text().count("ACK") > 300, within=60)  # noqa: B023
                top = os.open(disk.path, os.O_RDONLY)
                before = log.read_text().count("\n")
                fcntl.ioctl(top, _SHUTDOWN, struct.pack("I", _NOLOGFLUSH))
                os.close(top)
            finally:
                writer.kill()
                writer.wait()
            disk.remount()
            said = log.read_text()
            lines = said[: said.rindex("\n")].splitlines()
            lost += sum(check(path, lines[:before], lines[before:]))
        if lost:
            break
    assert bool(lost) == loses, f"{lost} acknowledged jobs lost, or back after they were handed over"
