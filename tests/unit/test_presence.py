"""A worker's file: who reads it knows whether the process lives, and what it ran, also after a SIGKILL."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolq.presence import Presence, Seen, names
from spoolq.runtime import Folder
from tests.unit.hands import info


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(lambda: [str(tmp_path)], "workers-0a")


@pytest.fixture
def presence(folder: Folder) -> Iterator[Presence]:
    made = Presence(folder, info("w1", queues=("a", "b")), 3, "pool")
    assert made.appear()
    yield made
    made.abandon()


def test_a_living_worker_is_seen_with_what_it_runs_and_is_not_dead(folder, presence):
    presence.begin(1, "token-1", None)
    presence.begin(2, "token-2", 60.0)
    presence.begin(0, "token-0", None)
    presence.end(0)
    assert names(folder) == ["w1"]
    with Seen(folder, "w1") as seen:
        assert (seen.info.key, seen.info.queues, seen.pool) == ("w1", ("a", "b"), "pool")
        assert [(one.slot, one.token, one.struck) for one in seen.running] == [(1, "token-1", False), (2, "token-2", False)]
        assert [one.kill_at > 0 for one in seen.running] == [False, True]
        assert not seen.is_dead()


def test_how_it_goes_is_told_beside(folder, presence):
    with Seen(folder, "w1") as seen:
        assert (seen.slots, seen.pulse) == (3, (0.0, 0.0, 0, False))
        presence.begin(1, "token-1", None)
        presence.beat(0)
        before = time.monotonic()
        presence.pulse(0.25, 1 << 40, True)
        assert seen.pulse[1:] == (0.25, 1 << 40, True)
        assert before <= seen.pulse.at <= time.monotonic()
        assert [one.token for one in seen.running] == ["token-1"]
        assert seen.kept(0) > 0
        assert seen.kept(1) == 0


def test_one_who_vanished_is_no_longer_there_and_one_who_abandoned_is_dead(folder, presence):
    other = Presence(folder, info("w2"), 1)
    assert other.appear()
    other.begin(0, "t", None)
    other.abandon()
    with Seen(folder, "w2") as seen:
        assert seen.is_dead()
        assert [one.token for one in seen.running] == ["t"]
        with Seen(folder, "w2") as second:
            assert not second.is_dead()  # another settles it
        seen.remove()
    presence.vanish()
    assert names(folder) == []


def test_what_somebody_settled_between_our_look_and_our_lock_is_not_settled_twice(folder, presence):
    presence.begin(0, "t", None)
    with Seen(folder, "w1") as late:
        presence.abandon()
        with Seen(folder, "w1") as first:
            assert first.is_dead()
            first.remove()
        assert not late.is_dead()


def test_when_leases_were_kept_and_who_was_struck_can_be_read(folder, presence):
    presence.begin(0, "t", 1.0)
    with Seen(folder, "w1") as seen:
        assert (seen.kept(0), seen.kept(1)) == (0.0, 0.0)
        presence.beat(1)
        assert seen.kept(0) == 0.0 < seen.kept(1)
        seen.strike(0)
        assert [one.struck for one in seen.running] == [True]
    presence.begin(0, "next", None)
    with Seen(folder, "w1") as seen:
        assert [(one.token, one.struck) for one in seen.running] == [("next", False)]


def test_the_file_is_its_owners_alone(folder, presence):
    path = Path(folder.path) / "w1"
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)


def test_without_a_place_nothing_is_written_and_nothing_fails(tmp_path):
    nowhere = Folder(lambda: [str(tmp_path / "none")], "workers")
    presence = Presence(nowhere, info("w"), 1)
    assert not presence.appear()
    presence.begin(0, "t", None)
    presence.end(0)
    presence.beat(0)
    presence.vanish()
    assert names(nowhere) == []


def test_where_only_a_part_of_it_has_room_there_is_none_and_nothing_is_left_behind(folder, caplog):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    made = Presence(folder, info("large"), 100)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # as on a disk that is nearly full, a part is written
    try:
        assert not made.appear()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "no place for a worker's file" in caplog.text
    assert os.listdir(folder.path) == []


def test_who_only_looks_needs_one_descriptor(folder, presence):
    presence.begin(0, "t", None)
    before = len(os.listdir("/proc/self/fd"))
    with Seen(folder, "w1", lockable=False) as seen:
        assert len(os.listdir("/proc/self/fd")) == before + 1
        seen.strike(0)
        assert seen.running[0].struck


def test_a_forked_child_has_no_file_of_others_open(folder, presence):
    with Seen(folder, "w1"), Seen(folder, "w1"):
        child = os.fork()
        if not child:
            opened = [
                os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")
            ]
            os._exit(sum([path.startswith(folder.path) for path in opened]))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_slots_that_were_not_foreseen_and_tokens_of_any_length_do_no_harm(folder, presence):
    presence.begin(3, "beyond", None)
    presence.end(3)
    presence.begin(0, "x" * 500, None)
    with Seen(folder, "w1") as seen:
        assert [one.token for one in seen.running] == ["x" * 80]


@pytest.mark.parametrize("content", [b"", b"spoolq1\n", b"\0" * 500, b"spoolq1\n" + b"\xff" * 500])
def test_a_file_that_is_none_is_told_apart(content, folder, presence):
    Path(folder.path, "odd").write_bytes(content)
    with pytest.raises((ValueError, OSError)):
        Seen(folder, "odd")


DYING = """
import os, signal, sys
from spoolq.presence import Presence
from spoolq.runtime import Folder
from spoolq.store.base import WorkerInfo
made = Presence(Folder(lambda: [sys.argv[1]], "workers-0a"), WorkerInfo("dying", "host", os.getpid(), ("q",)), 2)
assert made.appear()
made.begin(1, "held", None)
if os.fork() == 0:  # a task's own child outlives it, and isn't taken for it
    os.write(1, b".")
    signal.pause()
os.read(0, 1)
"""


def test_what_was_begun_is_known_after_it_has_ended_the_last_thousands_of_it(folder, presence):
    for number in range(5000):
        presence.begin(0, f"token-{number}", None)
        presence.end(0)
    with Seen(folder, "w1") as seen:
        assert all(seen.began(f"token-{number}") for number in range(1000, 5000))
        assert not seen.began("token-5000")


def test_a_killed_process_is_dead_at_once_also_while_a_child_that_it_forked_lives_on(folder, tmp_path):
    command = [sys.executable, "-c", DYING, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.read(1) == b"."
            with Seen(folder, "dying") as seen:
                assert not seen.is_dead()
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            with Seen(folder, "dying") as seen:
                assert seen.is_dead()
                assert [one.token for one in seen.running] == ["held"]
        finally:
            os.killpg(process.pid, signal.SIGKILL)
