"""Failures beside the store's list: with real workers, a real S3 server over HTTP, and both killed, stopped, slow or refusing.

Nothing is lost, nothing is twice in a bucket, and no worker is slowed: jobs go on to be done.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from spoolq.failurelog import entry
from spoolq.failurelog.assembly import outbox_of
from tests.disks import Disk, mounted
from tests.faults.working import Place, Worker, at
from tests.proxy import Action, Proxy
from tests.s3 import BUCKET, S3
from tests.servers import Binary, Server
from tests.unit.failurelog.hands import lines
from tests.waiting import eventually

URL = f"s3://{BUCKET}/app"

KILLED = """
from spoolq.failurelog import outbox, sink

def dies(name, method):
    def run(self, *args):
        if name == "before-removal":  # the object is in the bucket by now
            while q.primary.failures.count() < 3:  # or the job is rightly run again: a failure of a later attempt
                time.sleep(0.01)
            die(name)
        method(self, *args)
        if name == "before-store":  # the failure is on this disk by now
            die(name)
    return run

def die(name):
    if (here / name).exists():
        (here / name).unlink()
        os.kill(os.getpid(), signal.SIGKILL)

sink.FailureSink.write = dies("before-store", sink.FailureSink.write)
outbox.Outbox.remove = dies("before-removal", outbox.Outbox.remove)
"""


@pytest.fixture
def proxy(s3: S3) -> Iterator[Proxy]:
    """Between the workers and the bucket."""
    with Proxy(s3.port) as between:
        yield between


@pytest.fixture
def box(tmp_path: Path, s3: S3, proxy: Proxy) -> Iterator[Place]:
    """One box without Redis, whose workers write failures to a directory and to a bucket."""
    with at(tmp_path, f"sqlite:///{tmp_path}/jobs.db") as place:
        yield set_up(place, s3, proxy)


@pytest.fixture
def newest(one_binary: Binary) -> Iterator[Server]:
    """A Redis of the test's own, that keeps what it acknowledged: of one kind, since what is tested here lies before any."""
    with Server(one_binary, appendonly=True, appendfsync="always") as running:
        yield running


@pytest.fixture
def redis(tmp_path: Path, newest: Server, s3: S3, proxy: Proxy) -> Iterator[Place]:
    with at(tmp_path, newest.url) as place:
        yield set_up(place, s3, proxy)


def set_up(place: Place, s3: S3, proxy: Proxy) -> Place:
    place.environment |= s3.environment(proxy.port)
    place.environment["SPOOLQ_FAILURE_LOG"] = f"{place.folder}/log,{URL}"
    return place


def failing(place: Place, count: int = 10) -> list[str]:
    """Jobs that fail for good at once."""
    return [place.enqueue("broken", n, retries=0) for n in range(count)]


def doing(place: Place, count: int = 20) -> list[str]:
    """Jobs that are done at once."""
    return [place.enqueue("note", n) for n in range(count)]


def written(place: Place) -> list[entry.Record]:
    """What the files hold."""
    return [entry.read(line) for line in lines(place.folder / "log")]


def uploaded(s3: S3, most: int = 1) -> dict[str, Any]:
    """Failures in the bucket by the job's id, of which no job has more than so many."""
    found = [json.loads(value) for key, value in s3.objects().items() if key.endswith(".json")]
    assert max(Counter(value["payload"]["id"] for value in found).values(), default=0) <= most
    return {value["payload"]["id"]: value for value in found}


def outbox(place: Place) -> list[Path]:
    return sorted(outbox_of(place.q.settings, URL).glob("[0-9]*.jsonl"))


def listed(place: Place) -> Counter[str]:
    return Counter(failure.id for failure in place.store.failures.page(0, 1000))


def everywhere(place: Place, s3: S3, ids: list[str]) -> None:
    """Each failure is in the list, in the files and in the bucket, once; and nothing waits."""
    eventually(lambda: len(uploaded(s3)) == len(ids) and not outbox(place), within=60, what="all in the bucket")
    assert listed(place) == dict.fromkeys(ids, 1)
    assert Counter(record.failure.id for record in written(place)) == dict.fromkeys(ids, 1)
    assert set(uploaded(s3)) == set(ids)


def in_full(place: Place, s3: S3) -> None:
    ids = failing(place)
    worker = place.worker()
    place.done()
    everywhere(place, s3, ids)
    worker.end()
    kept = {failure.id: failure for failure in place.store.failures.page()}
    for record in written(place):
        assert record.failure == kept[record.failure.id]
        assert s3.objects()[f"app/{record.key}"] == record.line
    shown = uploaded(s3)[ids[0]]
    assert shown["payload"]["args"] == [0]
    assert any("raise ValueError" in line for line in shown["backtrace"])


def test_each_failure_is_in_the_list_the_files_and_the_bucket(box: Place, s3: S3) -> None:
    in_full(box, s3)


def test_with_redis_too(redis: Place, s3: S3) -> None:
    in_full(redis, s3)


def test_a_pool_writes_each_once(box: Place, s3: S3) -> None:
    ids = failing(box, 30)
    pool = box.worker("--processes", "2:2")
    box.done()
    everywhere(box, s3, ids)
    pool.end_pool()


def test_a_burst_uploads_before_it_ends(box: Place, s3: S3) -> None:
    """What can be at once: a worker that ends waits a second for its uploads, and the next one may find some that a busy machine
    didn't come to. It has its own to upload as well, so one that never did it at its end would leave some each time."""
    ids: list[str] = []

    def uploads() -> bool:
        ids.extend(failing(box, 3))
        assert box.worker("--burst").ended() == 0
        return outbox(box) == []

    eventually(uploads, what="a burst that leaves nothing to upload")
    assert set(uploaded(s3)) == set(ids)


def test_while_the_bucket_is_away_jobs_go_on_and_the_next_worker_uploads(box: Place, s3: S3) -> None:
    s3.stop()
    failed, done = failing(box), doing(box)
    first = box.worker()
    box.done()
    assert set(box.runs()) == {*failed, *done}
    assert listed(box) == dict.fromkeys(failed, 1)
    eventually(lambda: first.said("can't be reached"))
    eventually(lambda: first.said("is tried again"))
    assert len(first.said("can't be reached")) == 1
    first.kill()
    assert outbox(box)
    s3.start()
    second = box.worker()
    everywhere(box, s3, failed)
    second.end()
    assert not second.said("can't be reached")


def test_a_bucket_that_comes_back_gets_all_from_the_same_worker(box: Place, s3: S3) -> None:
    s3.stop()
    worker = box.worker()
    eventually(lambda: worker.said("can't be reached"))
    failed = failing(box, 5)
    box.done()
    s3.start()
    everywhere(box, s3, failed)
    worker.end()
    assert worker.said("failures are written there again")


def test_a_bucket_that_never_answers_slows_nothing(box: Place, s3: S3, proxy: Proxy) -> None:
    swallowed = proxy.rule(b"PUT ", "swallow", times=1)
    worker = box.worker()
    swallowed.wait()
    failed, done = failing(box), doing(box)
    box.done()
    assert set(box.runs()) == {*failed, *done}
    assert outbox(box), "the upload hangs"
    worker.send(signal.SIGTERM)
    assert worker.ended() == 0
    proxy.heal()
    box.worker()
    everywhere(box, s3, failed)


@pytest.mark.parametrize(("how", "delay"), [("late", 1.0), ("dribble", 0.005)])
def test_a_slow_bucket_slows_no_job_and_gets_all_once(how: Action, delay: float, box: Place, s3: S3, proxy: Proxy) -> None:
    """Each answer takes a second or so; the jobs don't wait for one."""
    slow = proxy.rule(b"PUT ", how, times=-1, delay=delay)
    worker = box.worker()
    failed, done = failing(box, 6), doing(box)
    box.done()
    assert set(box.runs()) == {*failed, *done}
    slow.wait(4)
    everywhere(box, s3, failed)
    worker.end()
    assert not worker.said("can't be reached")


def test_a_bucket_that_refuses_says_so_once_and_gets_all_in_the_end(box: Place, s3: S3, proxy: Proxy) -> None:
    refused = proxy.rule(b"PUT ", "forbidden", times=-1)
    worker = box.worker()
    eventually(lambda: worker.said("and at what they may do"), what="it is said when the worker starts")
    failed = failing(box)
    box.done()
    refused.wait(2)
    [told] = worker.said("and at what they may do")  # and not again for minutes
    assert "AWS_ACCESS_KEY_ID" in told
    assert "hunter2" not in worker.log.read_text()
    assert uploaded(s3) == {}
    proxy.heal()
    everywhere(box, s3, failed)


def test_a_lost_answer_uploads_nothing_twice(box: Place, s3: S3, proxy: Proxy) -> None:
    lost = proxy.rule(b"/app/2", "cut_reply", times=1)
    failed = failing(box, 4)
    box.worker()
    lost.wait()
    everywhere(box, s3, failed)


def killed(place: Place, point: str) -> Worker:
    """A worker that is killed at that point, once."""
    with (place.folder / "app_under_test.py").open("a") as app:
        app.write(KILLED)
    (place.folder / point).touch()
    worker = place.worker(threads=1)
    assert worker.ended() == -signal.SIGKILL
    assert not (place.folder / point).exists()
    return worker


def between_disk_and_store(place: Place, s3: S3) -> None:
    failed = failing(place, 3)
    killed(place, "before-store")
    assert place.store.failures.count() == 0
    assert written(place), "on this disk before the store is told"
    worker = place.worker()
    eventually(lambda: len(listed(place)) == 3 and not outbox(place))
    assert listed(place) == dict.fromkeys(failed, 1)
    # the one that was on its way may have been run once more by then, a later attempt
    assert set(uploaded(s3, most=2)) == {record.failure.id for record in written(place)} == set(failed)
    assert len(s3.objects()) <= 5
    worker.end()


def test_a_worker_killed_between_its_disk_and_the_store_loses_none(box: Place, s3: S3) -> None:
    between_disk_and_store(box, s3)


def test_a_worker_killed_between_its_disk_and_redis_loses_none(redis: Place, s3: S3) -> None:
    between_disk_and_store(redis, s3)


def test_a_worker_killed_between_the_upload_and_the_removal_uploads_none_twice(box: Place, s3: S3) -> None:
    failed = failing(box, 3)
    killed(box, "before-removal")
    assert outbox(box)
    assert uploaded(s3)
    box.worker()
    eventually(lambda: len(listed(box)) == 3)
    eventually(lambda: len(uploaded(s3)) == 3 and not outbox(box))
    assert set(uploaded(s3)) == set(failed)


def test_what_failed_in_an_outage_is_written_by_whoever_tells_redis(tmp_path: Path, newest: Server) -> None:
    """Its worker wrote it to the journal, and is gone, with its files."""
    with at(tmp_path, newest.url) as place:
        place.environment["SPOOLQ_FAILURE_LOG"] = str(tmp_path / "log")
        id = place.enqueue("doomed")
        first = place.worker()
        place.begun(1)
        newest.kill()
        place.open_gate()
        eventually(lambda: place.q.spool is not None and place.q.spool.info().settlements)
        first.kill()
        for path in (tmp_path / "log").glob("*.jsonl"):
            path.unlink()
        newest.start()
        worker = place.worker()
        eventually(lambda: listed(place))
        assert [record.failure.id for record in written(place)] == [id]
        assert place.runs() == {id: 1}
        worker.end()


@pytest.mark.parametrize("options", [(), ("--processes", "1:1")])
def test_a_directory_that_cant_be_used_ends_the_worker_at_its_start(box: Place, options: tuple[str, ...]) -> None:
    box.environment["SPOOLQ_FAILURE_LOG"] = "/no/such/place/log"
    worker = box.worker(*options)
    assert worker.ended() == 78
    assert worker.said("failure_log: there is no directory /no/such/place; make it, for the user of the worker")


# disks


@contextmanager
def frozen(disk: Disk, longest: float = 60.0) -> Iterator[None]:
    """Nothing can be written there meanwhile. Thawed by another process should this one hang: nobody could unmount it."""
    thaws = subprocess.Popen(["sh", "-c", f"sleep {longest}; fsfreeze -u {disk.path}"], start_new_session=True)
    subprocess.run(["fsfreeze", "-f", str(disk.path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["fsfreeze", "-u", str(disk.path)], check=False, stderr=subprocess.DEVNULL)
        os.killpg(thaws.pid, signal.SIGKILL)
        thaws.wait()


@pytest.mark.root
def test_a_full_disk_keeps_no_job_from_being_settled(tmp_path: Path) -> None:
    with mounted("ext4-4096", tmp_path) as disk, at(tmp_path, f"sqlite:///{tmp_path}/jobs.db") as place:
        place.environment["SPOOLQ_FAILURE_LOG"] = str(disk.path / "log")
        worker = place.worker().ready()
        disk.fill()
        full = failing(place)
        place.done()
        assert listed(place) == dict.fromkeys(full, 1)
        told = worker.said("failures can't be written there: No space left on device")
        assert len(told) == 1
        assert "in the store's failure list" in told[0]
        disk.clear()
        after = failing(place)
        place.done()
        worker.end()
        assert worker.said("failures are written there again; ")
        ids = [json.loads(line)["payload"]["id"] for line in lines(disk.path / "log")]
        assert set(after) <= set(ids) <= {*full, *after}
        assert listed(place) == dict.fromkeys([*full, *after], 1)


@pytest.mark.root
def test_a_disk_that_hangs_keeps_no_job_from_being_settled(tmp_path: Path) -> None:
    with mounted("ext4-4096", tmp_path) as disk, at(tmp_path, f"sqlite:///{tmp_path}/jobs.db") as place:
        place.environment |= {"SPOOLQ_FAILURE_LOG": str(disk.path / "log"), "SPOOLQ_DISK_LIMIT": "1s"}
        worker = place.worker().ready()
        with frozen(disk):
            ids = failing(place)
            place.done()
            assert listed(place) == dict.fromkeys(ids, 1)
            told = worker.said("failures are settled without it")  # of the queue's own disk it may say more
            assert ["the disk has not answered for over 1 s" in line for line in told] == [True]
        eventually(lambda: len(lines(disk.path / "log")) == len(ids), what="what waited in memory, on the disk")
        worker.end()
