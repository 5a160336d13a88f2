"""A process of a pool is killed at random every second: every job runs at least once, and what ran again is counted.

    python -m tests.torture.pool [--store redis|sqlite] [--jobs 20000] [--kills 60] [--seed 1]

The first process of the pool and its housekeeper are killed too, the first one rarely: another pool is then started in its place,
as systemd would. Leases are of a minute, so that nothing goes on by their end alone.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from tests.faults.working import Place, Worker, at
from tests.servers import Server
from tests.waiting import eventually, pass_time, while_moving


def run(jobs: int, kills: int, seed: int = 1, store: str = "redis", every: float = 1.0) -> dict[str, Any]:
    """One run; returns the figures, with the broken invariants under `broken`."""
    rng = random.Random(seed)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spoolq-torture-")))
        url = f"sqlite:///{folder}/jobs.db"
        if store == "redis":
            url = stack.enter_context(Server(appendonly=True, appendfsync="always")).url
        place = stack.enter_context(at(folder, url))
        launch = place.q.remote("labour", "work")
        pools = [start(place)]
        ids: list[str] = []
        done: Counter[str] = Counter()
        for _ in range(kills):
            durations = [rng.choice([0, 0, 0, 0.001, 0.01, 0.05]) for _ in range(jobs // kills)]
            ids += [receipt.id for receipt in place.q.enqueue_many([launch.job(seconds) for seconds in durations])]
            pass_time(every)
            what = rng.choices(["jobs", "house", "pool"], [80, 15, 5])[0]
            done[what] += 1
            if what == "pool":
                pools[-1].kill()
                pools.append(start(place))
            else:
                victims = processes(pools[-1])[what]
                if victims:
                    with suppress(ProcessLookupError):
                        os.kill(rng.choice(victims), signal.SIGKILL)
        while_moving(lambda: not place.left(), lambda: (place.folder / "trace").stat().st_size)
        pools[-1].send(signal.SIGTERM)
        codes = [pools[-1].process.wait(60)]
        runs = place.runs()
        afresh = Counter(line.id for line in place.trace() if line.fresh)
        return {
            "jobs": len(ids),
            "killed": dict(done),
            "runs": sum(runs.values()),
            "run more than once": sum(count > 1 for count in runs.values()),
            "most runs of one": max(runs.values()),
            "left": dict(place.left()),
            "failures": place.store.failures.count(),
            "exits": codes,
            "tracebacks": [w.log.name for w in place.workers if "Traceback" in w.log.read_text(errors="replace")],
            "broken": {
                rule: found
                for rule, found in {
                    "1 lost": sorted(set(ids) - runs.keys()),
                    "2 run, never enqueued": sorted(runs.keys() - set(ids)),
                    "3 claimed afresh twice": sorted(id for id, count in afresh.items() if count > 1),
                    "4 still held": [view.info.pid for view in place.store.workers() if view.claims],
                }.items()
                if found
            },
        }


def start(place: Place) -> Worker:
    """One more pool, working."""
    worker = place.worker("--processes", "3", threads=2, LEASE="60s")
    eventually(lambda: processes(worker)["jobs"], what="a process that works")
    return worker


def processes(worker: Worker) -> dict[str, list[int]]:
    """Those of a pool that live, by role."""
    found: dict[str, list[int]] = {"jobs": [], "house": []}
    for line in worker.said("]: worker "):
        match = re.search(r"worker \S+?:(\d+):\S* (runs|keeps house)", line)
        if match and Path(f"/proc/{match[1]}").exists():
            found["jobs" if match[2] == "runs" else "house"].append(int(match[1]))
    return found


def main() -> int:
    """The long form."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.torture.pool", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", choices=["redis", "sqlite"], default="redis")
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    figures = run(options.jobs, options.kills, options.seed, options.store)
    for name, value in (figures | {"seconds": round(time.monotonic() - began, 1)}).items():
        print(f"{name:<20} {str(value)[:300]}")
    return 1 if any(figures[name] for name in ("broken", "left", "failures", "tracebacks")) or any(figures["exits"]) else 0


if __name__ == "__main__":
    raise SystemExit(main())
