"""Who is measured beside whom: how each one is started, and what it needs installed."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import requires
from pathlib import Path

import redis

PROGRAMS = Path(__file__).parent / "peers"
ROOT = PROGRAMS.parents[1]


@dataclass(frozen=True)
class Contender:
    """A library in one way of running it. `raw` is no library: the limit, what redis-py or sqlite3 do without any promise.

    `program` is its module in `peers/`, `worker` the arguments to its Python that start a worker, `share` what part of the jobs
    it is given (a slow one need not take all day), `keeps` whether a job is kept until it is done, `processes` how many its
    worker has (several run on all cores), `root` the checkout whose spoolq it is.
    """

    name: str
    package: str
    program: str
    worker: tuple[str, ...]
    share: float = 1.0
    keeps: bool = True
    processes: int = 1
    on: str = "redis"
    environment: Mapping[str, str] = field(default_factory=dict)
    root: Path = ROOT

    def of(self, root: Path) -> Contender:
        """The same with the spoolq of another checkout, which its name names by its commit."""
        return replace(self, name=self.name.replace("spoolq", f"spoolq of {commit(root)}", 1), root=root)


def commit(root: Path) -> str:
    """What git calls that checkout; a + where it was changed since."""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--exclude=*"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "?"


SPOOLQ = ("-m", "spoolq", "worker", "-q", "spoolq_app:q")
RAW = ("-m", "raw_app", "work")
DRAMATIQ = ("-m", "dramatiq", "dramatiq_app", "--processes", "1", "--skip-logging")
HUEY = ("-m", "huey.bin.huey_consumer", "huey_app.huey", "-q", "-k", "thread", "-w", "4")
RQ = ("-m", "rq.cli", "worker", "-q", "-w", "rq.SimpleWorker", "--url", "{url}", "bench")
CELERY = (
    "-m",
    "celery",
    "-A",
    "celery_app",
    "worker",
    "--pool",
    "solo",
    "--loglevel",
    "ERROR",
    "--without-gossip",
    "--without-mingle",
)
PREFETCH = {"dramatiq_queue_prefetch": "200"}
FILE = {"BENCH_FILE": "{folder}/jobs.db"}
SYNCED = {**FILE, "BENCH_SYNC": "1"}
WAYS: tuple[tuple[str, tuple[str, ...], int, dict[str, str]], ...] = (  # how, by what options, processes, environment
    ("1 thread", ("--threads", "1"), 1, {}),
    ("16 threads", ("--threads", "16"), 1, {}),
    ("async tasks", (), 1, {"BENCH_ASYNC": "1"}),
    ("4 processes on all cores", ("--processes", "4:4"), 4, {}),
)

CONTENDERS = (
    Contender("raw, Redis", "raw", "raw_app", RAW, keeps=False),
    Contender("raw: the same request, Redis", "raw", "raw_app", RAW, environment={"BENCH_SOCKET": "1"}),
    Contender("spoolq, Redis", "spoolq", "spoolq_app", SPOOLQ),
    Contender("spoolq, Redis, 2 processes on both cores", "spoolq", "spoolq_app", (*SPOOLQ, "--processes", "2:2"), processes=2),
    Contender("huey, Redis, 4 threads", "huey", "huey_app", HUEY, 0.3, keeps=False),
    Contender("dramatiq, Redis, its defaults in one process", "dramatiq", "dramatiq_app", DRAMATIQ, 0.3),
    Contender("dramatiq, Redis, prefetch 200", "dramatiq", "dramatiq_app", DRAMATIQ, 0.3, environment=PREFETCH),
    Contender("rq, Redis, SimpleWorker", "rq", "rq_app", RQ, 0.05),
    Contender("celery, Redis, solo, late acks", "celery", "celery_app", CELERY, 0.1),
    Contender("saq, Redis", "saq", "saq_app", ("-m", "saq", "saq_app.settings", "--quiet"), 0.1),
    Contender("arq, Redis", "arq", "arq_app", ("-m", "arq", "arq_app.WorkerSettings"), 0.1),
    Contender("raw, SQLite, synced", "raw", "raw_app", RAW, keeps=False, on="sqlite", environment=SYNCED),
    Contender("spoolq, SQLite, synced", "spoolq", "spoolq_app", SPOOLQ, on="sqlite"),
    Contender(
        "spoolq, SQLite, synced, 2 processes on both cores",
        "spoolq",
        "spoolq_app",
        (*SPOOLQ, "--processes", "2:2"),
        processes=2,
        on="sqlite",
    ),
    *(
        Contender(
            f"spoolq with {way}, {place}", "spoolq", "spoolq_app", (*SPOOLQ, *options), 1.0, True, processes, on, environment
        )
        for place, on in (("Redis", "redis"), ("SQLite, synced", "sqlite"))
        for way, options, processes, environment in WAYS
    ),
    Contender("spoolq drain, Redis", "spoolq", "spoolq_app", ("-m", "spoolq", "drain", "-q")),
    Contender("huey, SQLite, synced, 4 threads", "huey", "huey_app", HUEY, 0.1, False, on="sqlite", environment=SYNCED),
    Contender("huey, SQLite, not synced, 4 threads", "huey", "huey_app", HUEY, 0.3, False, on="sqlite", environment=FILE),
    Contender(
        "litequeue, SQLite", "litequeue", "litequeue_app", ("-m", "litequeue_app", "work"), 0.1, on="sqlite", environment=FILE
    ),
)

WANTED = {  # the versions that the figures are of; redis-py is the one that spoolq has here, where the library can do with it
    "dramatiq": ("dramatiq[redis]==2.2.1", f"redis=={redis.__version__}"),
    "rq": ("rq==3.0.0", f"redis=={redis.__version__}"),
    "huey": ("huey==3.5.4", f"redis=={redis.__version__}"),
    "celery": ("celery[redis]==5.7.0",),
    "saq": ("saq[redis,hiredis]==0.26.4", "typing-extensions"),  # which it imports and does not ask for
    "arq": ("arq==0.28.0",),
    "litequeue": ("litequeue==0.9",),
}
HERE = ("raw", "spoolq")


@cache
def python_of(package: str, home: Path, driver: str = redis.__version__) -> str:
    """The Python that has that package: this one for spoolq and redis-py, else one in an environment of its own below `home`,
    made where it isn't there, as for those with another version of redis-py. Raises CalledProcessError when pip can't get it."""
    wanted = WANTED.get(package, ())
    if package in HERE:
        if driver == redis.__version__:
            return sys.executable
        needs = [need for need in requires("spoolq") or () if "extra ==" not in need and not need.startswith("redis")]
        package, wanted = "spoolq", (f"redis=={driver}", *needs)
    folder = home / f"{package}-{driver if package == 'spoolq' else redis.__version__}"
    python, stamp = folder / "bin" / "python", folder / ".installed"
    if not stamp.exists() or stamp.read_text() != repr(wanted):
        venv.create(folder, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
        subprocess.run(command, check=True)
        stamp.write_text(repr(wanted))
    return str(python)


def versions(packages: Sequence[str], home: Path) -> dict[str, str]:
    """Of each library, with its redis-py where that is another than spoolq's."""
    found = {}
    for package in packages:
        code = (
            "import json, sys\nfrom importlib.metadata import PackageNotFoundError, version\n"
            "def of(name):\n    try: return version(name)\n    except PackageNotFoundError: return ''\n"
            "print(json.dumps([of(name) for name in sys.argv[1:]]))"
        )
        ran = subprocess.run(
            [python_of(package, home), "-c", code, package, "redis"], capture_output=True, text=True, check=True, timeout=60
        )
        own, driver = json.loads(ran.stdout)
        found[package] = own if driver in ("", redis.__version__) else f"{own} (redis-py {driver})"
    return found
