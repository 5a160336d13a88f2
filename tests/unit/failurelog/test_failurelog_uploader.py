"""Out of the outbox and into the bucket: everything in the end, nothing twice, and what is wrong is told and not repeated."""

from __future__ import annotations

import logging
import random
import threading
from pathlib import Path

import pytest

from spoolq.failurelog import disk, entry
from spoolq.failurelog.bucket import PROBE, BucketError
from spoolq.failurelog.outbox import Outbox
from spoolq.failurelog.telling import SILENT, Telling
from spoolq.failurelog.uploader import Uploader
from tests.clock import Clock
from tests.unit.failurelog.hands import THEN, FakeBucket, failure

AWAY = BucketError("s3://bucket can't be reached: nobody listens", "unreachable")


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    made = Outbox(tmp_path / "spool.db-failures" / "12345678", "s3://bucket", max_bytes=1 << 20)
    made.prepare()
    return made


def uploader(outbox: Outbox, bucket: FakeBucket, clock: Clock | None = None) -> Uploader:
    return Uploader(outbox, bucket, telling=Telling("s3://bucket", clock or Clock()), rng=random.Random(1))


def write(outbox: Outbox, *ids: str) -> None:
    outbox.append([entry.written(failure(id)) for id in ids])


def keys(*ids: str) -> set[str]:
    return {f"2026/11/26/{id}.0.4.090000.json" for id in ids}


def test_each_failure_becomes_an_object_and_leaves_the_outbox(outbox: Outbox) -> None:
    write(outbox, "a", "b")
    write(outbox, "c")
    bucket = FakeBucket()
    assert uploader(outbox, bucket).turn() > 0
    assert set(bucket.held) == keys("a", "b", "c")
    assert bucket.held["2026/11/26/a.0.4.090000.json"] == entry.written(failure("a"))
    assert outbox.waiting() == []


def test_an_idle_one_finds_out_once_whether_it_could_write(outbox: Outbox) -> None:
    bucket = FakeBucket()
    one = uploader(outbox, bucket)
    for _ in range(3):
        one.turn()
    assert bucket.puts == [PROBE]


def test_what_was_uploaded_and_not_struck_out_is_uploaded_again_to_no_effect(outbox: Outbox) -> None:
    write(outbox, "a")
    bucket = FakeBucket()

    class Killed(BaseException):
        pass

    def die(point: str) -> None:
        raise Killed

    with pytest.raises(Killed):
        Uploader(outbox, bucket, hook=die).turn()
    assert len(outbox.waiting()) == 1
    uploader(outbox, bucket).turn()
    assert set(bucket.held) == keys("a")
    assert outbox.waiting() == []


def test_while_the_bucket_is_away_all_waits_and_it_is_told_rarely(outbox: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    clock, bucket = Clock(), FakeBucket()
    bucket.fault = AWAY
    one = uploader(outbox, bucket, clock)
    write(outbox, "a")
    with caplog.at_level(logging.WARNING):
        pauses = [one.turn() for _ in range(12)]
        assert caplog.text.count("can't be reached") == 1
        assert "1 file(s) of failures wait on this disk, nothing is lost" in caplog.text
        clock.now += SILENT
        one.turn()
        assert caplog.text.count("can't be reached") == 2
        bucket.fault = BucketError("s3://bucket refuses", "forbidden")
        one.turn()
        assert caplog.text.count("refuses") == 1, "another reason is told at once"
        bucket.fault = None
        one.turn()
    assert "failures are written there again" in caplog.text
    assert pauses[0] <= 1
    assert 25 <= pauses[-1] <= 60
    assert set(bucket.held) == keys("a")


def test_one_that_the_bucket_never_takes_holds_up_no_other(outbox: Outbox) -> None:
    bucket = FakeBucket()
    bucket.refuses = keys("a")
    for id in "abc":
        write(outbox, id)
    one = uploader(outbox, bucket)
    one.turn()
    assert set(bucket.held) == keys("b", "c")
    assert len(outbox.waiting()) == 1
    write(outbox, "d")
    one.turn()
    assert bucket.puts[-2:] == [*keys("d"), *keys("a")], "behind the others"
    bucket.refuses = set()
    one.turn()
    assert set(bucket.held) == keys("a", "b", "c", "d")


def test_a_worker_starts_while_another_uploads(outbox: Outbox) -> None:
    with disk.locked(outbox.folder):
        starting = threading.Thread(target=outbox.prepare, daemon=True)
        starting.start()
        starting.join(40)
        assert not starting.is_alive()


def test_one_process_at_a_time_uploads(outbox: Outbox) -> None:
    write(outbox, "a")
    bucket = FakeBucket()
    with disk.locked(outbox.folder):
        assert uploader(outbox, bucket).turn() > 0
        assert bucket.puts == []
    uploader(outbox, bucket).turn()
    assert set(bucket.held) == keys("a")


def test_many_are_taken_by_batches(outbox: Outbox) -> None:
    for n in range(210):
        write(outbox, f"j{n}")
    bucket = FakeBucket()
    one = uploader(outbox, bucket)
    assert one.turn() == 0
    assert one.turn() > 0
    assert len(bucket.held) == 210


def test_large_ones_are_taken_by_smaller_batches(outbox: Outbox) -> None:
    large = Outbox(outbox.folder, outbox.url, max_bytes=1 << 30)
    for n in range(3):
        large.append([entry.written(failure(f"j{n}", args=("x" * (3 << 20),)))])
    bucket = FakeBucket()
    one = uploader(large, bucket)
    assert one.turn() == 0
    assert len(bucket.held) == 2
    assert one.turn() > 0
    assert len(bucket.held) == 3


def test_a_full_outbox_takes_no_more_and_says_so(tmp_path: Path) -> None:
    clock = Clock()
    size = len(entry.written(failure("a"))) + 1
    outbox = Outbox(tmp_path / "x" / "y", "s3://bucket", max_bytes=2 * size, clock=clock)
    outbox.prepare()
    write(outbox, "a")
    write(outbox, "b")
    with pytest.raises(OSError, match="failure_log_outbox"):
        write(outbox, "c")
    uploader(outbox, FakeBucket()).turn()
    write(outbox, "c")
    assert len(outbox.waiting()) == 1


def test_others_failures_count_too(tmp_path: Path) -> None:
    clock = Clock()
    size = len(entry.written(failure("a"))) + 1
    mine, theirs = (Outbox(tmp_path / "y", "s3://bucket", max_bytes=2 * size, clock=clock) for _ in range(2))
    write(mine, "a")
    write(theirs, "b")
    clock.now += 10
    with pytest.raises(OSError, match="failure_log_outbox"):
        write(mine, "c")


def test_the_disk_is_left_to_the_spool(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "y", "s3://bucket", max_bytes=1 << 20, min_free=1 << 60)
    with pytest.raises(OSError, match="spool_min_free"):
        write(outbox, "a")
    assert outbox.waiting() == []


def test_a_job_that_another_tool_put_back_as_it_was_and_that_fails_again_is_another_object(outbox: Outbox) -> None:
    for at in (THEN, THEN + 60):
        outbox.append([entry.written(failure("a", at=at))])
    bucket = FakeBucket()
    uploader(outbox, bucket).turn()
    assert len(bucket.held.keys() - {PROBE}) == 2
