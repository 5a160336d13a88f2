"""The stacks of all threads at a signal, in processes of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
BEGIN = """
import json, os, signal, sys, threading
from spoolq import stacks

def deep(left):
    return deep(left - 1) if left else json.loads(json.dumps({"a": [left] * 3}))

def busy():
    while True:
        deep(30)

for _ in range(4):
    threading.Thread(target=busy, daemon=True).start()
handled = 0
def handler(number, frame):
    global handled
    handled += 1
signal.signal(signal.SIGTTIN, handler)
stacks.listen(signal.SIGTTIN)
"""


@contextmanager
def running(rest: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", BEGIN + rest]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, cwd=ROOT, **pipes) as process:  # type: ignore[call-overload]
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def test_busy_threads_survive_it() -> None:
    """faulthandler's own handler killed such a process within 40 to 130 signals, four times of four."""
    with running("print('ready', flush=True)\nsys.stdin.read()") as process:
        assert process.stderr is not None
        for _ in range(100):
            process.send_signal(signal.SIGTTIN)
            line = next(line for line in process.stderr if "Current thread" in line)
            assert "(most recent call first)" in line
        assert process.poll() is None


def test_the_handler_is_called_as_well_and_others_are_no_matter() -> None:
    rest = """
signal.signal(signal.SIGUSR1, lambda number, frame: None)
os.kill(os.getpid(), signal.SIGUSR1)
os.kill(os.getpid(), signal.SIGTTIN)
print("ready", flush=True)
sys.stdin.readline()
print(handled, flush=True)
sys.stdin.read()
"""
    with running(rest) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "1\n"
        assert process.stderr is not None
        assert next(line for line in process.stderr if "Current thread" in line)
        assert "Current thread" not in process.communicate(timeout=30)[1]


def test_a_forked_child_says_nothing_until_it_listens_itself() -> None:
    rest = """
print("ready", flush=True)
def end(status):
    os._exit(os.waitstatus_to_exitcode(status))
child = os.fork()
if child == 0:
    stacks.end()
    os.kill(os.getpid(), signal.SIGTTIN)
    os._exit(7 if handled == 1 else 8)
_, status = os.waitpid(child, 0)
stacks.end()
stacks.end()
signal.raise_signal(signal.SIGTTIN)
end(status)
"""
    with running(rest) as process:
        _, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (7, "")
