"""How figures are come by: each measure takes a stage and a size. Calls alone are measured on all stages of a row at once."""

from __future__ import annotations

import sqlite3
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from benchmarks.stage import BlockedError, Producer, Stage, pin

Figures = dict[str, float]
Measure = Callable[[Stage, int], Figures]

WARM = 0.1  # the share of the jobs that is run before the clock starts: imports, connections, first claims
EVERY = 100  # as in peers/jobs.py
BATCH = 100  # as there
BLOCKS, FEWEST = 30, 5  # of calls, in a round
CROWDS = {"BENCH_THREADS", "BENCH_PROCESSES"}  # of callers
IDLE = 3  # seconds at least, since not everything is asked each second
KNOWN = 20  # calls before the server fails: connections are made, drivers loaded
LIMIT = 10.0  # seconds after which a call is said to block


def side_by_side(stages: Mapping[str, Stage], calls: int, blocks: int, what: str) -> dict[str, Figures]:
    """All callers in turn, a block each, again and again: one machine's speed changes from second to second. Where the stage has
    a fault its server fails after the first calls, and `first_ms` is that of the next one; `new_ms` of a process that is new,
    where there is one caller."""
    with ExitStack() as running:
        callers = {name: running.enter_context(stage.producer(1, known=bool(stage.fault))) for name, stage in stages.items()}
        for caller in callers.values():
            caller.calls(what, 0)  # it has started: the first one's first call would wait for all of them
        new = {}
        for name, stage in stages.items():
            if stage.fault:
                _fail(stage, callers[name])
                if CROWDS.isdisjoint(stage.environment):
                    with stage.producer(1) as caller:
                        new[name] = caller.calls(what, 1)["wall"]
        first = {name: caller.calls(what, 1)["wall"] for name, caller in callers.items()}
        for caller in callers.values():
            caller.calls(what, calls)
        turns = [{name: caller.calls(what, calls) for name, caller in callers.items()} for _ in range(max(FEWEST, blocks))]
    jobs = calls * (BATCH if what == "many" else 1)
    found = {}
    for name, stage in stages.items():
        found[name] = {
            "per_second": jobs / statistics.median(turn[name]["wall"] for turn in turns),
            **_spread([seconds for turn in turns for seconds in turn[name]["took"]]),
            "first_ms": first[name] * 1000,
        }
        if name in new:
            found[name]["new_ms"] = new[name] * 1000
        if not stage.fault and (strayed := _spooled(stage)):
            found[name]["spooled"] = strayed  # met their deadline and went to the disk: it measured something else
    return found


def work(stage: Stage, jobs: int) -> Figures:
    """Jobs a second that do nothing, from the first tenth of them to the last, before a full queue; and `started`, the seconds
    from the start of the worker's process to its hundredth job."""
    jobs = max(1000 * stage.contender.processes, int(jobs * stage.contender.share) // EVERY * EVERY)
    stage.produce("fill", jobs)
    began = time.monotonic()
    with stage.worker() as process:
        marks = stage.until(jobs - EVERY * stage.contender.processes, process)
    first = max(0, int(len(marks) * WARM))
    figures = {"per_second": (len(marks) - 1 - first) * EVERY / (marks[-1] - marks[first]), "started": marks[0] - began}
    return figures if stage.contender.keeps else {**figures, "taken_out": 1.0}


def pick_up(stage: Stage, times: int) -> Figures:
    """From the call of enqueue to the first line of the job, by an idle worker; then what it asks while nothing is enqueued."""
    with stage.worker() as process:
        with stage.producer() as producer:
            producer.do("pick", 10)  # drivers are loaded, connections made, both are warm
            took = producer.do("pick", times)
        idle = {} if stage.contender.package == "raw" else _idle(stage, process, max(IDLE, times // 25))
        if process.poll() is not None:
            raise SystemExit(f"{stage.contender.name}: its worker ended:\n{stage.log()}")
    return {**_spread(took), **idle}


def _idle(stage: Stage, process: subprocess.Popen[bytes], seconds: int) -> Figures:
    """What a worker with nothing to do asks of a processor and of the server: the commands that it sends, and all that the server
    then runs, those that scripts call too."""

    def used() -> Figures:
        before, began = stage.cpu(process), time.monotonic()
        time.sleep(seconds)
        return {"cpu_percent": (stage.cpu(process) - before) / (time.monotonic() - began) * 100}

    if stage.contender.on != "redis":
        return used()
    with stage.client() as client, stage.monitor() as seen:
        before = client.info("stats")["total_commands_processed"]
        seen()
        cpu = used()
        sent = sum(b" lua] " not in line for line in seen())
        run = client.info("stats")["total_commands_processed"] - before - 1  # less the first of our own two
    return {"commands_per_second": sent / seconds, "run_per_second": run / seconds, **cpu}


def outage(stage: Stage, calls: int) -> Figures:
    """Calls to a server that fails in the stage's way, one after the other, until they are done or LIMIT is over. Some raise."""
    blocked = {"p50_ms": LIMIT * 1000, "blocks": LIMIT, "first_ms": LIMIT * 1000}
    try:
        with stage.producer(1, known=True) as caller:
            _fail(stage, caller)
            first = caller.calls("try", 1, LIMIT / 2)
            blocked["first_ms"] = first["wall"] * 1000
            later = caller.calls("try", calls, LIMIT)
    except BlockedError:
        return blocked
    figures = {**_spread(later["took"]), "first_ms": first["wall"] * 1000}
    raised = (first["raised"] + later["raised"]) / (1 + len(later["took"]))
    return {**figures, "raises_percent": raised * 100} if raised else figures


def ready(stage: Stage, _: int) -> Figures:
    """From the start of a process to what it tells systemd when it is ready."""
    return {"seconds": stage.ready()}


def imports(stage: Stage, times: int) -> Figures:
    """What the import of the library adds to the start of Python."""
    module = {"raw": "redis"}.get(stage.contender.package, stage.contender.package)

    def seconds(code: str) -> float:
        began = time.perf_counter()
        subprocess.run([stage.python, "-c", code], env=stage.environment, cwd=stage.folder, check=True)
        return time.perf_counter() - began

    pin(1)
    try:
        seconds(f"import {module}")  # its files are in the page cache, its bytecode is written
        pairs = [(seconds(f"import {module}"), seconds("pass")) for _ in range(times)]
    finally:
        pin(0)
    return {"ms": statistics.median(with_it - without for with_it, without in pairs) * 1000}


def memory(stage: Stage, jobs: int) -> Figures:
    """Bytes of the server's memory for a job that waits."""
    jobs = max(BATCH, int(jobs * stage.contender.share))
    with stage.client() as client, stage.producer() as producer:
        producer.do("fill", BATCH)
        before = client.info("memory")["used_memory"]
        producer.do("fill", jobs)
        return {"bytes_per_job": (client.info("memory")["used_memory"] - before) / jobs}


def in_flight(stage: Stage, jobs: int) -> Figures:
    """Bytes of the server's memory for a job that a worker has taken."""
    with stage.client() as client, stage.producer() as producer:
        producer.do("claimed", BATCH)
        before = client.info("memory")["used_memory"]
        producer.do("claimed", jobs)
        return {"bytes_per_job": (client.info("memory")["used_memory"] - before) / jobs}


def told(verb: str) -> Measure:
    """What the contender's own program says of itself, asked by that verb."""

    def measure(stage: Stage, jobs: int) -> Figures:
        found: Figures = stage.produce(verb, jobs)
        return found

    return measure


def _fail(stage: Stage, caller: Producer) -> None:
    """The server fails, after calls that it answered."""
    raised = caller.calls("try", KNOWN)["raised"]
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
