"""Who is measured beside whom: how each one's worker is started, and what it needs installed."""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import redis

PROGRAMS = Path(__file__).parent / "peers"


@dataclass(frozen=True)
class Contender:
    """A library in one way of running it.

    `program` is its file in `peers/`, `worker` the arguments to its Python that start a worker, `share` what part of the jobs it
    is given (a slow one need not take all day), `keeps` whether a job is kept until it is done, `cores` on how many its worker
    runs.
    """

    name: str
    package: str
    program: str
    worker: tuple[str, ...]
    share: float = 1.0
    keeps: bool = True
    cores: int = 1
    on: str = "redis"
    environment: Mapping[str, str] = field(default_factory=dict)


SPOOLQ = ("-m", "spoolq", "worker", "-q", "spoolq_app:q")
DRAMATIQ = ("-m", "dramatiq", "dramatiq_app", "--processes", "1", "--skip-logging")
HUEY = ("-m", "huey.bin.huey_consumer", "huey_app.huey", "-q", "-k", "thread", "-w", "4")
PREFETCH = {"dramatiq_queue_prefetch": "200"}
FILE = {"BENCH_FILE": "{folder}/jobs.db"}

CONTENDERS = (
    Contender("spoolq, Redis", "spoolq", "spoolq_app.py", SPOOLQ),
    Contender("spoolq, Redis, 2 processes on both cores", "spoolq", "spoolq_app.py", (*SPOOLQ, "--processes", "2:2"), cores=2),
    Contender("dramatiq, Redis, its defaults in one process", "dramatiq", "dramatiq_app.py", DRAMATIQ, share=0.3),
    Contender("dramatiq, Redis, prefetch 200", "dramatiq", "dramatiq_app.py", DRAMATIQ, environment=PREFETCH),
    Contender(
        "rq, Redis, SimpleWorker",
        "rq",
        "rq_app.py",
        ("-m", "rq.cli", "worker", "-q", "-w", "rq.SimpleWorker", "--url", "{url}", "bench"),
        share=0.05,
    ),
    Contender("huey, Redis, 4 threads", "huey", "huey_app.py", HUEY, share=0.3, keeps=False),
    Contender("spoolq, SQLite, synced", "spoolq", "spoolq_app.py", SPOOLQ, on="sqlite"),
    Contender(
        "huey, SQLite, synced, 4 threads", "huey", "huey_app.py", HUEY, 0.1, False, 1, "sqlite", {**FILE, "BENCH_SYNC": "1"}
    ),
    Contender("huey, SQLite, not synced, 4 threads", "huey", "huey_app.py", HUEY, 0.3, False, 1, "sqlite", FILE),
)

WANTED = {  # the versions that the figures in the docs are of; redis-py is the one that spoolq has here
    "dramatiq": ("dramatiq[redis]==2.2.1", f"redis=={redis.__version__}"),
    "rq": ("rq==3.0.0", f"redis=={redis.__version__}"),
    "huey": ("huey==3.5.4", f"redis=={redis.__version__}"),
}


def python_of(package: str, home: Path) -> str:
    """The Python that has that package: this one for spoolq, else one in an environment of its own below `home`, made where it
    isn't there. Raises CalledProcessError when pip can't get it."""
    if package == "spoolq":
        return sys.executable
    folder = home / f"{package}-{redis.__version__}"
    python = folder / "bin" / "python"
    if not (folder / ".installed").exists():
        venv.create(folder, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *WANTED[package]]
        subprocess.run(command, check=True)
        (folder / ".installed").touch()
    return str(python)


def version_of(package: str, python: str) -> str:
    """What is installed there."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def chosen(words: Iterable[str]) -> list[Contender]:
    """Those whose name has one of the words."""
    return [one for one in CONTENDERS if any(word in one.name for word in words)]
