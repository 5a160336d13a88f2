"""Real processes on one file, some of them killed in the middle of what they do."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from spoolq.store.sqlite import SQLiteStore
from tests.unit.sqlite.helpers import ROOT, message, raw, worker
from tests.waiting import eventually

Open = Callable[..., SQLiteStore]

PUTS = """
import sys, threading
from spoolq.job import Message
from spoolq.store.sqlite import SQLiteStore
path, name, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = SQLiteStore(path, role="spool", timeout=20.0)
lock = threading.Lock()
def put(t):
    n = 0
    while True:
        store.spool([Message(f"{name}-{t}-{n}", "q", b"x" * (n % 700))], timeout=20)
        with lock:
            print(f"{name}-{t}-{n}", flush=True)
        n += 1
for t in range(threads):
    threading.Thread(target=put, args=(t,)).start()
"""

WORKS = """
import sys
from spoolq.store.base import WorkerInfo
from spoolq.store.sqlite import SQLiteStore
path, name = sys.argv[1:]
store = SQLiteStore(path, role="spool", timeout=20.0)
info = WorkerInfo(name, "host", 1, ("q",), lease=3.0)  # which who lives keeps, also where it is given no core for a while
call, done = 0, ()
while True:
    call += 1
    done = store.claim(info, call, ["q"], 7, ack=done, timeout=20).claims
    for claim in done:
        print(claim.token, claim.payload.decode(), flush=True)
    if not done:
        for claim in store.rescue(info, 100):
            print("rescued", claim.token, flush=True)
            store.release([claim])
        store.wait(info, ["q"], 0.2)
"""


class Running:
    """A process that writes a line when something was answered."""

    def __init__(self, code: str, path: Path, name: str, *more: object) -> None:
        self._log = path.with_name(f"{name}.log")
        command = [sys.executable, "-c", code, str(path), name, *map(str, more)]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=log)

    def said(self) -> list[str]:
        """Its whole lines: of one that the kill cut short nothing is known."""
        text = self._log.read_text()
        return text[: text.rfind("\n") + 1].splitlines()

    def says(self, count: int) -> None:
        """Until it has said so many lines."""
        eventually(lambda: len(self.said()) >= count, 60, f"{count} lines of {self._log.name}")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def running(count: int, code: str, path: Path, prefix: str, *more: object) -> Iterator[list[Running]]:
    """So many, all killed at the end."""
    started = [Running(code, path, f"{prefix}{n}", *more) for n in range(count)]
    try:
        yield started
    finally:
        for one in started:
            one.kill()


def test_what_killed_writers_acknowledged_is_there(path: Path, open_store: Open) -> None:
    """Three rounds of SIGKILL in the middle of the load, threads and processes sharing commits and the lock."""
    acknowledged: set[str] = set()
    for turn in range(3):
        with running(2, PUTS, path, f"round-{turn}-", 4) as (victim, survivor):
            victim.says(40)
            victim.kill()
            survivor.says(len(survivor.said()) + 40)
        acknowledged |= {line for one in (victim, survivor) for line in one.said()}
    look = raw(path)
    there = {id for (id,) in look.execute("SELECT id FROM jobs")}
    assert look.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    look.close()
    assert len(acknowledged) > 200
    assert acknowledged <= there
    assert open_store(role="spool").waiting() == len(there)


def test_each_row_is_claimed_once_and_those_of_the_dead_again(path: Path, open_store: Open) -> None:
    store = open_store(role="spool")
    total = 0

    def has_claimed(one: Running) -> bool:  # of a fixed number of rows the quickest workers leave nothing to the others
        nonlocal total
        if store.waiting() < 200:
            store.spool([message(str(n), payload=str(n).encode()) for n in range(total, total + 100)])
            total += 100
        return len(one.said()) >= 20

    with running(4, WORKS, path, "worker-") as workers:
        for victim in workers[:2]:
            eventually(partial(has_claimed, victim), 60, "20 claims of one worker")
            victim.kill()
        eventually(lambda: store.waiting(1) == 0, 60, "everything settled")
        lines = [line for one in workers for line in one.said()]
    claims = Counter(line for line in lines if not line.startswith("rescued"))
    rescued = sum(line.startswith("rescued") for line in lines)
    rows = Counter(line.split()[1] for line in claims)  # not by number: in an emptied table they begin anew
    assert max(claims.values()) == 1
    assert set(rows) == set(map(str, range(total)))
    assert sum(rows.values()) - total <= rescued <= 2 * 7
    assert store.rescue(worker("last"), 10) == []
