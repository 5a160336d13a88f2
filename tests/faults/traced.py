"""An application that is traced, and its story as one trace: `python -m tests.faults.traced` prints it.

The module is also what its processes import: a web server's request that enqueues while Redis is gone (`request`), and what
`spoolq drain` and `spoolq worker` are given as APP. Each keeps its spans in memory, and appends them to a file at its end.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from spoolq import SpoolQ
from tests.servers import Server, held_port
from tests.spans import dump, tree

ROOT = Path(__file__).parents[2]
FILE = "SPOOLQ_TEST_SPANS"

q = SpoolQ()


@q.task(queue="mail")
def send_email(to: str) -> None:
    pass


@q.task(queue="mail")
async def send_later(to: str) -> None:
    await asyncio.sleep(0.001)


def request() -> None:
    """One request of a web server, with two jobs."""
    from opentelemetry import trace

    with trace.get_tracer("shop").start_as_current_span("POST /orders"):
        for task in (send_email, send_later):
            print(task.enqueue("a@example.com").route)


if file := os.environ.get(FILE):
    atexit.register(dump(file))


def story(folder: Path, wire: str = "python") -> tuple[list[dict[str, Any]], list[str]]:
    """Redis is gone, a request enqueues, Redis starts, a drainer and a worker do their work: each a process. The spans of all,
    and where the jobs went at first."""
    held, spans = held_port(), folder / "spans.jsonl"  # nobody else comes to listen there before Redis does
    port = held.getsockname()[1]
    env = {**os.environ, FILE: str(spans), "SPOOLQ_URL": f"redis://127.0.0.1:{port}/0", "SPOOLQ_SPOOL": str(folder / "spool.db")}
    env["SPOOLQ_WIRE"] = wire

    def run(*arguments: str) -> str:
        ran = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, timeout=100)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    app = "tests.faults.traced:q"
    went = run("-c", "from tests.faults import traced; traced.request()").split()
    with held, Server(port=port):
        run("-m", "spoolq", "drain", "--once", "--timeout", "20", "--app", app)
        run("-m", "spoolq", "worker", app, "--burst", "--no-drain", "--threads", "2")
    return [json.loads(line) for line in spans.read_text().splitlines()], went


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        found, went = story(Path(place))
    print(f"routes: {', '.join(went)}\n{tree(found)}")
