"""How figures are come by: each measure takes a stage and a size. Calls alone are measured on all stages of a row at once."""

from __future__ import annotations

import json
import sqlite3
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from benchmarks.stage import BlockedError, Caller, Stage, pin

Figures = dict[str, float]
Measure = Callable[[Stage, int], Figures]

WARM = 0.1  # the share of the jobs that is run before the clock starts: imports, connections, first claims
EVERY = 100  # as in peers/jobs.py
BATCH = 100  # as there
BLOCKS = 30  # of a round
KNOWN = 20  # calls before the server fails: connections are made, drivers loaded
LIMIT = 10.0  # seconds after which a call is said to block


def side_by_side(stages: Mapping[str, Stage], calls: int, what: str) -> dict[str, Figures]:
    """All callers in turn, a block each, again and again: one machine's speed changes from second to second. Where the stage has
    a fault its server fails after the first calls, and `first_ms` is that of the next one; `new_ms` of a process that is new."""
    with ExitStack() as running:
        callers = {name: running.enter_context(stage.caller(what, known=bool(stage.fault))) for name, stage in stages.items()}
        for caller in callers.values():
            caller.block(0)  # it has started: the first one's first call would wait for all of them
        new = {}
        for name, stage in stages.items():
            if stage.fault:
                _fail(stage, callers[name])
                with stage.caller(what) as caller:
                    new[name] = caller.block(1)["wall"]
        first = {name: caller.block(1)["wall"] for name, caller in callers.items()}
        for caller in callers.values():
            caller.block(calls)
        blocks = [{name: caller.block(calls) for name, caller in callers.items()} for _ in range(BLOCKS)]
    jobs = calls * (BATCH if what == "many" else 1)
    found = {}
    for name, stage in stages.items():
        found[name] = {
            "per_second": jobs / statistics.median(block[name]["wall"] for block in blocks),
            **_spread([seconds for block in blocks for seconds in block[name]["took"]]),
            "first_ms": first[name] * 1000,
        }
        if name in new:
            found[name]["new_ms"] = new[name] * 1000
        if not stage.fault and (strayed := _spooled(stage)):
            found[name]["spooled"] = strayed  # met their deadline and went to the disk: it measured something else
    return found


def work(stage: Stage, jobs: int) -> Figures:
    """Jobs a second that do nothing, from the first tenth of them to the last, before a full queue."""
    jobs = max(1000 * stage.contender.processes, int(jobs * stage.contender.share) // EVERY * EVERY)
    stage.produce("fill", str(jobs))
    with stage.worker() as process:
        marks = stage.until(jobs - EVERY * stage.contender.processes, process)
    first = max(0, int(len(marks) * WARM))
    figures = {"per_second": (len(marks) - 1 - first) * EVERY / (marks[-1] - marks[first])}
    return figures if stage.contender.keeps else {**figures, "taken_out": 1.0}


def pick_up(stage: Stage, times: int) -> Figures:
    """From the call of enqueue to the first line of the job, by an idle worker."""
    with stage.worker() as process:
        stage.produce("pick", "20")  # until it is warm
        took = list(map(float, stage.produce("pick", str(times)).split()))
        if process.poll() is not None:
            raise SystemExit(f"{stage.contender.name}: its worker ended:\n{stage.log()}")
    return _spread(took)


def outage(stage: Stage, calls: int) -> Figures:
    """Calls to a server that fails in the stage's way, one after the other, until they are done or LIMIT is over. Some raise."""
    blocked = {"p50_ms": LIMIT * 1000, "blocks": LIMIT, "first_ms": LIMIT * 1000}
    try:
        with stage.caller("try", known=True) as caller:
            _fail(stage, caller)
            first = caller.block(1, LIMIT / 2)
            blocked["first_ms"] = first["wall"] * 1000
            later = caller.block(calls, LIMIT)
    except BlockedError:
        return blocked
    figures = {**_spread(later["took"]), "first_ms": first["wall"] * 1000}
    raised = (first["raised"] + later["raised"]) / (1 + len(later["took"]))
    return {**figures, "raises_percent": raised * 100} if raised else figures


def idle(stage: Stage, seconds: int) -> Figures:
    """What a worker with nothing to do asks of the server, and of a processor: the commands that it sends, and all that the
    server then runs, those that scripts call too."""
    with stage.worker() as process, stage.client() as client, stage.monitor() as seen:
        stage.produce("pick", "20")
        seen()
        asked, used, began = client.info("stats")["total_commands_processed"], stage.cpu(process), time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - began
        run = client.info("stats")["total_commands_processed"] - asked - 1
        sent = sum(b" lua] " not in line for line in seen()) - 2  # less our own two
        return {
            "commands_per_second": max(0, sent) / took,
            "run_per_second": max(0, run) / took,
            "cpu_percent": (stage.cpu(process) - used) / took * 100,
        }


def ready(stage: Stage, _: int) -> Figures:
    """From the start of a process to what it tells systemd when it is ready."""
    return {"seconds": stage.ready()}


def start(stage: Stage, _: int) -> Figures:
    """From the start of a worker's process to its hundredth job."""
    stage.produce("fill", str(EVERY))
    began = time.monotonic()
    with stage.worker() as process:
        return {"seconds": stage.until(EVERY, process)[0] - began}


def imports(stage: Stage, _: int) -> Figures:
    """What the import of the library adds to the start of Python."""
    module = {"raw": "redis"}.get(stage.contender.package, stage.contender.package)

    def seconds(code: str) -> float:
        began = time.perf_counter()
        subprocess.run([stage.python, "-c", code], env=stage.environment, cwd=stage.folder, check=True)
        return time.perf_counter() - began

    pin(1)
    try:
        seconds(f"import {module}")  # its files are in the page cache, its bytecode is written
        pairs = [(seconds(f"import {module}"), seconds("pass")) for _ in range(3)]
    finally:
        pin(0)
    return {"ms": statistics.median(with_it - without for with_it, without in pairs) * 1000}


def memory(stage: Stage, jobs: int) -> Figures:
    """Bytes of the server's memory for a job that waits."""
    jobs = max(BATCH, int(jobs * stage.contender.share))
    with stage.client() as client:
        stage.produce("fill", str(BATCH))
        before = client.info("memory")["used_memory"]
        stage.produce("fill", str(jobs))
        return {"bytes_per_job": (client.info("memory")["used_memory"] - before) / jobs}


def in_flight(stage: Stage, jobs: int) -> Figures:
    """Bytes of the server's memory for a job that a worker has taken."""
    with stage.client() as client:
        stage.produce("claimed", str(BATCH))
        before = client.info("memory")["used_memory"]
        stage.produce("claimed", str(jobs))
        return {"bytes_per_job": (client.info("memory")["used_memory"] - before) / jobs}


def told(verb: str) -> Measure:
    """What the contender's own program says of itself, asked by that verb."""

    def measure(stage: Stage, jobs: int) -> Figures:
        found: Figures = json.loads(stage.produce(verb, str(jobs)))
        return found

    return measure


def _fail(stage: Stage, caller: Caller) -> None:
    """The server fails, after calls that it answered."""
    raised = caller.block(KNOWN)["raised"]
    if raised or _spooled(stage):
        raise SystemExit(f"{stage.contender.name}: not every one of {KNOWN} calls was answered before the server failed")
    stage.fail()


def _spread(seconds: Sequence[float]) -> Figures:
    took = sorted(one * 1000 for one in seconds)
    return {"p50_ms": took[len(took) // 2], "p99_ms": took[len(took) * 99 // 100], "worst_ms": took[-1]}


def _spooled(stage: Stage) -> int:
    spool = stage.environment.get("SPOOLQ_SPOOL", "")
    if stage.contender.package != "spoolq" or "BENCH_ACCEPT" in stage.environment or not Path(spool).exists():
        return 0
    with closing(sqlite3.connect(f"file:{spool}?mode=ro", uri=True)) as look:
        return int(look.execute("SELECT count(*) FROM jobs").fetchone()[0])
