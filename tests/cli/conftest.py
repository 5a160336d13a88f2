"""A terminal of its own for each test: an empty directory, no settings from outside."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from spoolq.cli import main
from spoolq.facts import gather
from tests.servers import held_port

ROOT = Path(__file__).parents[2]

SHOP = """
import os
from spoolq import SpoolQ

q = SpoolQ(os.environ.get("SHOP_URL"), spool_min_free=0)

@q.task(queue="mail", retries=0)
def send(to, subject="hello"):
    with open("sent", "a") as file:
        file.write(f"{to} {subject}\\n")

@q.task(queue="mail", retries=0)
def broken(what):
    raise ValueError(f"no \\x1b[31m{what}")
"""


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its one JSON document; nothing else may stand beside it on standard output."""
        assert self.out.count("\n") == 1, self.out
        document = json.loads(self.out)
        assert document["schema"] == 1
        return document

    @property
    def lines(self) -> list[Any]:
        """Its JSON Lines."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith("SPOOLQ_") or name in ("REDIS_URL", "STATE_DIRECTORY", "XDG_STATE_HOME", "NO_COLOR"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SPOOLQ_SPOOL_MIN_FREE", "0")
    monkeypatch.setenv("SPOOLQ_DEADLINE", "20s")  # loading the driver and connecting count, and the machine may be busy
    monkeypatch.setenv("SPOOLQ_DISK_LIMIT", "20s")
    # a healthy server that gets no core for a second is away for who looks, in this process too
    monkeypatch.setattr(gather, "__defaults__", (20.0, *(gather.__defaults__ or ())[1:]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "shop.py").write_text(SHOP)
    sys.modules.pop("shop", None)
    yield
    sys.modules.pop("shop", None)


@pytest.fixture
def run() -> Run:
    """A command within this process."""

    def call(*args: object, input: str | None = None) -> Ran:
        result = CliRunner().invoke(main, [str(arg) for arg in args], input=input, catch_exceptions=False)
        return Ran(result.exit_code, result.stdout, result.stderr)

    return call


def start(*args: object, **env: str) -> subprocess.Popen[str]:
    """A command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "spoolq", *map(str, args)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
    )


@contextmanager
def listening(command: str, *args: object, **env: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A command that answers on a free port, until the block ends, and the address that it names."""
    process = start(command, "--port", 0, *args, **env)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"http://\S+", line)
        assert found, line + (process.stderr.read() if process.poll() is not None else "")
        yield process, found[0].rstrip("/")
    finally:
        process.kill()
        process.communicate()


def finish(process: subprocess.Popen[str], within: float = 60) -> Ran:
    """Its end; killed when it doesn't come."""
    try:
        out, err = process.communicate(timeout=within)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"still running after {within} s\n{out}\n{err}") from None
    return Ran(process.returncode, out, err)


@pytest.fixture
def spoolq() -> Run:
    """A command as a real process, to its end."""
    return lambda *args, **env: finish(start(*args, **env))


@pytest.fixture
def nowhere() -> Iterator[str]:
    """The URL of a Redis that refuses, also while others look for free ports."""
    with held_port() as held:
        yield f"redis://127.0.0.1:{held.getsockname()[1]}/0"
