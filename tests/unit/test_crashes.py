"""What a dead worker held, settled by its file: what ran, what had ended, and what was never begun."""

from __future__ import annotations

from pathlib import Path

import pytest

from spoolq import crashes, wire
from spoolq.errors import StaleCall
from spoolq.job import Claim
from spoolq.presence import Presence, Seen
from spoolq.retry import RetryPolicy
from spoolq.runner import Runner
from spoolq.runtime import Folder
from spoolq.store.base import Store
from spoolq.tasks import Task, Tasks
from tests.unit.hands import file, info, jobs

HEIR = info("heir")


def runner() -> Runner:
    tasks = Tasks()
    policy = RetryPolicy(retries=3, backoff=lambda state: 0)
    tasks.add(Task(lambda *args: None, name="note", queue="q", owner=None, policy=policy))  # type: ignore[arg-type]
    return Runner(tasks, HEIR, "primary", lambda: 5e9)


def held_by_the_dead(folder: Folder, store: Store, *, strike: bool = False) -> list[Claim]:
    """Four claims of a worker that died: two were running, one had ended, one was never begun."""
    store.put(jobs(4, task="note"))
    dead = info("dead", threads=2)
    claims = list(store.claim(dead, 1, ("q",), 4).claims)
    presence = Presence(folder, dead, 2)
    assert presence.appear()
    presence.begin(0, claims[2].token, None)
    presence.end(0)
    presence.begin(0, claims[0].token, None)
    presence.begin(1, claims[1].token, 1.0)
    if strike:
        with Seen(folder, "dead") as seen:
            seen.strike(1)
    presence.abandon()
    return claims


@pytest.mark.parametrize("strike", [False, True])
def test_what_ran_counts_what_had_ended_knows_it_and_the_rest_goes_back_as_it_was(strike: bool, tmp_path: Path) -> None:
    store, folder = file(tmp_path / "jobs.db"), Folder(lambda: [str(tmp_path)], "workers")
    before = held_by_the_dead(folder, store, strike=strike)
    with Seen(folder, "dead") as seen:
        assert crashes.inherit(store, seen.info, seen, runner()) == 4
    assert [view.info.key for view in store.workers()] == []
    after = {wire.decode(claim.payload, "q").id: claim.payload for claim in store.claim(HEIR, 1, ("q",), 10).claims}
    ids = [wire.decode(claim.payload, "q").id for claim in before]
    ran, limited, ended, unbegun = (wire.decode(after[id], "q") for id in ids)
    assert after[ids[3]] == before[3].payload
    assert (ended.begun, ended.crashes, ended.attempt) == (True, 0, 0)
    if strike:
        assert (ran.begun, ran.crashes, ran.attempt) == (True, 0, 0)
        assert (limited.begun, limited.crashes, limited.attempt) == (False, 0, 1)
    else:
        assert [(one.begun, one.crashes, one.attempt) for one in (ran, limited)] == [(False, 1, 0)] * 2
    assert not unbegun.begun


def test_no_call_of_the_dead_can_take_effect_after_it(tmp_path: Path) -> None:
    store, folder = file(tmp_path / "jobs.db"), Folder(lambda: [str(tmp_path)], "workers")
    held_by_the_dead(folder, store)
    with Seen(folder, "dead") as seen:
        store.reconcile(seen.info, crashes.LAST)
        with pytest.raises(StaleCall):
            store.claim(seen.info, 2, ("q",), 1)
        assert crashes.inherit(store, seen.info, seen, runner()) == 4
        assert crashes.inherit(store, seen.info, seen, runner()) == 0, "it may be done again"
