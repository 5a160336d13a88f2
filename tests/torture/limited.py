"""Limits of a queue over the workers of two hosts, which are killed, and a Redis that dies: never more at a time, never faster.

python -m tests.torture.limited [--seconds 60] [--seed 1]
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from spoolq import SpoolQ
from tests.servers import Server
from tests.torture.unique import Host
from tests.waiting import while_moving

MOST, RATE = 3, 10
THREADS, HOSTS = 4, "ab"

APP = """
import os, random, time
from spoolq import SpoolQ, current_job
q = SpoolQ.from_env()
journal = os.open(os.environ["JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

def tell(*words):
    os.write(journal, (" ".join(map(str, words)) + "\\n").encode())

@q.task(queue="few", max_crashes=100)
def few(number):
    tell("BEGIN", current_job().id, os.getpid(), time.monotonic())
    time.sleep(random.uniform(0, 0.2))
    tell("END", current_job().id, os.getpid(), time.monotonic())

@q.task(queue="slow", max_crashes=100)
def slow(number):
    tell("SLOW", current_job().id, os.getpid(), time.monotonic())
"""


def run(seconds: float, seed: int = 1, *, limited: bool = True) -> dict[str, Any]:
    """One run; returns the figures, with the broken invariants under `broken`. Not `limited`: the control, where nobody was told
    of a limit."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="spoolq-torture-") as folder, Server(appendonly=True, appendfsync="always") as server:
        hosts = [Host(Path(folder, name), server.url, "") for name in HOSTS]
        for host in hosts:
            (host.folder / "app_under_torture.py").write_text(APP)
            if limited:
                host.environment |= {"SPOOLQ_CONCURRENCY": f"few={MOST}", "SPOOLQ_RATE_LIMITS": f"slow={RATE}/s"}
            host.environment["SPOOLQ_LEASE"] = (
                "8s"  # one that gets no core for so long is not taken for dead, or its jobs would be two
            )
        with SpoolQ(server.url, spool=Path(folder, "spool.db"), spool_min_free=0, deadline=10.0) as q:
            few, slow = q.remote("few", "few"), q.remote("slow", "slow")
            q.enqueue_many([*(few.job(n) for n in range(int(15 * seconds))), *(slow.job(n) for n in range(int(RATE * seconds)))])
        command = (
            "-m",
            "spoolq",
            "worker",
            "app_under_torture:q",
            "--threads",
            str(THREADS),
            "--no-local",
            "--queues",
            "few,slow",
        )
        workers = [host.start(*command) for host in hosts]
        killed: dict[int, float] = {}
        restarts = 0
        try:
            end = time.monotonic() + seconds
            while time.monotonic() < end or not killed:
                time.sleep(rng.uniform(1.0, 3.0))
                if rng.random() < 0.4:
                    server.restart()
                    restarts += 1
                else:
                    number = rng.randrange(len(hosts))
                    killed[workers[number].pid] = time.monotonic()  # from here on others may have its place
                    workers[number].kill()
                    workers[number].wait()
                    workers[number] = hosts[number].start(*command)
            with SpoolQ(server.url, spool=Path(folder, "spool.db"), spool_min_free=0) as q:
                while_moving(lambda: _empty(q), lambda: [len(host.lines()) for host in hosts])
        finally:
            for process in workers:
                process.kill()
                process.wait()
        lines = [line for host in hosts for line in host.lines()]
    most, fastest = _most(lines, killed), {span: _fastest(lines, span) for span in (1.0, 5.0)}
    broken = {
        **({f"1 more than {MOST} at a time": most} if most > MOST else {}),
        **({f"2 more than {RATE} a second": fastest} if any(of > RATE * span + _LATE for span, of in fastest.items()) else {}),
    }
    ran = sum(line[0] == "END" for line in lines)
    return {"broken": broken, "kills": len(killed), "restarts": restarts, "ran": ran, "most": most, "fastest": fastest}


_LATE = THREADS * len(HOSTS)  # jobs that begin later than they were claimed: on a busy machine any thread may have one


def _empty(q: SpoolQ) -> bool:
    try:
        return not any(depth.ready + depth.claimed + depth.scheduled for depth in q.primary.depths())
    except Exception:
        return False


def _most(lines: list[list[str]], killed: dict[int, float]) -> int:
    """How many ran at a time at most: a killed process's runs ended with it."""
    ends = {(line[1], line[2]): float(line[3]) for line in lines if line[0] == "END"}
    changes: list[tuple[float, int]] = []
    for line in lines:
        if line[0] == "BEGIN":
            began = float(line[3])
            ended = ends.get((line[1], line[2]), killed.get(int(line[2]), began))
            changes += [(began, 1), (max(began, ended), -1)]
    now = most = 0
    for _, by in sorted(changes):
        now += by
        most = max(most, now)
    return most


def _fastest(lines: list[list[str]], span: float) -> int:
    """The most that began within so many seconds, wherever they begin."""
    times = sorted(float(line[3]) for line in lines if line[0] == "SLOW")
    spans = ((first, times[index : index + 200]) for index, first in enumerate(times))
    return max((sum(at < first + span for at in after) for first, after in spans), default=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(json.dumps(run(given.seconds, given.seed), indent=2))


if __name__ == "__main__":
    main()
