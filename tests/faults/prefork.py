"""A pre-fork server to be broken: the parent makes the queue and uses it, forks, and each child enqueues when it is told to.

    python -m tests.faults.prefork URL SPOOL CHILDREN [--alone]

A line on standard input is the number of a child, which then enqueues once and answers by a line of JSON: its number, the
job's route, and how often it has asked Redis so far (not counting probes). `--alone` is the wrong set-up: each child has a
runtime directory of its own, so that nobody tells another.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from spoolq import SpoolQ
from tests.servers import Server


class Prefork:
    """The running program, from the test's side. Use it in a `with`."""

    def __init__(self, server: Server, folder: Path, children: int, *, alone: bool = False) -> None:
        command = [sys.executable, "-m", "tests.faults.prefork", server.url, str(folder / "spool.db"), str(children)]
        self.children = children
        self._process = subprocess.Popen(
            [*command, *(["--alone"] if alone else [])], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def enqueue(self, child: int) -> tuple[str, int]:
        """Have one child enqueue: the route, and how often this child has asked Redis so far."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{child}\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert answer["child"] == child
        return answer["route"], answer["asked"]

    def __enter__(self) -> Prefork:
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()


def _child(q: SpoolQ, number: int, commands: int, alone: bool) -> None:
    if alone:
        os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(dir=os.path.dirname(sys.argv[2]))
    asked = 0
    put = q.primary.put

    def counted(*args: Any, **options: Any) -> list[bool]:
        nonlocal asked
        asked += 1
        return put(*args, **options)

    q.primary.put = counted  # type: ignore[method-assign]
    while os.read(commands, 1):
        route = q.remote("t", "work").enqueue(number).route
        print(json.dumps({"child": number, "route": route, "asked": asked}), flush=True)


def main() -> None:
    """Fork, and pass on what comes in."""
    url, spool, children = sys.argv[1:4]
    q = SpoolQ(url, spool=spool, spool_min_free=0, deadline=3.0, disk_limit=20.0)
    q.remote("t", "work").enqueue("used before the fork")
    pipes = []
    for number in range(int(children)):
        reader, writer = os.pipe()
        if not os.fork():
            os.close(writer)
            for other in pipes:
                os.close(other)
            _child(q, number, reader, "--alone" in sys.argv)
            os._exit(0)
        os.close(reader)
        pipes.append(writer)
    for line in sys.stdin:
        os.write(pipes[int(line)], b".")
    for writer in pipes:
        os.close(writer)
    for _ in pipes:
        os.wait()


if __name__ == "__main__":
    main()
