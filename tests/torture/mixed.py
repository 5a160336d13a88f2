"""Mixed jobs of every kind, in three queues: what ran, how often, and where each failure went.

    python -m tests.torture.mixed [--jobs 20000] [--store redis|sqlite] [--processes 2:2 | --workers 2] [--crashes 2] [--seed 1]

Tasks that succeed, at once or at a later attempt, fail, give up, discard, run past their time limits, are coroutines, or kill
their process. Each run appends a line to a file before it does anything else. A job may be run again, with nothing counted,
where the process died that had finished it and not yet said so. With `--workers` plain workers are started anew as they die,
instead of a pool.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spoolq import SpoolQ
from spoolq.job import Failure
from tests.servers import Server
from tests.torture.books import Books
from tests.waiting import eventually, while_moving

QUEUES = ("critical", "default", "low")
DEATHS = 3
DONE, DISCARDED = "done", "discarded"
QUICK = "backoff=lambda state: 0.05"

APP = f"""
import asyncio, ctypes, os, signal, time
from spoolq import Discard, Retry, SpoolQ, current_job
from spoolq.errors import SoftTimeLimit

q = SpoolQ.from_env()
journal = os.open(os.environ["JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

def begin():
    job = current_job().job
    os.write(journal, f"{{job.id}} {{job.attempt}} {{job.crashes}} {{len(job.history)}}\\n".encode())
    return job

def compute(seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass

@q.task
def plain(): begin()

@q.task
async def coroutine():
    begin()
    await asyncio.sleep(0.001)

@q.task({QUICK})
def second():
    if begin().attempt < 1: raise ValueError("not yet")

@q.task({QUICK})
def third():
    if begin().attempt < 2: raise ValueError("not yet")

@q.task({QUICK})
async def coroutine_second():
    if begin().attempt < 1: raise ValueError("not yet")

@q.task
def asks():
    if begin().attempt < 1: raise Retry(0.05)

@q.task(retries=2, {QUICK})
def doomed():
    begin()
    raise ValueError("never")

@q.task(give_up_on=(KeyError,))
def hopeless():
    begin()
    raise KeyError("hopeless")

@q.task(retry_for=60)
def late():
    begin()
    raise Retry(3600)

@q.task
def unwanted():
    begin()
    raise Discard

@q.task(soft_timeout=0.1, timeout=10)
def soft_caught():
    begin()
    try:
        compute(30)
    except SoftTimeLimit:
        pass

@q.task(soft_timeout=0.1, timeout=10, retries=0)
def soft():
    begin()
    compute(30)

@q.task(timeout=0.1, retries=1, {QUICK})
def hard():
    begin()
    compute(30)

@q.task(timeout=0.1, retries=1, {QUICK})
async def coroutine_hard():
    begin()
    await asyncio.sleep(60)

@q.task(timeout=0.1, retries=0)
def stuck():
    begin()
    time.sleep(4)  # nothing can end it: its thread is left behind

@q.task(max_crashes={DEATHS})
def exits():
    begin()
    os._exit(3)

@q.task(max_crashes={DEATHS})
def killed():
    begin()
    os.kill(os.getpid(), signal.SIGKILL)

@q.task(max_crashes={DEATHS})
def segfault():
    begin()
    ctypes.string_at(0)

@q.task(max_crashes={DEATHS})
def crashes_once():
    if begin().crashes == 0: os._exit(3)
"""


@dataclass(frozen=True)
class Kind:
    """What is enqueued of it (a share of all jobs, 0 for what kills its process, 1 for the rest), how many attempts it takes, how
    it ends."""

    share: float
    attempts: int
    end: str


KINDS = {
    "plain": Kind(1, 1, DONE),
    "coroutine": Kind(0.1, 1, DONE),
    "second": Kind(0.05, 2, DONE),
    "third": Kind(0.03, 3, DONE),
    "coroutine_second": Kind(0.03, 2, DONE),
    "asks": Kind(0.03, 2, DONE),
    "doomed": Kind(0.03, 3, "ValueError"),
    "hopeless": Kind(0.02, 1, "KeyError"),
    "late": Kind(0.02, 1, "Retry"),
    "unwanted": Kind(0.02, 1, DISCARDED),
    "soft_caught": Kind(0.003, 1, DONE),
    "soft": Kind(0.003, 1, "SoftTimeLimit"),
    "hard": Kind(0.004, 2, "TimeLimit"),
    "coroutine_hard": Kind(0.004, 2, "TimeLimit"),
    "stuck": Kind(0.0002, 1, "TimeLimit"),
    "exits": Kind(0, DEATHS, "WorkerDied"),
    "killed": Kind(0, DEATHS, "WorkerDied"),
    "segfault": Kind(0, DEATHS, "WorkerDied"),
    "crashes_once": Kind(0, 2, DONE),
}


@dataclass
class Seen:
    """What was seen of one job: its runs, as attempt and crashes before each, and its entries in the failure log."""

    runs: list[tuple[int, int, int]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    @property
    def end(self) -> str:
        """How it ended, as far as can be told from outside."""
        return self.failures[0].exception if self.failures else DONE


def plan(jobs: int, crashes: int, rng: random.Random) -> list[tuple[str, str]]:
    """Kind and queue of each job, in the order in which they are enqueued. Of each kind there is one at least."""
    kinds: list[str] = []
    for kind, about in KINDS.items():
        if about.share < 1:
            kinds += [kind] * (max(1, round(about.share * jobs)) if about.share else crashes)
    kinds += ["plain"] * (jobs - len(kinds))
    rng.shuffle(kinds)
    return [(kind, rng.choice(QUEUES)) for kind in kinds]


def wrong(kind: str, seen: Seen) -> str | None:
    """The rule that this job breaks."""
    about = KINDS[kind]
    attempts, crashes = {attempt for attempt, _, _ in seen.runs}, {crash for _, crash, _ in seen.runs}
    if not seen.runs:
        return "lost: never run"
    if len(seen.failures) > 1:
        return "in the failure log more than once"
    if seen.end != (DONE if about.end == DISCARDED else about.end):
        return f"ended as {seen.end}, not as {about.end}"
    if any(kept != min(10, attempt + crash) for attempt, crash, kept in seen.runs):
        return "run without the history of what went before"
    if about.end == "WorkerDied":
        if attempts != {0} or not crashes <= set(range(DEATHS)):
            return f"run with attempts {sorted(attempts)}, crashes {sorted(crashes)}"
    elif kind != "crashes_once" and attempts != set(range(about.attempts)):
        return f"run with attempts {sorted(attempts)}"
    for failure in seen.failures:
        numbers = [one.number for one in failure.history]
        deaths = [one.exception for one in failure.history].count("WorkerDied")
        counted = DEATHS if about.end == "WorkerDied" else about.attempts + deaths
        if failure.attempts != counted or numbers != list(range(1, counted + 1)):
            return f"logged with {failure.attempts} attempts, numbered {numbers}"
    return None


class Workers:
    """`spoolq worker` at work: as a pool, or as so many plain ones, each started anew when it dies."""

    def __init__(self, folder: Path, environment: dict[str, str], processes: str, workers: int) -> None:
        queues = ",".join(QUEUES)
        self._command = [sys.executable, "-m", "spoolq", "worker", "app_under_torture:q", "--threads", "4", "--queues", queues]
        self._command += ["--processes", processes] if processes else []
        self._pool, self._folder, self._environment = bool(processes), folder, environment
        self._logs: list[Path] = []
        self.died: list[int] = []
        self._alive = [self._start() for _ in range(1 if processes else workers)]

    def _start(self) -> subprocess.Popen[bytes]:
        self._logs.append(path := self._folder / f"worker-{len(self._logs)}.log")
        with path.open("wb") as log:
            return subprocess.Popen(
                self._command, env=self._environment, cwd=self._folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def nurse(self) -> None:
        """Start anew what has died. A pool does that by itself, and must not die."""
        for number, one in enumerate(self._alive):
            if one.poll() is not None:
                self.died.append(one.returncode)
                self._alive[number] = self._start()

    def end(self) -> list[int]:
        """Stop them, once they work: before, they would die of it. Returns the exit codes."""
        try:
            for one, log in zip(self._alive, self._logs[-len(self._alive) :], strict=True):
                eventually(lambda log=log, one=one: " runs, " in log.read_text(errors="replace") or one.poll() is not None)
            for one in self._alive:
                one.terminate()
            return [one.wait(60) for one in self._alive]
        finally:
            for one in self._alive:
                one.kill()
                one.wait()

    @property
    def log(self) -> str:
        """What all of them wrote."""
        return "".join(path.read_text(errors="replace") for path in self._logs)


def run(
    jobs: int, store: str = "redis", *, processes: str = "2:2", workers: int = 2, crashes: int = 2, seed: int = 1
) -> dict[str, Any]:
    """One run; returns the figures: a row for each kind under `table`, the broken rules with their jobs under `broken`."""
    began = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spoolq-torture-")))
        server = stack.enter_context(Server()) if store == "redis" else None
        url = f"sqlite:///{folder}/jobs.db" if server is None else server.url
        (folder / "app_under_torture.py").write_text(APP)
        (folder / "run").mkdir(mode=0o700)
        (folder / "journal").touch()
        environment = os.environ | {
            "SPOOLQ_URL": url,
            "SPOOLQ_SPOOL": str(folder / "spool.db"),
            "SPOOLQ_SPOOL_MIN_FREE": "0",
            "RUNTIME_DIRECTORY": str(folder / "run"),
            "JOURNAL": str(folder / "journal"),
            "PYTHONPATH": os.pathsep.join([str(folder), os.getcwd()]),
        }
        own = {} if server is None else {"spool": folder / "spool.db"}
        q = stack.enter_context(SpoolQ(url, spool_min_free=0, deadline=10.0, disk_limit=60.0, **own))
        books = stack.enter_context(Books(url, own.get("spool")))
        seen: dict[str, Seen] = defaultdict(Seen)
        kinds: dict[str, str] = {}
        planned = plan(jobs, crashes, random.Random(seed))
        hands = Workers(folder, environment, processes, workers)
        codes: list[int] = []
        try:
            for start in range(0, len(planned), 500):
                several = planned[start : start + 500]
                receipts = q.enqueue_many([q.remote(kind, queue).job() for kind, queue in several])
                kinds |= {receipt.id: kind for receipt, (kind, _) in zip(receipts, several, strict=True)}

            def over() -> bool:
                hands.nurse()
                return not any(depth.ready or depth.claimed or depth.scheduled for depth in q.primary.depths())

            ended = while_moving(over, (folder / "journal").stat, still=90.0)
        finally:
            codes = hands.end()
        total = books.close().total
        for line in (folder / "journal").read_text().splitlines():
            id, *numbers = line.split()
            attempt, crash, kept = map(int, numbers)
            seen[id].runs.append((attempt, crash, kept))
        after: Any = None
        while True:
            page, after = q.primary.failures.scan(after, 500)
            for failure in page:
                seen[failure.id].failures.append(failure)
            if after is None:
                break
        broken: dict[str, list[str]] = defaultdict(list)
        for id, kind in kinds.items():
            if (rule := wrong(kind, seen[id])) is not None:
                broken[f"{kind}: {rule}"].append(id)
        if strangers := seen.keys() - kinds.keys():
            broken["run or failed, never enqueued"] = sorted(strangers)
        counters = {name: q.primary.counters().get(name, 0) for name in ("processed", "failed", "discarded", "retried")}
        failures = sum(len(one.failures) for one in seen.values())
        if books.broken:
            broken["doesn't balance"] = books.broken
        discarded = sum(KINDS[kind].end == DISCARDED for kind in kinds.values())
        if (counters["failed"], counters["discarded"]) != (failures, discarded):
            broken[f"the counters say {counters}, there are {failures} failures and {discarded} discarded jobs"] = []
        if counters["processed"] + failures + discarded != len(kinds):
            broken[f"the counters say {counters}, of {len(kinds)} jobs"] = []
        expected = ({"put": len(kinds)}, {"done": counters["processed"], "failed": failures, "discarded": discarded})
        if (total.came, total.went) != expected:
            broken[f"the books say {total}, not {expected}"] = []
        return {
            "books": f"{books.looks} looks, {books.busy} at jobs; {total.all_came} came, {total.missing} missing",
            "jobs": len(kinds),
            "table": table(kinds, seen),
            "runs": sum(len(one.runs) for one in seen.values()),
            "run again, nothing counted": sum(len(one.runs) - len(set(one.runs)) for one in seen.values()),
            "counters": counters,
            "ended": ended,
            "plain workers that died": len(hands.died),
            "exits": codes,
            "seconds": round(time.monotonic() - began, 1),
            "log": hands.log,
            "broken": dict(broken),
        }


def table(kinds: dict[str, str], seen: dict[str, Seen]) -> list[tuple[str, ...]]:
    """A row for each kind: how many, how often run (least, mean, most), how they ended."""
    rows = [("kind", "jobs", "least", "mean", "most", "ended")]
    for kind, about in KINDS.items():
        some = [seen[id] for id, its in kinds.items() if its == kind]
        if not some:
            continue
        runs = [len(one.runs) for one in some]
        ends = Counter(DISCARDED if (one.end, about.end) == (DONE, DISCARDED) else one.end for one in some)
        said = ", ".join(f"{end} {count}" for end, count in ends.items())
        rows.append((kind, str(len(some)), str(min(runs)), f"{sum(runs) / len(runs):.2f}", str(max(runs)), said))
    return rows


def main() -> int:
    """The long form."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.torture.mixed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--store", choices=("redis", "sqlite"), default="redis")
    parser.add_argument("--processes", default="2:2", metavar="MIN:MAX")
    parser.add_argument("--workers", type=int, default=0, help="so many plain workers instead of a pool")
    parser.add_argument("--crashes", type=int, default=2, help="jobs of each kind that kill their process")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    processes = "" if options.workers else options.processes
    figures = run(
        options.jobs,
        options.store,
        processes=processes,
        workers=options.workers,
        crashes=options.crashes,
        seed=options.seed,
    )
    said = figures.pop("log")
    rows = figures.pop("table")
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print()
    for name, value in figures.items():
        print(f"{name:<28} {str(value)[:300]}")
    bad = bool(figures["broken"]) or not figures["ended"] or any(figures["exits"])
    if bad:
        print(said[-5000:], file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
