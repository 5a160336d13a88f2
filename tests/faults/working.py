"""Workers as processes of their own, tasks that leave a trace, and what that trace says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from spoolq import SpoolQ
from spoolq.store.base import Store
from tests.servers import Server
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
CLOCK = ROOT / "tests" / "torture" / "clock"

APP = """
import asyncio, ctypes, os, signal, threading, time
from pathlib import Path
from spoolq import SpoolQ, current_job
from spoolq.current import current
from tests.waiting import eventually

if goodbye := os.environ.get("SPOOLQ_TEST_GOODBYE"):
    import spoolq.worker
    spoolq.worker._GOODBYE = float(goodbye)

q = SpoolQ.from_env()
here = Path(__file__).parent
trace = os.open(here / "trace", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

def tell(what, value=""):
    job = current_job()
    os.write(trace, f"{what} {job.id} {job.job.ended} {job.store} {os.getpid()} {int(job.fresh)} {value}\\n".encode())

@q.task(queue="work", retries=5, backoff=lambda state: 0)
def note(value=None, *more):
    tell("RUN", value)

@q.task(queue="work", retries=5, backoff=lambda state: 0)
def hold(value=None):
    tell("BEGIN", value)
    eventually((here / "gate").exists, within=100)
    tell("RUN", value)

@q.task(queue="work", retries=5, backoff=lambda state: 0)
def gated(name):
    tell("BEGIN", name)
    eventually((here / name).exists, within=100)
    tell("RUN", name)

@q.task(queue="work", retries=5, backoff=lambda state: 0)
def second(value=None):
    tell("RUN", value)
    if current_job().attempt == 0:
        raise ValueError("not yet")

@q.task(queue="work", retries=0)
def doomed(value=None):
    tell("BEGIN", value)
    eventually((here / "gate").exists, within=100)
    tell("RUN", value)
    if current_job().fresh:
        raise ValueError("no luck")

@q.task(queue="work", retries=20, max_crashes=20, backoff=lambda state: 0)
def labour(seconds):
    threading.Event().wait(seconds)
    tell("RUN")

@q.task(queue="work", retries=20, max_crashes=20, backoff=lambda state: 0)
def computing(seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
    tell("RUN")

@q.task(queue="work", retries=20, max_crashes=20, backoff=lambda state: 0)
def crunching(seconds):
    until = time.thread_time() + seconds  # of a core, whoever else wants it
    while time.thread_time() < until:
        pass
    tell("RUN")

@q.task(queue="work", retries=0, timeout=3)  # more than a busy machine takes to come as far as BEGIN
def sleeping_too_long(seconds):
    tell("BEGIN")
    time.sleep(seconds)  # which no time limit interrupts
    tell("RUN")

@q.task(queue="work", retries=0)
async def napping(seconds, threaded=False):
    tell("BEGIN")
    await (asyncio.to_thread(time.sleep, seconds) if threaded else asyncio.sleep(seconds))
    tell("RUN")

@q.task(queue="work", retries=0, backoff=lambda state: 0)
def killer():
    tell("RUN")
    os.kill(os.getpid(), signal.SIGKILL)

@q.task(queue="work", retries=20, max_crashes=20, backoff=lambda state: 0)
def holding_the_interpreter(seconds):
    tell("BEGIN")
    ctypes.PyDLL(None).sleep(seconds)  # C code that doesn't let go of the lock: no other thread of the process runs
    tell("RUN")

@q.task(queue="work", retries=0, timeout=3)
def stuck_holding_the_interpreter(seconds):
    tell("BEGIN")
    ctypes.PyDLL(None).sleep(seconds)
    tell("RUN")

@q.task(queue="work", retries=0, timeout=3)
async def blocking_the_loop(seconds):
    tell("BEGIN")
    time.sleep(seconds)
    tell("RUN")

@q.task(queue="work", retries=0)
def forking(how):
    child = os.fork()
    if child:
        tell("PARENT", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    elif how == "raise":
        raise ValueError("in the child")
    elif how == "exit":
        raise SystemExit(3)

@q.task(queue="work", retries=0)
async def forking_on_the_loop():
    forking.function("return")

@q.task(queue="work", retries=0, timeout=20)
def terminating():
    import multiprocessing
    reading, writing = os.pipe()
    child = multiprocessing.get_context("fork").Process(target=lambda: (os.write(writing, b"."), time.sleep(60)))
    child.start()
    os.read(reading, 1)  # one that comes before Python has finished the fork meets the worker's own handler
    child.terminate()
    child.join(30)
    tell("RUN", child.exitcode)
    child.kill()

@q.task(queue="work", retries=0)
def interrupting():
    import subprocess
    with subprocess.Popen(["sleep", "60"]) as child:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(20)
        finally:
            child.kill()
    tell("RUN", child.returncode)

@q.task(queue="work", retries=5, max_crashes=2)
def dying(how):
    tell("RUN", how)
    match how:
        case "exit":
            os._exit(3)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segfault":
            ctypes.string_at(0)

@q.task(queue="work", retries=20, max_crashes=20, backoff=lambda state: 0)
def eating(size):
    eaten.append(bytearray(size))
    tell("RUN")

eaten = []

@q.task(queue="work", retries=1, backoff=lambda state: 1)
def late():
    tell("RUN", time.monotonic())
    raise ValueError("not yet")

@q.task(queue="work", retries=1, backoff=lambda state: 0)
def broken(value=None):
    tell("RUN", value)
    raise ValueError("no luck")
"""


class Line(NamedTuple):
    """One line of the trace. `attempt`: how many ended before it, those whose worker died included."""

    what: str
    id: str
    attempt: int
    store: str
    pid: int
    fresh: bool
    value: str


class Place:
    """A folder with an application, its queue, and the workers that were started there."""

    def __init__(self, folder: Path, url: str, **settings: Any) -> None:
        self.folder, self.url = folder, url
        (folder / "app_under_test.py").write_text(APP)
        self.environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "SPOOLQ_URL": url}
        self.environment |= {"SPOOLQ_SPOOL_MIN_FREE": "0", "SPOOLQ_LEASE": "30s"}
        self.spool = folder / "spool.db"
        own = {}
        if not url.startswith("sqlite:"):
            own = {"spool": self.spool}
            self.environment["SPOOLQ_SPOOL"] = str(self.spool)
        # generous: on a busy machine a healthy server may take longer than the default to answer, and what is
        # spooled for that is no part of the story
        self.q = SpoolQ(url, spool_min_free=0, **({"deadline": 5.0, "disk_limit": 20.0} | own | settings))
        self.workers: list[Worker] = []

    @property
    def store(self) -> Store:
        return self.q.primary

    def enqueue(self, task: str, *args: Any, queue: str = "work", **options: Any) -> str:
        """A job's id."""
        return self.q.remote(task, queue).using(**options).enqueue(*args).id

    def set_clock(self, off: float) -> None:
        """Let the wall clock of processes started after the first such call be off by so many seconds, while they run too."""
        file = self.folder / "clock"
        file.write_text(str(off))
        if "SPOOLQ_TORTURE_CLOCK" not in self.environment:
            path = f"{CLOCK}{os.pathsep}{self.environment['PYTHONPATH']}"
            self.environment |= {"PYTHONPATH": path, "SPOOLQ_TORTURE_CLOCK": str(file)}

    def worker(self, *options: str, threads: int = 2, **settings: str) -> Worker:
        """One more worker process. `settings` such as LEASE="1s". TEST_GOODBYE="20": seconds that its last word to a store may
        take, where that is looked for in the store."""
        own = {f"SPOOLQ_{name}": value for name, value in settings.items()}
        made = Worker(self, [*options, "--threads", str(threads)], own)
        self.workers.append(made)
        return made

    def trace(self, *what: str) -> list[Line]:
        """What the jobs left behind, in order: lines of these kinds, `RUN` where none is named."""
        path = self.folder / "trace"
        text = path.read_text() if path.exists() else ""
        lines = [line.split(" ") for line in text[: text.rfind("\n") + 1].splitlines()]  # the last may be half written
        found = [
            Line(kind, id, int(attempt), store, int(pid), fresh == "1", value)
            for kind, id, attempt, store, pid, fresh, value in lines
        ]
        return [line for line in found if line.what in (what or ("RUN",))]

    def runs(self) -> Counter[str]:
        """How often each job ran to its end."""
        return Counter(line.id for line in self.trace())

    def begun(self, count: int = 1) -> list[Line]:
        """Wait until so many jobs `hold` run."""
        return eventually(lambda: lines if len(lines := self.trace("BEGIN")) >= count else [], what=f"{count} running job(s)")

    def open_gate(self) -> None:
        """Jobs `hold` may end."""
        (self.folder / "gate").touch()

    def left(self) -> Counter[str]:
        """What is left in the primary."""
        total: Counter[str] = Counter(ready=0, claimed=0, scheduled=0)
        for depth in self.store.depths():
            total.update(ready=depth.ready, claimed=depth.claimed, scheduled=depth.scheduled)
        return +total

    def over(self) -> bool:
        """Whether nothing is left in the primary nor in the spool."""
        spool = self.q.spool
        if spool is None:
            return not self.left()
        # a row that is drained is in both for a moment: looked for in the primary first it could be seen in neither
        return not (spool.waiting(1) or self.left() or spool.waiting(1))

    def done(self, within: float = 60.0) -> None:
        """Wait until nothing is left in the primary."""
        eventually(lambda: not self.left(), within=within, what="an empty primary")

    def left_by_all(self) -> None:
        """Wait until the primary knows of no worker: their last words, which it has or is about to take."""
        eventually(lambda: self.store.workers() == [], what="a store that every worker has taken leave of")

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
        self.q.close()


class Worker:
    """`spoolq worker` as a process."""

    def __init__(self, place: Place, options: list[str], settings: dict[str, str]) -> None:
        self.log = place.folder / f"worker-{len(place.workers)}.log"
        command = [sys.executable, "-m", "spoolq", "worker", "app_under_test:q", *options]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, env={**place.environment, **settings}, cwd=place.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        self.pid = self.process.pid

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def said(self, text: str) -> list[str]:
        """The lines of its log that hold this."""
        return [line for line in self.log.read_text(errors="replace").splitlines() if text in line]

    def ready(self) -> Worker:
        """Wait until it works."""
        eventually(lambda: self.said(" runs, ") or self.process.poll() is not None)
        return self

    def end(self) -> None:
        """TERM, once it works: before, it would die of it. It ends as it should."""
        self.ready().send(signal.SIGTERM)
        assert self.ended() == 0, self.log.read_text(errors="replace")[-3000:]

    def end_pool(self) -> None:
        """TERM to the first process of a pool that works. All end as they should."""
        self.send(signal.SIGTERM)
        assert self.ended() == 0, self.log.read_text(errors="replace")[-3000:]

    def ended(self, within: float = 60.0) -> int:
        """Its exit code."""
        try:
            code = self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {within} s:\n{self.log.read_text(errors='replace')[-3000:]}") from None
        assert "Traceback" not in self.log.read_text(errors="replace"), self.log.read_text(errors="replace")[-3000:]
        return code

    def kill(self) -> None:
        """SIGKILL, and wait."""
        self.process.kill()
        self.process.wait()

    @property
    def cpu(self) -> float:
        """Seconds of processor time that it used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def at(folder: Path, url: str, **settings: Any) -> Iterator[Place]:
    """A place for a test; its workers are killed at the end."""
    place = Place(folder, url, **settings)
    try:
        yield place
    finally:
        place.close()


def write_log(place: Place) -> Path:
    """Let the application write a log of its own, by a task `write`. Returns the file."""
    log, module = place.folder / "own.log", place.folder / "app_under_test.py"
    module.write_text(
        f"import logging\nlogging.getLogger('own').addHandler(logging.FileHandler({str(log)!r}))\n{module.read_text()}\n"
        "@q.task(queue='work')\ndef write(text):\n    logging.getLogger('own').warning(text)\n"
    )
    return log


def raw(server: Server, queue: str, *payloads: str | bytes) -> None:
    """Push as a stock producer does."""
    with server.client() as control:
        control.sadd("resque:queues", queue)
        control.rpush(f"resque:queue:{queue}", *payloads)


def failures(server: Server) -> list[Any]:
    """The entries of Resque's failure log."""
    with server.client() as control:
        return [json.loads(entry) for entry in control.lrange("resque:failed", 0, -1)]
