"""Rotating files: whole lines whoever writes, a new file by day and size, and what goes is told."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spoolq.errors import ConfigError
from spoolq.failurelog.files import FailureFiles
from tests.clock import Clock
from tests.unit.failurelog.hands import THEN, lines


@pytest.fixture
def clock() -> Clock:
    return Clock(THEN)


def files(folder: Path, clock: Clock, **more: int) -> FailureFiles:
    return FailureFiles(folder / "log", clock=clock, **more)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "log").glob("*.jsonl"))


def test_each_is_a_line_for_its_owner_alone(tmp_path: Path, clock: Clock) -> None:
    one = files(tmp_path, clock)
    one.append([b'{"a":1}', b'{"b":2}'])
    one.append([b'{"c":3}'])
    assert names(tmp_path) == ["failures-20261126-0001.jsonl"]
    assert lines(tmp_path / "log") == [b'{"a":1}', b'{"b":2}', b'{"c":3}']
    path = tmp_path / "log" / "failures-20261126-0001.jsonl"
    assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o700


def test_a_new_day_and_a_full_file_begin_a_new_one(tmp_path: Path, clock: Clock) -> None:
    one = files(tmp_path, clock, max_bytes=25)
    for _ in range(3):
        one.append([b"0123456789"])
    clock.now += 86_400
    one.append([b"x" * 100])
    one.append([b"y"])
    assert names(tmp_path) == [
        "failures-20261126-0001.jsonl",
        "failures-20261126-0002.jsonl",
        "failures-20261127-0001.jsonl",
        "failures-20261127-0002.jsonl",
    ]
    assert len(lines(tmp_path / "log")) == 5


def test_after_a_line_that_was_cut_the_next_is_whole(tmp_path: Path, clock: Clock) -> None:
    one = files(tmp_path, clock)
    one.append([b"first"])
    with (tmp_path / "log" / names(tmp_path)[0]).open("ab") as file:
        file.write(b"cut in the mid")
    one.append([b"second"])
    assert lines(tmp_path / "log") == [b"first", b"cut in the mid", b"second"]


def test_what_could_not_be_written_whole_leaves_nothing(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    one = files(tmp_path, clock)
    one.append([b"first"])
    real = os.write

    def short(fd: int, data: bytes) -> int:
        if len(data) > 3:
            return real(fd, bytes(data)[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", short)
    with pytest.raises(OSError, match="No space"):
        one.append([b"second"])
    monkeypatch.undo()
    one.append([b"third"])
    assert lines(tmp_path / "log") == [b"first", b"third"]


def test_the_disk_is_left_to_the_spool(tmp_path: Path, clock: Clock) -> None:
    with pytest.raises(OSError, match="less free than spool_min_free"):
        files(tmp_path, clock, min_free=1 << 60).append([b"x"])
    assert names(tmp_path) == []


def test_the_oldest_go_by_count_and_that_is_told(tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    one = files(tmp_path, clock, max_bytes=10, keep=2)
    with caplog.at_level(logging.WARNING):
        for n in range(4):
            one.append([b"%08d" % n, b"x"])
    assert lines(tmp_path / "log") == [b"00000002", b"x", b"00000003", b"x"]
    assert caplog.text.count("1 file(s) with 2 failure(s) were deleted") == 2


def test_the_oldest_go_by_age(tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    one = files(tmp_path, clock, max_age=86_400)
    one.append([b"old"])
    os.utime(tmp_path / "log" / names(tmp_path)[0], (THEN - 90_000, THEN - 90_000))
    (tmp_path / "log" / "mine.txt").write_text("not ours")
    with caplog.at_level(logging.WARNING):
        assert one.turn() > 60
    assert names(tmp_path) == []
    assert "not written for 1d (failure_log_max_age)" in caplog.text
    assert (tmp_path / "log" / "mine.txt").exists()


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path: Path, clock: Clock) -> None:
    one = files(tmp_path, clock)
    one.append([b"first"])
    (tmp_path / "log" / names(tmp_path)[0]).rename(tmp_path / "moved")
    one.append([b"second"])
    assert lines(tmp_path / "log") == [b"second"]


def test_a_directory_that_cant_be_used_is_named(tmp_path: Path, clock: Clock) -> None:
    with pytest.raises(ConfigError, match="there is no directory"):
        FailureFiles(tmp_path / "no" / "log").prepare()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is no directory"):
        FailureFiles(tmp_path / "file").prepare()
    with pytest.raises(ConfigError, match="can't be written"):
        FailureFiles(Path("/sys/log")).prepare()
    files(tmp_path, clock).prepare()
    assert (tmp_path / "log").is_dir()


MANY = """
import sys
from pathlib import Path
from spoolq.failurelog.files import FailureFiles
files = FailureFiles(Path(sys.argv[1]), max_bytes=4000)
for n in range(100):
    files.append([b"%s-%03d-" % (sys.argv[2].encode(), n) + b"x" * 50] * 3)
"""


def test_several_processes_write_whole_lines_across_rotations(tmp_path: Path) -> None:
    running = [subprocess.Popen([sys.executable, "-c", MANY, str(tmp_path / "log"), name]) for name in "abc"]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    found = lines(tmp_path / "log")
    assert len(found) == 900
    assert {line[:5] for line in found} == {b"%s-%03d" % (name.encode(), n) for name in "abc" for n in range(100)}
    assert {len(line) for line in found} == {56}
    assert len(names(tmp_path)) > 10
