"""One contender's turn: an empty server on one core, its worker or its caller on the other, an empty folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from benchmarks.contenders import PROGRAMS, Contender
from spoolq.cli.server import Server

PATIENCE = 120.0  # seconds without any progress after which a worker is given up
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []  # before anything is pinned
PINNED = len(CORES) > 1
_LEFT_OUT = ("SPOOLQ_", "REDIS_URL", "PYTHONDONTWRITEBYTECODE")  # the last: imports compiled every library at each start


def pin(core: int, pid: int = 0) -> None:
    """Keep a process (0: this one) on one of the cores that we were given. Without two of them nothing is pinned."""
    if PINNED:
        os.sched_setaffinity(pid, {CORES[core]})


class Stage:
    """Where one contender is measured. `more` is added to its environment."""

    def __init__(self, contender: Contender, python: str, program: str, folder: Path, more: Mapping[str, str]) -> None:
        self.contender, self.python, self.folder = contender, python, folder
        self.server = Server(program, folder, durable=False)
        self.server.start()
        pin(0, self.server.pid)
        self.marks, self.pipe = folder / "marks", folder / "pipe"
        os.mkfifo(self.pipe)
        url = f"sqlite:///{folder}/jobs.db" if contender.on == "sqlite" else self.server.url
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(_LEFT_OUT)},
            "PYTHONPATH": f"{PROGRAMS}{os.pathsep}{contender.root}",
            "BENCH_MARKS": str(self.marks),
            "BENCH_PIPE": str(self.pipe),
            "BENCH_URL": self.server.url,
            "SPOOLQ_URL": url,
            "SPOOLQ_SPOOL": str(folder / "spool.db"),
            "SPOOLQ_SPOOL_MIN_FREE": "0",
            "SPOOLQ_DISK_LIMIT": "60",  # a slow disk is measured, not given up
            **{name: value.format(folder=folder) for name, value in {**contender.environment, **more}.items()},
        }
        if contender.on == "sqlite":
            del self.environment["SPOOLQ_SPOOL"]

    def client(self) -> Any:
        """A plain client without retries."""
        return redis.Redis(port=self.server.port, retry=Retry(NoBackoff(), 0))

    def produce(self, *arguments: str) -> str:
        """Run the producer, beside the server; what it printed."""
        command = [self.python, "-m", self.contender.program, *arguments]
        done = subprocess.run(command, env=self.environment, cwd=self.folder, stdout=subprocess.PIPE, text=True, timeout=7200)
        done.check_returncode()
        return done.stdout

    @contextmanager
    def caller(self, what: str) -> Iterator[Caller]:
        """A producer that calls when it is told to, on a core that isn't the server's."""
        command = [self.python, "-m", self.contender.program, "calls", what]
        process = subprocess.Popen(
            command, env=self.environment, cwd=self.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        pin(1, process.pid)
        try:
            yield Caller(self.contender.name, process)
            process.communicate(timeout=PATIENCE)  # the end of its standard input is its end
        finally:
            process.kill()
            process.wait()

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

    def until(self, jobs: int, process: subprocess.Popen[bytes]) -> list[float]:
        """Wait until the worker has noted so many jobs; when it did, oldest first. Raises SystemExit where it doesn't go on."""
        seen, since = -1, time.monotonic()
        while (done := sum(self._latest().values())) < jobs:
            if done > seen:
                seen, since = done, time.monotonic()
            if process.poll() is not None or time.monotonic() - since > PATIENCE:
                raise SystemExit(f"{self.contender.name}: stopped at {done} of {jobs} jobs:\n{self.log()}")
            time.sleep(0.02)
        return sorted(float(at) for _, _, at in self._lines())

    def cpu(self, process: subprocess.Popen[bytes]) -> float:
        """Seconds of a processor that its whole session has used."""
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = re.sub(r"^.*\) ", "", stat.read_text(), flags=re.DOTALL).split()
            except OSError:
                continue  # it has ended
            if int(fields[3]) == process.pid:
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def log(self) -> str:
        """The end of what the worker said."""
        return (self.folder / "worker.log").read_text(errors="replace")[-2000:]

    def _lines(self) -> list[list[str]]:
        lines = [line.split() for line in self.marks.read_text().splitlines()] if self.marks.exists() else []
        return [line for line in lines if len(line) == 3]  # the last may be half written

    def _latest(self) -> Mapping[str, int]:
        latest: dict[str, int] = defaultdict(int)
        for pid, number, _ in self._lines():
            latest[pid] = max(latest[pid], int(number))
        return latest


class Caller:
    """A producer that waits for its turn."""

    def __init__(self, name: str, process: subprocess.Popen[str]) -> None:
        self.name, self._process = name, process

    def block(self, calls: int) -> dict[str, Any]:
        """So many calls: `wall`, seconds of all, and `took`, of each. Raises SystemExit where it has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{calls}\n")
            self._process.stdin.flush()
            answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        except (BrokenPipeError, ValueError) as error:
            raise SystemExit(f"{self.name}: its producer ended; what it said stands above") from error
        return answer


@contextmanager
def stage(contender: Contender, python: str, program: str, more: Mapping[str, str]) -> Iterator[Stage]:
    """A stage, and its server's end."""
    with tempfile.TemporaryDirectory(prefix="spoolq-bench-") as folder:
        made = Stage(contender, python, program, Path(folder), more)
        try:
            yield made
        finally:
            made.server.kill()
