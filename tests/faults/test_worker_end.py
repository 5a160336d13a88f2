"""How a worker ends: it finishes, or puts back; it never hangs."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.faults.working import Place, at, write_log
from tests.servers import Server
from tests.waiting import eventually

pytestmark = pytest.mark.one_server


@pytest.fixture
def place(either: Place) -> Place:
    return either


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_what_runs_is_finished_within_the_grace(place: Place, number: signal.Signals) -> None:
    id = place.enqueue("hold")
    worker = place.worker(threads=1, TEST_GOODBYE="20")
    place.begun()
    later = place.enqueue("note")
    worker.send(number)
    eventually(lambda: worker.said("waiting for running jobs"))
    place.open_gate()
    assert worker.ended() == 0
    assert place.runs() == {id: 1}
    assert place.left() == {"ready": 1}, f"{later} waits for another worker"
    place.left_by_all()


def test_at_the_end_of_the_grace_what_runs_is_back_at_once_and_no_attempt_is_counted(place: Place) -> None:
    ids = {place.enqueue("hold", n) for n in range(2)}
    worker = place.worker("--grace", "0.2s")
    place.begun(2)
    worker.end()
    assert worker.said("still run after the grace")
    assert place.left() == {"ready": 2}
    place.open_gate()
    place.worker()
    place.done()
    assert place.runs() == dict.fromkeys(ids, 1)
    assert {line.attempt for line in place.trace("RUN")} == {0}


def test_a_second_term_ends_it_now(place: Place) -> None:
    place.enqueue("hold")
    worker = place.worker("--grace", "10m")
    place.begun()
    worker.send(signal.SIGTERM)
    eventually(lambda: worker.said("waiting for running jobs"))
    worker.send(signal.SIGTERM)
    assert worker.ended() == 0
    assert place.left() == {"ready": 1}


def test_an_idle_worker_ends_at_once(place: Place) -> None:
    """One of three: a machine that gives it no core keeps one back, and what it waits for would keep back each."""

    def took() -> float:
        worker = place.worker(TEST_GOODBYE="20").ready()
        eventually(place.store.workers)
        began = time.monotonic()
        worker.end()
        place.left_by_all()
        return time.monotonic() - began

    assert any(took() < 3.0 for _ in range(3))


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTSTP])
def test_paused_by_a_signal_it_takes_nothing_until_it_is_resumed(place: Place, number: signal.Signals) -> None:
    worker = place.worker().ready()
    worker.send(number)
    eventually(lambda: worker.said("paused: running jobs go on"))
    id = place.enqueue("note")
    worker.send(signal.SIGCONT)
    eventually(lambda: worker.said("resumed"))
    place.done()
    assert place.runs() == {id: 1}


def test_ttin_brings_stacks_and_a_line_of_status_and_hup_opens_log_files_anew(tmp_path: Path) -> None:
    with at(tmp_path, f"sqlite:///{tmp_path}/jobs.db") as place:
        log = write_log(place)
        worker = place.worker().ready()
        place.enqueue("write", "before")
        eventually(lambda: log.exists() and "before" in log.read_text())
        log.rename(log.with_suffix(".1"))
        worker.send(signal.SIGHUP)
        eventually(lambda: worker.said("SIGHUP: 1 log file(s) reopened"))
        place.enqueue("write", "after")
        eventually(lambda: log.exists() and "after" in log.read_text())
        place.done()
        worker.send(signal.SIGTTIN)
        eventually(lambda: worker.said("worker: 0 running, "))
        eventually(lambda: worker.said("Current thread"))
        worker.end()


def test_it_ends_while_redis_hangs(tmp_path: Path, fresh_server: Server) -> None:
    """A stopped server accepts and never answers: every call would take its whole time-out."""
    with at(tmp_path, fresh_server.url) as place:
        place.enqueue("hold")
        worker = place.worker("--grace", "0.5s")
        place.begun()
        fresh_server.stop()
        worker.send(signal.SIGTERM)
        try:
            assert worker.ended(12.0) == 0
        finally:
            fresh_server.cont()


def test_it_ends_while_redis_is_gone_and_its_claims_wait_there(tmp_path: Path, durable: Server) -> None:
    with at(tmp_path, durable.url) as place:
        id = place.enqueue("hold")
        worker = place.worker("--grace", "0.5s", LEASE="1s")
        place.begun()
        durable.kill()
        worker.send(signal.SIGTERM)
        assert worker.ended(10.0) == 0
        durable.start()
        place.open_gate()
        place.worker(LEASE="1s")
        place.done()
        assert place.runs() == {id: 1}


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_a_burst_drains_works_and_ends(tmp_path: Path, kind: str, fresh_server: Server) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db" if kind == "sqlite" else fresh_server.url
    with at(tmp_path, url) as place:
        if kind == "redis":
            fresh_server.kill()
        ids = [place.enqueue("note", n) for n in range(50)]
        if kind == "redis":
            fresh_server.start()
        worker = place.worker("--burst")
        assert worker.ended() == 0
        assert place.runs() == dict.fromkeys(ids, 1)


def test_a_burst_without_redis_runs_what_is_here_and_says_69(tmp_path: Path, fresh_server: Server) -> None:
    fresh_server.kill()
    with at(tmp_path, fresh_server.url) as place:
        ids = [place.enqueue("note", n) for n in range(5)]
        worker = place.worker("--burst")
        assert worker.ended() == 69
        assert place.runs() == dict.fromkeys(ids, 1)
        assert {line.store for line in place.trace()} == {"spool"}
