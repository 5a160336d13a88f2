"""What a pool and its housekeeper tell each other, in files that anybody of the user may read at any moment."""

from __future__ import annotations

import json
import math
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from spoolq.autoscale import board as boards
from spoolq.autoscale.board import FORGOTTEN, Board, State, decoded
from spoolq.autoscale.sample import Bounds, Sight
from spoolq.autoscale.words import Word, parse
from spoolq.runtime import Folder

STATE = State(
    key="k1",
    host="web1",
    name="bulk",
    pid=os.getpid(),
    queues=("mail", "work"),
    threads=4,
    policy="load",
    at=100.0,
    started_at=1_700_000_000.0,
    changed_at=1_700_000_001.0,
    wanted=3,
    ready=2,
    leaving=1,
    least=1,
    most=4,
    said="1:4",
    why="40 jobs wait",
    cause="backlog",
)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(lambda: [str(tmp_path)], "pools-0a")


def test_what_is_shown_is_seen_and_by_which_name_an_operator_means_it(folder: Folder) -> None:
    board = Board(folder, "k1")
    assert board.shown() is None
    board.show(STATE)
    assert board.shown() == STATE
    assert STATE.address == "web1/bulk"
    assert boards.states(folder, 101.0) == [STATE]


def test_what_the_housekeeper_tells_is_read_and_is_no_pool(folder: Folder) -> None:
    board, sight = Board(folder, "k1"), Sight(5.0, "slow", 7, None, 0.2, 3)
    assert board.told() == (None, None)
    board.tell(sight, Word(parse("2:8"), 9.0))
    assert board.told() == (sight, Word(Bounds(2, 8, "an operator"), 9.0))
    board.tell(sight, Word(None, 10.0))
    assert board.told() == (sight, Word(None, 10.0))
    board.tell(sight, None)
    assert board.told() == (sight, None)
    assert boards.states(folder, 5.0) == []


def test_a_pool_that_wrote_nothing_for_a_minute_is_gone_and_tidied_up(folder: Folder) -> None:
    for key, at in [("old", 10.0), ("young", 100.0), ("of-the-boot-before", 9999.0)]:
        Board(folder, key).show(replace(STATE, key=key, at=at))
        Board(folder, key).tell(Sight(at, "well"), None)
    now = 10.0 + FORGOTTEN + 1
    assert [state.key for state in boards.states(folder, now + 40.0)] == ["young"]
    boards.tidy(folder, now + 40.0)
    with folder.opened() as opened:
        assert sorted(os.listdir(opened)) == ["young", "young.seen"]


def test_a_pool_that_is_quiet_is_one_while_its_process_is_there(folder: Folder) -> None:
    Board(folder, "frozen").show(replace(STATE, key="frozen"))
    Board(folder, "killed").show(replace(STATE, key="killed", pid=(1 << 22) + 1))  # no process has such a number
    assert [state.key for state in sorted(boards.states(folder, 101.0), key=lambda state: state.key)] == ["frozen", "killed"]
    assert [state.key for state in boards.states(folder, 105.0)] == ["frozen"]


def test_at_its_end_nothing_is_left(folder: Folder) -> None:
    board = Board(folder, "k1")
    board.remove()
    board.show(STATE)
    board.tell(Sight(1.0, "well"), None)
    board.remove()
    with folder.opened() as opened:
        assert os.listdir(opened) == []


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"key": 1}',
        b"\xff\x00",
        b"[[1,2],3]",
        b'[["a"],["0",1]]',
        b'[["a","well",1,2,3],null]',
        b'[[1,"well",1,2,3],[5,6]]',
        b'{"key":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_what_cant_be_read_is_nothing(folder: Folder, text: bytes) -> None:
    assert decoded(text) is None
    Board(folder, "k1").show(STATE)
    with folder.opened() as opened:
        for name in ("k1", "k1.seen"):
            file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600, dir_fd=opened)
            os.write(file, text)
            os.close(file)
    assert Board(folder, "k1").shown() is None
    assert Board(folder, "k1").told() == (None, None)
    assert boards.states(folder, 100.0) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"at": "now"},
        {"wanted": None},
        {"wanted": True},
        {"queues": [1]},
        {"why": 5},
        {"pid": 1.5},
        {"at": math.nan},
        {"changed_at": math.inf},
    ],
)
def test_another_versions_words_are_nothing(wrong: dict[str, object]) -> None:
    assert decoded(json.dumps({**json.loads(STATE.encoded()), **wrong}).encode()) is None


def test_who_reads_while_it_is_written_gets_one_or_the_other(folder: Folder) -> None:
    board, over = Board(folder, "k1"), threading.Event()
    board.show(STATE)

    def write() -> None:
        for number in range(2000):
            board.show(replace(STATE, why="x" * (number % 500)))
        over.set()

    thread = threading.Thread(target=write)
    thread.start()
    while not over.is_set():
        assert board.shown() is not None
    thread.join()


def test_without_a_place_it_says_so_and_reads_nothing(tmp_path: Path) -> None:
    nowhere = Folder(lambda: [str(tmp_path / "none")], "pools-0a")
    with pytest.raises(FileNotFoundError):
        Board(nowhere, "k1").show(STATE)
    assert Board(nowhere, "k1").shown() is None
    assert boards.states(nowhere, 1.0) == []
    boards.tidy(nowhere, 1.0)
    Board(nowhere, "k1").remove()
