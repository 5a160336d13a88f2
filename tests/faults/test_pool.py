"""A pool of worker processes, each of which may be killed at any time: its jobs go on, its signals are obeyed."""

from __future__ import annotations

import os
import re
import signal

import pytest

from spoolq.autoscale.assembly import merged
from tests.faults.working import Place, Worker, write_log
from tests.waiting import eventually


@pytest.fixture
def place(either: Place) -> Place:
    return either


def started(worker: Worker) -> list[int]:
    """The processes that run jobs, and did at some time, in the order of their start."""
    return [int(re.search(r"worker \S+?:(\d+):", line)[1]) for line in worker.said("thread(s), queues")]  # type: ignore[index]


def pool(place: Place, processes: str, *options: str, threads: int = 2, **settings: str) -> Worker:
    """A pool that works: as many processes as it has at least."""
    worker = place.worker("--processes", processes, *options, threads=threads, **settings)
    least = int(processes.partition(":")[0])
    eventually(lambda: len(started(worker)) >= least or worker.process.poll() is not None, what="processes that work")
    return worker


def housekeeper(worker: Worker) -> int:
    [line] = eventually(lambda: worker.said("keeps house"))
    return int(re.search(r"worker \S+?:(\d+):", line)[1])  # type: ignore[index]


def seen(place: Place, worker: Worker, count: int) -> None:
    """Wait until the pool's own process has seen so many of its others at work: it looks now and then, and of one that it never
    saw it can't tell that a job killed it."""
    eventually(lambda: [state.ready for state, _ in merged(place.q.settings, ()) if state.pid == worker.pid] == [count])


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# the work


def test_its_processes_share_the_work_and_each_job_runs_once(place: Place) -> None:
    ids = [place.enqueue("hold", number) for number in range(6)]
    worker = pool(place, "3", TEST_GOODBYE="20")
    place.begun(6)
    place.open_gate()
    place.done()
    assert place.runs() == dict.fromkeys(ids, 1)
    assert {line.pid for line in place.trace()} == set(started(worker))
    worker.end_pool()
    place.left_by_all()


def test_what_a_killed_process_ran_and_held_goes_on_at_once_and_not_after_its_lease(place: Place) -> None:
    """The lease is of ten minutes."""
    ids = [place.enqueue("hold", number) for number in range(4)]
    worker = pool(place, "2", LEASE="10m")
    begun = place.begun(4)
    seen(place, worker, 2)
    victim = begun[0].pid
    os.kill(victim, signal.SIGKILL)
    place.open_gate()
    place.done()
    runs = place.runs()
    assert set(runs) == set(ids)
    assert sum(runs.values()) == 4
    assert [line.attempt for line in place.trace() if line.id in {line.id for line in begun if line.pid == victim}] != []
    eventually(lambda: worker.said("(worker) ended by SIGKILL; another is started at once"))
    eventually(lambda: len(started(worker)) == 3, what="another in its place")


def test_when_the_housekeeper_is_killed_another_keeps_house(place: Place) -> None:
    worker = pool(place, "1", LEASE="6s")
    first = housekeeper(worker)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: len(worker.said("keeps house")) == 2, what="another housekeeper")
    id = place.enqueue("second", delay=0.5)  # promoted and retried by the new one
    eventually(lambda: place.runs()[id] == 2)
    worker.end_pool()


def test_when_the_pools_own_process_is_killed_the_others_finish_and_end(place: Place) -> None:
    ids = [place.enqueue("hold", number) for number in range(2)]
    worker = pool(place, "1")
    place.begun(2)
    pids = [*started(worker), housekeeper(worker)]
    worker.kill()
    place.open_gate()
    eventually(lambda: not any(alive(pid) for pid in pids), what="the end of the others")
    assert place.runs() == dict.fromkeys(ids, 1)
    assert place.left() == {}


def test_a_killed_worker_without_a_pool_is_followed_at_once_by_any_other_of_the_host(place: Place) -> None:
    ids = [place.enqueue("hold", number) for number in range(2)]
    first = place.worker(LEASE="10m").ready()
    place.begun(2)
    second = place.worker(LEASE="10m").ready()
    first.kill()
    place.open_gate()
    place.done()
    assert place.runs() == dict.fromkeys(ids, 1)
    eventually(lambda: second.said("died; 2 job(s) that it held"))


def test_a_job_that_holds_the_interpreter_for_leases_runs_once(place: Place) -> None:
    id = place.enqueue("holding_the_interpreter", 12)
    pool(place, "2", threads=1, LEASE="5s")  # which its siblings keep, who may be kept from their core for a while
    place.done()
    assert place.runs() == {id: 1}
    assert len(place.trace("BEGIN")) == 1


@pytest.mark.parametrize("task", ["sleeping_too_long", "stuck_holding_the_interpreter", "blocking_the_loop"])
def test_what_cant_be_ended_within_has_its_process_killed_and_nothing_else_counts(task: str, one_box: Place) -> None:
    """A wait in C code, C code that keeps the interpreter's lock, and a call that blocks the event loop."""
    stuck = one_box.enqueue(task, 60)
    beside = one_box.enqueue("hold")
    worker = pool(one_box, "1")
    one_box.begun(2)
    eventually(lambda: worker.said("ran past their time limit"))
    eventually(lambda: re.search(r"process \d+ has ended", worker.log.read_text()), what="its end, which comes after that word")
    one_box.open_gate()
    one_box.done()
    assert one_box.runs() == {beside: 1}
    assert {(line.id, line.attempt) for line in one_box.trace("BEGIN")} == {(stuck, 0), (beside, 0)}
    [failure] = one_box.store.failures.page()
    assert (failure.id, failure.exception, failure.attempts) == (stuck, "TimeLimit", 1)
    assert "its process was killed" in failure.error


@pytest.mark.parametrize("how", ["exit", "kill", "segfault"])
def test_a_job_that_kills_its_worker_each_time_ends_in_the_failure_log(how: str, place: Place) -> None:
    deadly = place.enqueue("dying", how)
    ids = [place.enqueue("note", number) for number in range(5)]
    pool(place, "1", threads=1, LEASE="10m")
    place.done()
    runs = place.runs()
    assert (runs.keys(), runs[deadly]) == ({deadly, *ids}, 2)  # one that had just ended may have run again
    [failure] = place.store.failures.page()
    assert (failure.id, failure.exception) == (deadly, "WorkerDied")
    assert any("max_crashes=2" in line for line in failure.backtrace)


def test_a_pool_holds_no_more_claims_than_it_can_run(place: Place) -> None:
    for number in range(30):
        place.enqueue("hold", number)
    pool(place, "2", threads=2)
    place.begun(4)
    assert place.left() == {"ready": 26, "claimed": 4}


def test_a_spawned_process_that_still_imports_is_neither_stopped_nor_ended_by_what_it_doesnt_obey_yet(one_box: Place) -> None:
    module = one_box.folder / "app_under_test.py"
    module.write_text(
        "import os, sys\nfrom pathlib import Path\nfrom tests.waiting import eventually\n"
        "if '--seat' in sys.argv:\n"
        "    Path(__file__).with_name(f'importing-{os.getpid()}').touch()\n"
        "    eventually(Path(__file__).with_name('may-end').exists, within=60)\n" + module.read_text()
    )
    worker = one_box.worker("--processes", "1", "--start", "spawn")
    eventually(lambda: len(list(one_box.folder.glob("importing-*"))) == 2, what="two processes that import")
    for number in (signal.SIGTTIN, signal.SIGHUP, signal.SIGTTIN):
        worker.send(number)
    eventually(lambda: worker.said("SIGHUP") and worker.said("1 process(es) wanted"))
    (one_box.folder / "may-end").touch()
    id = one_box.enqueue("note")
    eventually(lambda: one_box.runs()[id] == 1)
    assert not worker.said("ended by SIG")
    worker.end_pool()


# its size


def test_a_process_is_replaced_after_so_many_jobs(one_box: Place) -> None:
    ids = [one_box.enqueue("note", number) for number in range(40)]
    worker = pool(one_box, "1", "--max-jobs", "10", threads=1)
    one_box.done()
    assert one_box.runs() == dict.fromkeys(ids, 1)
    assert len({line.pid for line in one_box.trace()}) >= 2
    assert worker.said("to be started anew: it ran")


def test_a_process_is_replaced_when_it_has_become_too_large(one_box: Place) -> None:
    worker = pool(one_box, "1", "--max-memory", "150MB", threads=1)
    one_box.enqueue("eating", 200_000_000)
    eventually(lambda: worker.said("of memory, more than") and len(started(worker)) == 2)  # the first takes jobs until it ends
    id = one_box.enqueue("note")
    eventually(lambda: one_box.runs()[id] == 1)
    first, second = one_box.trace()
    assert first.pid != second.pid


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_a_burst_ends_when_nothing_is_left_however_its_processes_begin(start: str, place: Place) -> None:
    ids = [place.enqueue("note", number) for number in range(20)]
    worker = place.worker("--processes", "2", "--start", start, "--burst", TEST_GOODBYE="20")
    assert worker.ended() == 0
    assert place.runs() == dict.fromkeys(ids, 1)
    place.left_by_all()


def test_a_burst_goes_on_after_a_crash(place: Place) -> None:
    crash, *ids = place.enqueue("killer"), *(place.enqueue("note", number) for number in range(20))
    worker = place.worker("--processes", "1", "--burst", threads=1)
    assert worker.ended() == 0
    assert set(place.runs()) == {crash, *ids}


# signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_what_runs_is_finished_within_the_grace(one_box: Place, number: signal.Signals) -> None:
    ids = [one_box.enqueue("hold", n) for n in range(2)]
    worker = pool(one_box, "2", threads=1)
    one_box.begun(2)
    one_box.enqueue("note")
    worker.send(number)
    eventually(lambda: len(worker.said("waiting for running jobs")) == 2)
    one_box.open_gate()
    assert worker.ended() == 0
    assert one_box.runs() == dict.fromkeys(ids, 1)
    assert one_box.left() == {"ready": 1}


def test_a_term_to_the_whole_group_is_one_and_a_second_to_the_pool_ends_it_now(one_box: Place) -> None:
    one_box.enqueue("hold")
    worker = pool(one_box, "1", "--grace", "10m", threads=1)
    [process] = started(worker)
    one_box.begun()
    for pid in (worker.pid, process, process):
        os.kill(pid, signal.SIGTERM)
    eventually(lambda: worker.said("waiting for running jobs"))
    eventually(lambda: worker.said("pool: its processes end within 600 s"))  # two that wait for the pool would be one
    assert worker.process.poll() is None
    worker.send(signal.SIGTERM)
    assert worker.ended(60.0) == 0  # a tenth of the grace
    assert worker.said("pool: its processes end now")
    assert one_box.left() == {"ready": 1}


def test_paused_all_take_nothing_also_those_that_begin_meanwhile(one_box: Place) -> None:
    worker = pool(one_box, "1")
    worker.send(signal.SIGTSTP)
    eventually(lambda: len(worker.said("paused: running jobs go on")) == 2)  # the housekeeper too
    os.kill(started(worker)[0], signal.SIGKILL)
    eventually(lambda: len(started(worker)) == 2)
    eventually(lambda: len(worker.said("paused: running jobs go on")) == 3)
    id = one_box.enqueue("note")
    worker.send(signal.SIGCONT)
    eventually(lambda: one_box.runs()[id] == 1)
    eventually(lambda: len(worker.said("resumed")) == 2)


def test_ttin_brings_stacks_and_a_line_of_each_process(one_box: Place) -> None:
    worker = pool(one_box, "2")
    housekeeper(worker)
    worker.send(signal.SIGTTIN)
    # by words, not lines: what several write at the same time may stand in one
    eventually(lambda: "2 process(es) wanted" in worker.log.read_text())
    eventually(lambda: sum(worker.log.read_text().count(words) for words in ("not asked yet", "reachable")) == 3)
    eventually(lambda: worker.log.read_text().count("Current thread") == 4)  # its own, the housekeeper's, the two workers'
    worker.end_pool()
    assert worker.said("pool: has ended")
    assert len(worker.said("works for app_under_test:q: ")) == 1


def test_hup_opens_log_files_anew_in_all_processes(one_box: Place) -> None:
    log = write_log(one_box)
    worker = pool(one_box, "1")
    housekeeper(worker)
    one_box.enqueue("write", "before")
    eventually(lambda: log.exists() and "before" in log.read_text())
    log.rename(log.with_suffix(".1"))
    worker.send(signal.SIGHUP)
    eventually(lambda: len(worker.said("SIGHUP")) == 3)
    one_box.enqueue("write", "after")
    eventually(lambda: log.exists() and "after" in log.read_text())
    worker.end_pool()


# wrong


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--processes", "3:1"), "1 <= MIN <= MAX"),
        (("--processes", "0"), "1 <= MIN <= MAX"),
        (("--processes", "two"), "MIN:MAX such as 2:8"),
        (("--max-jobs", "5"), "need --processes"),
        (("--processes", "1", "--max-memory", "much"), "a size such as 512MiB"),
        (("--processes", "1", "--max-memory", "30MiB"), "before it has run anything; give it more"),
        (("--processes", "1", "--seat", "x"), "what a pool gives"),
    ],
)
def test_sizes_that_are_none_are_refused_at_once(options: tuple[str, ...], says: str, one_box: Place) -> None:
    worker = one_box.worker(*options)
    assert worker.ended() in (2, 78)
    assert says in worker.log.read_text().replace("\n", " ")


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_a_pool_whose_processes_can_never_work_ends_and_says_why(start: str, one_box: Place) -> None:
    one_box.environment["SPOOLQ_URL"] = f"sqlite:///{one_box.folder}/none/jobs.db"
    worker = one_box.worker("--processes", "2", "--start", start)
    assert worker.ended() == 73
    assert worker.said("the pool ends")
    assert worker.said("there is no directory")


def test_a_pool_that_works_outlives_a_deploy_that_does_not(one_box: Place) -> None:
    """A spawned process imports the application again, which is broken for a while."""
    worker = pool(one_box, "1", "--start", "spawn", threads=1)
    id = one_box.enqueue("note")
    eventually(lambda: one_box.runs()[id] == 1)
    housekeeper(worker)  # which imports it as well
    seen(one_box, worker, 1)
    module = one_box.folder / "app_under_test.py"
    good = module.read_text()
    module.write_text("raise RuntimeError('a bad deploy')")
    os.kill(started(worker)[0], signal.SIGKILL)
    eventually(lambda: worker.said("ended with 78; another is started in"))
    module.write_text(good)
    later = one_box.enqueue("note")
    eventually(lambda: one_box.runs()[later] == 1)
