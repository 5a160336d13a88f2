"""Short words for these tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from spoolq.job import Claim, Message
from spoolq.store.base import WorkerInfo
from spoolq.store.sqlite import SQLiteStore, driver

ROOT = Path(__file__).parents[3]


def message(id: str, queue: str = "q", payload: bytes = b"{}", *, run_at: float = 0.0, given: bool = False) -> Message:
    return Message(id, queue, payload, run_at, given)


def worker(key: str = "w", *, lease: float = 60.0, kind: str = "worker") -> WorkerInfo:
    return WorkerInfo(key, "host", 1, ("q",), lease=lease, kind="drainer" if kind == "drainer" else "worker")


def claim(store: SQLiteStore, call: int, limit: int = 10, key: str = "w") -> tuple[Claim, ...]:
    return store.claim(worker(key), call, ["q"], limit).claims


def raw(path: Path) -> driver.Connection:
    """A foreign connection to the file."""
    return driver.connect(str(path), 5.0)


def run(code: str, *arguments: object, before: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    """Python code in a process of its own."""
    command = [*(before or []), sys.executable, "-c", code, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
