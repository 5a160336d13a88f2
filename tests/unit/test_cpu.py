"""A thread that is given no core knows for how long."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from spoolq import cpu


def test_a_thread_that_sleeps_is_not_starved() -> None:
    began, before = time.monotonic(), cpu.starved()
    threading.Event().wait(0.2)
    assert cpu.starved() - before <= time.monotonic() - began - 0.2 + 0.01


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_threads_that_share_a_core_are_starved_for_what_the_other_has() -> None:
    """Two processes on one core, both busy: each waits for about half of the time."""
    core = {min(os.sched_getaffinity(0))}
    old = os.sched_getaffinity(0)
    os.sched_setaffinity(0, core)  # inherited
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        before, until = cpu.starved(), time.monotonic() + 40.0  # the other has to begin first
        while cpu.starved() - before <= 0.05 and time.monotonic() < until:
            pass
        assert cpu.starved() - before > 0.05
    finally:
        os.sched_setaffinity(0, old)
        other.kill()
        other.wait()


def test_where_the_system_does_not_tell_it_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "_STAT", "/nowhere")
    assert cpu.starved() == 0.0
    monkeypatch.setattr(cpu, "_STAT", "/dev/null")
    assert cpu.starved() == 0.0


def test_a_thread_that_works_is_busy_and_one_that_waits_is_not() -> None:
    worked, before = time.thread_time(), cpu.busy()
    while time.thread_time() < worked + 0.2:
        pass
    assert cpu.busy() - before > 0.1
    began, before = time.monotonic(), cpu.busy()
    threading.Event().wait(0.3)
    assert cpu.busy() - before < time.monotonic() - began - 0.2
