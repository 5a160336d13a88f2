"""Hosts that come back from an outage at the same moment, each with a spool to drain, while live traffic goes on.

    python -m tests.torture.recovery [--hosts 50] [--rows 20000] [--callers 4] [--every 0.005] [--deadline 0.25] [--no-policy]

Run twice, with the hosts silent and with them draining: live enqueues stay within their deadline, and no more of them fall back.
Hosts are processes that get a core only while nobody else wants it, with their spools in memory, since they stand for other
machines: what is measured is the wait for Redis, not for a core or a disk that only this test makes them share. `--no-policy` is
the control: every drainer as fast as it goes, in full batches.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from spoolq import SpoolQ, drain
from tests.servers import Server
from tests.waiting import eventually

FORK = multiprocessing.get_context("fork")


class Unpaced:
    """In place of `Pace`: no slow start, no pause, no regard."""

    def __init__(self, rows: int, *ignored: object) -> None:
        self.batch = rows

    def waited(self, wait: float, now: float) -> None:
        """Nothing."""

    def begin_anew(self) -> None:
        """Nothing."""

    def pause(self, rows: int, put: float, spent: float) -> float:
        """None."""
        return 0.0


def application(url: str, spool: Path, deadline: float = 0.25) -> SpoolQ:
    return SpoolQ(url, spool=spool, spool_min_free=0, deadline=deadline, disk_limit=60.0)


def alone(spool: Path) -> None:
    """This process stands for a host: what the processes of a host tell each other of an outage is not for the others."""
    runtime = spool.with_suffix(".run")
    runtime.mkdir(mode=0o700, exist_ok=True)
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)


def host(url: str, spool: Path, rows: int, size: int, ready: Any, go: Any, policy: bool, modest: bool) -> None:
    """One host: fills its spool, waits for the end of the outage, drains."""
    alone(spool)
    if not policy:
        drain.Pace = Unpaced  # type: ignore[misc, assignment]
    with application(url, spool) as q:
        task = q.remote("t", "old")
        store = q.spool
        assert store is not None
        for first in range(0, rows, 500):
            store.spool([q.message(task.job("x" * size)) for _ in range(first, min(rows, first + 500))])
        drainer = q.drainer()
        if modest:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        ready.release()
        go.wait()
        drainer.run_once(600.0)
        drainer.stop()
        drainer.close()


def caller(url: str, spool: Path, every: float, deadline: float, end: Any, answers: Any) -> None:
    """Live traffic of one web process: an enqueue every so often, and how long each took by which route."""
    alone(spool)
    with application(url, spool, deadline) as q:
        task = q.remote("t", "live")
        took: list[tuple[float, str]] = []
        eventually(lambda: task.enqueue("warm").route == "primary")
        next_at = time.monotonic()
        while not end.is_set():
            began = time.monotonic()
            route = task.enqueue("x").route
            took.append((time.monotonic() - began, route))
            next_at = max(next_at + every, began)
            end.wait(max(0.0, next_at - time.monotonic()))
        answers.put(took)


def measure(
    server: Server, folder: Path, hosts: Iterable[Any], callers: int, every: float, deadline: float, seconds: float
) -> dict[str, Any]:
    """Live traffic until the hosts have ended, and for so many seconds at least."""
    end, answers = FORK.Event(), FORK.Queue()
    live = [
        FORK.Process(target=caller, args=(server.url, folder / f"live-{n}.db", every, deadline, end, answers), daemon=True)
        for n in range(callers)
    ]
    for process in live:
        process.start()
    began = time.monotonic()
    for process in hosts:
        process.join()
    end.wait(max(0.0, seconds - (time.monotonic() - began)))
    end.set()
    took = [answer for _ in live for answer in answers.get(timeout=60)]
    for process in live:
        process.join(60)
    times = sorted(seconds for seconds, _ in took)
    return {
        "took": time.monotonic() - began,
        "live": len(took),
        "fell back": sum(route == "spool" for _, route in took),
        "p50 ms": 1000 * times[len(times) // 2],
        "p99 ms": 1000 * times[len(times) * 99 // 100],
        "worst ms": 1000 * times[-1],
        "late": sum(seconds > deadline + 0.05 for seconds in times),
    }


def run(
    hosts: int,
    rows: int,
    *,
    callers: int = 4,
    every: float = 0.005,
    deadline: float = 0.25,
    size: int = 200,
    quiet: float = 10.0,
    policy: bool = True,
    modest: bool = True,
) -> dict[str, Any]:
    """Both runs; their figures under `without drain` and `with drain`, and under `wrong` what didn't arrive just once.

    Not `modest`: hosts get a core as anybody does, for where no wait is measured and others leave none."""
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(prefix="spoolq-recovery-", dir=memory) as name, Server() as server:
        folder, ready, go = Path(name), FORK.Semaphore(0), FORK.Event()
        crowd = [
            FORK.Process(
                target=host, args=(server.url, folder / f"host-{n}.db", rows, size, ready, go, policy, modest), daemon=True
            )
            for n in range(hosts)
        ]
        try:
            for process in crowd:
                process.start()
            for _ in crowd:
                ready.acquire(timeout=600)
            traffic = (callers, every, deadline)
            silent = measure(server, folder, (), *traffic, quiet)
            go.set()
            busy = measure(server, folder, crowd, *traffic, 0.0)
        finally:
            for process in crowd:
                if process.is_alive():
                    process.kill()
        with server.client(socket_timeout=60.0) as control:
            arrived = Counter(json.loads(item)["id"] for item in control.lrange("resque:queue:old", 0, -1))
        return {
            "without drain": silent,
            "with drain": busy,
            "rows a second": hosts * rows / busy["took"],
            "wrong": (hosts * rows - len(arrived)) + sum(count > 1 for count in arrived.values()),
        }


def main() -> int:
    """The long form."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.recovery", description=__doc__)
    parser.add_argument("--hosts", type=int, default=50)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--callers", type=int, default=4)
    parser.add_argument("--every", type=float, default=0.005, help="seconds between two enqueues of a caller")
    parser.add_argument("--deadline", type=float, default=0.25)
    parser.add_argument("--size", type=int, default=200, help="bytes of a spooled job's argument")
    parser.add_argument("--no-policy", action="store_true")
    options = parser.parse_args()
    figures = run(
        options.hosts,
        options.rows,
        callers=options.callers,
        every=options.every,
        deadline=options.deadline,
        size=options.size,
        policy=not options.no_policy,
    )
    for name, value in figures.items():
        shown = {key: round(number, 2) for key, number in value.items()} if isinstance(value, dict) else round(value)
        print(f"{name:<14} {shown}")
    more = figures["with drain"]["fell back"] > figures["without drain"]["fell back"]
    return 1 if figures["wrong"] or more else 0


if __name__ == "__main__":
    raise SystemExit(main())
