"""Unique jobs of two hosts on one Redis that dies again and again, with workers that are killed: what was answered as queued, or
as one that is there already, runs; and of equal jobs Redis never has two.

The job that an answer names has to run after the call, or, where it was spooled and dropped for an equal one, any of its key. A
job that is unique until it is done is there until Redis was told that it has ended (docs/unique.md): an answer that names one
which had ended before, or whose job was dropped for it, is lost where a look at Redis between that end and the call no longer
found that one, and `untold` otherwise.

python -m tests.torture.unique [--seconds 60] [--seed 1] [--until until_done]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from spoolq.store.sqlite import SQLiteStore
from tests.servers import Server
from tests.waiting import while_moving

KEYS = 6
APP = """
import os, random, sys, time
from spoolq import SpoolQ, current_job
q = SpoolQ.from_env()
journal = os.open(os.environ["JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

def tell(*words):
    os.write(journal, (" ".join(map(str, words)) + "\\n").encode())

@q.task(queue="torture", unique=os.environ["UNTIL"] or None, retries=50, max_crashes=100, backoff=lambda state: 0)
def touch(key):
    job = current_job()
    tell("BEGIN", key, job.id, time.monotonic())
    time.sleep(random.uniform(0, 0.1))
    tell("END", key, job.id, time.monotonic())

if __name__ == "__main__":
    until, rng = time.monotonic() + float(sys.argv[1]), random.Random(int(sys.argv[2]))
    while time.monotonic() < until:
        key, began = rng.randrange(int(sys.argv[3])), time.monotonic()
        try:
            receipt = touch.enqueue(key)
        except Exception as error:
            tell("ERR", key, type(error).__name__, began)
        else:
            tell("ACK", key, receipt.id, began, receipt.route, int(receipt.new))
        time.sleep(rng.uniform(0, 0.05))
"""


class Host:
    """A folder with a spool, a producer and workers of its own."""

    def __init__(self, folder: Path, url: str, until: str) -> None:
        folder.mkdir()
        self.folder, self.journal = folder, folder / "journal"
        (folder / "app_under_torture.py").write_text(APP)
        self.environment = os.environ | {
            "SPOOLQ_URL": url,
            "SPOOLQ_SPOOL": str(folder / "spool.db"),
            "SPOOLQ_SPOOL_MIN_FREE": "0",
            "SPOOLQ_LEASE": "2s",
            "JOURNAL": str(self.journal),
            "UNTIL": until,
            "PYTHONPATH": os.pathsep.join([str(folder), os.getcwd()]),
        }

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        with (self.folder / "stderr.log").open("ab") as log:
            return subprocess.Popen([sys.executable, *command], env=self.environment, cwd=self.folder, stdout=log, stderr=log)

    def worker(self) -> subprocess.Popen[bytes]:
        """One that drains too, and runs no job of the spool: what two hosts run side by side in an outage is no part of this."""
        return self.start("-m", "spoolq", "worker", "app_under_torture:q", "--threads", "2", "--no-local")

    def lines(self) -> list[list[str]]:
        return [line.split() for line in self.journal.read_text().splitlines()] if self.journal.exists() else []

    def spool(self) -> SQLiteStore:
        return SQLiteStore(self.folder / "spool.db", role="spool", create=False, min_free=0)

    def dropped(self) -> int:
        """How many rows of its spool were dropped for an equal job, counted in the step that dropped them."""
        with closing(self.spool()) as spool:
            return spool.counters().get("unique", 0)


def run(seconds: float, seed: int = 1, until: str = "until_done") -> dict[str, Any]:
    """One run; returns the figures, with the broken invariants under `broken`. `until` empty: the control, whose jobs aren't
    unique."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="spoolq-torture-") as folder, Server(appendonly=True, appendfsync="always") as server:
        hosts = [Host(Path(folder, name), server.url, until) for name in "ab"]
        producers = [
            host.start(str(host.folder / "app_under_torture.py"), str(seconds), str(seed * 2 + n), str(KEYS))
            for n, host in enumerate(hosts)
        ]
        workers = [host.worker() for host in hosts]
        kills = restarts = 0
        try:
            with _watching(server) as seen:
                end = time.monotonic() + seconds
                while time.monotonic() < end or not (kills and restarts):
                    time.sleep(rng.uniform(0.3, 1.5))
                    if rng.random() < 0.5:
                        server.kill()
                        time.sleep(rng.uniform(0.0, 1.0))
                        server.start()
                        restarts += 1
                    else:
                        number = rng.randrange(len(hosts))
                        workers[number].kill()
                        workers[number].wait()
                        workers[number] = hosts[number].worker()
                        kills += 1
                for producer in producers:
                    producer.wait(120)
                while_moving(lambda: _empty(server, hosts), lambda: [host.journal.stat().st_size for host in hosts])
        finally:
            for process in (*producers, *workers):
                process.kill()
                process.wait()
        lines = [line for host in hosts for line in host.lines()]
        dropped = sum(host.dropped() for host in hosts)
        stderr = "".join((host.folder / "stderr.log").read_text(errors="replace")[-1500:] for host in hosts)
    # one that is unique until it starts may have begun, or not, where the answer to its last step before that was lost
    two = {} if until == "until_start" or not seen.doubled else {"2 Redis had two of a kind": sorted(seen.doubled)}
    lost, untold = sort_out(lines, until, seen.looks)
    gone = sorted(never_run(lines, until))
    broken = {
        **({"1 answered, and never run since": lost} if lost else {}),
        **two,
        **({f"3 spooled and never run, of which {dropped} were dropped for an equal one": gone} if len(gone) > dropped else {}),
    }
    words = Counter(line[0] for line in lines)
    by_answer = Counter(f"{line[4]} {'new' if line[5] == '1' else 'there'}" for line in lines if line[0] == "ACK")
    figures = {
        "kills": kills,
        "restarts": restarts,
        "lines": dict(words),
        "answers": dict(by_answer),
        "dropped": dropped,
        "untold": len(untold),
    }
    return {"broken": broken, **figures, **({"stderr": stderr} if broken else {})}


def sort_out(lines: list[list[str]], until: str, looks: list[Look]) -> tuple[list[str], list[str]]:
    """The answers after which the job that they name has not begun (or, unique until it is done, ended): lost ones, and those of
    a call that came while one that had ended may have been in Redis still."""
    runs = _runs(lines, until)
    lost: list[str] = []
    untold: list[str] = []
    for _, key, id, moment, route, _ in (line for line in lines if line[0] == "ACK"):
        dropped = route == "spool" and not any(one == id for one, _ in runs[key])
        mine = [(one, at) for one, at in runs[key] if dropped or one == id]
        began = float(moment)
        if all(at < began for _, at in mine):
            ended = until == "until_done" and not all(_gone(one, at, began, looks) for one, at in mine)
            (untold if ended else lost).append(f"{id} ({key}, {route}, {began}, {mine})")
    return lost, untold


def _gone(id: str, ended: float, by: float, looks: list[Look]) -> bool:
    """Whether Redis was seen without it after its end, by then."""
    return any(id not in look.ids and ended <= look.begun and look.ended <= by for look in looks)


def never_run(lines: list[list[str]], until: str) -> set[str]:
    """The ids that were answered as spooled, and never ran: those that were dropped for an equal one, and no others."""
    ran = {id for runs in _runs(lines, until).values() for id, _ in runs}
    return {line[2] for line in lines if line[0] == "ACK" and line[4:] == ["spool", "1"]} - ran


def _runs(lines: list[list[str]], until: str) -> defaultdict[str, list[tuple[str, float]]]:
    """By key, each id and when it began, or ended where that is what it is unique until."""
    runs: defaultdict[str, list[tuple[str, float]]] = defaultdict(list)
    for word, key, id, moment, *_ in lines:
        if word == ("BEGIN" if until == "until_start" else "END"):
            runs[key].append((id, float(moment)))
    return runs


def _empty(server: Server, hosts: list[Host]) -> bool:
    """In the order in which jobs move, from the spools to Redis, and there in one step: a job that moves meanwhile is seen."""
    with suppress(Exception), server.client() as control:
        for host in hosts:
            with closing(host.spool()) as spool:
                if spool.waiting(1):
                    return False
        return not control.eval(LOOK, 0)
    return False


LOOK = """
local found = redis.call('LRANGE', 'resque:queue:torture', 0, -1)
for _, one in ipairs(redis.call('ZRANGE', 'resque:spoolq:delayed', 0, -1)) do found[#found + 1] = one end
for _, key in ipairs(redis.call('KEYS', 'resque:spoolq:claims:*')) do
  for _, one in ipairs(redis.call('HVALS', key)) do found[#found + 1] = one end
end
return found
"""


class Look(NamedTuple):
    """The ids that were there at a moment between these two."""

    begun: float
    ended: float
    ids: frozenset[str]


@dataclass
class Seen:
    """What the looks at Redis found."""

    doubled: set[str] = field(default_factory=set)  # jobs of one kind that were there at a time
    looks: list[Look] = field(default_factory=list)


@contextmanager
def _watching(server: Server) -> Iterator[Seen]:
    """Looks again and again, in one step each time, at the jobs in Redis: waiting, for later, or in a worker's hands."""
    seen = Seen()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            with suppress(Exception), server.client() as control:
                ids: defaultdict[str, set[str]] = defaultdict(set)
                begun = time.monotonic()
                for value in control.eval(LOOK, 0):
                    job = json.loads(value[value.index(b"{") :])
                    ids[job["args"][0]].add(job["id"])
                seen.doubled.update(" ".join(sorted(several)) for several in ids.values() if len(several) > 1)
                seen.looks.append(Look(begun, time.monotonic(), frozenset().union(*ids.values())))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join(10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--until", default="until_done")
    given = parser.parse_args()
    print(json.dumps(run(given.seconds, given.seed, given.until), indent=2))


if __name__ == "__main__":
    main()
