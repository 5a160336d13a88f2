"""A deployment of its own in one directory: Redis, an application, its producer, workers and dashboards, each a process."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.servers import Server
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]

SHOP = r"""
import json, sys
from pathlib import Path
from spoolq import SpoolQ, current_job
from tests.waiting import eventually

q = SpoolQ.from_env()
gates = Path(__file__).parent

def ran():
    with (gates / "ran").open("a") as file:
        file.write(current_job().id + "\n")

@q.task(queue="mail", retries=0)
def send(to, **more):
    ran()

@q.task(queue="mail", retries=0)
def hold(gate):
    eventually((gates / gate).exists, within=120)
    ran()

@q.task(queue="mail", retries=0)
def broken(gate, says):
    if not (gates / gate).exists():
        raise ValueError(says)
    ran()

@q.task(queue="mail", retries=0)
def lost(gate, says):
    if not (gates / gate).exists():
        raise LookupError(says)
    ran()

@q.task(queue="mail", retries=5, backoff=lambda state: 3600)
def patient(says):
    raise OSError(says)

q.periodic("30 2 * * *", name="nightly", args=["night@example.com"])(send)

if __name__ == "__main__":
    for line in sys.stdin:  # each line: jobs to put, answered by [id, route] of each
        name, jobs, kwargs, queue, delay = json.loads(line)
        task = q.remote(name, queue)
        if delay:
            found = [task.enqueue_in(delay, *args, **kwargs) for args in jobs]
        else:
            found = q.enqueue_many([task.job(*args, **kwargs) for args in jobs])
        print(json.dumps([[one.id, one.route] for one in found]), flush=True)
"""


PATIENT = """
from spoolq.dashboard import desk, patience, sampler, serving

# That the machine is busy is none of these tests' business: a page that is late for that, a Redis that is away since it got no
# core for a second, what an action changed and the page after it shows only once somebody looks again. A Redis that is gone
# refuses, for which nobody waits.
serving.LONGEST = serving.CHANGING = 120.0
desk.ASKING = 20.0
patience.impatient.__defaults__ = (30.0,)
sampler.Sampler.__init__.__kwdefaults__["wait"] = 60.0
"""
"""A module, for who runs a dashboard."""


class House:
    """What is started here ends with `close()`."""

    def __init__(self, **settings: str) -> None:
        self._ends = ExitStack()
        self.dir = Path(self._ends.enter_context(tempfile.TemporaryDirectory(prefix="spoolq-house-")))
        self.server = self._ends.enter_context(Server(appendonly=True, appendfsync="always"))  # killed, it loses nothing
        (self.dir / "shop.py").write_text(SHOP)
        (self.dir / "patient.py").write_text(PATIENT)
        (self.dir / "runtime").mkdir(mode=0o700)
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SPOOLQ_") and name != "REDIS_URL"},
            "HOME": str(self.dir),
            "XDG_RUNTIME_DIR": str(self.dir / "runtime"),
            "PYTHONPATH": f"{self.dir}:{ROOT}",
            "SPOOLQ_URL": self.server.url,
            "SPOOLQ_SPOOL": str(self.dir / "spool.db"),
            "SPOOLQ_SPOOL_MIN_FREE": "0",
            "SPOOLQ_DEADLINE": "20s",  # loading the driver and connecting count, and the machine may be busy
            "SPOOLQ_DISK_LIMIT": "20s",
            **settings,
        }
        self._producer: subprocess.Popen[str] | None = None

    def start(self, *args: object, pipes: bool = False, hands: Sequence[int] = (), **env: str) -> subprocess.Popen[str]:
        """A command of Python as a process, whose output is in `log`. `hands`: descriptors that it gets."""
        log = self._ends.enter_context((self.dir / "log").open("a"))
        pipe: Any = subprocess.PIPE if pipes else None
        process = subprocess.Popen(
            [sys.executable, *map(str, args)],
            stdin=pipe or subprocess.DEVNULL,
            stdout=pipe or log,
            stderr=log,
            text=True,
            cwd=self.dir,
            env={**self.env, **env},
            pass_fds=hands,
        )
        self._ends.callback(_end, process)
        return process

    def log(self) -> str:
        return (self.dir / "log").read_text()

    def worker(self, *options: object) -> subprocess.Popen[str]:
        return self.start("-m", "spoolq", "worker", "shop:q", *options)

    def dashboard(self, *options: object, app: str = "shop:q", **env: str) -> str:
        """Start one; the address at which it listens."""
        before = len(self.log()) if (self.dir / "log").exists() else 0
        known = ("--app", app) if app else ()
        program = "import patient; from spoolq.cli import main; main(prog_name='spoolq')"
        process = self.start("-c", program, "dashboard", *known, "--port", 0, *options, **env)

        def told() -> re.Match[str] | None:
            assert process.poll() is None, self.log()
            return re.search(r"dashboard of .* is at (http://\S+)/ ", self.log()[before:])

        found = eventually(told, what="the dashboard's address")
        assert found is not None
        eventually(lambda: _answers(f"{found[1]}/", env.get("SPOOLQ_DASHBOARD_PASSWORD", "")), what="its first page")
        return found[1]

    def serve(self, program: str, path: str) -> str:
        """A program that is told the descriptor of a socket and answers there; its address."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            process = self.start("-c", program, listener.fileno(), hands=[listener.fileno()])
            address = f"http://127.0.0.1:{listener.getsockname()[1]}{path}"

        def answers() -> bool:
            assert process.poll() is None, self.log()
            return _answers(f"{address}/")

        eventually(answers, what=address)
        return address

    def put(self, task: str, *jobs: Sequence[Any], queue: str = "mail", delay: float = 0, **kwargs: Any) -> list[str]:
        """Have the producer enqueue a job for each tuple of arguments, `kwargs` with each; their ids."""
        return [id for id, _ in self.routes(task, *jobs, queue=queue, delay=delay, **kwargs)]

    def routes(self, task: str, *jobs: Sequence[Any], queue: str = "mail", delay: float = 0, **kwargs: Any) -> list[list[str]]:
        """As `put`: of each job its id, and where it went."""
        if self._producer is None:
            self._producer = self.start("shop.py", pipes=True)
        assert self._producer.stdin is not None
        assert self._producer.stdout is not None
        self._producer.stdin.write(json.dumps([task, jobs, kwargs, queue, delay]) + "\n")
        self._producer.stdin.flush()
        answer = self._producer.stdout.readline()
        assert answer, self.log()
        found: list[list[str]] = json.loads(answer)
        return found

    def ask(self, path: str, address: str) -> Any:
        """The JSON twin of a page."""
        with urllib.request.urlopen(f"{address}{path}", timeout=60) as answer:
            return json.load(answer)

    def ran(self) -> set[str]:
        """The ids of the jobs that ran to their end."""
        path = self.dir / "ran"
        return set(path.read_text().split()) if path.exists() else set()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Redis is killed meanwhile, and comes back with what it had."""
        self.server.kill()
        try:
            yield
        finally:
            self.server.start()

    def open_gate(self, name: str) -> None:
        (self.dir / name).touch()

    def close(self) -> None:
        self._ends.close()


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):  # what it was still to be told
                pipe.close()


def _answers(address: str, password: str = "") -> bool:
    """Whether a page is there. The first one may take longer than pages may, on a busy machine, and is then not there."""
    request = urllib.request.Request(address, headers={"Authorization": f"Basic {b64encode(f':{password}'.encode()).decode()}"})
    try:
        with urllib.request.urlopen(request, timeout=60):
            return True
    except OSError:
        return False
