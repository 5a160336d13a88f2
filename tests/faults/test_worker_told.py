"""A worker obeys a word that is kept in the store, as one on another host would."""

from __future__ import annotations

import pytest

from spoolq import wishes
from spoolq.store.base import WorkerView
from tests.faults.working import Place
from tests.waiting import eventually


@pytest.fixture
def place(either: Place) -> Place:
    return either


def alive(place: Place) -> list[WorkerView]:
    return [view for view in place.store.workers() if view.info.role == "worker"]


def heard(place: Place, key: str) -> bool:
    wish = wishes.said(place.store, [key]).get(key)
    return wish is not None and wish.obeyed


def test_a_worker_that_is_told_to_be_quiet_takes_nothing_until_it_goes_on(place: Place) -> None:
    place.worker(threads=1)
    [view] = eventually(lambda: alive(place))
    wishes.say(place.store, view.info.key, "quiet", 1.0)
    eventually(lambda: heard(place, view.info.key))
    id = place.enqueue("note")
    wishes.say(place.store, view.info.key, "resume", 2.0)
    eventually(lambda: place.runs() == {id: 1})


def test_a_worker_that_is_told_to_stop_finishes_what_it_runs(place: Place) -> None:
    id = place.enqueue("hold")
    worker = place.worker(threads=1, TEST_GOODBYE="20")
    place.begun()
    [view] = alive(place)
    wishes.say(place.store, view.info.key, "stop", 1.0)
    eventually(lambda: worker.said("waiting for running jobs"))
    place.open_gate()
    assert worker.ended() == 0
    assert place.runs() == {id: 1}
    place.left_by_all()


def test_a_pool_starts_another_for_one_that_was_told_to_stop(place: Place) -> None:
    pool = place.worker("--processes", "1", threads=1)
    [view] = eventually(lambda: alive(place), within=60)
    wishes.say(place.store, view.info.key, "stop", 1.0)
    eventually(lambda: [one for one in alive(place) if one.info.key != view.info.key], within=60)
    id = place.enqueue("note")
    eventually(lambda: place.runs() == {id: 1})
    pool.end()
    assert pool.ended() == 0
