"""What is shown of where a task was: the task's own steps, and not how a worker came to call it."""

from __future__ import annotations

import subprocess
import sys
import threading

from spoolq import traces
from spoolq.errors import PayloadError
from spoolq.runner import Runner
from spoolq.wire import decode
from tests.waiting import eventually


def _raised(payload: bytes) -> BaseException:
    try:
        decode(payload, "q")
    except PayloadError as error:
        return error
    raise AssertionError("it could be read")


def test_an_error_s_trace_begins_with_the_first_step_that_is_not_the_worker_s() -> None:
    lines = traces.of_error(_raised(b"{"))
    assert (lines[0], lines[-1].partition(":")[0]) == ("Traceback (most recent call last):", "spoolq.errors.PayloadError")
    assert "in _raised" in lines[1]
    assert any("in decode" in line for line in lines)  # what the task called stays, whoever's it is


def test_one_of_the_worker_s_own_steps_alone_keeps_the_last() -> None:
    error = _raised(b"{")
    assert error.__traceback__ is not None
    lines = traces.of_error(error.with_traceback(error.__traceback__.tb_next))
    assert len([line for line in lines if line.startswith("  File ")]) == 1


def test_an_error_that_was_never_raised_has_its_notes_or_nothing() -> None:
    error = ValueError("x")
    assert traces.of_error(error) == []
    error.add_note("It was left at:\n  here")
    assert traces.of_error(error) == ["It was left at:", "  here"]


def test_its_causes_are_shown_with_it() -> None:
    try:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("then") from error
    except ValueError as error:
        text = "\n".join(traces.of_error(error))
    assert text.index("KeyError: 'first'") < text.index("direct cause") < text.index("ValueError: then")


def _wait(gate: threading.Event) -> None:
    gate.wait()


def test_the_stack_of_a_thread_begins_where_it_leaves_what_started_it() -> None:
    gate = threading.Event()
    thread = threading.Thread(target=_wait, args=(gate,), daemon=True)
    thread.start()
    text = eventually(lambda: text if "in wait" in (text := traces.of_thread(thread.ident)) else "")
    gate.set()
    assert "in _wait" in text.splitlines()[0]
    thread.join()
    assert traces.of_thread(thread.ident) == traces.of_thread(None) == ""


def test_a_thread_that_runs_no_task_is_shown_whole() -> None:
    gate = threading.Event()
    thread = threading.Thread(target=gate.wait, daemon=True)
    thread.start()
    assert "_bootstrap" in eventually(lambda: traces.of_thread(thread.ident))
    gate.set()
    thread.join()


def test_the_worker_s_steps_are_known_by_where_spoolq_is() -> None:
    assert Runner.run.__code__.co_filename.startswith(traces._WORKER)


KNOTS = """
import gc, threading
from spoolq import traces

class Knot:
    pass

for _ in range(1000):
    knot = Knot()
    knot.own, knot.local = knot, threading.local()
    knot.local.mine = 1
    del knot
    gc.set_threshold(1)
    assert traces.of_thread(threading.get_ident())
    gc.set_threshold(700)
assert gc.isenabled()
"""


def test_a_look_at_a_thread_stands_still_for_no_garbage() -> None:
    """Without the care that is taken, CPython 3.11 stands still for ever in the first few of these looks."""
    subprocess.run([sys.executable, "-c", KNOTS], check=True, timeout=60)
