"""A pool's size: it follows the load and an operator's word, and no running job pays for it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from spoolq.autoscale.sample import Bounds
from spoolq.autoscale.words import EVERY_POOL, say
from tests.faults.test_pool import pool, started
from tests.faults.working import Place, Worker, at
from tests.proxy import Proxy
from tests.servers import Server
from tests.waiting import eventually, pass_time

pytestmark = pytest.mark.one_server


@pytest.fixture
def place(either: Place) -> Place:
    return either


def scaled(place: Place, processes: str, *options: str, threads: int = 1, **settings: str) -> Worker:
    """A pool that doesn't look at this machine's processor, which others may be using, and that an operator can speak to."""
    made = pool(place, processes, *options, threads=threads, SCALE_CPU="none", **settings)
    eventually(lambda: made.pid in pids(place), what="a pool that is known")
    return made


def ran(place: Place, *command: str) -> subprocess.CompletedProcess[str]:
    """`spoolq pool …`, as an operator calls it."""
    words = [sys.executable, "-m", "spoolq", "pool", *command]
    return subprocess.run(words, env=place.environment, cwd=place.folder, capture_output=True, text=True, timeout=60)


def says(place: Place) -> Any:
    """The one pool that there is, as `spoolq pool list --json` has it; None where there is none."""
    done = ran(place, "list", "--json")
    found = json.loads(done.stdout)["pools"] if done.stdout else []
    assert len(found) <= 1
    return found[0] if found else None


def pids(place: Place) -> list[int]:
    done = ran(place, "list", "--json")
    return [found["pid"] for found in json.loads(done.stdout)["pools"]] if done.stdout else []


def test_it_grows_while_a_backlog_waits_up_to_its_bounds_and_shrinks_to_them_when_idle(place: Place) -> None:
    ids = [place.enqueue("hold", number) for number in range(6)]
    worker = scaled(place, "1:3", SCALE_IDLE="1s")
    place.begun(3)
    [grown] = worker.said("from 1 to 2 process(es): ")
    assert "wait while all are busy, and none has ended yet" in grown
    pass_time(4.0)  # a look or two in which it could grow further
    assert len(started(worker)) == 3
    place.open_gate()
    place.done()
    assert place.runs() == dict.fromkeys(ids, 1)
    eventually(lambda: worker.said("from 2 to 1 process(es)"), what="one process")
    assert worker.said("from 3 to 2 process(es): for 1.0 s 2 process(es) would have been enough")
    worker.end_pool()
    assert {line.attempt for line in place.trace()} == {0}


def test_an_operators_word_is_obeyed_from_another_process_and_until_the_next_one(place: Place) -> None:
    ids = [place.enqueue("hold", number) for number in range(8)]
    worker = scaled(place, "1:4")
    place.begun(1)
    done = ran(place, "scale", "2")
    assert done.returncode == 0, done.stderr
    assert "2 process(es) for pool" in done.stdout
    eventually(lambda: worker.said("an operator says 2"))
    place.begun(2)
    pass_time(6.0)
    shown = says(place)
    assert (shown["wanted"], shown["ready"], shown["least"], shown["most"], shown["said"]) == (2, 2, 2, 2, "2")
    # while the housekeeper isn't run for seconds, it is that nothing was heard of the store
    eventually(lambda: "2 by an operator allows no more" in says(place)["why"])
    assert ran(place, "scale", "auto").returncode == 0
    place.begun(4)
    place.open_gate()
    place.done()
    assert place.runs() == dict.fromkeys(ids, 1)


def test_the_bounds_of_an_operator_may_be_wider_than_those_of_the_start(one_box: Place) -> None:
    for number in range(8):
        one_box.enqueue("hold", number)
    scaled(one_box, "1")
    assert ran(one_box, "scale", "2:3").returncode == 0
    one_box.begun(3)
    assert says(one_box)["most"] == 3


def test_shrinking_lets_running_jobs_finish_however_long_they_take(place: Place) -> None:
    ids = [place.enqueue("hold", number) for number in range(3)]
    worker = scaled(place, "3", "--grace", "1s")
    place.begun(3)
    assert ran(place, "scale", "1").returncode == 0
    eventually(lambda: worker.said("from 3 to 1 process(es): 1 by an operator"))
    eventually(lambda: len(worker.said("waiting for running jobs: no limit")) == 2)
    pass_time(3.0)  # longer than the grace
    assert (says(place)["ready"], says(place)["leaving"]) == (1, 2)
    place.open_gate()
    place.done()
    assert place.runs() == dict.fromkeys(ids, 1)
    assert {line.attempt for line in place.trace()} == {0}
    eventually(lambda: says(place)["leaving"] == 0)
    later = place.enqueue("note")
    eventually(lambda: place.runs()[later] == 1)
    worker.end_pool()
    assert not worker.said("is killed")


@pytest.mark.slow
def test_words_at_random_each_second_cost_no_job_a_second_run(place: Place) -> None:
    rng = random.Random(1)
    launch = place.q.remote("labour", "work")
    worker = scaled(place, "1:4", threads=2, LEASE="10m")
    ids: list[str] = []
    for _ in range(20):
        seconds = [rng.choice([0, 0, 0.001, 0.01, 0.3, 1.0]) for _ in range(20)]
        ids += [receipt.id for receipt in place.q.enqueue_many([launch.job(each) for each in seconds])]
        say([place.store], EVERY_POOL, Bounds(size := rng.randint(1, 5), size, "an operator"), time.time())
        pass_time(1.0)
    place.done()
    assert place.runs() == dict.fromkeys(ids, 1)
    assert {line.attempt for line in place.trace()} == {0}
    assert len(worker.said("pool: from ")) >= 5
    assert not worker.said("is killed")
    worker.end_pool()


def test_those_that_run_nothing_end_first(one_box: Place) -> None:
    worker = scaled(one_box, "3")
    eventually(lambda: len(started(worker)) == 3)
    one_box.enqueue("hold")
    [line] = one_box.begun(1)
    ran(one_box, "scale", "1")
    eventually(lambda: len(worker.said("has ended")) >= 4, what="two processes, each in its own words and in the pool's")
    os.kill(line.pid, 0)
    one_box.open_gate()
    one_box.done()
    assert [line.attempt for line in one_box.trace()] == [0]


def test_a_pool_that_was_killed_obeys_the_word_still_when_it_is_started_again(place: Place) -> None:
    worker = scaled(place, "1:4")
    eventually(lambda: says(place))
    assert ran(place, "scale", "3").returncode == 0
    eventually(lambda: len(started(worker)) == 3)
    worker.kill()
    again = scaled(place, "1:4")
    eventually(lambda: again.said("an operator says 3"))
    eventually(lambda: len(started(again)) == 3)
    eventually(lambda: pids(place) == [again.pid], what="one pool")


def test_the_housekeeper_may_die_the_size_is_kept_and_follows_again(one_box: Place) -> None:
    worker = scaled(one_box, "1:3")
    eventually(lambda: worker.said("keeps house"))
    ran(one_box, "scale", "2")
    eventually(lambda: len(started(worker)) == 2)
    [house] = eventually(lambda: [view.info.pid for view in one_box.store.workers() if view.info.role == "housekeeper"])
    os.kill(house, signal.SIGKILL)
    eventually(lambda: len(worker.said("keeps house")) == 2)
    ran(one_box, "scale", "3")
    eventually(lambda: len(started(worker)) == 3)


def test_ttin_says_what_is_wanted_and_why_and_status_shows_it(place: Place) -> None:
    worker = scaled(place, "1:4")
    eventually(lambda: says(place))
    eventually(
        lambda: worker.send(signal.SIGTTIN) or pass_time(0.5) or "1:4 by --processes, load: enough" in worker.log.read_text()
    )
    words = [sys.executable, "-m", "spoolq", "status"]

    def status() -> str:
        return subprocess.run(words, env=place.environment, cwd=place.folder, capture_output=True, text=True, timeout=60).stdout

    eventually(lambda: "1 process(es) wanted, 1 works (1:4 by --processes)" in status())  # shown once a second
    worker.end_pool()
    assert says(place) is None


def test_nodes_rule_by_its_name_one_more_while_more_than_half_work_and_one_less_while_fewer_do(one_box: Place) -> None:
    for number in range(3):
        one_box.enqueue("hold", number)
    worker = scaled(one_box, "1:3", "--scale", "multiworker", SCALE_DELAY="30s")
    one_box.begun(3)
    assert worker.said("from 1 to 2 process(es): 1 of 1 processes work")
    one_box.open_gate()
    eventually(lambda: worker.said("from 2 to 1 process(es): 0 of 2 processes work"))


# without Redis


def test_it_is_held_while_redis_is_stopped_whatever_waits_here_and_grows_when_it_is_back(tmp_path: Path, durable: Server) -> None:
    with at(tmp_path, durable.url) as place:
        first = place.enqueue("hold", "first")
        worker = scaled(place, "1:4", LEASE="10m")
        place.begun(1)
        durable.stop()
        eventually(lambda: "held: the store is away" in (states(place) or ""), what="a pool that knows of the outage")
        ids = [place.enqueue("hold", number) for number in range(8)]
        pass_time(10.0)
        assert len(started(worker)) == 1
        durable.cont()
        place.begun(4)
        assert worker.said("from 1 to 2 process(es)")
        place.open_gate()
        place.done()
        assert place.runs() == dict.fromkeys([first, *ids], 1)


def test_where_redis_answers_late_it_has_one_less_after_another_and_does_not_grow(tmp_path: Path, server: Server) -> None:
    with Proxy(server.port) as proxy, at(tmp_path, f"redis://127.0.0.1:{proxy.port}/0") as place:
        ids = [place.enqueue("hold", number) for number in range(3)]
        worker = scaled(place, "1:4", LEASE="10m", SCALE_IDLE="10m")
        place.begun(3)
        eventually(lambda: len(started(worker)) >= 3)  # each says so when its threads are at work already
        size = len(started(worker))
        rule = proxy.rule(b"*", "late", times=-1, delay=0.3)
        ids += [place.enqueue("hold", number) for number in range(8)]
        [line] = eventually(lambda: worker.said(f"from {size} to {size - 1} process(es)"), within=60.0, what="one less")
        assert "the store is what jobs wait for: it answers after" in line
        assert rule.fired > 5
        assert len(started(worker)) == size
        rule.left = 0
        place.open_gate()
        place.done()
        assert place.runs() == dict.fromkeys(ids, 1)


def states(place: Place) -> str:
    """What a pool of this host shows, asked while its store may be away."""
    return ran(place, "list", "--json").stdout


def test_a_word_said_while_redis_is_away_is_obeyed_here_and_told_to_redis_when_it_is_back(
    tmp_path: Path, durable: Server
) -> None:
    with at(tmp_path, durable.url) as place:
        worker = scaled(place, "1:4")
        eventually(lambda: says(place))
        durable.kill()
        done = ran(place, "scale", "3")
        assert done.returncode == 69
        assert "in the spool" in done.stdout
        assert "tell Redis when it is back" in done.stderr
        eventually(lambda: worker.said("an operator says 3"))
        eventually(lambda: len(started(worker)) == 3)
        durable.start()
        [address] = {line["address"] for line in json.loads(states(place))["pools"]}
        eventually(lambda: '"3"' in (place.store.meta(f"pool-scale:{address}") or ""), what="the word in Redis")


def test_a_word_that_redis_had_is_kept_when_redis_has_lost_everything(tmp_path: Path, server: Server) -> None:
    with at(tmp_path, server.url) as place:
        worker = scaled(place, "1:4")
        eventually(lambda: says(place))
        ran(place, "scale", "2")
        eventually(lambda: len(started(worker)) == 2)
        assert place.q.spool is not None
        [address] = {line["address"] for line in json.loads(states(place))["pools"]}
        eventually(lambda: place.q.spool.meta(f"pool-scale:{address}"), what="the word in the spool")  # type: ignore[union-attr]
        worker.kill()
        with server.client() as control:
            control.flushall()
        again = scaled(place, "1:4")
        eventually(lambda: len(started(again)) == 2)
        eventually(lambda: '"2"' in (place.store.meta(f"pool-scale:{address}") or ""), what="the word in Redis again")


# wrong


@pytest.mark.parametrize(
    ("options", "settings", "says"),
    [
        (("--processes", "3:1"), {}, "1 <= MIN <= MAX"),
        (("--scale", "multiworker"), {}, "--scale needs --processes"),
        (("--processes", "1:2", "--scale", "magic"), {}, "'load', 'multiworker'"),
        (("--processes", "1:2", "--name", "a/b"), {}, "without a space and none of"),
        (("--processes", "1:2"), {"SCALE_TARGET": "0"}, "scale_target = '0' (from SPOOLQ_SCALE_TARGET): expected a duration"),
        (
            ("--processes", "1:2"),
            {"SCALE_POLICY": "magic"},
            "scale_policy = 'magic' (from SPOOLQ_SCALE_POLICY): expected load or",
        ),
    ],
)
def test_what_can_be_no_size_is_refused_at_once(
    options: tuple[str, ...], settings: dict[str, str], says: str, one_box: Place
) -> None:
    worker = one_box.worker(*options, **settings)
    assert worker.ended() in (2, 78)
    assert says in " ".join(worker.log.read_text().replace("│", " ").split())
