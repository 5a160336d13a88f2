"""`lineup` in a consumer: queues that appear, a store that won't say, and names that cost nothing."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from spoolq.errors import StoreUnavailable
from spoolq.job import Claim
from spoolq.lineup import Lineup
from spoolq.selection import named, parse
from spoolq.store.base import EVERY_QUEUE, Claimed, WorkerInfo
from spoolq.store.redis import RedisStore
from tests.servers import Server
from tests.unit.hands import Flaky, Rig, file, job, jobs, warnings
from tests.waiting import eventually

Make = Callable[..., Rig]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Rig] = []

    def one(queues: str, **options: Any) -> Rig:
        selection = parse(queues)
        made.append(Rig(tmp_path, queues=selection.words, selection=selection, **options))
        return made[-1]

    yield one
    for rig in made:
        rig.close()


def test_names_alone_cost_no_call(make: Make) -> None:
    rig = make("q,r:2,s:1")
    rig.store.put(jobs(50))
    rig.start()
    eventually(lambda: len(rig.ran) == 50 and rig.consumer.idle and rig.store.calls["wait"] >= 2)
    assert rig.store.calls["queues"] == 0


def test_an_idle_worker_is_woken_by_a_queue_that_appears(make: Make) -> None:
    rig = make("*,!no")
    rig.start()
    eventually(lambda: rig.store.calls["wait"])
    for number in range(5):
        rig.store.put([job(f"no{number}", queue="no"), job(f"j{number}", queue=f"new{number}", args=(number,))])
        eventually(lambda n=number: rig.ran[-1:] == [n], within=20)
    eventually(lambda: rig.consumer.idle)
    assert rig.ran == list(range(5))


def test_a_queue_that_has_been_emptied_is_waited_for_as_before(make: Make) -> None:
    """A file knows no queue without a job. Where each job had to appear, most waited for the look of the next second."""
    rig = make("*")
    rig.start()
    for number in range(3):
        rig.store.put([job(f"j{number}", args=(number,))])
        eventually(lambda n=number: rig.ran[-1:] == [n] and rig.consumer.idle)
        assert not rig.store.queues()
        assert rig.consumer.lineup.awaited == ("q",)


def test_the_wait_begins_once_it_is_known_that_no_queue_has_appeared(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the claim from the one that has would cross it, and take out of the store that somebody waits."""
    rig = make("*")
    real, waits = rig.store.queues, []
    monkeypatch.setattr(rig.store, "queues", lambda: waits.append(rig.consumer._nothing.is_set()) or real())
    rig.start()
    eventually(lambda: rig.store.calls["wait"])
    rig.store.put([job("j", args=(1,))])
    eventually(lambda: rig.ran == [1] and rig.consumer.idle)
    assert waits
    assert not any(waits)


def test_a_queue_that_is_gone_for_long_is_let_go(tmp_path: Path) -> None:
    now = [0.0]
    with closing(file(tmp_path / "jobs.db")) as store:
        lineup = Lineup(store, parse("*"), lambda: now[0])
        store.put([job("j")])
        assert lineup.renew()
        store.ack(store.claim(WorkerInfo("w", "host", 1, ("*",)), 1, ["q"], 1).claims)
        for now[0], names in ((1.0, ("q",)), (59.0, ("q",)), (61.0, ())):
            lineup.renew()
            assert lineup.names == names


def test_a_worker_that_is_busy_finds_what_appears_too(make: Make) -> None:
    rig = make("*")
    rig.task("more", lambda n: rig.store.put([job(f"q{n}", "more", args=(n + 1,))]) if "done" not in rig.ran else None)
    rig.store.put([job("first", "more", args=(0,))])
    rig.start()
    eventually(lambda: rig.points.count("claimed") > 1)
    rig.store.put([job("j", queue="a", args=("done",))])
    eventually(lambda: rig.ran == ["done"])


def test_a_store_that_will_not_say_is_no_reason_to_stop(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    rig = make("q,bulk_*")
    rig.store.inject("own", "queues", times=-1)
    rig.store.put([*jobs(3), job("b", queue="bulk_1", args=("late",))])
    rig.start()
    eventually(lambda: rig.ran == [0, 1, 2])
    rig.store.inject("fit", "queues")
    eventually(lambda: rig.ran == [0, 1, 2, "late"])
    assert len([text for text in warnings(caplog) if "which queues there are can't be seen" in text]) == 1


def test_one_that_may_not_be_asked_is_not_away(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with server.client() as control:
        control.execute_command("ACL", "SETUSER", "worker", "on", ">secret", "~*", "+@all", "-sscan")
    store = RedisStore(server.url.replace("://", "://worker:secret@"), deadline=20.0, timeout=20.0)
    lineup = Lineup(store, parse("q,bulk_*"), lambda: 0.0)
    try:
        assert not lineup.renew()
        assert not lineup.renew()
    finally:
        store.close()
        with server.client() as control:
            control.execute_command("ACL", "DELUSER", "worker")
    assert lineup.order() == ("q",)
    assert len([text for text in warnings(caplog) if "which queues there are can't be seen" in text]) == 1


def test_a_store_that_is_away_is_away_also_for_who_asks_for_queues(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Flaky(file(tmp_path / "jobs.db"))
    lineup = Lineup(store, parse("*"), lambda: 0.0)  # type: ignore[arg-type]
    store.inject("refused", "queues")
    with pytest.raises(StoreUnavailable):
        lineup.renew()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_outages_end_for_patterns_as_for_names(make: Make) -> None:
    rig = make("*")
    rig.store.put(jobs(10))
    rig.store.inject("refused", "queues", "claim", "wait", times=4)
    rig.start()
    eventually(lambda: len(rig.ran) == 10 and rig.consumer.idle)
    assert Counter(rig.ran).most_common(1)[0][1] == 1


def test_a_lost_answer_with_weights_is_asked_for_again_in_the_same_order(make: Make) -> None:
    rig = make("a:3,b:1")
    rig.store.put([job(f"{queue}{n}", queue=queue, args=(queue,)) for n in range(20) for queue in "ab"])
    rig.store.inject("lost", "claim", times=3)
    rig.start()
    eventually(lambda: len(rig.ran) == 40 and rig.consumer.idle)
    assert Counter(rig.ran) == {"a": 20, "b": 20}


def test_shares_are_kept_by_a_consumer(make: Make) -> None:
    rig = make("a:3,b:1", max_prefetch=0)
    rig.store.put([job(f"{queue}{n}", queue=queue, args=(queue,)) for queue in "ab" for n in range(40)])
    rig.start()
    eventually(lambda: len(rig.ran) == 80)
    assert Counter(rig.ran[:40]) == {"a": 30, "b": 10}


def test_any_name_of_a_worker_is_taken_as_it_is() -> None:
    assert named(("a b", "x:1")).expand(["y"]) == {"a b": ("a b",), "x:1": ("x:1",)}


# pauses


def test_a_paused_queue_is_left_alone_and_its_jobs_run_when_it_is_resumed(make: Make) -> None:
    rig = make("q,other")
    rig.real.pause("q")
    rig.store.put([*jobs(3), job("o", queue="other", args=("o",))])
    rig.start()
    eventually(lambda: rig.ran == ["o"] and rig.store.calls["wait"] >= 2)
    rig.real.resume("q")
    eventually(lambda: rig.ran == ["o", 0, 1, 2])
    eventually(lambda: not rig.consumer.lineup.paused)


@pytest.mark.parametrize("queues", ["q", "*", "q:2,other:1", "q_*,q"])
def test_a_worker_whose_queues_are_all_paused_asks_about_once_a_second(make: Make, queues: str) -> None:
    """A job that is there and may not be taken is nothing to wake up for."""
    rig = make(queues)
    rig.real.pause(EVERY_QUEUE)
    rig.store.put(jobs(3))
    rig.start()
    eventually(lambda: rig.store.calls["wait"] >= 2)
    before, began = rig.store.calls["claim"], time.monotonic()
    eventually(lambda: rig.store.calls["wait"] >= 5, within=20)
    assert rig.store.calls["claim"] - before <= 2 * (time.monotonic() - began) + 2
    assert rig.ran == []


def test_a_pause_while_it_waits_is_seen_with_the_next_job(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "spoolq.worker")
    rig = make("q,other")
    rig.start()
    eventually(lambda: rig.store.calls["wait"])
    rig.real.pause("q")
    rig.store.put(jobs(3))
    eventually(lambda: rig.consumer.lineup.paused == {"q"})
    assert rig.ran == []
    assert [r.getMessage() for r in caplog.records if "paused" in r.getMessage()] == ["paused: q"]
    assert rig.consumer.lineup.says_paused == ", paused: q"


def test_what_is_paused_in_the_primary_is_not_run_from_the_spool_either(make: Make) -> None:
    elsewhere = {"q"}
    rig = make("q,other", elsewhere=lambda: elsewhere)
    rig.store.put([*jobs(3), job("o", queue="other", args=("o",))])
    rig.start()
    eventually(lambda: rig.ran == ["o"] and rig.store.calls["wait"] >= 2)
    elsewhere.clear()
    eventually(lambda: rig.ran == ["o", 0, 1, 2])


def test_what_waits_behind_a_pause_is_counted_for_the_end_of_a_burst(make: Make) -> None:
    rig = make("q,other")
    rig.start()
    rig.store.put([*jobs(3), job("x", queue="not ours")])
    eventually(lambda: len(rig.ran) == 3 and rig.consumer.idle)
    assert rig.consumer.lineup.behind_a_pause() == 0
    rig.real.pause("q")
    rig.store.put([job("a"), job("b"), job("c", queue="other")])
    eventually(lambda: rig.consumer.lineup.behind_a_pause() == 2)
    rig.real.pause(EVERY_QUEUE)
    rig.store.put([job("d", queue="other")])
    eventually(lambda: rig.consumer.lineup.behind_a_pause() == 3)


def test_what_is_paused_elsewhere_saves_up_no_turns() -> None:
    elsewhere = {"b"}
    lineup = Lineup(Flaky(Nothing()), parse("a:1,b:1"), time.monotonic, lambda: elsewhere)  # type: ignore[arg-type]

    def take() -> str:
        order = lineup.order()
        lineup.took(order, Claimed((Claim("token", "w", order[0], b""),)), all_of_it=False)
        return order[0]

    assert {take() for _ in range(100)} == {"a"}
    elsewhere.clear()
    assert Counter(take() for _ in range(100))["b"] == 50


def test_a_look_sees_the_pauses_of_queues_that_nobody_asked_for(make: Make) -> None:
    rig = make("q")
    rig.real.pause("other")
    assert rig.consumer.lineup.known == set()
    assert rig.consumer.lineup.look() == 1.0
    assert rig.consumer.lineup.known == {"other"}
    rig.real.resume("other")
    rig.consumer.lineup.look()
    assert rig.consumer.lineup.known == set()


class Nothing:
    """A store that is asked for nothing."""


def test_a_queue_at_a_limit_is_left_out_until_its_time_has_come(tmp_path: Path) -> None:
    now = [100.0]
    lineup = Lineup(file(tmp_path), named(("a", "b")), lambda: now[0])
    assert (lineup.limited, lineup.due_in, lineup.held_back) == ((), float("inf"), False)
    lineup.took(("a", "b"), Claimed((), limited=(("a", 2.0),)), all_of_it=True)
    assert (lineup.order(), lineup.awaited, lineup.limited, lineup.due_in) == (("b",), ("b",), ("a",), 2.0)
    assert lineup.held_back
    assert lineup.says_limited == ", at a limit: a"
    now[0] = 101.5
    lineup.took(("b",), Claimed((), limited=(("b", 5.0),)), all_of_it=True)
    assert (lineup.order(), lineup.due_in) == ((), 0.5)
    now[0] = 102.0
    assert (lineup.order(), lineup.limited, lineup.due_in) == (("a",), ("b",), 4.5)
    now[0] = 200.0
    assert (lineup.order(), lineup.limited) == (("a", "b"), ())
    assert not lineup.held_back
    assert lineup.says_limited == ""


def test_a_queue_at_a_limit_saves_up_no_share_meanwhile(tmp_path: Path) -> None:
    now = [0.0]
    lineup = Lineup(file(tmp_path), parse("a:1,b:1"), lambda: now[0])
    order = lineup.order()
    lineup.took(order, Claimed((), limited=(("a", 10.0),)), all_of_it=False)
    for _ in range(20):
        assert lineup.order() == ("b",)
        lineup.took(("b",), Claimed((Claim("t", "w", "b", b""),)), all_of_it=False)
    now[0] = 11.0
    firsts = []
    for _ in range(6):
        first = lineup.order()[0]
        firsts.append(first)
        lineup.took(lineup.order(), Claimed((Claim("t", "w", first, b""),)), all_of_it=False)
    assert 2 <= firsts.count("a") <= 4, firsts
