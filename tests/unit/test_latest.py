"""The latest that was found, for who must answer soon: one look at a time, and none that goes wrong is the last."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from spoolq.latest import Latest
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]


class Clock:
    """Moves when told."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_it_serves_while_it_is_fresh_and_is_looked_for_anew_then() -> None:
    clock, looks = Clock(), iter(range(9))
    latest = Latest(lambda: next(looks), fresh=1.0, name="test", clock=clock)
    assert [latest.get(30.0) for _ in range(3)] == [(100.0, 0)] * 3
    clock.now += 1.5
    assert latest.get(30.0) == (101.5, 1)


def test_nobody_waits_longer_than_he_will_and_no_second_look_joins_one_that_hangs() -> None:
    go_on, looks = threading.Event(), []

    def look() -> str:
        looks.append(threading.current_thread().name)
        go_on.wait(30)
        return "found"

    latest = Latest(look, fresh=60.0, name="spoolq-test")
    assert [latest.get(0.01) for _ in range(3)] == [None] * 3
    eventually(lambda: looks)
    assert looks == ["spoolq-test"]
    go_on.set()
    assert eventually(lambda: latest.get(0.01))[1] == "found"
    assert len(looks) == 1


def test_a_look_that_fails_is_logged_and_leaves_what_was_found(caplog: pytest.LogCaptureFixture) -> None:
    clock, results = Clock(), iter(["first", ValueError("a mistake"), "third"])

    def look() -> str:
        if isinstance(result := next(results), Exception):
            raise result
        return result

    latest = Latest(look, fresh=1.0, name="test", clock=clock)
    assert latest.get(30.0) == (100.0, "first")
    clock.now += 2.0
    assert latest.get(30.0) == (100.0, "first")
    assert "a mistake" in caplog.text
    assert latest.get(30.0) == (102.0, "third")  # the next who asks begins another


NO_ROOM = """
import resource, threading
from pathlib import Path
from spoolq.latest import Latest

latest = Latest(lambda: "found", fresh=60.0, name="test")
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
soft, hard = resource.getrlimit(resource.RLIMIT_AS)
threading.stack_size(1 << 30)
resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20), hard))
assert latest.get(30.0) is None
resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
threading.stack_size(0)
assert latest.get(30.0)[1] == "found"
"""


def test_no_memory_for_a_thread_is_no_end_of_looking() -> None:
    """Where the look under way was never begun, nobody would begin another."""
    done = subprocess.run([sys.executable, "-c", NO_ROOM], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "can't start new thread" in done.stderr


def test_a_child_that_is_forked_in_a_look_looks_for_itself() -> None:
    parent, go_on = os.getpid(), threading.Event()

    def look() -> int:
        if os.getpid() == parent:
            go_on.wait(30)
        return os.getpid()

    latest = Latest(look, fresh=60.0, name="test")
    assert latest.get(0.01) is None  # a look is under way now
    read, write = os.pipe()
    child = os.fork()
    if not child:
        found = latest.get(30.0)
        os.write(write, str(found and found[1]).encode())
        os._exit(0)
    go_on.set()
    os.waitpid(child, 0)
    assert int(os.read(read, 100)) == child
    assert eventually(lambda: latest.get(1.0))[1] == parent
    os.close(read)
    os.close(write)
