"""How many functions an enqueue calls, Python's and C's: most of its time goes into these."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.servers import Server

ROOT = Path(__file__).parents[2]


class Calls(NamedTuple):
    """For one job: of the thread that enqueues, and of the one that writes the file."""

    caller: float
    writer: float


MOST = {  # a tenth above what was counted with Python 3.11; newer ones call fewer
    "redis": (Calls(119, 0), Calls(49, 0)),
    "sqlite": (Calls(95, 112), Calls(54, 8)),
    "gone": (Calls(119, 118), Calls(56, 8)),
}
"""One by one, and by `enqueue_many` of a hundred."""


def counted(url: str, spool: Path, *control: str) -> tuple[Calls, Calls]:
    command = [sys.executable, "-m", "tests.costs.enqueues", url, str(spool), *control]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 0, ran.stderr
    one, many = (Calls(*map(float, line.split())) for line in ran.stdout.splitlines())
    return one, many


def within(found: tuple[Calls, Calls], kind: str) -> bool:
    return all(
        calls <= most for each, mosts in zip(found, MOST[kind], strict=True) for calls, most in zip(each, mosts, strict=True)
    )


def check(kind: str, url: str, spool: Path) -> None:
    found = counted(url, spool)
    assert within(found, kind), found
    more = counted(url, spool, "twice")  # the control: one encoding more of each job
    assert not within(more, kind), more


def test_an_enqueue_into_redis(fresh_server: Server, tmp_path: Path) -> None:
    check("redis", fresh_server.url, tmp_path / "spool.db")


def test_an_enqueue_into_a_file(tmp_path: Path) -> None:
    check("sqlite", f"sqlite:///{tmp_path}/jobs.db", tmp_path / "none.db")


def test_an_enqueue_while_redis_is_gone(tmp_path: Path) -> None:
    check("gone", "redis://127.0.0.1:1/0", tmp_path / "spool.db")
