"""A disk that fails at the Nth write, sync, read or truncation, or writes too little: what was acknowledged is there, what was
refused as not stored is not, and what is unknown is enqueued again under its id and is there once.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.sqlite.helpers import ROOT

SWEEP = """
import ctypes, errno, json, sys
from collections import Counter
from pathlib import Path
from spoolq.errors import StoreUnavailable
from spoolq.job import Message
from spoolq.store.base import WorkerInfo
from spoolq.store.sqlite import SQLiteStore

shim = ctypes.CDLL(None)
folder, kind, forever, at_most = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
drainer = WorkerInfo("drainer", "host", 1, (), kind="drainer")
totals, wrong, nth, left = Counter(), [], 1, 2

def opened(path):
    return SQLiteStore(path, role="spool", min_free=0, timeout=60)

def job(n):
    return Message(f"job-{n}", "q", b"x" * 1500)

while left:  # twice untouched: what the calls hit is over
    (folder / str(nth)).mkdir()
    path = folder / str(nth) / "spool.db"
    if nth % 2:  # every other time an existing file
        store = opened(path)
        store.spool([job("before")])
        store.close()
    shim.fault(kind, nth, errno.EIO, forever, at_most)
    store, said = opened(path), {}
    for n in range(3):
        try:
            assert store.spool([job(n)]) == [True]
            said[f"job-{n}"] = "ack"
            if forever and kind == 2 and shim.seen() >= nth:
                wrong.append((nth, f"job-{n}", "acknowledged, though no sync succeeds any more"))
        except StoreUnavailable as error:
            said[f"job-{n}"] = "unknown" if error.maybe_applied else "not stored"
    left -= shim.seen() < nth
    shim.fault(0, 0, 0, 0, 0)
    if nth % 3:  # every third time there is no close that could put things right: the files as they are
        store.close()
    there = opened(path)
    found = {row[0] for row in there._run(lambda session: session.all("SELECT id FROM jobs"), writes=False)}
    integrity = there._run(lambda session: session.scalar("PRAGMA integrity_check"), writes=False)
    for id, word in said.items():
        totals[word + (" there" if id in found else " gone")] += 1
        if (word, id in found) in (("ack", False), ("not stored", True)):
            wrong.append((nth, id, word, id in found))
    for n in range(3):
        there.spool([job(n)], not_after=None)
    taken = Counter(handoff.message.id for handoff in there.take(drainer, 100, 1 << 20, there.now()))
    expected = {"job-0", "job-1", "job-2"} | ({"job-before"} if nth % 2 else set())
    if taken != dict.fromkeys(expected, 1) or integrity != "ok" or there.info().damaged:
        wrong.append((nth, dict(taken), integrity, there.info().damaged))
    there.close()
    nth += 1
print(json.dumps({"runs": nth - 1, "wrong": wrong, "totals": totals}))
"""

WRITE, SYNC, TRUNCATE, READ = 1, 2, 3, 4
LONGEST = 280  # seconds for a thousand synced commits, over each of which a busy disk may take 0.2 s

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library to be preloaded."""
    if shutil.which("gcc") is None:
        pytest.fail("no gcc: it builds what makes the disk fail", pytrace=False)
    built = tmp_path_factory.mktemp("shim") / "diskfault.so"
    source = Path(__file__).with_name("diskfault.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", built, source, "-ldl"], check=True, capture_output=True)
    return built


def sweep(shim: Path, folder: Path, code: str, *arguments: object) -> Any:
    """Run it to its end with each call failing in turn; what it found."""
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "LD_PRELOAD": str(shim)},
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("kind", "forever", "at_most"),
    [
        pytest.param(WRITE, 0, 0, id="the Nth write"),
        pytest.param(WRITE, 1, 0, id="every write from the Nth"),
        pytest.param(WRITE, 0, 100, id="the Nth write is short"),
        pytest.param(SYNC, 0, 0, id="the Nth sync"),
        pytest.param(SYNC, 1, 0, id="every sync from the Nth"),
        pytest.param(TRUNCATE, 0, 0, id="the Nth truncation"),
        pytest.param(READ, 0, 0, id="the Nth read"),
        pytest.param(READ, 1, 0, id="every read from the Nth"),
    ],
)
def test_whatever_call_fails_each_answer_is_true(shim: Path, tmp_path: Path, kind: int, forever: int, at_most: int) -> None:
    found = sweep(shim, tmp_path, SWEEP, kind, forever, at_most)
    assert found["wrong"] == []
    assert found["runs"] > (4 if kind in (WRITE, SYNC, READ) else 1)
    if kind == SYNC and forever:  # a commit that failed may be there all the same: that is why it is looked for
        assert found["totals"].get("unknown there", 0) > 0, found
    if forever:
        assert sum(count for word, count in found["totals"].items() if not word.startswith("ack")) > 0


def test_the_same_sweep_finds_a_store_that_says_not_stored_of_a_commit_that_failed(shim: Path, tmp_path: Path) -> None:
    """The control: without the memory that a commit had begun, the answer would be a lie."""
    lies = "from spoolq.store.sqlite.operation import Operation\nundone = Operation.undone\n"
    lies += "Operation.undone = lambda self, *, maybe: undone(self, maybe=False)\n"
    found = sweep(shim, tmp_path, lies + SWEEP, SYNC, 1, 0)
    assert any(wrong[2] == "not stored" for wrong in found["wrong"])
