"""Everywhere and synced before the store is told; and a disk that fails or hangs keeps no job from being settled."""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from spoolq.counts import Counts
from spoolq.failurelog import entry
from spoolq.failurelog.files import FailureFiles
from spoolq.failurelog.sink import FailureSink
from tests.unit.failurelog.hands import failure, lines
from tests.waiting import eventually


class Disk:
    """One that fails, or hangs until told."""

    name = "/the/disk"
    backend = "files"

    def __init__(self) -> None:
        self.fault: BaseException | None = None
        self.go = threading.Event()
        self.go.set()
        self.held: list[bytes] = []

    def prepare(self) -> None:
        pass

    def append(self, lines: Sequence[bytes]) -> None:
        assert self.go.wait(60)
        if self.fault is not None:
            raise self.fault
        self.held += lines


def test_it_is_in_every_place_on_return(tmp_path: Path) -> None:
    sink = FailureSink([FailureFiles(tmp_path / name) for name in "ab"], limit=40.0)
    sink.write([failure("a"), failure("b")])
    for name in "ab":
        assert [entry.read(line).failure.id for line in lines(tmp_path / name)] == ["a", "b"]


def test_what_is_written_is_counted_by_kind_of_place_and_outcome(tmp_path: Path) -> None:
    counts, disk = Counts(), Disk()
    disk.fault = OSError(28, "No space left on device")
    sink = FailureSink([FailureFiles(tmp_path / "a"), disk], counts=counts, limit=40.0)
    sink.write([failure(), failure()])
    sink.close()
    name = "spoolq_failure_log_writes_total\tfiles"
    assert counts.totals() == {f"{name}\twritten": 2, f"{name}\tfailed": 2}


def test_the_hook_is_asked_once_for_all_places(tmp_path: Path) -> None:
    asked = []
    sink = FailureSink([FailureFiles(tmp_path / name) for name in "ab"], redact=asked.append, limit=40.0)
    sink.write([failure("a")])
    assert len(asked) == 1
    assert all(b'"redacted"' not in line for line in lines(tmp_path / "a"))


def test_a_system_without_a_thread_to_spare_costs_what_comes_meanwhile_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    sink = FailureSink([FailureFiles(tmp_path)], limit=40.0)
    with monkeypatch.context() as none_left:
        none_left.setattr(threading.Thread, "start", refuse)
        sink.write([failure("a")])
    assert "can't start new thread (1 failure(s) so far" in caplog.text
    sink.write([failure("b")])
    assert [entry.read(line).failure.id for line in lines(tmp_path)] == ["b"]
    sink.close()


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("a mistake"), MemoryError()])
def test_a_place_that_fails_is_told_and_the_other_has_it(
    tmp_path: Path, fault: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    bad = Disk()
    bad.fault = fault
    sink = FailureSink([bad, FailureFiles(tmp_path / "a")], limit=40.0)
    with caplog.at_level(logging.WARNING):
        for n in range(3):
            sink.write([failure(f"j{n}")])
        told = [record.getMessage() for record in caplog.records if "/the/disk" in record.getMessage()]
        assert len(told) == 1
        assert "they are in the store's failure list" in told[0]
        bad.fault = None
        sink.write([failure("last")])
    assert "/the/disk: failures are written there again; 3 failure(s) were not written there" in caplog.text
    assert len(lines(tmp_path / "a")) == 4
    assert len(bad.held) == 1


def test_a_disk_that_hangs_is_waited_for_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bad = Disk()
    bad.go.clear()
    sink = FailureSink([bad, FailureFiles(tmp_path / "a")], limit=2.0)
    with caplog.at_level(logging.WARNING):
        sink.write([failure("a")])
        began = time.monotonic()
        for n in range(50):
            sink.write([failure(f"j{n}")])
        assert time.monotonic() - began < 50, "50 times the limit would be 100 s"
    of_it = [said for said in caplog.messages if said.startswith(bad.name)]  # the good one may have a slow moment of its own
    assert len(of_it) == 1
    assert "the disk has not answered for over 2 s" in of_it[0]
    eventually(lambda: len(lines(tmp_path / "a")) == 51)
    bad.go.set()
    eventually(lambda: len(bad.held) == 51, what="what waited in memory, written")
    sink.write([failure("z")])
    eventually(lambda: len(bad.held) == 52)


def test_what_waits_for_a_disk_that_hangs_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    bad = Disk()
    bad.go.clear()
    sink = FailureSink([bad], limit=0.05)
    sink.write([failure("a")])
    for _ in range(5):
        sink.write([failure("b")] * 300)
    bad.go.set()
    eventually(lambda: len(bad.held) == 901)
    with caplog.at_level(logging.WARNING):
        sink.write([failure("c")])
        eventually(lambda: "600 failure(s) were not written there" in caplog.text)


def test_what_waits_is_bounded_in_bytes_too() -> None:
    bad = Disk()
    bad.go.clear()
    sink = FailureSink([bad], limit=0.05)
    for _ in range(50):
        sink.write([failure("a", args=("x" * (1 << 20),))])
    bad.go.set()
    eventually(lambda: len(bad.held) == 31)
    sink.write([failure("c")])
    eventually(lambda: len(bad.held) == 32)


def test_a_hook_that_hangs_holds_nothing_up(tmp_path: Path) -> None:
    go = threading.Event()
    sink = FailureSink([FailureFiles(tmp_path / "a")], redact=lambda fields: go.wait(60) and None, limit=0.1)
    sink.write([failure("a")])
    assert lines(tmp_path / "a") == []
    go.set()
    eventually(lambda: len(lines(tmp_path / "a")) == 1)


def test_at_the_end_what_is_under_way_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    bad = Disk()
    bad.go.clear()
    sink = FailureSink([bad], limit=0.05)
    sink.write([failure("a")])
    with caplog.at_level(logging.WARNING):
        sink.close(0.05)
    assert "the worker ends before the disk has answered (1 failure(s)" in caplog.text
    bad.go.set()


def test_a_forked_child_writes_too(tmp_path: Path) -> None:
    sink = FailureSink([FailureFiles(tmp_path / "a")], limit=40.0)
    sink.write([failure("parent")])
    child = os.fork()
    if child == 0:
        try:
            sink.write([failure("child")])
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert [entry.read(line).failure.id for line in lines(tmp_path / "a")] == ["parent", "child"]


def test_at_the_end_what_waits_is_uploaded_within_the_time_that_there_is() -> None:
    turns, go = [], threading.Event()

    def quick() -> float:
        turns.append("quick")
        return 0.0 if len(turns) < 3 else 1.0

    def hangs() -> float:
        turns.append("hangs")
        go.wait(60)
        return 1.0

    unwanted = (lambda: False, lambda: turns.append("unwanted") or 1.0)
    FailureSink([], last=[(lambda: True, quick), unwanted]).close(40)
    assert turns == ["quick"] * 3
    began = time.monotonic()
    FailureSink([], last=[(lambda: True, hangs)]).close(0.1)
    assert time.monotonic() - began < 40
    go.set()
