"""What a schedule with features adds: jobs with results, chains, batches, unique and exclusive ones, and what must hold of them.

A producer of its own enqueues them (`python -m tests.torture.features URL SPOOL LOG`). Beside the lines of
`tests.torture.producer` it writes what belongs together: `AFTER parent child`, `BATCH callback member,member`, `ONCE id number`,
`SAME tried holder`.
"""

from __future__ import annotations

import itertools
import random
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from spoolq import EnqueueError, SpoolQ
from spoolq.job import Job
from tests.faults.app import Control
from tests.faults.working import APP, Line, Place

KEYS = 5
LONG = 86_400.0  # seconds: longer than clocks are set
LASTING: dict[str, Any] = {"queue": "work", "retries": 100, "max_crashes": 100, "backoff": lambda state: 0}
APP_WITH_FEATURES = f"""{APP}
lasting = dict(queue="work", retries=100, max_crashes=100, backoff=lambda state: 0)

@q.task(result_ttl={LONG}, **lasting)
def counted(number):
    tell("RUN", number)
    return number + 1

@q.task(unique="until_done", unique_for={LONG}, track=True, **lasting)
def once(key):
    tell("RUN", key)

@q.task(exclusive=True, **lasting)
def alone(key):
    tell("BEGIN", key)
    threading.Event().wait(0.01)
    tell("RUN", key)
"""


def tasks(q: SpoolQ) -> dict[str, Any]:
    """Those that the producer launches, as it must know them to launch them rightly."""
    q.task(name="once", unique="until_done", unique_for=LONG, track=True, **LASTING)(lambda key: None)
    q.task(name="counted", result_ttl=LONG, **LASTING)(lambda number: None)
    return {name: q.tasks.get(name) if name in ("once", "counted") else q.remote(name, "work") for name in _KINDS}


_KINDS = ("counted", "once", "alone", "note")


def main(url: str, spool: str, path: str) -> None:
    """Enqueue until TERM, which ends it after the call."""
    ended = False

    def stop(number: int, frame: object) -> None:
        nonlocal ended
        ended = True

    signal.signal(signal.SIGTERM, stop)
    rng, q = random.Random(), SpoolQ(url, spool=spool, spool_min_free=0)
    known = tasks(q)
    note = known["note"]
    with open(path, "a", buffering=1) as log, q, Control() as control:
        for number in itertools.count():
            if ended:
                return
            jobs, then = [], None
            match rng.choice(("counted", "once", "alone", "after", "batch")):
                case "after":
                    child = note.job("child")
                    jobs = [note.using(after=[child]).job("parent")]
                    log.write(f"AFTER {jobs[0].id} {child.id}\n")
                case "batch":
                    then, jobs = note.job("then"), [note.job("member") for _ in range(rng.randint(1, 4))]
                    log.write(f"BATCH {then.id} {','.join(job.id for job in jobs)}\n")
                case kind:
                    jobs = [known[kind].job(number if kind == "counted" else number % KEYS)]
                    log.write(f"{kind.upper()} {jobs[0].id} {number}\n")
            for job in jobs:
                log.write(f"TRY {job.id}\n")
            began = time.perf_counter() - control.unscheduled
            ends = _enqueued(q, jobs, then)
            took = (time.perf_counter() - control.unscheduled - began) * 1000
            for end in ends:
                log.write(end if end.startswith("SAME") else f"{end} {took:.2f}\n")
            time.sleep(0.004)


def _enqueued(q: SpoolQ, jobs: Sequence[Job], then: Job | None) -> list[str]:
    """What became of each."""
    try:
        receipts = q.submit(jobs) if then is None else list(q.batch(jobs, then).receipts)
    except EnqueueError as error:
        return [f"ERR {job.id} {type(error).__name__}" for job in jobs]
    return [
        f"SAME {job.id} {receipt.id}\n" if receipt.id != job.id else f"ACK {job.id} {receipt.route}"
        for job, receipt in zip(jobs, receipts, strict=True)
    ]


class Told:
    """What the producers' files say of what belongs together."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self.after: dict[str, str] = {}
        self.batches: dict[str, list[str]] = {}
        self.counted: dict[str, int] = {}
        self.unique: dict[str, int] = {}  # with their keys
        self.same: dict[str, str] = {}
        for path in paths:
            for line in path.read_text().splitlines():
                match line.split():
                    case ["AFTER", parent, child]:
                        self.after[parent] = child
                    case ["BATCH", then, members]:
                        self.batches[then] = members.split(",")
                    case ["COUNTED", id, number]:
                        self.counted[id] = int(number)
                    case ["ONCE", id, number]:
                        self.unique[id] = int(number) % KEYS
                    case ["SAME", tried, holder]:
                        self.same[tried] = holder

    @property
    def derived(self) -> set[str]:
        """The ids of jobs that a settling puts."""
        return {*self.after.values(), *self.batches}

    def counts(self, runs: Counter[str]) -> dict[str, int]:
        """How many of each kind ran."""
        kinds = {"chains": self.after, "batches": self.batches, "with results": self.counted, "unique": self.unique.keys()}
        return {kind: len(runs.keys() & set(ids)) for kind, ids in kinds.items()} | {"unique, there already": len(self.same)}


def verdict(place: Place, told: Told, acknowledged: Iterable[str]) -> dict[str, list[str]]:
    """Each broken invariant of the features, with the ids that break it."""
    trace = place.trace()
    first: dict[str, int] = {}
    for at, line in enumerate(trace):
        first.setdefault(line.id, at)
    broken: dict[str, list[str]] = defaultdict(list)
    for parent, child in told.after.items():
        if (parent in first) != (child in first):
            broken["f1 a child without its parent, or a parent without its child"].append(f"{parent} {child}")
        elif parent in first and first[child] < first[parent]:
            broken["f2 a child before its parent"].append(f"{parent} {child}")
    for then, members in told.batches.items():
        ran = [member in first for member in members]
        if all(ran) != (then in first):
            broken["f3 a callback without all its members, or the other way round"].append(f"{then} {members}")
        elif then in first and first[then] < max(first[member] for member in members):
            broken["f4 a callback before a member"].append(f"{then} {members}")
    broken["f5 a result is wrong"] = [
        f"{id} {number} {_result(place, id)!r}"
        for id, number in told.counted.items()
        if id in first and _result(place, id) != number + 1
    ]
    lost = sorted(told.unique.keys() & set(acknowledged) - first.keys())
    gone = ((id, place.q.status(id)) for id in lost)
    broken["f6 a unique job is gone, and nothing says that an equal one was there"] = [
        f"{id}: {status}" for id, status in gone if status != "discarded"
    ]
    # the holder may have been one of the spool, which Redis had an equal one of
    nobody = [f"{a} {b}" for a, b in told.same.items() if b not in first and b not in lost]
    broken["f7 the one that is there never ran"] = nobody
    ran = {told.unique[id] for id in told.unique.keys() & first.keys()}
    broken["f8 no equal one ran"] = [id for id in [*lost, *told.same] if told.unique[id] not in ran]
    broken["f9 exclusive jobs overlap"] = _overlaps(place, trace)
    return {rule: found for rule, found in broken.items() if found}


def _result(place: Place, id: str) -> object:
    try:
        return place.q.result(id, timeout=10)  # the disk may be busy with what went before
    except Exception as error:
        return error


def _overlaps(place: Place, trace: Sequence[Line]) -> list[str]:
    """Of jobs of one key that ran in the primary, those of which one began when another had begun and not ended. One that was run
    again counts not: its first run may go on in a worker that was frozen."""
    begun = Counter(line.id for line in place.trace("BEGIN"))
    running: dict[str, str] = {}
    found = []
    for line in place.trace("BEGIN", "RUN"):
        if begun[line.id] != 1 or line.store != "primary":
            continue
        if line.what == "BEGIN":
            if line.value in running:
                found.append(f"{running[line.value]} {line.id}")
            running[line.value] = line.id
        elif running.get(line.value) == line.id:
            del running[line.value]
    return found


if __name__ == "__main__":
    main(*sys.argv[1:4])
