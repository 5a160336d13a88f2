"""When to take over what dead workers left."""

from __future__ import annotations

import random

import pytest

from spoolq.errors import StoreUnavailable
from spoolq.rescuer import Rescuer
from tests.unit.hands import warnings


def test_what_was_found_is_followed_by_the_next_at_once(caplog: pytest.LogCaptureFixture) -> None:
    found = [100, 100, 7, 0]
    rescuer = Rescuer(lambda limit: found.pop(0), 30.0, rng=random.Random(1))
    pauses = [rescuer.turn() for _ in range(4)]
    assert pauses[:3] == [0.0, 0.0, 0.0]  # fewer than were asked for may come of their size
    assert 7.0 <= pauses[3] <= 13.0
    assert warnings(caplog) == [
        "100 job(s) of a worker that stopped answering are taken over",
        "100 job(s) of a worker that stopped answering are taken over",
        "7 job(s) of a worker that stopped answering are taken over",
    ]


@pytest.mark.parametrize(("lease", "shortest", "longest"), [(0.3, 0.14, 0.26), (3.0, 0.7, 1.3), (600.0, 7.0, 13.0)])
def test_it_looks_three_times_a_lease_and_every_ten_seconds_at_least(lease: float, shortest: float, longest: float) -> None:
    assert shortest <= Rescuer(lambda limit: 0, lease).turn() <= longest


def test_nothing_is_taken_while_others_had_no_chance_to_be_heard() -> None:
    wait, asked = [25.0], [0]

    def rescue(limit: int) -> int:
        asked[0] += 1
        return 0

    rescuer = Rescuer(rescue, 30.0, hold_off=lambda: wait[0])
    assert rescuer.turn() == 10.0
    wait[0] = 3.0
    assert rescuer.turn() == 3.0
    assert asked == [0]
    wait[0] = 0.0
    rescuer.turn()
    assert asked == [1]


def test_an_outage_is_for_the_service_to_wait_out() -> None:
    def rescue(limit: int) -> int:
        raise StoreUnavailable("nobody listens", reason="refused")

    with pytest.raises(StoreUnavailable):
        Rescuer(rescue, 30.0).turn()
