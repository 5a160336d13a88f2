"""Workers of several libraries in one run, in turn: jobs a second that do nothing, and how soon an idle worker begins one."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.contenders import PROGRAMS, Contender, python_of, version_of
from benchmarks.harness import CORES, PINNED, pin
from spoolq.cli.server import Server

WARM = 0.1  # the share of the jobs that is run before the clock starts: imports, connections, first claims
EVERY = 100  # as in peers/jobs.py
PATIENCE = 120.0  # seconds without any progress after which a worker is given up


@dataclass
class Result:
    """A contender's figures, one for each round: jobs a second, and p50 and p99 of the pick-up in milliseconds."""

    contender: Contender
    rates: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)

    def row(self) -> dict[str, object]:
        """As JSON has it."""
        one = self.contender
        figures = {"jobs_per_second": self.rates, "pick_up_p50_ms": self.p50, "pick_up_p99_ms": self.p99}
        spread = {name: {"median": statistics.median(each), "min": min(each), "max": max(each)} for name, each in figures.items()}
        return {"name": one.name, "package": one.package, "kept_until_done": one.keeps, "cores": one.cores, **spread}


class Stage:
    """One contender's turn: an empty server, an empty folder."""

    def __init__(self, contender: Contender, python: str, program: str, folder: Path) -> None:
        self.contender, self.python, self.folder = contender, python, folder
        self.server = Server(program, folder, durable=False)
        self.server.start()
        pin(0, self.server.pid)
        self.marks, self.pipe = folder / "marks", folder / "pipe"
        os.mkfifo(self.pipe)
        url = f"sqlite:///{folder}/jobs.db" if contender.on == "sqlite" else self.server.url
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SPOOLQ_", "REDIS_URL"))},
            "PYTHONPATH": f"{PROGRAMS}{os.pathsep}{PROGRAMS.parents[1]}",
            "BENCH_MARKS": str(self.marks),
            "BENCH_PIPE": str(self.pipe),
            "BENCH_URL": self.server.url,
            "SPOOLQ_URL": url,
            "SPOOLQ_SPOOL": str(folder / "spool.db"),
            "SPOOLQ_SPOOL_MIN_FREE": "0",
            **{name: value.format(folder=folder) for name, value in contender.environment.items()},
        }
        if contender.on == "sqlite":
            del self.environment["SPOOLQ_SPOOL"]

    def produce(self, *arguments: str) -> str:
        """Run the producer, beside the server; what it printed."""
        command = [self.python, str(PROGRAMS / self.contender.program), *arguments]
        done = subprocess.run(command, env=self.environment, cwd=self.folder, stdout=subprocess.PIPE, text=True, timeout=600)
        done.check_returncode()
        return done.stdout

    @contextmanager
    def worker(self) -> Iterator[subprocess.Popen[bytes]]:
        """A worker, on a core that isn't the server's where there are two."""
        arguments = [argument.format(url=self.server.url) for argument in self.contender.worker]
        with (self.folder / "worker.log").open("wb") as log:
            process = subprocess.Popen(
                [self.python, *arguments], env=self.environment, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        if PINNED:  # before it has loaded anything, and its threads and children with it
            os.sched_setaffinity(process.pid, CORES[1:2] if self.contender.cores == 1 else CORES)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def rate(self, jobs: int) -> float:
        """Jobs a second, from the first tenth to the last."""
        self.produce("fill", str(jobs))
        with self.worker() as process:
            seen, since = -1, time.monotonic()
            while (done := sum(self._latest().values())) < jobs - EVERY * self.contender.cores:
                if done > seen:
                    seen, since = done, time.monotonic()
                if process.poll() is not None or time.monotonic() - since > PATIENCE:
                    raise SystemExit(f"{self.contender.name}: stopped at {done} of {jobs} jobs:\n{self._log()}")
                time.sleep(0.02)
        marks = sorted((float(at), pid) for pid, _, at in self._lines())
        counted = [at for at, _ in marks]
        first = max(0, int(len(counted) * WARM))
        return (len(counted) - 1 - first) * EVERY / (counted[-1] - counted[first])

    def pick_up(self, times: int) -> tuple[float, float]:
        """p50 and p99 of the time from the call of enqueue to the first line of the job, in milliseconds, by an idle worker."""
        with self.worker() as process:
            self.produce("pick", "20")  # until it is warm
            took = sorted(float(line) * 1000 for line in self.produce("pick", str(times)).split())
            if process.poll() is not None:
                raise SystemExit(f"{self.contender.name}: its worker ended:\n{self._log()}")
        return took[len(took) // 2], took[len(took) * 99 // 100]

    def _lines(self) -> list[list[str]]:
        return [line.split() for line in self.marks.read_text().splitlines()] if self.marks.exists() else []

    def _latest(self) -> Mapping[str, int]:
        latest: dict[str, int] = defaultdict(int)
        for pid, number, _ in self._lines():
            latest[pid] = max(latest[pid], int(number))
        return latest

    def _log(self) -> str:
        return (self.folder / "worker.log").read_text(errors="replace")[-2000:]


def run(contenders: Sequence[Contender], home: Path, program: str, jobs: int, rounds: int) -> tuple[list[Result], dict[str, str]]:
    """Every contender in turn, as many rounds; and the versions of what was measured."""
    pythons = {one.package: python_of(one.package, home) for one in contenders}
    results = [Result(one) for one in contenders]
    pin(0)  # the producers too: the worker's core is its own
    for number in range(rounds):
        for result in results:
            one = result.contender
            print(f"… round {number + 1} of {rounds}: {one.name}", file=sys.stderr, flush=True)
            for measure in ("rate", "pick_up"):
                with tempfile.TemporaryDirectory(prefix="spoolq-bench-") as folder:
                    stage = Stage(one, pythons[one.package], program, Path(folder))
                    try:
                        if measure == "rate":
                            result.rates.append(stage.rate(max(1000, int(jobs * one.share) // 100 * 100)))
                        else:
                            p50, p99 = stage.pick_up(min(200, max(20, jobs // 50)))
                            result.p50.append(p50)
                            result.p99.append(p99)
                    finally:
                        stage.server.kill()
    return results, {package: version_of(package, python) for package, python in pythons.items()}


def markdown(results: Sequence[Result]) -> str:
    """A table: medians, with the lowest and the highest round."""
    lines = [
        "| worker | jobs a second | pick-up p50, ms | pick-up p99, ms | a job is kept until it is done |",
        "|---|---|---|---|---|",
    ]

    def spread(each: Sequence[float], form: str) -> str:
        return f"{statistics.median(each):{form}} ({min(each):{form}} to {max(each):{form}})"

    for one in results:
        kept = "yes" if one.contender.keeps else "no"
        cells = [one.contender.name, spread(one.rates, ",.0f"), spread(one.p50, ".2f"), spread(one.p99, ".1f"), kept]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
