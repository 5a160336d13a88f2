"""How often a job's way commits, how often the disk is waited for, and how many pages are read where many jobs wait: seen in the
system calls of a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from tests.costs.strokes import JOBS, MANY

ROOT = Path(__file__).parents[2]
STRACE = ("strace", "-f", "-qq", "-y", "-xx", "-s", "24", "-e", "trace=write,pwrite64,pread64,fsync,fdatasync", "-o")
ONE_BY_ONE = ("enqueue", "ack", "spool")
TOGETHER = (
    *("enqueue many", "claim many", "ack and claim many", "ack many"),
    *("spool many", "take many", "hand over and take many", "hand over many"),
)
BESIDE = 3
"""Commits that may fall into a step by the clock: counts of jobs and the like are written every few seconds."""
DEPTH = 20_000
"""Jobs that wait in each file: some 1,000 pages."""
READS = 20
"""Pages that a step may read, of all its jobs: those of the way to what isn't in memory yet."""
_CALL = re.compile(r'^\d+ +(?P<call>\w+)\([^<]*<(?P<path>[^>]*)>(?:, "(?P<data>[^"]*)"(?:\.\.\.)?, (?P<size>\d+))?')


def unhexed(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def read(log: str) -> dict[str, Counter[str]]:
    """Of each step: syncs, of whatever file; pages that are read; commits and pages of the WALs.

    A frame of a WAL is a header of 24 bytes and a page. In the header of a commit's last one stands the size of the database,
    in bytes 4 to 7, otherwise 0 (https://sqlite.org/fileformat.html#the_write_ahead_log).
    """
    steps: dict[str, Counter[str]] = defaultdict(Counter)
    step = "end"
    for found in filter(None, map(_CALL.match, log.splitlines())):
        path = unhexed(found["path"]).decode()
        if path.endswith("/marks"):
            step = unhexed(found["data"]).decode().strip()
        elif found["call"] in ("fsync", "fdatasync"):
            steps[step]["syncs"] += 1
        elif found["call"] == "pread64":
            steps[step]["reads"] += found["size"] == "4096"
        elif path.endswith("-wal") and found["size"] == "24":
            steps[step]["pages"] += 1
            steps[step]["commits"] += unhexed(found["data"])[4:8] != bytes(4)
    return steps


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Counter[str]]:
    folder = tmp_path_factory.mktemp("strokes")
    log = folder / "strace"
    command = [*STRACE, str(log), sys.executable, "-m", "tests.costs.strokes", str(folder), str(DEPTH)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 0, ran.stderr
    return read(log.read_text())


@pytest.mark.parametrize("step", ONE_BY_ONE)
def test_one_by_one_each_is_one_commit_and_one_sync(steps: dict[str, Counter[str]], step: str) -> None:
    assert JOBS <= steps[step]["commits"] <= JOBS + BESIDE
    assert JOBS <= steps[step]["syncs"] <= JOBS + BESIDE
    assert steps[step]["pages"] <= 6 * (JOBS + BESIDE)


@pytest.mark.parametrize("step", TOGETHER)
def test_together_they_share_one_commit_and_one_sync(steps: dict[str, Counter[str]], step: str) -> None:
    assert 1 <= steps[step]["commits"] <= 1 + BESIDE
    assert 1 <= steps[step]["syncs"] <= 1 + BESIDE
    assert steps[step]["pages"] <= MANY / 5 + 6 * BESIDE


@pytest.mark.parametrize("step", [*ONE_BY_ONE, *TOGETHER])
def test_few_pages_are_read_where_many_jobs_wait(steps: dict[str, Counter[str]], step: str) -> None:
    assert steps[step]["reads"] <= READS


def test_the_controls_are_told_apart(steps: dict[str, Counter[str]]) -> None:
    assert steps["twice"]["commits"] >= 2 * JOBS > JOBS + BESIDE
    assert steps["twice"]["syncs"] >= 2 * JOBS
    assert steps["unsynced"]["commits"] >= JOBS
    assert steps["unsynced"]["syncs"] <= BESIDE
    assert steps["all"]["reads"] >= 10 * READS


def test_every_step_was_seen(steps: dict[str, Counter[str]]) -> None:
    assert steps.keys() - {"end"} == {*ONE_BY_ONE, *TOGETHER, "twice", "unsynced", "all"}
