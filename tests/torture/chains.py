"""Chains and batches are launched while workers are killed, frozen and told to stop, and so is their Redis: what follows comes as
one job, after all that it waits for.

    python -m tests.torture.chains [--launches 400] [--actions 40] [--seed 1]

A launch is a batch of 1 to 20 jobs with a callback that has a job after it, or a chain of 2 to 6. Those that meet an outage go to
the spool, and run there or in Redis. A second run of a job is allowed where it knows of the first.
"""

from __future__ import annotations

import random
import signal
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.faults.working import Line, Place, at
from tests.servers import Server
from tests.torture.check import long_form
from tests.torture.workers import disturb
from tests.waiting import pass_time, while_moving


class Launched:
    """What was launched: each job that follows, and those that must have run before it."""

    def __init__(self, place: Place, rng: random.Random) -> None:
        self._place, self._rng = place, rng
        self._launch = place.q.remote("labour", "work")
        self.before: dict[str, list[str]] = {}
        self.ids: list[str] = []
        self.routes: Counter[str] = Counter()
        self.batches = 0

    def batch(self) -> None:
        members = [self._launch.job(self._duration()) for _ in range(self._rng.randint(1, 20))]
        last = self._launch.job(0)
        then = self._launch.using(after=[last]).job(0)
        receipts = self._place.q.batch(members, then=then).receipts
        self.routes.update(receipt.route for receipt in receipts)
        self.before |= {then.id: [job.id for job in members], last.id: [then.id]}
        self.ids += [then.id, last.id, *(job.id for job in members)]
        self.batches += 1

    def chain(self) -> None:
        job = self._launch.job(self._duration())
        ids = [job.id]
        for _ in range(self._rng.randint(1, 5)):
            job = self._launch.using(after=[job]).job(self._duration())
            self.before[ids[-1]] = [job.id]
            ids.append(job.id)
        [receipt] = self._place.q.enqueue_many([job])
        self.routes[receipt.route] += 1
        self.ids += ids

    def _duration(self) -> float:
        return self._rng.choice([0, 0, 0, 0.001, 0.005, 0.02, 0.1])

    def too_early(self, trace: list[Line]) -> list[str]:
        """Those that ran before what they were to wait for."""
        ran: set[str] = set()
        early = []
        for line in trace:
            if not ran.issuperset(self.before.get(line.id, ())):
                early.append(line.id)
            ran.add(line.id)
        return early


def run(launches: int, actions: int, seed: int = 1, workers: int = 2) -> dict[str, Any]:
    """One run; returns the figures, with the broken invariants under `broken`."""
    rng = random.Random(seed)
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="spoolq-torture-") as folder,
        Server(appendonly=True, appendfsync="always") as server,
        at(Path(folder), server.url, deadline=0.25) as place,
    ):
        alive = [place.worker(threads=2, LEASE="1s") for _ in range(workers)]
        launched = Launched(place, random.Random(seed + 1000))
        over = threading.Event()

        def launch() -> None:
            for n in range(launches):
                launched.batch() if n % 2 else launched.chain()
                over.wait(0.6 * actions / launches)

        launching = threading.Thread(target=launch)
        launching.start()
        done: Counter[str] = Counter()
        for _ in range(actions):
            pass_time(rng.uniform(0.05, 0.6))
            victim = rng.randrange(workers)
            what = rng.choice(["kill", "freeze", "stop", "server", "freeze server", "outage"])
            done[what] += 1
            if what == "outage":  # long enough for local work
                server.kill()
                pass_time(rng.uniform(1.5, 4.0))
                server.start()
            else:
                alive[victim] = disturb(what, place, server, alive[victim], rng)
        over.set()
        launching.join()
        spool = place.q.spool
        assert spool is not None
        # However long that takes; when nothing moves any more, `left` tells
        while_moving(place.over, lambda: (place.folder / "trace").stat().st_size)
        for worker in alive:
            worker.ready().send(signal.SIGTERM)
        codes = [worker.process.wait(60) for worker in alive]
        trace, runs = place.trace(), place.runs()
        afresh = Counter(line.id for line in trace if line.fresh)
        with server.client() as control:
            counting = len(control.keys("resque:spoolq:batch:*"))
        return {
            "jobs": len(launched.ids),
            "launched into": dict(launched.routes),
            "batches": launched.batches,
            "actions": dict(done),
            "runs": sum(runs.values()),
            "by store": dict(Counter(line.store for line in trace)),
            "callbacks by store": dict(Counter(line.store for line in trace if len(launched.before.get(line.id, ())) > 1)),
            "left": dict(place.left()),
            "set aside": spool.info().quarantined,
            "batches half counted": counting,
            "failures": place.store.failures.count(),
            "exits": codes,
            "stderr": "".join(worker.log.read_text(errors="replace")[-4000:] for worker in alive),
            "tracebacks": [w.log.name for w in place.workers if "Traceback" in w.log.read_text(errors="replace")],
            "seconds": round(time.monotonic() - began, 1),
            "broken": {
                rule: found
                for rule, found in {
                    "1 lost": sorted(set(launched.ids) - runs.keys()),
                    "2 claimed afresh twice": sorted(id for id, count in afresh.items() if count > 1),
                    "3 run, never launched": sorted(runs.keys() - set(launched.ids)),
                    "4 run too early": launched.too_early(trace),
                }.items()
                if found
            },
        }


if __name__ == "__main__":
    raise SystemExit(long_form("chains", __doc__, run, launches=400, actions=40, seed=1))
