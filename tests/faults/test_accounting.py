"""What is missing and what is not: a Redis that loses data, others that push and take, answers that never come."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from spoolq import wire
from spoolq.accounting import Account
from spoolq.bookkeeping import Bookkeeper, balance, missing, write_off
from spoolq.errors import StoreError
from spoolq.job import Job, Message
from spoolq.store.base import Spool
from spoolq.store.redis import RedisStore
from spoolq.store.sqlite import SQLiteStore
from tests.contract.hands import Hand, failure, message, messages, worker
from tests.proxy import Proxy
from tests.servers import Server
from tests.waiting import eventually

NODE = json.dumps({"class": "t", "queue": "q", "args": [1, {"id": "5"}]}, separators=(",", ":"))
DRAINER = worker("d", kind="drainer")


class Scene:
    """A primary, the spool beside it, and the bookkeeper, whose minutes go by as told."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.now = time.time()
        self.primary = RedisStore(server.url, deadline=5.0)
        self.spool: Spool = SQLiteStore(folder / "spool.db", role="spool", clock=lambda: self.now, min_free=0, timeout=20.0)
        self.control = server.client()
        self.keeper = Bookkeeper(self.primary, self.spool)

    def minute(self) -> None:
        self.now += 60
        self.keeper.turn()

    @property
    def total(self) -> Account:
        found = balance(self.primary, self.spool).total
        assert found.balances
        return found

    def drain(self, keep: bool = False) -> None:
        handoffs = self.spool.take(DRAINER, 100, 1 << 20, time.time() + 5)
        new = self.primary.put([one.message for one in handoffs], hold=True)
        known = [one.claim.token for one, fresh in zip(handoffs, new, strict=True) if not fresh]
        if keep:
            self.spool.keep(handoffs, self.primary.life(1.0), known=known)
        else:
            self.spool.handed_over(handoffs, known=known)

    def close(self) -> None:
        self.primary.close()
        self.spool.close()
        self.control.close()


@pytest.fixture
def scene(server: Server, tmp_path: Path) -> Iterator[Scene]:
    with closing(Scene(server, tmp_path)) as one:
        yield one


# what Redis loses


@pytest.mark.parametrize("looked_between", [True, False])
def test_flushall_is_missing_as_many_as_were_there_at_the_last_look(scene: Scene, looked_between: bool) -> None:
    hand = Hand(scene.primary)
    scene.primary.put(messages("a", "b", "c", "d", "e"))
    scene.primary.ack(hand.claim(2))
    scene.minute()
    assert (scene.total.missing, scene.total.there) == (0, 3)
    scene.control.flushall()
    if looked_between:
        scene.minute()
    assert (scene.total.missing, scene.total.there) == (3, 0)
    scene.primary.put(messages("f"))
    for _ in range(3):
        scene.minute()
        assert (scene.total.missing, scene.total.there) == (3, 1)
    scene.control.flushall()
    assert scene.total.missing == 4


def test_what_was_drained_and_done_is_not_missing_after_a_loss(scene: Scene) -> None:
    hand = Hand(scene.primary)
    scene.spool.spool(messages("a", "b", "c"))
    scene.drain()
    scene.primary.ack(hand.claim(2))
    scene.minute()
    scene.control.flushall()
    assert scene.total.missing == 1
    scene.minute()
    scene.spool.spool(messages("d"))
    scene.drain()
    scene.minute()
    assert (scene.total.missing, scene.total.waiting) == (1, 1)


def test_what_is_sent_again_is_missing_no_longer(scene: Scene) -> None:
    """Write-ahead: the rows are still there."""
    scene.spool.spool([message(id)._replace(keep=3600.0) for id in "abc"])
    scene.drain(keep=True)
    scene.primary.put(messages("d"))
    scene.minute()
    assert (scene.total.missing, scene.total.there) == (0, 4)
    scene.control.flushall()
    assert scene.total.missing == 4
    [watch] = scene.spool.watches()
    scene.spool.send_again(watch, scene.spool.kept(watch, 10))
    scene.drain(keep=True)
    assert (scene.total.missing, scene.total.waiting) == (1, 3)
    scene.minute()
    scene.minute()
    assert (scene.total.missing, scene.total.waiting) == (1, 3)


def test_a_server_that_comes_back_in_an_earlier_state_misses_what_came_since(server: Server, scene: Scene) -> None:
    scene.primary.put(messages("a", "b"))
    scene.minute()
    scene.control.config_set("save", "")
    scene.control.save()
    scene.primary.put(messages("c", "d", "e"))
    scene.minute()
    server.kill()
    server.start()
    assert (scene.total.missing, scene.total.waiting) == (3, 2)
    scene.minute()
    assert (scene.total.missing, scene.total.waiting) == (3, 2)


def test_a_server_that_kept_its_data_misses_nothing(durable: Server, tmp_path: Path) -> None:
    with closing(Scene(durable, tmp_path)) as scene:
        scene.primary.put(messages("a", "b"))
        scene.spool.spool(messages("c"))
        scene.drain()
        scene.minute()
        durable.kill()
        durable.start()
        scene.minute()
        assert (scene.total.missing, scene.total.unexplained, scene.total.waiting) == (0, 0, 3)


def test_what_was_handed_over_and_never_arrived_is_missing(scene: Scene) -> None:
    """The control of the hand-over: a drainer that deletes what it has not put."""
    scene.minute()
    scene.spool.spool(messages("a", "b"))
    scene.spool.handed_over(scene.spool.take(DRAINER, 1, 1 << 20, time.time()))
    assert (scene.total.missing, scene.total.spooled) == (1, 1)


@pytest.mark.parametrize(("gone", "jobs"), [("queue:q", 3), ("spoolq:claims:w1", 2), ("spoolq:delayed", 1), ("spoolq:leases", 2)])
def test_a_key_that_vanished_is_missing(scene: Scene, gone: str, jobs: int) -> None:
    scene.primary.put([*messages("a", "b", "c", "d", "e"), message("f", run_at=scene.primary.now() + 60)])
    Hand(scene.primary).claim(2)
    assert scene.total.missing == 0
    scene.control.delete(f"resque:{gone}")
    assert (scene.total.missing, scene.total.there) == (jobs, 6 - jobs)
    scene.primary.put([*messages("g"), message("h", run_at=scene.primary.now() + 60)])
    assert (scene.total.missing, scene.total.there) == (jobs, 8 - jobs)


def test_what_is_written_off_is_told_no_more(scene: Scene) -> None:
    scene.primary.put(messages("a", "b", "c"))
    scene.minute()
    scene.control.lpop("resque:queue:q")
    assert missing(scene.primary, scene.spool) == scene.total.missing == 1
    assert write_off(scene.primary, scene.spool).total.missing == 1
    assert missing(scene.primary, scene.spool) == scene.total.missing == 0
    scene.control.flushall()
    assert missing(scene.primary, scene.spool) == scene.total.missing == 2
    write_off(scene.primary, scene.spool)
    for _ in range(2):
        assert missing(scene.primary, scene.spool) == scene.total.missing == 0
        scene.minute()
    scene.control.flushall()
    scene.primary.put(messages("d"))
    assert (scene.total.missing, scene.total.waiting) == (0, 1)


# others


def test_jobs_of_others_are_found_once_however_often_they_go_back(scene: Scene) -> None:
    scene.control.sadd("resque:queues", "q")
    scene.control.rpush("resque:queue:q", NODE, NODE, NODE)
    assert (scene.total.unexplained, scene.total.waiting) == (3, 3)
    hand = Hand(scene.primary)
    for _ in range(2):
        scene.primary.release(hand.claim(3))
    one, two, three = hand.claim(3)
    assert (scene.total.came["found"], scene.total.unexplained) == (3, 0)
    scene.primary.retry(one, one.payload, 0.0)
    scene.primary.retry(two, two.payload.replace(b"]}", b'],"id":"now-ours"}'), 0.0)
    scene.primary.fail(three, failure(three))
    scene.primary.ack(hand.claim(5))
    total = scene.total
    assert (total.came["found"], total.all_came, total.went, total.unexplained, total.missing) == (
        *(3, 3),
        {"done": 2, "failed": 1},
        *(0, 0),
    )


def test_purging_and_removing_jobs_of_others_balances(scene: Scene) -> None:
    scene.primary.put(messages("a", "b"))
    scene.control.rpush("resque:queue:q", NODE, NODE)
    [job] = [job for job in scene.primary.waiting_jobs.page("q")[0] if job.payload == NODE.encode()][:1]
    assert scene.primary.waiting_jobs.remove(job)
    assert scene.primary.purge("q") == 3
    assert (scene.total.all_came, scene.total.went, scene.total.unexplained) == (4, {"purged": 4}, 0)


def test_what_other_workers_took_is_not_missing_as_far_as_they_say_so(scene: Scene) -> None:
    hand = Hand(scene.primary)
    scene.control.incrby("resque:stat:processed", 500)  # of the years before
    scene.minute()
    scene.primary.put(messages("a", "b", "c", "d"))
    scene.primary.ack(hand.claim(1))
    scene.control.incr("resque:stat:processed")
    for stat in ("processed", "failed"):
        scene.control.lpop("resque:queue:q")
        scene.control.incr(f"resque:stat:{stat}")
    assert (scene.total.taken, scene.total.missing) == (2, 0)
    scene.control.lpop("resque:queue:q")
    assert (scene.total.taken, scene.total.missing) == (2, 1)
    scene.control.sadd("resque:workers", "node:1:q")
    assert (scene.total.taken, scene.total.missing) == (2, 1)
    scene.control.set("resque:worker:node:1:q", "{}")  # it is at work
    assert (scene.total.taken, scene.total.missing) == (3, 0)


def test_resques_own_delayed_jobs_count_when_they_come_out(server: Server) -> None:
    with closing(RedisStore(server.url, deadline=5.0, delayed="resque")) as store, server.client() as control:
        bare = wire.encode_bare(Job("a", "t", "q", ("x",)))
        store.put([Message(id, "q", bare, time.time() + 60) for id in "ab"])
        assert "q" not in store.tally().queues
        [second] = control.zrange("resque:delayed_queue_schedule", 0, -1)
        second = second.decode()
        assert control.lpop(f"resque:delayed:{second}") == bare
        control.rpush("resque:queue:q", NODE)  # by node-resque's scheduler
        control.zadd("resque:delayed_queue_schedule", {second: 0})
        control.rename(f"resque:delayed:{second}", "resque:delayed:0")
        control.zadd("resque:delayed_queue_schedule", {"0": 0})
        store.promote(10)
        store.ack(Hand(store).claim(2))
        one = store.tally().queues["q"]
        assert (dict(one.counts), one.left) == ({"found": 2, "done": 2}, 0)


def test_what_a_spool_hands_over_as_resques_own_is_not_missing(scene: Scene) -> None:
    scene.minute()
    scene.spool.spool([Message("a", "q", wire.encode_bare(Job("a", "t", "q", ("x",))))])
    scene.drain()
    assert (scene.total.missing, scene.total.went, scene.total.unexplained) == (0, {"given_on": 1}, 1)
    scene.primary.ack(Hand(scene.primary).claim(1))
    assert (scene.total.missing, scene.total.unexplained) == (0, 0)


# answers that don't come, and no room


@pytest.mark.parametrize("action", ["cut_reply", "swallow", "late", "cut_before", "garbage"])
@pytest.mark.parametrize("many", [1, 3])
def test_a_put_that_is_tried_again_counts_once(server: Server, action: str, many: int) -> None:
    several = [message(f"{n}", given=True) for n in range(many)]
    with Proxy(server.port) as proxy, closing(RedisStore(proxy.url, deadline=5.0)) as store:
        store.put([message("before")], timeout=5.0)
        rule = proxy.rule(b"EVALSHA", action, delay=60.0)  # type: ignore[arg-type]

        def met() -> bool:
            with pytest.raises(StoreError):  # also where the machine was too busy for a connection in time
                store.put(several, timeout=0.3)
            return rule.fired == 1

        eventually(met, what=f"a put that meets {action}")
        proxy.heal()
        _until_it_is_done(lambda: store.put(several))
        store.put(several)
    with closing(RedisStore(server.url, deadline=5.0)) as direct:
        one = direct.tally().queues["q"]
        assert (one.ready, one.counts, one.left) == (many + 1, {"put": many + 1}, 0)


def _until_it_is_done(call: Callable[[], object]) -> None:
    for _ in range(20):
        try:
            call()
            return
        except StoreError:
            continue
    raise AssertionError("never done")


def test_a_full_server_balances_and_can_still_be_emptied(server: Server, scene: Scene) -> None:
    hand = Hand(scene.primary)
    scene.primary.put(messages("a", "b", "c", "d"))
    claims = hand.claim(2)
    with server.full():
        for several in (messages("x"), messages("y", "z")):
            with pytest.raises(StoreError):
                scene.primary.put(several)
        scene.primary.ack(claims[:1])
        scene.primary.fail(claims[1], failure(claims[1]))
        scene.primary.ack(hand.claim(1))
        total = scene.total
        assert (total.came, total.went, total.waiting, total.missing) == ({"put": 4}, {"done": 2, "failed": 1}, 1, 0)


def test_a_count_that_cant_be_kept_keeps_no_job_from_its_way(scene: Scene) -> None:
    scene.control.set("resque:spoolq:tally", "somebody else's")
    assert scene.primary.put(messages("a")) == [True]
    assert scene.primary.put(messages("b", "c")) == [True, True]
    hand = Hand(scene.primary)
    scene.primary.ack(hand.claim(3))
    assert hand.holds() == 0
