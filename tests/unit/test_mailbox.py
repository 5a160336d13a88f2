from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

from spoolq.mailbox import Mailbox
from tests.faults.working import ROOT
from tests.waiting import pass_time

LOOPS = """
import signal, threading, time
from contextlib import suppress
from spoolq.mailbox import Mailbox
from tests.waiting import eventually

signal.signal(signal.SIGCONT, lambda number, frame: None)
took = [time.monotonic()] * 16

def loop(number):
    box = Mailbox()
    while True:
        box.take(0.02)
        took[number] = time.monotonic()

for number in range(len(took)):
    threading.Thread(target=loop, args=(number,), daemon=True).start()
print("go", flush=True)
input()
since = time.monotonic()
with suppress(AssertionError):
    eventually(lambda: min(took) > since)
print(sum(at <= since for at in took), flush=True)
"""


def test_what_was_put_is_taken_in_its_order_and_nothing_twice() -> None:
    box = Mailbox[int]()
    assert not box
    assert box.take(0.0) is None
    for number in range(3):
        box.put(number)
    assert box
    assert [box.take(0.0) for _ in range(4)] == [0, 1, 2, None]
    assert not box


def test_it_is_waited_for_until_the_time_is_over() -> None:
    box = Mailbox[int]()
    began = time.monotonic()
    assert box.take(0.2) is None
    assert time.monotonic() - began >= 0.2
    box.put(1)
    assert box.take(0.0) == 1
    began = time.monotonic()
    assert box.take(0.2) is None, "the put of what is gone ends no wait"
    assert time.monotonic() - began >= 0.2


def test_a_put_ends_the_wait() -> None:
    box = Mailbox[str]()
    thread = threading.Timer(0.1, box.put, ["it"])
    thread.start()
    assert box.take(60.0) == "it"
    thread.join()


def test_a_signal_handler_may_put_at_any_moment() -> None:
    box, times = Mailbox[int](), 2000
    old = signal.signal(signal.SIGUSR1, lambda number, frame: box.put(1))
    end = threading.Event()

    def send() -> None:
        for _ in range(times):
            signal.raise_signal(signal.SIGUSR1)
        end.set()

    thread = threading.Thread(target=send)
    try:
        thread.start()
        taken = 0
        while not end.is_set() or box:
            taken += box.take(0.01) or 0
        thread.join()
        assert 0 < taken <= times
        assert box.take(0.0) is None
    finally:
        signal.signal(signal.SIGUSR1, old)


def test_loops_of_a_process_that_was_stopped_past_their_time_go_on() -> None:
    """Where the time is over and SIGCONT interrupts it, SimpleQueue's `get` of CPython 3.11 and 3.12 waits for ever."""
    command = [sys.executable, "-c", LOOPS]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "go\n"
        for _ in range(60):
            process.send_signal(signal.SIGSTOP)
            pass_time(0.04)
            process.send_signal(signal.SIGCONT)
            pass_time(0.02)
        stuck, _ = process.communicate("\n", timeout=100)
    assert int(stuck) == 0
