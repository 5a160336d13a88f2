"""Draining from a page, and how fast a spool empties."""

from __future__ import annotations

import pytest

from spoolq import SpoolQ
from spoolq.dashboard.draining import Drainage, Rate
from tests.waiting import eventually


def test_a_rate_is_told_over_its_window() -> None:
    rate = Rate(window=30.0)
    assert rate.value() is None
    rate.see(0.0, 100)
    assert rate.value() is None
    rate.see(10.0, 600)
    assert rate.value() == 50.0
    for at in range(20, 200, 10):
        rate.see(float(at), 600)
    assert rate.value() == 0.0


def test_a_count_that_began_anew_is_no_rate() -> None:
    rate = Rate()
    rate.see(0.0, 1000)
    rate.see(10.0, 5)
    assert rate.value() is None
    rate.see(20.0, 25)
    assert rate.value() == 2.0


def test_draining_from_here_says_what_held_it_up(q: SpoolQ) -> None:
    @q.task
    def work() -> None: ...

    assert work.enqueue().route == "spool"
    drainage = Drainage(q)
    assert drainage.start()
    eventually(lambda: not drainage.busy)
    assert "refused" in drainage.error
    assert q.spool is not None
    assert q.spool.waiting() == 1


def test_one_drains_at_a_time(q: SpoolQ, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    gate = threading.Event()

    class Slow:
        def run_once(self) -> None:
            gate.wait(40.0)
            raise RuntimeError("over")

        def close(self) -> None: ...

    monkeypatch.setattr(q, "drainer", Slow)
    drainage = Drainage(q)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    assert [drainage.start(), drainage.start(), drainage.busy] == [True, False, True]
    gate.set()
    eventually(lambda: not drainage.busy)
    assert drainage.start()
    eventually(lambda: not drainage.busy)  # its error is to be none of another test's
