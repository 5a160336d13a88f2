"""One contender's turn: an empty server on one core, its worker or its caller on the other, an empty folder."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from benchmarks.contenders import PROGRAMS, Contender
from benchmarks.hole import Hole
from spoolq.cli.server import Server

PATIENCE = 120.0  # seconds without any progress after which a worker is given up
LONGEST = 3600.0  # seconds for what has no other limit: ten million jobs
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []  # before anything is pinned
PINNED = len(CORES) > 1
_LEFT_OUT = ("SPOOLQ_", "REDIS_URL", "PYTHONDONTWRITEBYTECODE")  # the last: imports compiled every library at each start


def pin(core: int, pid: int = 0) -> None:
    """Keep a process (0: this one) on one of the cores that we were given. Without two of them nothing is pinned."""
    if PINNED:
        os.sched_setaffinity(pid, {CORES[core]})


class BlockedError(Exception):
    """A call didn't come back within the time that it was given."""


class Stage:
    """Where one contender is measured. `more` is added to its environment; `fault` is what `fail` does to its server: it is
    `refused`, `stopped`, `black-holed` or `full`."""

    def __init__(
        self, contender: Contender, python: str, program: str, folder: Path, more: Mapping[str, str], fault: str = ""
    ) -> None:
        self.contender, self.python, self.folder, self.fault = contender, python, folder, fault
        self.server = Server(program, folder, durable=False)
        if contender.on == "redis":
            self.server.start()
            pin(0, self.server.pid)
        self.marks, self.pipe = folder / "marks", folder / "pipe"
        os.mkfifo(self.pipe)
        self.hole = Hole(self.server.port) if fault == "black-holed" else None
        redis_url = f"redis://127.0.0.1:{self.hole.port}/0" if self.hole else self.server.url
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(_LEFT_OUT)},
            "PYTHONPATH": f"{PROGRAMS}{os.pathsep}{contender.root}",
            "BENCH_MARKS": str(self.marks),
            "BENCH_PIPE": str(self.pipe),
            "BENCH_URL": redis_url,
            "SPOOLQ_URL": f"sqlite:///{folder}/jobs.db" if contender.on == "sqlite" else redis_url,
            "SPOOLQ_SPOOL": str(folder / "spool.db"),
            "SPOOLQ_SPOOL_MIN_FREE": "0",
            "SPOOLQ_DISK_LIMIT": "60",  # a slow disk is measured, not given up
            **{name: value.format(folder=folder) for name, value in {**contender.environment, **more}.items()},
        }
        if contender.on == "sqlite":
            del self.environment["SPOOLQ_SPOOL"]
        if file := self.environment.get("BENCH_FILE"):  # worker and producer begin together: one of them would be refused
            with closing(sqlite3.connect(file)) as new:
                new.execute("PRAGMA journal_mode=WAL")

    def client(self) -> Any:
        """A plain client without retries."""
        return redis.Redis(port=self.server.port, retry=Retry(NoBackoff(), 0))

    def fail(self) -> None:
        """The server is gone for its callers, in the stage's way."""
        if not self.server.pid:
            return
        if self.fault == "refused":
            self.server.kill()
        elif self.fault == "stopped":
            os.kill(self.server.pid, signal.SIGSTOP)
        elif self.fault == "full":
            with self.client() as client:
                client.config_set("maxmemory-policy", "noeviction")
                client.config_set("maxmemory", 1)
        elif self.hole:
            self.hole.open()

    def end(self) -> None:
        """Its server, whatever state that is in."""
        self.server.kill()
        if self.hole:
            self.hole.close()

    @contextmanager
    def monitor(self) -> Iterator[Callable[[], list[bytes]]]:
        """What asks for the commands that the server ran since it was asked last, as MONITOR shows them."""
        with socket.create_connection(("127.0.0.1", self.server.port)) as link:
            link.sendall(b"MONITOR\r\n")
            link.recv(len(b"+OK\r\n"), socket.MSG_WAITALL)
            link.setblocking(False)

            def seen() -> list[bytes]:
                data = b""
                with suppress(BlockingIOError):  # what has come; a worker may never be silent
                    while more := link.recv(1 << 20):
                        data += more
                return data.splitlines()

            yield seen

    def produce(self, what: str, count: int) -> Any:
        """What a producer of its own answers."""
        with self.producer() as producer:
            return producer.do(what, count)

    @contextmanager
    def producer(self, core: int = 0, *, known: bool = False) -> Iterator[Producer]:
        """What enqueues when it is told to, of BENCH_PROCESSES processes: beside the server, or on the other core, the worker's.
        `known`: they have had the server before the first call."""
        command = [self.python, "-m", self.contender.program]
        environment = {**self.environment, **({"BENCH_KNOWN": "1"} if known else {})}
        with ExitStack() as ends:
            processes = []
            for _ in range(int(self.environment.get("BENCH_PROCESSES", "1"))):
                process = subprocess.Popen(
                    command, env=environment, cwd=self.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
                ends.callback(process.wait)
                ends.callback(process.kill)
                pin(core, process.pid)
                processes.append(process)
            yield Producer(self.contender.name, processes)
            if self.contender.on != "redis":  # what is in its -wal goes into the file
                for process in processes:
                    process.communicate(timeout=PATIENCE)  # the end of its standard input is its end

    @contextmanager
    def worker(self) -> Iterator[subprocess.Popen[bytes]]:
        """A worker, on a core that isn't the server's where there are two. It is killed in the end: some take seconds to stop."""
        arguments = [argument.format(url=self.server.url) for argument in self.contender.worker]
        with (self.folder / "worker.log").open("wb") as log:
            process = subprocess.Popen(
                [self.python, *arguments], env=self.environment, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        if PINNED:  # before it has loaded anything, and its threads and children with it
            os.sched_setaffinity(process.pid, CORES[1:2] if self.contender.processes == 1 else CORES)
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its children too
            process.wait()

    def ready(self, within: float = PATIENCE) -> float:
        """Seconds from the start of its worker, or service, until it tells systemd that it is ready."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            told.bind(str(self.folder / "notify"))
            told.settimeout(within)
            self.environment["NOTIFY_SOCKET"] = str(self.folder / "notify")
            began = time.monotonic()
            with self.worker() as process:
                try:
                    while b"READY=1" not in told.recv(4096).split(b"\n"):
                        pass
                except TimeoutError as error:
                    raise SystemExit(f"{self.contender.name}: not ready ({process.poll()}):\n{self.log()}") from error
                return time.monotonic() - began

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
        """Seconds of a processor that the threads of its whole session have used."""
        used = 0
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended
                if os.getsid(int(folder.name)) == process.pid:
                    used += sum(int(thread.read_text().split()[0]) for thread in folder.glob("task/*/schedstat"))
        return used / 1e9

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


class Producer:
    """Processes that enqueue and wait for their turn; what they can do is said in peers/jobs.py."""

    def __init__(self, name: str, processes: Sequence[subprocess.Popen[str]]) -> None:
        self.name, self._processes = name, processes

    def do(self, what: str, count: int, seconds: float = LONGEST) -> Any:
        """What it answers, of one process. Raises SystemExit where it has ended, BlockedError when it takes twice that time."""
        return self._ask(what, [count], seconds)[0]

    def calls(self, what: str, count: int, seconds: float = PATIENCE) -> dict[str, Any]:
        """So many calls, or those of so many seconds: `wall`, seconds of all, `took`, of each, and how many `raised`. Raises as
        `do` does."""
        several = len(self._processes)
        answers = self._ask(what, [count // several + (number < count % several) for number in range(several)], seconds)
        return {
            "wall": max(one["ended"] for one in answers) - min(one["began"] for one in answers),  # of one clock
            "took": [seconds for one in answers for seconds in one["took"]],
            "raised": sum(one["raised"] for one in answers),
        }

    def _ask(self, what: str, counts: Sequence[int], seconds: float) -> list[Any]:
        try:
            for process, count in zip(self._processes, counts, strict=True):
                assert process.stdin is not None
                process.stdin.write(f"{what} {count} {seconds}\n")
                process.stdin.flush()
            return [json.loads(self._answer(process, 2 * seconds)) for process in self._processes]
        except (BrokenPipeError, ValueError) as error:
            raise SystemExit(f"{self.name}: its producer ended; what it said stands above") from error

    def _answer(self, process: subprocess.Popen[str], within: float) -> str:
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], within)[0]:
            raise BlockedError(self.name)
        return process.stdout.readline()


@contextmanager
def stage(contender: Contender, python: str, program: str, more: Mapping[str, str], fault: str) -> Iterator[Stage]:
    """A stage, and its server's end."""
    with tempfile.TemporaryDirectory(prefix="spoolq-bench-") as folder:
        made = Stage(contender, python, program, Path(folder), more, fault)
        try:
            yield made
        finally:
            made.end()
