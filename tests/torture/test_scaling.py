"""The simulated hosts: bounds that the policy must keep whatever the seed, and what the figures of the others show."""

from __future__ import annotations

import pytest

from tests.torture import scaling
from tests.torture.scaling import POLICIES, SCENES, Figures

BY_NAME = {scene.name: scene for scene in SCENES}


def figures(scene: str, seed: int, policy: str = "load") -> Figures:
    return scaling.run(BY_NAME[scene], POLICIES[policy](), seed)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    ("scene", "over", "turns"),
    [
        ("quiet", 0.6, 2),
        ("burst", 3.0, 5),
        ("sawtooth", 1.0, 14),  # six teeth: up and down in each
        ("step up and down", 1.0, 5),
        ("long jobs", 1.2, 12),
        ("blind monitoring", 0.8, 5),
    ],
)
def test_where_there_is_room_the_target_is_met_with_few_turns_and_little_too_much(
    scene: str, over: float, turns: int, seed: int
) -> None:
    found = figures(scene, seed)
    assert found.met >= 0.98, found
    assert found.over <= over, found
    assert found.turns <= turns, found
    assert found.left <= 50


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("scene", ["sick broker", "blind monitoring"])
def test_it_never_grows_while_the_store_is_away_or_not_seen(scene: str, seed: int) -> None:
    found = figures(scene, seed)
    assert found.grown_sick <= 1, found  # in the seconds until it is known
    assert found.turns <= 5


@pytest.mark.parametrize("seed", [1, 2])
def test_jobs_that_compute_get_no_more_processes_than_there_are_cores(seed: int) -> None:
    found = figures("jobs that compute", seed)
    assert found.most <= 6, found
    assert found.turns <= 4
    fixed = figures("jobs that compute", seed, "fixed")
    assert found.ended >= 0.9 * fixed.ended


@pytest.mark.parametrize("seed", [1, 2])
def test_where_the_store_is_the_bottleneck_it_does_nearly_as_much_with_less_than_half(seed: int) -> None:
    found, fixed = figures("broker is the bottleneck", seed), figures("broker is the bottleneck", seed, "fixed")
    assert found.ended >= 0.9 * fixed.ended
    assert 1 + found.over <= 0.5 * (1 + fixed.over)
    assert found.turns <= 20


@pytest.mark.parametrize("seed", [1, 2])
def test_in_a_memory_squeeze_few_are_killed_and_it_recovers(seed: int) -> None:
    found, fixed = figures("memory squeeze", seed), figures("memory squeeze", seed, "fixed")
    assert found.killed <= 0.1 * fixed.killed, (found, fixed)
    assert found.left <= 50
    assert found.turns <= 8


@pytest.mark.parametrize("seed", [1, 2])
def test_the_cores_are_left_to_a_neighbour_and_the_backlog_is_cleared_afterwards(seed: int) -> None:
    trace: list[tuple[float, ...]] = []
    found = scaling.run(BY_NAME["noisy neighbour"], POLICIES["load"](), seed, trace)
    assert [row for row in trace if 500 <= row[0] < 900 and row[1] > 2] == []
    assert found.left <= 50
    assert found.turns <= 16


def test_the_same_seed_gives_the_same_figures() -> None:
    assert figures("burst", 7) == figures("burst", 7)
    assert figures("burst", 7) != figures("burst", 8)


def test_nodes_rule_meets_the_target_too_and_turns_all_the_time() -> None:
    found = figures("sawtooth", 1, "multiworker")
    assert found.met >= 0.98
    assert found.turns > 100 * figures("sawtooth", 1).turns


def test_the_table_has_a_row_of_each() -> None:
    rows = [figures("quiet", 1), figures("quiet", 1, "fixed")]
    assert scaling.table(rows).count("| quiet |") == 2
