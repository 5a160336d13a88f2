"""Schedulers are killed at random, and so is Redis: each tick is one job in the end.

    python -m tests.torture.ticks [--seconds 120] [--schedulers 10] [--seed 1] [--store redis|sqlite] [--no-ids]

Each scheduler is a whole worker process with a spool of its own, as on a host of its own; none takes the ticks' jobs, so that
they can be counted: what is in Redis when all spools are drained. `--no-ids` is the control: the jobs have ids that say nothing
of their tick, and what is then enqueued twice shows.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from spoolq import SpoolQ, ticker
from spoolq.errors import StoreUnavailable
from spoolq.job import Claim, Message, Receipt, new_id
from spoolq.periodic import Entries, Entry
from tests.contract.hands import Hand
from tests.faults.working import ROOT
from tests.servers import Server
from tests.torture.schedules import Process
from tests.waiting import eventually, pass_time

QUEUE = "ticks"
RULES = ("1 missing", "2 more than once", "3 no tick of this time")


def declared(url: str, spool: str, ids: bool = True) -> SpoolQ:
    """The application: schedules whose jobs say which tick they are of."""
    q = SpoolQ(url, spool=spool, spool_min_free=0)
    launch = q.remote("tick", QUEUE)
    entries = Entries()
    for name, when in {"each-second": 1, "each-third": 3, "each-seventh": 7, "each-minute": "* * * * *"}.items():

        @q.periodic(when, name=name, missed="all")
        def tick(which: str = "") -> None: ...

        def make(id: str) -> Any:
            return launch.using(id=id if ids else new_id()).job(id)

        entries.add(replace(q.entries[name], make=make))
    q.entries = entries
    return q


def schedule(url: str, spool: str, log: str, ids: bool) -> int:
    """One of the processes, until it is ended. It writes down what each enqueue answered."""
    q = declared(url, spool, ids)
    put, told = q.client.put, os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def noted(messages: Sequence[Message], **options: Any) -> list[Receipt]:
        receipts = put(messages, **options)
        os.write(told, "".join(f"{receipt.route} {receipt.new}\n" for receipt in receipts).encode())
        return receipts

    q.client.put = noted  # type: ignore[method-assign]
    worker = q.worker(queues="elsewhere", threads=1, async_concurrency=0)
    worker.install_signals()
    return worker.run()


class Hosts:
    """The schedulers, each on a host of its own as far as files go."""

    def __init__(self, folder: Path, url: str, count: int, ids: bool) -> None:
        self.folder, self.url, self.ids = folder, url, ids
        self.errors = (folder / "errors.log").open("wb")
        self.processes = [Process(f"scheduler {slot}", lambda slot=slot: self._start(slot)) for slot in range(count)]  # type: ignore[misc]

    def spool(self, slot: int) -> Path:
        return self.folder / f"spool-{slot}.db"

    def _start(self, slot: int) -> subprocess.Popen[Any]:
        runtime = self.folder / f"run-{slot}"
        runtime.mkdir(exist_ok=True)
        code = (
            "import sys; from tests.torture.ticks import schedule; sys.exit(schedule(*sys.argv[1:4], '--no-ids' not in sys.argv))"
        )
        arguments = [self.url, str(self.spool(slot)), str(self.folder / "told"), *([] if self.ids else ["--no-ids"])]
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=ROOT,
            env={**os.environ, "RUNTIME_DIRECTORY": str(runtime), "PYTHONPATH": str(ROOT), "SPOOLQ_LEASE": "5s"},
            stdout=self.errors,
            stderr=self.errors,
        )


def run(seconds: float, schedulers: int, seed: int = 1, ids: bool = True, store: str = "redis") -> dict[str, Any]:
    """One run; returns the figures, with the broken invariants under `broken`. On SQLite there is one file for all, and nothing
    but the schedulers to kill."""
    rng = random.Random(seed)
    done: Counter[str] = Counter()
    began = time.time()
    with ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="spoolq-torture-"))
        server = stack.enter_context(Server(appendonly=True, appendfsync="always")) if store == "redis" else None
        url = f"sqlite:///{name}/jobs.db" if server is None else server.url
        hosts = Hosts(Path(name), url, schedulers, ids)
        try:
            with SpoolQ(url, spool=Path(name) / "none.db", spool_min_free=0) as q:
                eventually(lambda: _begun(q), within=60, what="a first tick")
            until = time.monotonic() + seconds
            outage = time.monotonic() + seconds / 12
            while time.monotonic() < until or (
                server is not None and time.monotonic() < until + 30 and not _both(Path(name) / "told")
            ):
                pass_time(rng.uniform(0.2, 2.0))
                if server is None:
                    pass
                elif server.running and time.monotonic() >= outage:
                    server.kill()
                    done["redis"] += 1
                    outage = time.monotonic() + seconds * rng.uniform(0.03, 0.1)
                elif not server.running and time.monotonic() >= outage:
                    server.start()
                    outage = time.monotonic() + seconds * rng.uniform(0.05, 0.15)
                how = rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
                done[how.name] += 1
                victim = rng.choice(hosts.processes)
                if how == signal.SIGSTOP:
                    victim.freeze(rng.uniform(0.1, 2.0))
                else:
                    victim.again(how if victim.process.poll() is None else None)
            if server is not None and not server.running:
                server.start()
            healed = time.time()
            pass_time(8.0)  # whoever is late by then never comes,
            with SpoolQ(url, spool=Path(name) / "none.db", spool_min_free=0) as q:  # unless nobody had a core meanwhile
                second = declared(url, str(Path(name) / "none.db"), ids).entries["each-second"]
                eventually(lambda: _ticked(q, second) > healed, what="a tick of the time after")
            for process in hosts.processes:
                process.end(signal.SIGTERM)
            last = time.time()
        finally:
            for process in hosts.processes:
                process.process.kill()
                process.process.wait()
            hosts.errors.close()
        before = sum(_queued(url).values())
        waiting = sum(_drained(url, hosts.spool(slot)) for slot in range(schedulers))
        found = _queued(url)
        told = Counter((Path(name) / "told").read_text().split("\n")[:-1])
        errors = (Path(name) / "errors.log").read_text(errors="replace")
        broken = verdict(found, began, healed, last, ids)
        broken |= {
            "4 died": [what for process in hosts.processes for what in process.died],
            "5 errors": [errors[-6000:]] if "Traceback" in errors else [],
            "6 left in a spool": waiting,
        }
        return {
            "seed": seed,
            "ticks": dict(Counter(id.partition("@")[0] for id in found)),
            "jobs": sum(found.values()),
            "enqueued": dict(told),
            "still spooled at the end": sum(found.values()) - before,
            "done": dict(done),
            "seconds": round(time.time() - began, 1),
            "broken": {rule: what for rule, what in broken.items() if what},
        }


def verdict(found: Counter[str], began: float, healed: float, last: float, ids: bool = True) -> dict[str, Any]:
    """What breaks which rule. All schedules are first seen together: from the first tick there is to the one that was due when
    all was well again, each must be there."""
    q = declared("redis://127.0.0.1:1/0", "/nowhere/spool.db", ids)
    ticks = {
        entry.id(tick): tick
        for entry in q.entries.values()
        for tick in takewhile(lambda tick: tick <= last, entry.when.after(began - 1))
    }
    first = min((ticks[id] for id in found if id in ticks), default=began)
    missing = [id for id, tick in ticks.items() if first < tick <= healed and id not in found]
    strange = sorted(found.keys() - ticks.keys())
    twice = sorted(id for id, count in found.items() if count > 1)
    return dict(zip(RULES, (missing, twice, strange), strict=True))


def _both(told: Path) -> bool:
    """Whether ticks have become jobs in Redis, and in a spool: an outage may be over before anybody here gets a core."""
    return {"primary True", "spool True"} <= set(told.read_text().split("\n"))


def _begun(q: SpoolQ) -> bool:
    with suppress(StoreUnavailable):  # ten that start at once may leave neither it nor this one a core for a while
        return bool(q.primary.depths())
    return False


def _ticked(q: SpoolQ, entry: Entry) -> float:
    """The last tick of it that somebody has enqueued."""
    with suppress(StoreUnavailable):
        return ticker.last(q.primary, entry) or 0.0
    return 0.0


def _queued(url: str) -> Counter[str]:
    """The ticks that are jobs in the primary, each with how many."""
    with SpoolQ(url, spool="/nowhere/spool.db", spool_min_free=0, disk_limit=30.0) as q:
        hand = Hand(q.primary, "counter", queues=(QUEUE,))
        claims = list[Claim]()
        while some := hand.claim(500):
            claims += some
        if claims:
            q.primary.release(claims)
        q.primary.unregister(hand.info)
    return Counter(json.loads(claim.payload)["args"][0] for claim in claims)


def _drained(url: str, path: Path) -> int:
    """Hand over what is in that spool. Returns what is left all the same."""
    if not path.exists():  # as on SQLite
        return 0
    with SpoolQ(url, spool=path, spool_min_free=0, deadline=5.0, disk_limit=30.0) as q:
        drainer, spool = q.drainer(), q.spool
        assert spool is not None
        until = time.monotonic() + 60
        while spool.waiting(1) and time.monotonic() < until:
            pass_time(min(drainer.turn() or 0.0, 0.5))
        drainer.close()
        return spool.waiting() + spool.info().quarantined


def main() -> int:
    """The long form."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.ticks", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--schedulers", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=["redis", "sqlite"], default="redis")
    parser.add_argument("--no-ids", action="store_true", help="the control")
    options = parser.parse_args()
    figures = run(options.seconds, options.schedulers, options.seed, not options.no_ids, options.store)
    for name, value in figures.items():
        print(f"{name:<26} {value}")
    return 1 if figures["broken"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
