"""What a pool's own process makes of what it sees: samples for the policy, and what it shows of itself."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spoolq.autoscale.board import Board
from spoolq.autoscale.sample import Bounds, Decision, Host, Policy, Sample, Sight
from spoolq.autoscale.sizer import About, Member, Sizer
from spoolq.autoscale.words import Word, parse
from spoolq.presence import Presence, Seen
from spoolq.runtime import Folder
from tests.unit.hands import Steps, info


class Keeps(Policy):
    """Stays as it is, within the bounds, and keeps what it was asked about."""

    name = "keeps"

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    def decide(self, sample: Sample, bounds: Bounds) -> Decision:
        self.samples.append(sample)
        return Decision(min(max(sample.size, bounds.least), bounds.most), "kept", "enough")


class NoProbe:
    def look(self, now: float) -> Host:
        return Host(cpu=0.5)


class Workers:
    """Processes' files, without the processes."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.made: list[tuple[Presence, Seen]] = []

    def add(self, key: str, threads: int = 2, coroutines: int = 0) -> Presence:
        presence = Presence(self.folder, info(key, threads=threads), threads + coroutines, "pool")
        assert presence.appear()
        self.made.append((presence, Seen(self.folder, key, lockable=False)))
        return presence

    def members(self, leaving: tuple[str, ...] = ()) -> list[Member]:
        return [Member(os.getpid(), seen.info.key, seen, seen.info.key in leaving) for _, seen in self.made]


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    made = Workers(Folder(lambda: [str(tmp_path)], "workers-0a"))
    yield made
    for presence, seen in made.made:
        seen.close()
        presence.vanish()


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(Folder(lambda: [str(tmp_path)], "pools-0a"), "k1")


def sizer(policy: Policy, least: int = 1, most: int = 4, threads: int = 2, board: Board | None = None) -> Sizer:
    probe: Any = NoProbe()
    about = About("k1", "web1", "bulk", 42, ("mail",))
    return Sizer(policy, Bounds(least, most), threads, board=board, about=about, probe=probe)


def sampled(workers: Workers, leaving: tuple[str, ...] = ()) -> Sample:
    policy = Keeps()
    sizer(policy).turn(time.monotonic(), 2, workers.members(leaving))
    return policy.samples[-1]


def test_busy_is_the_share_of_the_threads_that_run_and_those_who_leave_are_not_counted(workers: Workers) -> None:
    first, second, third = (workers.add(key) for key in ("a", "b", "c"))
    first.begin(0, "t0", None)
    first.begin(1, "t1", None)
    third.begin(0, "t2", None)
    sample = sampled(workers, leaving=("c",))
    assert (sample.ready, sample.leaving, sample.working, sample.busy) == (2, 1, 1, 0.5)
    second.begin(0, "t3", None)
    assert sampled(workers, leaving=("c",)).busy == 0.75
    assert sample.each is not None


def test_one_that_has_not_begun_to_work_is_not_ready(workers: Workers) -> None:
    policy = Keeps()
    workers.add("a")
    sizer(policy).turn(1.0, 2, [*workers.members(), Member(os.getpid(), "b", None, leaving=False)])
    assert policy.samples[-1].ready == 1


def test_coroutines_fill_their_own_room_and_not_that_of_the_threads(workers: Workers) -> None:
    presence = workers.add("a", threads=2, coroutines=10)
    for slot in range(2, 7):
        presence.begin(slot, f"t{slot}", None)
    assert sampled(workers).busy == 0.5


def test_a_loop_that_comes_late_has_no_room(workers: Workers) -> None:
    presence = workers.add("a", threads=2, coroutines=10)
    presence.begin(2, "t", None)
    presence.pulse(0.05, 0, False)
    assert sampled(workers).busy == 0.1
    presence.pulse(0.3, 0, False)
    assert (sampled(workers).busy, sampled(workers).lag) == (1.0, 0.3)


def test_one_that_gets_all_it_asks_for_is_busy_though_its_jobs_are_too_short_to_be_seen(workers: Workers) -> None:
    workers.add("a").pulse(0.0, 1000, True)
    assert sampled(workers).busy == 1.0


def test_who_has_not_said_a_word_for_long_is_late_by_that(workers: Workers) -> None:
    worker, policy = workers.add("a"), Keeps()
    began = time.monotonic()
    worker.pulse(0.001, 0, False)
    said = time.monotonic()
    sizer(policy).turn(said + 5.0, 1, workers.members())
    lag = policy.samples[-1].lag
    assert lag is not None
    assert 4.999 < lag < 5.001 + said - began


def test_jobs_that_ended_are_counted_over_all_those_that_are_gone_included(workers: Workers) -> None:
    first, second = workers.add("a"), workers.add("b")
    policy = Keeps()
    made = sizer(policy)
    first.pulse(0.0, 10, False)
    second.pulse(0.0, 5, False)
    made.turn(1.0, 2, workers.members())
    made.turn(2.0, 1, workers.members()[1:])
    second.pulse(0.0, 8, False)
    made.turn(3.0, 1, workers.members()[1:])
    assert [sample.ran for sample in policy.samples] == [15, 15, 18]


def test_each_change_is_one_line_in_the_log_with_its_reason(board: Board, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    made = sizer(Steps(3, 2), board=board)
    assert [made.turn(float(at), size, []) for at, size in ((1, 1), (2, 3), (3, 2))] == [3, 2, 2]
    assert caplog.messages == ["pool: from 1 to 3 process(es): as told", "pool: from 3 to 2 process(es): as told"]


def test_what_the_housekeeper_tells_reaches_the_policy_and_an_operators_word_takes_the_place_of_the_bounds(
    board: Board, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    policy = Keeps()
    made = sizer(policy, board=board)
    assert made.turn(1.0, 1, []) == 1
    assert policy.samples[-1].sight is None
    sight = Sight(1.5, "well", 7, 2.0, 0.001)
    board.tell(sight, Word(parse("3"), 100.0))
    assert made.turn(2.5, 1, []) == 3
    assert policy.samples[-1].sight == sight
    assert "pool: an operator says 3: 3 process(es), so far 1:4" in caplog.messages
    board.tell(sight, Word(parse("1"), 50.0))  # an older one, from a store that was put back
    assert made.turn(4.0, 3, []) == 3
    board.tell(sight, Word(None, 200.0))
    made.turn(6.0, 3, [])
    assert made.bounds == Bounds(1, 4)


def test_what_it_is_stands_on_the_board_until_its_end(board: Board) -> None:
    made = sizer(Steps(2), board=board)
    made.turn(1.0, 1, [], "paused")
    state = board.shown()
    assert state is not None
    assert (state.address, state.wanted, state.least, state.most, state.why, state.policy) == (
        "web1/bulk",
        2,
        1,
        4,
        "as told",
        "steps",
    )
    assert (state.state, state.pid, state.queues) == ("paused", 42, ("mail",))
    assert made.says == "1:4 by --processes, steps: as told"
    made.end()
    assert board.shown() is None


def test_where_it_cant_be_shown_that_is_told_once_and_the_size_follows_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = Board(Folder(lambda: [str(tmp_path / "none")], "pools-0a"), "k1")
    made = sizer(Steps(2, 3), board=nowhere)
    assert [made.turn(float(at), at, []) for at in (1, 2)] == [2, 3]
    assert len([text for text in caplog.messages if "others can't be told of this pool (web1/bulk)" in text]) == 1
