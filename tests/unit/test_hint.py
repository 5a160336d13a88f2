"""The file by which processes of one host tell each other of an outage: what is believed, and what is left alone."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from spoolq.hint import FRESH, Hint, Note
from tests.clock import Clock

NOW = 5000.0
OUTAGE = Note(True, "timeout", 1_700_000_000.0, NOW)


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def hint(tmp_path: Path, clock: Clock) -> Hint:
    return Hint(lambda: ([str(tmp_path)], "outage-0a.json"), monotonic=clock)


def forge(hint: Hint, **facts: object) -> None:
    """As another program might leave it: a note with other facts in it."""
    assert hint.write(OUTAGE)
    path = Path(hint.path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


def test_a_note_is_read_as_it_was_written_by_anybody_who_looks(hint, tmp_path, clock):
    other = Hint(lambda: ([str(tmp_path)], "outage-0a.json"), monotonic=clock)
    assert other.news() is None
    assert hint.write(OUTAGE)
    assert (other.news(), other.news(), other.read()) == (OUTAGE, None, OUTAGE)
    assert hint.write(OUTAGE._replace(open=False))
    assert other.news() == OUTAGE._replace(open=False)


def test_the_file_and_its_directory_are_their_owners_alone(hint):
    hint.write(OUTAGE)
    for path, mode in ((hint.path, 0o600), (os.path.dirname(hint.path), 0o700)):
        assert stat.S_IMODE(os.stat(path).st_mode) == mode
    assert os.listdir(os.path.dirname(hint.path)) == ["outage-0a.json"]


def test_an_outage_that_nobody_confirms_is_forgotten(hint, clock):
    hint.write(OUTAGE)
    clock.now += FRESH
    assert hint.read() == OUTAGE
    clock.now += 0.1
    assert hint.read() is None


def test_a_note_of_the_future_or_of_another_boot_is_none(hint, clock):
    hint.write(OUTAGE)
    clock.now -= 1.0
    assert hint.read() is None
    clock.now = NOW
    forge(hint, boot="another")
    assert hint.read() is None


@pytest.mark.parametrize(
    "facts",
    [
        {"open": "yes"},
        {"reason": 7},
        {"reason": "a\nforged line of the log"},
        {"reason": "a" * 33},
        {"reason": ""},
        {"at": "soon"},
        {"at": float("nan")},
        {"at": None},
        {"since": 1e300},
        {"since": float("nan")},
        {"since": -1},
    ],
    ids=str,
)
def test_facts_that_spoolq_would_not_write_are_not_believed(hint, facts):
    forge(hint, **facts)
    assert hint.read() is None


@pytest.mark.parametrize("content", [b"", b"\x00" * 50, b"{", b"[]", b"{}", b"null", b"[" * 1024, b" " * 5000])
def test_a_file_of_anything_else_is_no_note_and_is_replaced(hint, content):
    hint.write(OUTAGE)
    Path(hint.path).write_bytes(content)
    assert hint.read() is None
    assert hint.news() is None
    assert hint.write(OUTAGE)
    assert hint.read() == OUTAGE


def test_a_link_in_place_of_the_file_is_neither_read_nor_written_through(hint, tmp_path):
    hint.write(OUTAGE)
    treasure = tmp_path / "treasure"
    treasure.write_bytes(Path(hint.path).read_bytes())
    before = treasure.read_bytes()
    os.unlink(hint.path)
    os.symlink(treasure, hint.path)
    assert hint.read() is None
    assert hint.write(OUTAGE._replace(reason="refused"))
    assert treasure.read_bytes() == before
    assert hint.read() == OUTAGE._replace(reason="refused")


def test_a_link_in_place_of_what_is_written_first_is_not_followed(hint, tmp_path):
    hint.write(OUTAGE)
    treasure = tmp_path / "treasure"
    treasure.write_text("gold")
    os.symlink(treasure, f"{hint.path}.{os.getpid()}")
    assert not hint.write(OUTAGE)
    assert treasure.read_text() == "gold"


def test_a_link_in_place_of_the_directory_is_not_followed(hint, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(0o700)
    os.symlink(elsewhere, os.path.dirname(hint.path))
    assert not hint.write(OUTAGE)
    assert hint.read() is None
    assert list(elsewhere.iterdir()) == []


def test_a_directory_in_which_others_may_write_is_not_used(hint):
    hint.write(OUTAGE)
    os.chmod(os.path.dirname(hint.path), 0o777)
    assert hint.read() is None
    assert not hint.write(OUTAGE)


@pytest.mark.root
def test_what_belongs_to_another_user_is_not_believed(hint):
    hint.write(OUTAGE)
    os.chown(hint.path, 12345, 12345)
    assert hint.read() is None
    hint.write(OUTAGE)
    os.chown(os.path.dirname(hint.path), 12345, 12345)
    assert hint.read() is None
    assert not hint.write(OUTAGE)


def test_a_pipe_in_place_of_the_file_keeps_nobody_waiting(hint):
    hint.write(OUTAGE)
    os.unlink(hint.path)
    os.mkfifo(hint.path)
    assert hint.news() is None


def test_the_first_directory_that_can_be_trusted_serves(tmp_path):
    file, open_to_all, ours = tmp_path / "file", tmp_path / "open", tmp_path / "ours"
    file.touch()
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    ours.mkdir(0o700)
    places = ["/nowhere/at/all", "relative", str(file), str(open_to_all), str(ours)]
    assert Hint(lambda: (places, "x")).path == str(ours / f"spoolq-{os.geteuid()}" / "x")
    open_to_all.chmod(0o1777)  # as /tmp is
    assert Hint(lambda: (places, "x")).path.startswith(str(open_to_all))


def test_without_a_place_nothing_is_known_and_nothing_raised(tmp_path):
    hint = Hint(lambda: ([str(tmp_path / "none")], "x"))
    assert (hint.path, hint.news(), hint.read(), hint.write(OUTAGE)) == ("", None, None, False)


def test_a_directory_that_goes_away_takes_the_hint_with_it(hint, tmp_path):
    hint.write(OUTAGE)
    assert hint.news() is not None
    os.unlink(hint.path)
    os.rmdir(os.path.dirname(hint.path))
    os.rmdir(tmp_path)
    assert (hint.news(), hint.read(), hint.write(OUTAGE)) == (None, None, False)


def test_a_process_that_was_killed_half_way_leaves_nothing_that_disturbs(hint):
    hint.write(OUTAGE)
    killed = f"""
import os, signal
from spoolq.hint import Hint, Note
os.replace = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
Hint(lambda: ([{os.path.dirname(os.path.dirname(hint.path))!r}], "outage-0a.json")).write(Note(True, "refused", 1.0, 1.0))
"""
    assert subprocess.run([sys.executable, "-c", killed], timeout=60).returncode == -9
    assert len(os.listdir(os.path.dirname(hint.path))) == 2
    assert hint.read() == OUTAGE
    assert hint.write(OUTAGE._replace(open=False))
    assert hint.read() == OUTAGE._replace(open=False)
