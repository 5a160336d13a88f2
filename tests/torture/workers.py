"""Workers on one Redis are killed, frozen and told to stop, and so is the server: every job runs, none is begun afresh twice.

    python -m tests.torture.workers [--jobs 20000] [--actions 40] [--seed 1]

A second run is allowed where the first could not be recorded (the worker died, or was frozen past its lease), and the job knows
of the first: one that is claimed twice and knows nothing of it was handed out twice.
"""

from __future__ import annotations

import random
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.faults.working import Place, Worker, at
from tests.servers import Server
from tests.torture.check import long_form
from tests.waiting import pass_time, while_moving


def run(jobs: int, actions: int, seed: int = 1, workers: int = 2) -> dict[str, Any]:
    """One run; returns the figures, with the broken invariants under `broken`."""
    rng = random.Random(seed)
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="spoolq-torture-") as folder,
        Server(appendonly=True, appendfsync="always") as server,
        at(Path(folder), server.url) as place,
    ):
        alive = [place.worker(threads=2, LEASE="1s") for _ in range(workers)]
        ids: list[str] = []
        done: Counter[str] = Counter()
        for _ in range(actions):
            launch = place.q.remote("labour", "work")
            durations = [rng.choice([0, 0, 0, 0.001, 0.005, 0.02, 0.1]) for _ in range(jobs // actions)]
            ids += [receipt.id for receipt in place.q.enqueue_many([launch.job(seconds) for seconds in durations])]
            pass_time(rng.uniform(0.05, 0.6))
            victim = rng.randrange(workers)
            what = rng.choice(["kill", "freeze", "stop", "server", "freeze server"])
            done[what] += 1
            alive[victim] = disturb(what, place, server, alive[victim], rng)
        # However long that takes; when nothing moves any more, `left` tells
        while_moving(place.over, lambda: (place.folder / "trace").stat().st_size)
        for worker in alive:
            worker.ready().send(signal.SIGTERM)
        codes = [worker.process.wait(60) for worker in alive]
        runs = place.runs()
        afresh = Counter(line.id for line in place.trace() if line.fresh)
        return {
            "jobs": len(ids),
            "actions": dict(done),
            "runs": sum(runs.values()),
            "run more than once": sum(count > 1 for count in runs.values()),
            "left": dict(place.left()),
            "failures": place.store.failures.count(),
            "exits": codes,
            "stderr": "".join(worker.log.read_text(errors="replace")[-4000:] for worker in alive),
            "tracebacks": [w.log.name for w in place.workers if "Traceback" in w.log.read_text(errors="replace")],
            "seconds": round(time.monotonic() - began, 1),
            "broken": {
                rule: found
                for rule, found in {
                    "1 lost": sorted(set(ids) - runs.keys()),
                    "2 claimed afresh twice": sorted(id for id, count in afresh.items() if count > 1),
                    "3 run, never enqueued": sorted(runs.keys() - set(ids)),
                }.items()
                if found
            },
        }


def disturb(what: str, place: Place, server: Server, worker: Worker, rng: random.Random) -> Worker:
    """Do it, and return the worker that stands in the place of this one."""
    match what:
        case "kill":
            worker.kill()
            return place.worker(threads=2, LEASE="1s")
        case "stop":
            worker.send(signal.SIGTERM)
            worker.process.wait(60)
            return place.worker(threads=2, LEASE="1s")
        case "freeze":
            worker.send(signal.SIGSTOP)
            pass_time(rng.uniform(0.1, 2.0))
            worker.send(signal.SIGCONT)
        case "server":
            server.kill()
            pass_time(rng.uniform(0.05, 1.0))
            server.start()
        case "freeze server":
            server.stop()
            pass_time(rng.uniform(0.1, 1.5))
            server.cont()
    return worker


if __name__ == "__main__":
    raise SystemExit(long_form("workers", __doc__, run, jobs=20_000, actions=40, seed=1))
