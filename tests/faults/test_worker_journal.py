"""What became of jobs that ended while Redis was away, and whose worker ended before Redis was back: written down in the spool,
and told by this host's next worker or drainer.

The control is a worker that doesn't see the journal, as on another host: the same jobs run again, and a failure with its
traceback is nowhere.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.faults.working import Place, failures
from tests.servers import Server
from tests.waiting import eventually

pytestmark = pytest.mark.one_server


@pytest.fixture
def server(durable: Server) -> Server:
    return durable


def written(place: Place) -> int:
    """How many outcomes are in the journal."""
    assert place.q.spool is not None
    return place.q.spool.info().settlements


def finish_without_redis(place: Place, durable: Server, how: str, *, lease: str = "2s") -> tuple[list[str], str]:
    """Three jobs are done and one fails for good while Redis is away; then their worker ends. Returns their ids."""
    done, failed = [place.enqueue("hold", n) for n in range(3)], place.enqueue("doomed")
    worker = place.worker("--grace", "1s", threads=4, LEASE=lease)
    place.begun(4)
    if how.startswith("stopped"):
        durable.stop()
    else:
        durable.kill()
    place.open_gate()
    eventually(lambda: len(place.trace()) == 4)
    eventually(lambda: written(place) == 4, what="a journal of four outcomes")
    if how.endswith("killed"):
        worker.kill()
    else:
        worker.end()
        assert worker.said("what became of 4 is in the spool")
    if how.startswith("stopped"):
        durable.cont()
    else:
        durable.start()
    return done, failed


@pytest.mark.parametrize("sees", [True, False])
@pytest.mark.parametrize("how", ["gone, killed", "gone, ended", "stopped, killed"])
def test_jobs_that_ended_in_an_outage_do_not_run_again_for_their_worker_s_end(
    place: Place, durable: Server, how: str, sees: bool
) -> None:
    done, failed = finish_without_redis(place, durable, how)
    if not sees:
        place.environment["SPOOLQ_SPOOL"] = str(place.folder / "elsewhere.db")
    worker = place.worker(LEASE="2s")
    place.done()
    # struck out of the journal, or told of, once Redis knows it
    taken_over = "4 job(s) of a worker that stopped answering are taken over"
    eventually((lambda: written(place) == 0) if sees else (lambda: worker.said(taken_over)))
    worker.end()
    counters = place.store.counters()
    if sees:
        assert place.runs() == dict.fromkeys([*done, failed], 1)
        [failure] = failures(durable)
        assert (failure["payload"]["id"], failure["exception"], failure["attempts"]) == (failed, "ValueError", 1)
        assert any("raise ValueError" in line for line in failure["backtrace"])
        assert (counters["processed"], counters["failed"]) == (3, 1)
        assert not worker.said("taken over")
    else:
        assert place.runs() == dict.fromkeys([*done, failed], 2)
        assert failures(durable) == []


@pytest.mark.parametrize("whose", ["own", "a directory of orphans"])
def test_a_drainer_tells_it_too(place: Place, durable: Server, whose: str) -> None:
    done, failed = finish_without_redis(place, durable, "gone, ended", lease="30s")
    command = [sys.executable, "-m", "spoolq", "drain", "--once", "--app", "app_under_test:q"]
    if whose != "own":
        command += ["--spool", str(place.folder)]
    subprocess.run(command, env=place.environment, cwd=place.folder, check=True, timeout=60)
    assert (written(place), place.left()) == (0, {})
    assert [failure["payload"]["id"] for failure in failures(durable)] == [failed]
    assert place.runs() == dict.fromkeys([*done, failed], 1)


def test_what_is_for_another_redis_is_left_alone(place: Place, durable: Server, start_server: Callable[..., Server]) -> None:
    """Neither told to it nor dropped; a worker for that other one refuses the file."""
    finish_without_redis(place, durable, "gone, ended", lease="30s")
    other = {**place.environment, "SPOOLQ_URL": start_server().url}
    command = [sys.executable, "-m", "spoolq", "drain", "--once", "--to-here", "--app", "app_under_test:q"]
    subprocess.run(command, env=other, cwd=place.folder, check=True, timeout=60)
    assert written(place) == 4
    command = [sys.executable, "-m", "spoolq", "worker", "--burst", "app_under_test:q"]
    assert subprocess.run(command, env=other, cwd=place.folder, check=False, timeout=60).returncode == 78
    assert (written(place), place.left()) == (4, {"claimed": 4})


def test_what_was_taken_over_meanwhile_is_dropped_with_a_line(place: Place, durable: Server) -> None:
    """The lease was over before this host had a worker again: by its rule the jobs ran a second time, and no third."""
    done, failed = finish_without_redis(place, durable, "gone, ended", lease="1s")
    here = place.environment["SPOOLQ_SPOOL"]
    place.environment["SPOOLQ_SPOOL"] = str(place.folder / "elsewhere.db")
    elsewhere = place.worker(LEASE="1s")
    place.done()
    place.environment["SPOOLQ_SPOOL"] = here
    worker = place.worker(LEASE="1s")
    eventually(lambda: written(place) == 0)
    for one in (elsewhere, worker):
        one.end()
    assert len(worker.said("settled before, or taken over")) == 4
    assert place.runs() == dict.fromkeys([*done, failed], 2)
    assert failures(durable) == []


def test_a_worker_that_lives_tells_it_itself(place: Place, durable: Server) -> None:
    """Also where another one of this host sees the journal, and could."""
    ids = [place.enqueue("hold", n) for n in range(3)]
    worker = place.worker(threads=3)
    place.begun(3)
    other = place.worker().ready()
    eventually(lambda: len(place.store.workers()) == 2)
    durable.kill()
    place.open_gate()
    eventually(lambda: written(place) == 3)
    durable.start()
    place.done()
    eventually(lambda: written(place) == 0)
    for one in (worker, other):
        one.end()
    assert place.runs() == dict.fromkeys(ids, 1)
    assert place.store.counters()["processed"] == 3


@pytest.mark.parametrize("sees", [True, False])
def test_a_failure_that_redis_refuses_outlives_the_worker_that_was_refused(place: Place, durable: Server, sees: bool) -> None:
    """Redis is there, and has no place for it. As above, the control doesn't see the journal."""
    with durable.client() as control:
        control.set("resque:failed", "no list")
        place.open_gate()
        done, failed = place.enqueue("note"), place.enqueue("doomed")
        worker = place.worker(LEASE="2s")
        eventually(lambda: written(place) == 1 and place.left() == {"claimed": 1})
        worker.kill()
        control.delete("resque:failed")
    if not sees:
        place.environment["SPOOLQ_SPOOL"] = str(place.folder / "elsewhere.db")
    worker = place.worker(LEASE="2s")
    place.done()
    worker.end()
    assert place.runs() == {done: 1, failed: 1 if sees else 2}
    assert [failure["exception"] for failure in failures(durable)] == (["ValueError"] if sees else [])


def test_a_spool_that_cannot_be_written_hinders_no_worker(place: Place, durable: Server) -> None:
    place.spool.write_bytes(b"no database" * 1000)
    ids = [place.enqueue("hold", n) for n in range(3)]
    worker = place.worker(threads=3)
    place.begun(3)
    durable.kill()
    place.open_gate()
    eventually(lambda: worker.said("can't be written down"))
    durable.start()
    place.done()
    worker.end()
    assert place.runs() == dict.fromkeys(ids, 1)
    assert len(worker.said("can't be written down")) == 1
