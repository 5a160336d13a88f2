"""What RedisStore leaves in Redis, key by key, and what stock Resque leaves there for it."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest

from spoolq import wire
from spoolq.errors import ConfigError, PayloadError, StaleCall, StoreFull, StoreUnavailable
from spoolq.job import Claim, Failure, Job, Message
from spoolq.store.base import WorkerInfo, Working
from spoolq.store.effects import NONE, Countdown, Effects
from spoolq.store.redis import RedisStore, encoding
from spoolq.store.redis.scripts import script
from spoolq.store.redis.transport import Injected
from tests.faults.app import at_once
from tests.proxy import Proxy
from tests.servers import Server
from tests.waiting import eventually

Control = Any


@pytest.fixture
def control(server: Server) -> Iterator[Control]:
    with server.client(decode_responses=True) as client:
        yield client


@pytest.fixture
def store(server: Server) -> Iterator[RedisStore]:
    one = RedisStore(server.url, deadline=20.0, timeout=20.0)
    yield one
    one.close()


def make_due(control: Control) -> None:
    """What is delayed is due now, in its order: however long it took to put it there."""
    for second, member in enumerate(control.zrange("resque:spoolq:delayed", 0, -1)):
        control.zadd("resque:spoolq:delayed", {member: second})


def payload(id: str, queue: str = "mail", **more: Any) -> bytes:
    return wire.encode(Job(id, "send", queue, args=(1, "é"), **more))


def message(id: str, queue: str = "mail", **more: Any) -> Message:
    return Message(id, queue, payload(id, queue), **more)


def info(key: str = "k1", queues: tuple[str, ...] = ("mail",), **more: Any) -> WorkerInfo:
    return WorkerInfo(key=key, host="box", pid=77, queues=queues, started_at=1_795_511_017.9, **more)


def keys(control: Control) -> set[str]:
    return set(control.keys("*"))


# construction


@pytest.mark.parametrize("url", ["http://x", "redis", "redis://h:port/0", "redis://h/x", "unix://", "sqlite:///jobs.db"])
def test_a_url_that_is_none_of_redis_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        RedisStore(url)


@pytest.mark.parametrize(
    "wrong", [{"namespace": ""}, {"namespace": "a b"}, {"deadline": 0}, {"timeout": -1}, {"delayed": "ruby"}]
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        RedisStore("redis://localhost", **wrong)


def test_nothing_is_connected_and_no_secret_is_shown() -> None:
    store = RedisStore("redis://me:s3cret@redis.invalid:7000/2?ssl_password=s3cret")
    assert "s3cret" not in store.address + repr(store)
    assert "redis.invalid:7000/2" in store.address
    store.close()


def test_an_injected_client_must_give_bytes() -> None:
    import fakeredis

    with pytest.raises(ConfigError, match="decode_responses"):
        RedisStore("redis://fake", client=fakeredis.FakeRedis(decode_responses=True))


def test_an_injected_client_is_asked_and_translated() -> None:
    import fakeredis

    server = fakeredis.FakeServer()
    client = fakeredis.FakeRedis(server=server)
    store = RedisStore("redis://fake", client=client, deadline=20.0, timeout=20.0)
    assert isinstance(store._transport, Injected)
    assert store.put([message("a")]) == [True]
    assert client.lrange("resque:queue:mail", 0, -1) == [payload("a")]
    server.connected = False
    with pytest.raises(StoreUnavailable) as caught:
        store.put([message("b")])
    assert caught.value.not_after > 0 or not caught.value.maybe_applied


# what a put leaves


def test_a_put_is_resques_own(store: RedisStore, control: Control) -> None:
    store.put([message("a"), message("b")])
    assert control.lrange("resque:queue:mail", 0, -1) == [payload("a").decode(), payload("b").decode()]
    assert control.smembers("resque:queues") == {"mail"}


def test_markers_go_with_the_next_put_and_at_the_end(server: Server, control: Control) -> None:
    store = RedisStore(server.url, deadline=20.0, timeout=20.0)
    for n in range(5):
        store.put([message(f"m{n}")])
        assert control.zrange("resque:spoolq:markers", 0, -1) == [f"m{n}"]
    store.put([message("x"), message("y")])
    assert set(control.zrange("resque:spoolq:markers", 0, -1)) == {"x", "y"}
    store.put([message("given", given=True)])
    store.put([message("held")], hold=True)
    store.close()
    assert set(control.zrange("resque:spoolq:markers", 0, -1)) == {"given", "held"}


def test_a_marker_is_freed_once_its_time_is_past(store: RedisStore, control: Control) -> None:
    store.put([message("old"), message("young")], hold=True)
    store.forget([("old", store.now() - 5), ("young", store.now() + 60)])
    store.put([message("z")])
    assert set(control.zrange("resque:spoolq:markers", 0, -1)) == {"young", "z"}


def test_the_script_compares_the_time_itself(store: RedisStore, control: Control) -> None:
    """Our idea of Redis's clock may be wrong; then the marker stays."""
    store.put([message("a")], hold=True)
    args = (b"5000000000.0", b"put", b"0", *encoding.effects(NONE), *encoding.frees([("a", time.time() + 60)]))
    control.eval(script("put_many").text, 1, "resque:spoolq:markers", *args)
    assert control.zcard("resque:spoolq:markers") == 1


def test_no_effects_are_written_as_they_are_counted_out() -> None:
    assert encoding.effects(NONE) == encoding.effects(Effects())


def test_a_put_of_many_queues_keeps_their_order(store: RedisStore, control: Control) -> None:
    several = [message(f"{n}", queue="ab"[n % 2]) for n in range(900)]
    assert all(store.put(several))
    for queue in "ab":
        stored = [json.loads(text)["id"] for text in control.lrange(f"resque:queue:{queue}", 0, -1)]
        assert stored == [m.id for m in several if m.queue == queue]


def test_where_a_server_cannot_look_for_many_ids_at_once_it_is_asked_one_by_one(fresh_server: Server) -> None:
    """One that is older than Redis 6.2, or forbids it."""
    several = [message(f"{n}") for n in range(450)]
    with closing(RedisStore(fresh_server.url, deadline=20.0, timeout=20.0)) as store, fresh_server.client() as control:
        control.execute_command("ACL", "SETUSER", "default", "-zmscore")
        assert sum(store.put(several[:300], hold=True)) == 300
        assert store.put(several, hold=True) == [False] * 300 + [True] * 150
        assert control.llen("resque:queue:mail") == 450


def test_an_id_twice_in_one_put_is_put_once(store: RedisStore, control: Control) -> None:
    assert store.put([message("a"), message("a"), message("b")]) == [True, False, True]
    assert control.llen("resque:queue:mail") == 2


@pytest.mark.parametrize("bad", [Message("a", "a\nb", b"{}"), Message("a\nb", "q", b"{}"), Message("a", "", b"{}")])
def test_what_the_keys_cannot_carry_is_the_jobs_own_fault(store: RedisStore, bad: Message, control: Control) -> None:
    for batch in ([bad], [message("fine"), bad]):
        with pytest.raises(PayloadError):
            store.put(batch)
    assert keys(control) == set()


def test_a_queue_of_the_wrong_type_speaks_for_itself_only(store: RedisStore, control: Control) -> None:
    control.set("resque:queue:bad", "x")
    for batch in ([message("a", queue="bad")], [message("b"), message("a", queue="bad"), message("c", queue="other")]):
        with pytest.raises(StoreUnavailable) as caught:
            store.put(batch)
        assert (caught.value.reason, caught.value.server_wide, caught.value.maybe_applied) == ("wrongtype", False, False)
    assert keys(control) == {"resque:queue:bad"}


@pytest.mark.parametrize("broken", ["resque:queues", "resque:spoolq:markers", "resque:spoolq:delayed"])
def test_a_put_that_fails_half_way_is_taken_back(store: RedisStore, control: Control, broken: str) -> None:
    control.set(broken, "no number, no set")
    batch = [message("a"), message("b"), message("c", run_at=store.now() + 60)]
    with pytest.raises(StoreUnavailable) as caught:
        store.put(batch, Effects(counters=(("other", 1), ("n", 2)), put=(message("child"),)))
    assert not caught.value.maybe_applied
    assert keys(control) == {broken}
    control.delete(broken)
    assert store.put(batch) == [True, True, True]


@pytest.mark.parametrize("total", ["abc", str(2**63 - 1)])
def test_a_counter_that_cannot_be_added_up_keeps_no_job_from_its_end(store: RedisStore, control: Control, total: str) -> None:
    control.set("resque:stat:processed", total)
    control.hset("resque:stat:failed", "no", "number")
    effects = Effects(counters=(("processed", 1), ("failed", 1), ("other", 2)))
    store.put([message(id) for id in "abcde"], effects)
    a, b, c, d = store.claim(info(), 1, ["mail"], 4).claims
    store.ack([a], effects)
    store.retry(b, payload("b", attempt=1), 0.0, effects)
    store.fail(c, Failure("c", "mail", "box:77:mail", "E", "e", (), 1.0, c.payload), effects)
    assert len(store.claim(info(), 2, ["mail"], 10, ack=[d], effects=effects).claims) == 2
    assert control.get("resque:stat:processed") == total
    assert store.counters()["other"] == 10
    assert store.failures.count() == 1


def test_the_counters_of_a_step_that_is_taken_back_are_too(store: RedisStore, control: Control) -> None:
    control.set("resque:stat:n", "abc")
    control.incrby("resque:stat:old", 40)
    never = (("v", b"", 1e30),)  # values come last, and no server can count so many milliseconds
    for effects in (
        Effects(counters=(("n", 1), ("old", 2), ("new", 3)), values=never),
        Effects(counters=(("n", 1), ("old", 2), ("new", 3)), put=(message("child"),), values=never),
    ):
        with pytest.raises(StoreUnavailable) as caught:
            store.put([message("a")], effects)
        assert not caught.value.maybe_applied
        assert keys(control) == {"resque:stat:n", "resque:stat:old"}
        assert (control.get("resque:stat:n"), control.get("resque:stat:old")) == ("abc", "40")


def test_the_countdowns_of_a_step_that_is_taken_back_are_too(store: RedisStore, control: Control) -> None:
    """Also those that were over with it, however many members they had."""

    def counted(key: str, size: int, *members: str, queue: str = "after") -> tuple[Countdown, ...]:
        then = Message(f"then-{key}", queue, b"{}", given=True)
        return tuple(Countdown(key, member, size, then, 60.0) for member in members)

    control.set("resque:queue:broken", "no list")
    store.put([], Effects(countdown=counted("b", 301, *(f"m{n}" for n in range(300)))))
    store.put([], Effects(countdown=counted("c", 3, "x")))
    step = counted("b", 301, "last") + counted("c", 3, "y") + counted("d", 1, "m", queue="broken")
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="wrongtype"):
            store.put([], Effects(countdown=step))
        assert control.scard("resque:spoolq:batch:b") == 300
        assert control.ttl("resque:spoolq:batch:b") > 0
        assert control.smembers("resque:spoolq:batch:c") == {"x"}
        assert control.keys("resque:queue:after") == control.keys("resque:spoolq:batch:d") == []
    store.put([], Effects(countdown=step[:2]))
    assert control.llen("resque:queue:after") == 1
    assert control.keys("resque:spoolq:batch:*") == ["resque:spoolq:batch:c"]


def test_a_full_server_still_refuses_a_put_of_a_counter(fresh_server: Server) -> None:
    store = RedisStore(fresh_server.url, deadline=20.0, timeout=20.0)
    with fresh_server.client() as control:
        control.config_set("maxmemory", 1)
    with pytest.raises(StoreFull):
        store.put([], Effects(counters=(("n", 1),)))
    store.close()


def test_resques_view_of_workers_is_no_condition_of_work(store: RedisStore, control: Control) -> None:
    control.set("resque:workers", "no set")
    store.register(info())
    store.put([message("a"), message("b")])
    one, two = store.claim(info(lease=0.05), 1, ["mail"], 2).claims
    store.heartbeat(info(lease=0.05), [Working(0, one, 1.0)])
    store.ack([one])
    rescuer = WorkerInfo("r", "box2", 1, ("mail",))
    (taken,) = eventually(lambda: store.rescue(rescuer, 10))
    assert taken.payload == two.payload
    assert [view.info.key for view in store.workers()] == ["r"]
    store.ack([taken])
    store.unregister(rescuer)
    assert control.get("resque:workers") == "no set"


@pytest.mark.parametrize("broken", ["resque:queues", "resque:spoolq:markers"])
def test_a_put_of_one_that_fails_half_way_is_taken_back(store: RedisStore, control: Control, broken: str) -> None:
    control.set(broken, "no set")
    with pytest.raises(StoreUnavailable) as caught:
        store.put([message("a")])
    assert (caught.value.reason, caught.value.maybe_applied) == ("wrongtype", False)
    assert keys(control) == {broken}


def test_a_forbidden_key_speaks_for_itself_only(fresh_server: Server) -> None:
    with fresh_server.client() as control:
        control.execute_command(
            "ACL", "SETUSER", "u", "on", ">p", "+@all", "~resque:queue:mail", "~resque:queues", "~resque:spoolq:*"
        )
        store = RedisStore(fresh_server.url.replace("redis://", "redis://u:p@"), deadline=20.0, timeout=20.0)
        assert store.put([message("a")]) == [True]
        with pytest.raises(StoreUnavailable) as caught:
            store.put([message("b", queue="other")])
        assert (caught.value.reason, caught.value.server_wide, caught.value.maybe_applied) == ("noperm", False, False)
        with pytest.raises(StoreUnavailable) as caught:
            store.put([message("b"), message("c", queue="other")])
        assert (caught.value.server_wide, caught.value.maybe_applied) == (False, False)
        assert control.llen("resque:queue:mail") == 1
        store.close()


def test_an_undo_that_fails_is_unknown(fresh_server: Server) -> None:
    """The push is allowed, the mark isn't, and neither is taking the push back."""
    with fresh_server.client() as control:
        control.execute_command("ACL", "SETUSER", "u", "on", ">p", "~*", "+@all", "-zadd", "-rpop")
        store = RedisStore(fresh_server.url.replace("redis://", "redis://u:p@"), deadline=20.0, timeout=20.0)
        for batch in ([message("a")], [message("b"), message("c")]):
            with pytest.raises(StoreUnavailable) as caught:
                store.put(batch)
            assert (caught.value.reason, caught.value.maybe_applied) == ("undo", True)
            assert caught.value.not_after > 0
        store.close()


@pytest.fixture
def may_not_pop(fresh_server: Server) -> Iterator[RedisStore]:
    """A user who may push, and not take a push back."""
    with fresh_server.client() as control:
        control.execute_command("ACL", "SETUSER", "u", "on", ">p", "~*", "+@all", "-rpop")
    store = RedisStore(fresh_server.url.replace("redis://", "redis://u:p@"), deadline=20.0, timeout=20.0)
    yield store
    store.close()


def test_ready_refuses_a_user_who_could_not_take_back_a_push(may_not_pop: RedisStore, fresh_server: Server) -> None:
    """Found out by the put of an id that is there, else: in the middle of a replay."""
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="rpop") as caught:
            may_not_pop.ready(5.0)
        assert (caught.value.reason, caught.value.server_wide, caught.value.maybe_applied) == ("noperm", True, False)
    may_not_pop.put([message("a"), message("b")])  # what is left of the probes goes with it, in time
    with fresh_server.client() as control:
        control.execute_command("ACL", "SETUSER", "u", "+rpop")
        may_not_pop.ready(5.0)
        assert control.llen("resque:spoolq:probe") == 0


def test_an_id_that_is_there_is_not_pushed_by_a_replay_whatever_the_user_may_not(
    may_not_pop: RedisStore, fresh_server: Server
) -> None:
    given = message("g")._replace(given=True)
    for one, hold in ((message("a"), True), (given, False)):
        assert may_not_pop.put([one], hold=hold) == [True]
        for _ in range(3):
            assert may_not_pop.put([one], hold=hold) == [False]
    with fresh_server.client() as control:
        assert control.llen("resque:queue:mail") == 2


def test_a_push_that_could_not_be_taken_back_is_known_to_the_next_attempt(fresh_server: Server) -> None:
    """Pushed and marked; the queue's name is refused, and so is the way back. The replay must not push it again."""
    with fresh_server.client() as control:
        for number, forbidden in enumerate(("-rpop", "-zrem")):
            one = message(f"a{number}")
            control.execute_command("ACL", "SETUSER", "u", "reset", "on", ">p", "~*", "+@all", "-sadd", forbidden)
            store = RedisStore(fresh_server.url.replace("redis://", "redis://u:p@"), deadline=20.0, timeout=20.0)
            with pytest.raises(StoreUnavailable) as caught:
                store.put([one])
            assert (caught.value.reason, caught.value.server_wide, caught.value.maybe_applied) == ("undo", True, True)
            assert control.llen("resque:queue:mail") == number + 1
            assert store.put([one], hold=True) == [False]
            store.close()


def test_ready_leaves_nothing_behind(store: RedisStore, control: Control) -> None:
    assert abs(store.ready(40.0) - time.time()) < 10
    assert keys(control) == set()


def test_ready_fails_as_a_put_would(fresh_server: Server) -> None:
    with fresh_server.client() as control:
        control.execute_command("ACL", "SETUSER", "u", "on", ">p", "~*", "+@all", "-rpush")
    store = RedisStore(fresh_server.url.replace("redis://", "redis://u:p@"))
    with pytest.raises(StoreUnavailable) as caught:
        store.ready(5.0)
    assert (caught.value.reason, caught.value.server_wide) == ("noperm", True)
    store.close()


def test_a_replica_refuses(start_server: Callable[..., Server]) -> None:
    main, copy = start_server(), start_server()
    with copy.client() as control:
        control.execute_command("REPLICAOF", "127.0.0.1", main.port)
        eventually(lambda: control.info("replication")["master_link_status"] == "up")
    store = RedisStore(copy.url, deadline=20.0, timeout=20.0)
    for call in (lambda: store.put([message("a")]), lambda: store.put([message("a"), message("b")]), lambda: store.ready(5.0)):
        with pytest.raises(StoreUnavailable) as caught:
            call()
        assert (caught.value.reason, caught.value.server_wide, caught.value.maybe_applied) == ("readonly", True, False)
    with pytest.raises(StoreUnavailable, match="readonly"):
        store.claim(info(), 1, ["mail"], 1)
    store.close()


def test_too_few_replicas(start_server: Callable[..., Server]) -> None:
    store = RedisStore(start_server(min_replicas_to_write=1).url, deadline=20.0, timeout=20.0)
    with pytest.raises(StoreUnavailable) as caught:
        store.put([message("a")])
    assert (caught.value.reason, caught.value.server_wide, caught.value.maybe_applied) == ("noreplicas", True, False)
    store.close()


def test_a_payload_larger_than_the_server_takes(fresh_server: Server) -> None:
    with fresh_server.client() as control:
        control.config_set("proto-max-bulk-len", str(1 << 20))
    store = RedisStore(fresh_server.url, deadline=20.0, timeout=20.0)
    store.put([message("warm")])
    with pytest.raises(StoreUnavailable) as caught:
        store.put([Message("big", "mail", b"x" * (8 << 20))])
    assert caught.value.reason in ("too_large", "cut")  # a reset may overtake the server's reply
    assert caught.value.reason != "too_large" or (not caught.value.maybe_applied and not caught.value.server_wide)
    store.close()


def test_scripts_that_the_server_forgot_are_sent_again(store: RedisStore, control: Control) -> None:
    store.put([message("a")])
    for n in range(2):
        control.script_flush()
        assert store.put([message(f"b{n}")]) == [True]
        control.script_flush()
        assert store.put([message(f"c{n}"), message(f"d{n}")]) == [True, True]
    control.script_flush()
    assert len(store.claim(info(), 1, ["mail"], 10).claims) == 7


# after the server was stopped: nothing is applied late


def test_a_put_abandoned_by_a_stopped_server_is_never_applied(server: Server, control: Control) -> None:
    store = RedisStore(server.url)
    store.put([message("warm")], timeout=40.0)
    server.stop()
    try:
        for batch in ([message("one")], [message("two"), message("three")]):
            before = store.now()
            with at_once(1.0 + 1.0), pytest.raises(StoreUnavailable) as caught:
                store.put(batch, timeout=1.0)
            # the second finds no warm connection and isn't sent at all
            assert caught.value.reason in ("timeout", "connect_timeout")
            assert caught.value.maybe_applied == (caught.value.reason == "timeout")
            assert not caught.value.maybe_applied or before < caught.value.not_after < store.now() + 1.001
        eventually(lambda: store.now() > caught.value.not_after + 0.05)
    finally:
        server.cont()
    store.ready(40.0)
    assert control.llen("resque:queue:mail") == 1
    store.close()


def test_without_its_time_the_abandoned_put_would_be_applied(server: Server, control: Control) -> None:
    """The control of the test above: the same, with a not-after far away."""
    store = RedisStore(server.url)
    store.put([message("warm")], timeout=40.0)
    server.stop()
    try:
        with pytest.raises(StoreUnavailable) as caught:
            store.put([message("zombie")], timeout=1.0, not_after=store.now() + 60)
        assert caught.value.maybe_applied
    finally:
        server.cont()
    eventually(lambda: control.llen("resque:queue:mail") == 2)
    store.close()


def test_a_claim_abandoned_by_a_stopped_server_takes_nothing(server: Server, control: Control) -> None:
    store = RedisStore(server.url, deadline=20.0, timeout=20.0)
    store.put([message("a")])
    store.register(info())
    server.stop()
    try:
        with pytest.raises(StoreUnavailable) as caught:
            store.claim(info(), 1, ["mail"], 1, timeout=1.0)
        assert caught.value.maybe_applied
        eventually(lambda: store.now() > caught.value.not_after + 0.05)
    finally:
        server.cont()
    assert store.heartbeat(info()) == 0
    assert control.llen("resque:queue:mail") == 1
    with pytest.raises(StaleCall):
        _late(store)
    store.close()


def _late(store: RedisStore) -> None:
    store._clock.offset = (store._clock.offset or 0) - 60  # as if Redis's clock had been set forward by a minute
    store.claim(info(), 2, ["mail"], 1)


def test_a_clock_that_was_set_costs_one_refusal(server: Server) -> None:
    store = RedisStore(server.url, deadline=20.0, timeout=20.0)
    store.put([message("a")])
    store._clock.offset = (store._clock.offset or 0) - 60
    with pytest.raises(StoreUnavailable) as caught:
        store.put([message("b")])
    assert (caught.value.reason, caught.value.maybe_applied, caught.value.server_wide) == ("late", False, False)
    assert store.put([message("b")], not_after=time.time() + 30) == [True]
    assert store.put([message("c")]) == [True]
    store.close()


# what one answer carries

MIB = 1 << 20


def sized(id: str, size: int, queue: str = "mail") -> Message:
    return Message(id, queue, id.encode().ljust(size, b"."))


def names(claims: Iterable[Claim]) -> list[str]:
    return [claim.payload.rstrip(b".").decode() for claim in claims]


@pytest.fixture
def queued(store: RedisStore) -> list[str]:
    """Jobs of every size: as many small ones as make a large answer, and some that are larger than an answer should be."""
    several = [
        *(sized(f"s{n}", 20_000) for n in range(60)),
        sized("half", MIB // 2),
        sized("most", MIB),
        sized("giant", 3 * MIB),
        *(sized(f"t{n}", 100) for n in range(40)),
        sized("large", 900_000),
        *(sized(f"u{n}", 700_000, "low") for n in range(3)),
    ]
    for one in several:
        store.put([one])
    return [one.id for one in several]


def test_a_claim_is_bounded_in_bytes_and_says_that_there_is_more(store: RedisStore, queued: list[str]) -> None:
    got: list[str] = []
    for call in range(1, 99):
        claimed = store.claim(info(), call, ["mail", "low"], 1000)
        assert store.claim(info(), call, ["mail", "low"], 1000) == claimed
        assert len(claimed.claims) == 1 or sum(len(claim.payload) for claim in claimed.claims) <= MIB
        got += names(claimed.claims)
        if not claimed.more:
            break
    assert got == queued
    assert call < 12
    assert {depth.queue: (depth.ready, depth.claimed) for depth in store.depths()} == {"mail": (0, 104), "low": (0, 3)}


def test_a_claim_of_many_bytes_that_fails_half_way_puts_all_of_them_back_in_order(
    store: RedisStore, queued: list[str], control: Control
) -> None:
    before = control.lrange("resque:queue:mail", 0, -1)
    control.set("resque:spoolq:leases", "no set")
    with pytest.raises(StoreUnavailable):
        store.claim(info(), 1, ["mail"], 1000)
    assert control.lrange("resque:queue:mail", 0, -1) == before
    assert not control.exists("resque:spoolq:claims:k1")


def test_a_rescue_is_bounded_in_bytes_and_the_rest_comes_with_the_next(store: RedisStore, queued: list[str]) -> None:
    dead, call = info("dead", lease=0.05), 0
    while store.claim(dead, call := call + 1, ["mail", "low"], 1000).claims:
        pass
    rescuer = WorkerInfo("r", "box2", 1, ("mail",))
    got: list[str] = []
    taken = eventually(lambda: store.rescue(rescuer, 1000))
    while taken:
        assert len(taken) == 1 or sum(len(claim.payload) for claim in taken) <= MIB + 100 * len(taken)
        got += names(taken)
        taken = store.rescue(rescuer, 1000)
    assert sorted(got) == sorted(queued)


def test_one_script_promotes_a_bounded_number_of_bytes_and_the_call_all_that_is_due(store: RedisStore, control: Control) -> None:
    several = [sized(f"s{n:02}", 20_000) for n in range(30)] + [sized(f"t{n}", 600_000) for n in range(3)] + [sized("u", 3 * MIB)]
    at = store.ready(5.0) + 3600.0
    for n, one in enumerate(several):
        store.put([one._replace(run_at=at + n)])
    for n in range(3):
        control.zadd("resque:delayed_queue_schedule", {str(1000 + n): 1000 + n})
        control.rpush(f"resque:delayed:{1000 + n}", json.dumps({"class": "A", "queue": "foreign", "args": [n, "x" * 600_000]}))
    control.set("resque:queue:bad", "no list")
    for n in range(3):
        store.put([sized(f"bad{n}", MIB, "bad")._replace(run_at=at)])
    make_due(control)

    def one_script() -> tuple[int, int]:
        moved, _, more = control.eval(script("promote").text, 1, "resque:spoolq:markers", 500, 3600, "me")
        return moved, more

    assert [one_script() for _ in range(3)] == [(0, 1)] * 3  # each meets one of those that can't be moved
    moved, more = one_script()
    sizes = [len(text) for text in control.lrange("resque:queue:mail", 0, -1)]
    assert (moved, more) == (len(sizes), 1)
    assert 0 < sum(sizes) <= MIB
    control.delete("resque:resque_scheduler_leader_lock")
    assert store.promote(500) == len(several) + 3 - moved
    assert [text.rstrip(".") for text in control.lrange("resque:queue:mail", 0, -1)] == [one.id for one in several]
    assert control.llen("resque:queue:foreign") == 3
    assert {depth.queue: depth.scheduled for depth in store.depths()} == {"bad": 3, "foreign": 0, "mail": 0}


def test_a_promotion_stops_at_its_limit(store: RedisStore, control: Control) -> None:
    at = store.ready(5.0) + 3600.0
    for n in range(50):
        store.put([sized(f"{n}", 300_000)._replace(run_at=at)])
    make_due(control)
    assert [store.promote(20) for _ in range(4)] == [20, 20, 10, 0]


def test_depths_of_many_queues_and_large_heads_come_in_pieces(server: Server, control: Control) -> None:
    with Proxy(server.port) as proxy:
        store = RedisStore(f"redis://127.0.0.1:{proxy.port}", deadline=20.0, timeout=20.0)
        for n in range(450):
            control.sadd("resque:queues", f"q{n:03}")
            control.rpush(f"resque:queue:q{n:03}", payload("a", enqueued_at=store.ready(5.0) - 50).decode(), "b")
        for n in range(4):
            big = wire.encode(Job("a", "t", f"big{n}", ("x" * MIB,), enqueued_at=store.now() - 100), max_bytes=4 * MIB)
            store.put([Message(f"big{n}", f"big{n}", big)])
        control.set("resque:queue:bad", "no list")
        control.sadd("resque:queues", "bad")
        control.hset("resque:spoolq:counts", mapping={"c:gone": 2, "s:q007": 3})
        sent = proxy.rule(script("depths").sha, "late", times=-1, delay=0.0)
        found = {depth.queue: depth for depth in store.depths()}
        assert list(found) == sorted(found)
        assert len(found) == 456
        assert found["q449"].ready == 2
        assert found["q449"].oldest == pytest.approx(50, abs=20)
        assert found["big3"].oldest == pytest.approx(100, abs=20)
        assert (found["q007"].scheduled, found["gone"].claimed, found["gone"].ready, found["bad"].ready) == (3, 2, 0, 0)
        assert sent.fired >= 6  # each large head by itself, the others 200 at a time
        store.close()


def test_reconciling_fetches_only_what_is_not_known_and_that_in_pieces(server: Server) -> None:
    with Proxy(server.port) as proxy:
        store = RedisStore(f"redis://127.0.0.1:{proxy.port}", deadline=20.0, timeout=20.0)
        for number in range(1, 7):
            store.put([sized(f"j{number}", 600_000)])
        held = [store.claim(info(), number, ["mail"], 1).claims[0] for number in range(1, 7)]
        fetched = proxy.rule(b"HMGET", "late", times=-1, delay=0.0)
        listed = store.reconcile(info(), 7, [claim.token for claim in held])
        assert [claim.token for claim in listed] == [claim.token for claim in held]
        assert fetched.fired == 0
        assert store.reconcile(info(), 8) == tuple(held)
        assert fetched.fired == 6  # two of them would be more than one answer should carry
        some = {claim.token: claim for claim in store.reconcile(info(), 9, [claim.token for claim in held[:4]])}
        assert some.keys() == {claim.token for claim in held}
        assert [some[claim.token] for claim in held[4:]] == held[4:]
        store.close()


# workers in Resque's own view


def test_a_worker_is_seen_as_resque_sees_it(store: RedisStore, control: Control) -> None:
    worker = info(threads=2, queues=("mail", "low"))
    store.register(worker)
    assert control.smembers("resque:workers") == {"box:77:mail,low", "box:77+1:mail,low"}
    assert control.get("resque:worker:box:77:mail,low:started") == "1795511017"
    assert control.get("resque:worker:box:77:mail,low") is None
    assert not [key for key in keys(control) if "ping" in key or key == "resque:workers:heartbeat"]


def test_what_a_thread_works_on_is_recorded_and_ends_with_the_claim(store: RedisStore, control: Control) -> None:
    worker = info(threads=2)
    store.put([message("a"), message("b")])
    first, second = store.claim(worker, 1, ["mail"], 2).claims
    since = 1_795_511_017.0
    assert store.heartbeat(worker, [Working(0, first, since), Working(1, second, since)]) == 2
    record = json.loads(control.get("resque:worker:box:77:mail"))
    assert record == {"run_at": record["run_at"], "queue": "mail", "worker": "box:77", "payload": json.loads(payload("a"))}
    assert json.loads(control.get("resque:worker:box:77+1:mail"))["payload"]["id"] == "b"
    store.ack([first])
    assert control.get("resque:worker:box:77:mail") is None
    assert control.get("resque:worker:box:77+1:mail") is not None
    assert [working.claim for working in store.workers()[0].working] == [second]
    assert store.heartbeat(worker) == 1
    assert control.get("resque:worker:box:77+1:mail") is None


def test_what_async_tasks_are_shown_to_work_on_goes_with_the_worker(store: RedisStore, control: Control) -> None:
    worker = info(threads=1)
    store.put([message("a")])
    claims = store.claim(worker, 1, ["mail"], 1).claims
    store.heartbeat(worker, [Working(7, claims[0], 1_795_511_017.0)])
    assert control.get("resque:worker:box:77+7:mail") is not None
    store.unregister(worker)
    assert not [key for key in keys(control) if key.startswith("resque:worker:")]


def test_a_record_that_somebody_removed_comes_back(store: RedisStore, control: Control) -> None:
    store.put([message("a")])
    (claim,) = store.claim(info(), 1, ["mail"], 1).claims
    for _ in range(2):
        store.heartbeat(info(), [Working(0, claim, 1.0)])
        assert control.delete("resque:worker:box:77:mail") == 1


@pytest.mark.parametrize(
    ("facts", "working"),
    [
        ('{"host":5,"pid":"x","queues":["q",5],"lease":"long"}', "[]"),
        (
            '{"host":"h","pid":1,"queues":["q"],"started_at":1e300,"lease":1e999}',
            '[[0,"nocolons",1],[0,"t",1e999],[1e999,"t",1]]',
        ),
        ("[]", '[[0,"\\ud800",1]]'),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_workers_and_depths_are_shown_whatever_stands_in_their_records(
    store: RedisStore, control: Control, facts: str, working: str
) -> None:
    """`health` would have nothing to say."""
    control.zadd("resque:spoolq:leases", {"w": float("inf"), b"\xff": float("-inf")})
    control.hset("resque:spoolq:worker:w", mapping={"facts": facts, "working": working})
    control.hset("resque:spoolq:claims:w", "nocolons", "q\n{}")
    control.hset("resque:spoolq:counts", mapping={"s:mail": "x", "c:mail": "9" * 5000})
    held = {view.info.key: view.claims for view in store.workers()}
    assert held == {"w": 1, "\ufffd": 0}
    assert all(math.isfinite(number) for view in store.workers() for number in (view.lease_left, view.info.lease))
    assert [(depth.scheduled, depth.claimed) for depth in store.depths()] == [(0, 0)]


@pytest.mark.parametrize("value", ["--5", "-", "1.5", "9" * 5000])
def test_a_counter_that_is_no_number_is_left_out(store: RedisStore, control: Control, value: str) -> None:
    control.set("resque:stat:other", value)
    control.set("resque:stat:processed", -3)
    assert dict(store.counters()) == {"processed": -3}


def test_an_unreadable_payload_is_claimed_and_has_no_record(store: RedisStore, control: Control) -> None:
    control.rpush("resque:queue:mail", "no json \xff")
    (claim,) = store.claim(info(), 1, ["mail"], 1).claims
    store.heartbeat(info(), [Working(0, claim, 1.0)])
    assert control.get("resque:worker:box:77:mail") is None


def test_an_unregistered_worker_leaves_nothing(store: RedisStore, control: Control) -> None:
    store.put([message("a")])
    (claim,) = store.claim(info(), 1, ["mail"], 1).claims
    names = ("processed", "processed:box:77", "processed:box:77:mail")
    store.ack([claim], Effects(counters=tuple((name, 1) for name in names)))
    assert not store.wait(info(), ["mail"], 0.02)
    store.unregister(info())
    assert keys(control) == {"resque:queues", "resque:stat:processed", "resque:spoolq:markers", "resque:spoolq:tally"}
    assert dict(store.counters()) == {"processed": 1}


def test_a_dead_worker_is_cleared_away_with_its_rescue(store: RedisStore, control: Control) -> None:
    store.put([message("a")])
    dead = info("dead", lease=0.05)
    (claim,) = store.claim(dead, 1, ["mail"], 1).claims
    store.heartbeat(dead, [Working(0, claim, 1.0)])
    rescuer = WorkerInfo("r", "box2", 1, ("mail",))
    (taken,) = eventually(lambda: store.rescue(rescuer, 10))
    assert (taken.queue, taken.payload, taken.worker) == ("mail", payload("a"), "r")
    assert control.smembers("resque:workers") == {"box2:1:mail"}
    assert not [key for key in keys(control) if "box:77" in key or ":dead" in key]


def test_a_rescue_that_fails_half_way_leaves_the_claims_with_the_dead(store: RedisStore, control: Control) -> None:
    """Else they were the rescuer's, who doesn't know of them: given back, no attempt counted, and a job that kills its worker
    would do so for ever."""
    store.put([message("a"), message("b")])
    for key in ("dead1", "dead2"):
        assert store.claim(info(key, lease=0.05), 1, ["mail"], 1).claims
    control.rename("resque:spoolq:claims:dead2", "aside")
    control.set("resque:spoolq:claims:dead2", "no hash")
    rescuer = WorkerInfo("r", "box2", 1, ("mail",))
    eventually(lambda: store.now() > max(score for key, score in control.zscan_iter("resque:spoolq:leases")))
    with pytest.raises(StoreUnavailable, match="wrongtype") as caught:
        store.rescue(rescuer, 10)
    assert not caught.value.maybe_applied
    assert (control.hlen("resque:spoolq:claims:dead1"), control.hlen("resque:spoolq:claims:r")) == (1, 0)
    control.rename("aside", "resque:spoolq:claims:dead2")
    assert {claim.payload for claim in store.rescue(rescuer, 10)} == {payload("a"), payload("b")}


def test_records_that_can_not_be_removed_leave_no_job_with_the_dead(store: RedisStore, control: Control) -> None:
    store.put([message("a")])
    assert store.claim(info("dead", lease=0.05), 1, ["mail"], 1).claims
    control.set("resque:spoolq:idle:mail", "no set")
    rescuer = WorkerInfo("r", "box2", 1, ("other",))
    (taken,) = eventually(lambda: store.rescue(rescuer, 10))
    assert taken.payload == payload("a")
    control.delete("resque:spoolq:idle:mail")
    assert store.rescue(rescuer, 10) == []
    assert not [key for key in keys(control) if "box:77" in key or ":dead" in key]


def test_a_lease_from_before_the_servers_clock_was_set_back_ends_with_its_length(store: RedisStore, control: Control) -> None:
    store.put([message("a")])
    assert store.claim(info("dead", lease=0.05), 1, ["mail"], 1).claims
    control.zadd("resque:spoolq:leases", {"dead": store.now() + 7200})  # as the clock had it before it was set back by two hours
    alive = WorkerInfo("alive", "box3", 1, ("mail",), lease=60.0)
    store.register(alive)
    rescuer = WorkerInfo("r", "box2", 1, ("mail",))
    (taken,) = eventually(lambda: store.rescue(rescuer, 10))
    assert taken.payload == payload("a")
    assert control.zscore("resque:spoolq:leases", "alive") > store.now() + 50


def test_a_queue_of_the_wrong_type_does_not_keep_a_worker_from_the_others(store: RedisStore, control: Control) -> None:
    control.set("resque:queue:bad", "x")
    store.put([message("a")])
    assert len(store.claim(info(), 1, ["bad", "mail"], 5).claims) == 1
    with pytest.raises(StoreUnavailable, match="wrongtype"):
        store.claim(info(), 2, ["bad", "mail"], 5)


def test_stock_entries_and_payloads_are_claimed_as_they_are(store: RedisStore, control: Control) -> None:
    texts = [
        '{"class":"Add","args":[1,{"a":"b\\/c","n":null},1.0]}',
        '{"class":"add","queue":"other","args":[12345678901234567]}',
        "[]",
    ]
    control.rpush("resque:queue:math", *texts)
    claims = store.claim(info(queues=("math",)), 1, ["math"], 5).claims
    assert [claim.payload.decode() for claim in claims] == texts
    assert {claim.queue for claim in claims} == {"math"}
    store.release(claims)
    assert control.lrange("resque:queue:math", 0, -1) == texts


def test_a_failure_is_resques_own_entry(store: RedisStore, control: Control) -> None:
    store.put([message("a")])
    (claim,) = store.claim(info(), 1, ["mail"], 1).claims
    failure = Failure("a", "mail", "box:77:mail", "ValueError", "boom", ("line",), 1_795_511_017.0, claim.payload)
    store.fail(claim, failure)
    (entry,) = control.lrange("resque:failed", 0, -1)
    assert json.loads(entry)["payload"] == json.loads(payload("a"))
    assert store.failures.retry(["a"]) == 1
    (again,) = control.lrange("resque:queue:mail", 0, -1)
    assert json.loads(again)["run"] == 1
    assert control.llen("resque:failed") == 0


def test_a_failure_of_a_stock_worker_can_be_retried(store: RedisStore, control: Control) -> None:
    control.rpush(
        "resque:failed", '{"worker":"h:1","queue":"math","payload":{"class":"add","args":[1]},"exception":"E","error":"x"}'
    )
    (failure,) = store.failures.page()
    assert store.failures.retry([failure.id]) == 1
    assert json.loads(control.lindex("resque:queue:math", 0))["class"] == "add"
    assert control.sismember("resque:queues", "math")


# later


def test_delayed_jobs_wait_in_our_own_set(store: RedisStore, control: Control) -> None:
    at = store.now() + 3600
    store.put([message("a", run_at=at)])
    assert control.zscore("resque:spoolq:delayed", f"mail\na\n{payload('a').decode()}") == pytest.approx(at, abs=1e-5)
    assert control.exists("resque:delayed_queue_schedule") == 0
    assert [(depth.queue, depth.scheduled) for depth in store.depths()] == [("mail", 1)]


def test_equal_payloads_under_two_ids_are_two_jobs(store: RedisStore, control: Control) -> None:
    at = store.now() + 3600
    store.put([Message("a", "mail", b"{}", at), Message("b", "mail", b"{}", at)])
    assert control.zcard("resque:spoolq:delayed") == 2


def test_with_delayed_resque_they_wait_as_node_writes_them(server: Server, control: Control) -> None:
    store = RedisStore(server.url, deadline=20.0, timeout=20.0, delayed="resque")
    at = int(store.now()) + 100
    text = '{"class":"t","queue":"mail","args":[]}'
    store.put([Message("a", "mail", text.encode(), at - 0.25)])
    assert control.lrange(f"resque:delayed:{at}", 0, -1) == [text]
    assert control.smembers(f"resque:timestamps:{text}") == {f"delayed:{at}"}
    assert control.zrange("resque:delayed_queue_schedule", 0, -1, withscores=True) == [(str(at), at)]
    store.put([message("now", run_at=store.now() - 1)])
    assert control.llen("resque:queue:mail") == 1
    store.close()


def test_what_others_delayed_keeps_its_id_where_a_worker_or_drainer_has_delayed_resque(server: Server, control: Control) -> None:
    """Resque's schedulers keep three fields: its id, what follows it and its batch would be lost there."""
    store, at = RedisStore(server.url, deadline=20.0, timeout=20.0, delayed="resque"), time.time() + 3600
    store.put([message("a", run_at=at), message("b")])
    later = [message(id, run_at=at) for id in ("c", "d")]
    one = info()
    claimed = store.claim(one, 1, ("mail",), 1).claims
    store.ack(claimed, Effects(put=(later[0],), countdown=(Countdown("batch", "b", 1, later[1], 60.0),)))
    assert control.exists("resque:delayed_queue_schedule") == 0
    assert [json.loads(job.payload)["id"] for job in store.waiting_jobs.page(scheduled=True)[0]] == ["a", "c", "d"]
    store.close()


def delayed(control: Control, at: int, *texts: str) -> None:
    """As node-resque's enqueueAt."""
    for text in texts:
        control.rpush(f"resque:delayed:{at}", text)
        control.sadd(f"resque:timestamps:{text}", f"delayed:{at}")
        control.zadd("resque:delayed_queue_schedule", {str(at): at})


@pytest.mark.parametrize("key", ["resque:delayed_queue_schedule", "resque:resque_scheduler_leader_lock"])
def test_a_schedule_or_lock_that_is_none_holds_up_no_job_of_ours(store: RedisStore, control: Control, key: str) -> None:
    """Its scheduler would look again after ten seconds, not after one."""
    control.hset(key, "somebody", "else's")
    store.ready(5.0)
    store.put([message("a", run_at=store.now() + 0.5)])
    eventually(lambda: store.promote(10) == 1)
    assert store.promote(10) == 0


@pytest.mark.parametrize("key", ["spoolq:batch:b", "spoolq:guard:g", "lock:t:mail:[]", "workerslock:t:mail:[]"])
def test_a_key_of_a_job_s_effects_that_holds_something_else_keeps_it_from_no_end(
    store: RedisStore, control: Control, key: str
) -> None:
    """Its worker would try again for as long as it lives, and the next one after it."""
    store.put([message("a"), message("b")])
    one = info()
    first, second = store.claim(one, 1, ("mail",), 2).claims
    control.delete(f"resque:{key}")
    control.hset(f"resque:{key}", "somebody", "else's")
    guards = ("g", "lock:t:mail:[]", "workerslock:t:mail:[]")
    store.retry(first, first.payload, 0.0, Effects(acquire=tuple((guard, "a", 60.0) for guard in guards)))
    then = Effects(countdown=(Countdown("b", "b", 1, message("then"), 60.0),), release=tuple((guard, "b") for guard in guards))
    store.ack([second], then)
    assert [json.loads(text)["id"] for text in control.lrange("resque:queue:mail", 0, -1)] == ["a", "then"]


def test_resques_own_delayed_jobs_are_promoted_as_they_are(store: RedisStore, control: Control) -> None:
    texts = ['{"class":"add","queue":"math","args":[1,2]}', '{"class":"Add","args":[],"queue":"math","x":12345678901234567}']
    delayed(control, int(time.time()) - 5, *texts)
    later = int(time.time()) + 500
    delayed(control, later, texts[0])
    assert store.promote(10) == 2
    assert control.lrange("resque:queue:math", 0, -1) == texts
    assert control.smembers(f"resque:timestamps:{texts[0]}") == {f"delayed:{later}"}
    assert control.zrange("resque:delayed_queue_schedule", 0, -1) == [str(later)]
    assert control.smembers("resque:queues") == {"math"}


@pytest.mark.parametrize(
    "text", ['{"class":"x","args":[]}', '{"queue":""}', '{"queue":7}', "no json", "null", "[1]", '{"queue":"a\\nb"}']
)
def test_a_delayed_job_without_a_queue_is_not_lost(store: RedisStore, control: Control, text: str) -> None:
    delayed(control, 5, text)
    assert store.promote(10) == 1
    assert control.lrange("resque:queue:default", 0, -1) == [text]


def test_promotion_is_bounded_and_goes_on(store: RedisStore, control: Control) -> None:
    delayed(control, 5, *(f'{{"queue":"q","n":{n}}}' for n in range(7)))
    store.put([message(f"d{n}", run_at=store.now() + 3600) for n in range(7)])
    make_due(control)
    assert [store.promote(5) for _ in range(4)] == [5, 5, 4, 0]
    assert (control.llen("resque:queue:mail"), control.llen("resque:queue:q")) == (7, 7)
    assert control.exists("resque:spoolq:delayed", "resque:delayed_queue_schedule", "resque:delayed:5") == 0


def test_a_promotion_into_a_queue_that_cannot_be_written_waits(store: RedisStore, control: Control) -> None:
    control.set("resque:queue:bad", "x")
    delayed(control, 5, '{"queue":"bad"}', '{"queue":"good"}')
    control.zadd("resque:spoolq:delayed", {"bad\nid\n{}": 5, "good\nid\n{}": 6})
    store.promote(10)
    assert control.lrange("resque:queue:good", 0, -1) == ["{}", '{"queue":"good"}']
    assert control.zcard("resque:spoolq:delayed") == 2


def test_what_fails_after_a_promotion_takes_back_nothing_of_it(store: RedisStore, control: Control) -> None:
    """A queue whose name were taken back would be one that no worker of `*` looks into."""
    store.put([message("a", run_at=store.now() + 3600)])
    make_due(control)
    control.delete("resque:queues")
    control.set("resque:spoolq:markers", "no set")
    with pytest.raises(StoreUnavailable, match="wrongtype"):
        store.promote(10)
    assert control.smembers("resque:queues") == {"mail"}
    assert [(depth.queue, depth.ready, depth.scheduled) for depth in store.depths()] == [("mail", 1, 0)]


@pytest.mark.parametrize("resque", [True, False])
def test_a_promotion_that_fails_half_way_is_taken_back(resque: bool, store: RedisStore, control: Control) -> None:
    if resque:
        delayed(control, 5, '{"queue":"mail"}')
    else:
        store.put([message("a", run_at=store.now() + 3600)])
        make_due(control)
        control.delete("resque:queues")
    control.set("resque:queues", "no set")
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="wrongtype") as caught:
            store.promote(10)
        assert not caught.value.maybe_applied
        assert control.llen("resque:queue:mail") == 0
    control.delete("resque:queues")
    assert store.promote(10) == 1
    assert store.promote(10) == 0
    assert control.llen("resque:queue:mail") == 1
    assert control.smembers("resque:queues") == {"mail"}
    assert [(depth.ready, depth.scheduled) for depth in store.depths()] == [(1, 0)]


def test_only_the_leader_promotes_resques_jobs(store: RedisStore, server: Server, control: Control) -> None:
    control.set("resque:resque_scheduler_leader_lock", "node-host:1", ex=180)
    delayed(control, 5, '{"queue":"q"}')
    assert store.promote(10) == 0
    control.delete("resque:resque_scheduler_leader_lock")
    assert store.promote(10) == 1
    assert 0 < control.ttl("resque:resque_scheduler_leader_lock") <= 180
    other = RedisStore(server.url, deadline=20.0, timeout=20.0)
    delayed(control, 6, '{"queue":"q"}')
    assert other.promote(10) == 0
    other.close()
    assert control.exists("resque:resque_scheduler_leader_lock")
    control.expire("resque:resque_scheduler_leader_lock", 5)
    assert store.promote(10) == 1
    assert control.ttl("resque:resque_scheduler_leader_lock") > 5
    store.close()
    assert not control.exists("resque:resque_scheduler_leader_lock")


def test_a_lock_that_is_no_longer_ours_is_left_alone(store: RedisStore, control: Control) -> None:
    store.promote(1)
    control.set("resque:resque_scheduler_leader_lock", "node-host:1")
    store.close()
    assert control.get("resque:resque_scheduler_leader_lock") == "node-host:1"


def test_dangling_timestamps_are_swept(store: RedisStore, control: Control) -> None:
    later = int(time.time()) + 500
    delayed(control, later, '{"queue":"q"}')
    control.sadd('resque:timestamps:{"queue":"q"}', "delayed:1", "delayed:2")
    control.sadd("resque:timestamps:gone", "delayed:1")
    store.promote(1)
    assert control.smembers('resque:timestamps:{"queue":"q"}') == {f"delayed:{later}"}
    assert not control.exists("resque:timestamps:gone")


def test_markers_past_the_horizon_are_swept(server: Server, control: Control) -> None:
    store = RedisStore(server.url, deadline=20.0, timeout=20.0, horizon=3600)
    control.zadd("resque:spoolq:markers", {f"old{n}": time.time() - 3700 for n in range(450)})
    control.zadd("resque:spoolq:markers", {"young": time.time() - 3500})
    store.promote(1)
    assert control.zrange("resque:spoolq:markers", 0, -1) == ["young"]
    store.close()


# waiting


@pytest.fixture
def no_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits is woken or isn't: it doesn't look by itself after a second."""
    monkeypatch.setattr("spoolq.store.redis.idling.LOOK", 60.0)


@pytest.mark.usefixtures("no_looks")
def test_one_idle_worker_is_woken_for_one_job(server: Server, control: Control) -> None:
    store = RedisStore(server.url, deadline=20.0, timeout=20.0)
    woken: list[str] = []

    def wait(key: str) -> None:
        with suppress(StoreUnavailable):
            if store.wait(info(key), ["mail"], 60.0):
                woken.append(key)
                store.claim(info(key), 1, ["mail"], 1)

    threads = [threading.Thread(target=wait, args=(f"w{n}",)) for n in range(3)]
    for n in range(3):
        store.register(info(f"w{n}"))
        threads[n].start()
    eventually(lambda: control.scard("resque:spoolq:idle:mail") == 3 and control.info("clients")["blocked_clients"] == 3)
    store.put([message("a")])
    eventually(lambda: len(woken) == 1)
    eventually(lambda: control.info("clients")["blocked_clients"] == 2, what="the others, who go on waiting")
    control.client_kill_filter(_type="normal", skipme=True)
    for thread in threads:
        thread.join()
    assert len(woken) == 1
    store.close()


@pytest.mark.usefixtures("no_looks")
@pytest.mark.parametrize("way", ["put", "put_many", "retry", "release", "promote", "failures"])
def test_every_way_into_a_queue_wakes(store: RedisStore, control: Control, way: str) -> None:
    other = info("other")
    store.put([message("a"), message("b")])
    claims = store.claim(other, 1, ["mail"], 2).claims
    store.fail(claims[1], Failure("b", "mail", "w", "E", "x", (), 1.0, claims[1].payload))
    control.zadd("resque:spoolq:delayed", {"mail\nid\n{}": 5})
    store.register(info("sleeper"))
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(store.wait(info("sleeper"), ["low", "mail"], 40.0)))
    thread.start()
    eventually(lambda: control.info("clients")["blocked_clients"] == 1)
    {
        "put": lambda: store.put([message("x")]),
        "put_many": lambda: store.put([message("x"), message("y")]),
        "retry": lambda: store.retry(claims[0], claims[0].payload, 0.0),
        "release": lambda: store.release([claims[0]]),
        "promote": lambda: store.promote(1),
        "failures": lambda: store.failures.retry(["b"]),
    }[way]()
    thread.join()
    assert answers == [True]


def test_what_a_stock_producer_pushes_is_seen_within_a_second_or_so(store: RedisStore, control: Control) -> None:
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(store.wait(info(), ["mail"], 60.0)))
    thread.start()
    eventually(lambda: control.info("clients")["blocked_clients"] == 1)
    control.rpush("resque:queue:mail", "{}")
    thread.join(40.0)
    assert answers == [True]


def test_wake_lists_never_grow(store: RedisStore, control: Control) -> None:
    """Of a worker that is idle by its word only: it died, or is busy again."""
    store.register(info())
    store.wait(info(), ["mail", "low"], 0.01)
    for n in range(20):
        store.put([message(f"m{n}")])
        store.put([message(f"l{n}", queue="low"), message(f"k{n}", queue="low")])
    assert control.llen("resque:spoolq:wake:k1") == 1
    assert 0 < control.ttl("resque:spoolq:wake:k1") <= 60
    assert control.exists("resque:spoolq:idle:mail", "resque:spoolq:idle:low") == 0


@pytest.mark.usefixtures("no_looks")
def test_a_dead_worker_swallows_no_wake(store: RedisStore, control: Control) -> None:
    control.sadd("resque:spoolq:idle:mail", *(f"ghost{n}" for n in range(10)))
    store.register(info("alive"))
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(store.wait(info("alive"), ["mail"], 40.0)))
    thread.start()
    eventually(lambda: control.info("clients")["blocked_clients"] == 1)
    store.put([message("a")])
    thread.join()
    assert answers == [True]
    assert not [key for key in keys(control) if "wake:ghost" in key]


def test_a_queue_that_appears_wakes_all_who_wait_for_that_once(store: RedisStore, control: Control) -> None:
    for name in ("w1", "w2"):
        store.register(info(name, ("*",)))
        assert store.wait(info(name, ("*",)), [], 0.01, appear=True) is False
    control.sadd("resque:spoolq:idle:*", "ghost")
    store.put([message("a", "new")])
    assert [control.llen(f"resque:spoolq:wake:{name}") for name in ("w1", "w2", "ghost")] == [1, 1, 0]
    assert control.exists("resque:spoolq:idle:*") == 0
    assert store.wait(info("w1", ("*",)), [], 0.01, appear=True) is False
    store.put([message("b", "new")])
    store.put([message("c", "new"), message("d", "new")])
    store.ready(5.0)
    assert control.exists("resque:spoolq:idle:*") == 1, "a queue that was there, and a probe's, are nothing new"
    store.put([message("e", "newer"), message("f", "new")])
    assert control.llen("resque:spoolq:wake:w1") == 1


@pytest.mark.parametrize("end", ["unregister", "rescue"])
def test_one_that_waited_for_patterns_leaves_nothing_behind(store: RedisStore, control: Control, end: str) -> None:
    store.put([message("a", "bulk_1"), message("b", "bulk_2")])
    mine = info("w1", ("bulk_*", "!slow"), lease=0.1)
    store.register(mine)
    assert store.wait(mine, ["absent"], 0.01, appear=True) is False
    control.sadd("resque:spoolq:idle:bulk_1", "w1")  # as it waited when that was empty
    if end == "unregister":
        store.unregister(mine)
    else:
        eventually(lambda: store.rescue(info("w2"), 10) == [] and not control.exists("resque:spoolq:worker:w1"))
    assert control.exists("resque:spoolq:idle:bulk_1", "resque:spoolq:idle:*") == 0


def test_queues_whose_names_no_claim_can_carry_are_left_out(store: RedisStore, control: Control) -> None:
    control.sadd("resque:queues", "mail", "a:b", "Ä", b"\xff", "a\nb", "")
    assert sorted(store.queues()) == ["a:b", "mail", "Ä"]


def test_a_claim_ends_the_idleness(store: RedisStore, control: Control) -> None:
    store.register(info())
    store.wait(info(), ["mail", "low"], 0.01)
    assert control.exists("resque:spoolq:idle:low") == 1
    store.claim(info(), 1, ["mail", "low"], 1)
    assert control.exists("resque:spoolq:idle:mail", "resque:spoolq:idle:low") == 0


def test_an_acknowledgement_alone_does_not(store: RedisStore, control: Control) -> None:
    """Another thread of the worker waits on: it would sleep through the next job."""
    store.put([message("a")])
    claims = store.claim(info(), 1, ["mail"], 5).claims
    store.wait(info(), ["mail"], 0.01)
    store.claim(info(), 2, ["mail"], 0, ack=claims)
    assert control.exists("resque:spoolq:idle:mail") == 1


def test_a_claim_beside_a_wait_that_begins_leaves_it_to_be_noted_by_the_next(
    store: RedisStore, control: Control, monkeypatch
) -> None:
    store.register(info())
    real = store._idling._scripted

    def and_then_a_claim(name: str, args: list[bytes]) -> int:
        answer = real(name, args)
        store.claim(info(), 1, ["mail"], 1)  # of the worker's other thread, before this one has read its answer
        return answer

    monkeypatch.setattr(store._idling, "_scripted", and_then_a_claim)
    assert store.wait(info(), ["mail"], 0.01) is False
    monkeypatch.undo()
    assert control.exists("resque:spoolq:idle:mail") == 0
    assert store.wait(info(), ["mail"], 0.01) is False
    assert control.exists("resque:spoolq:idle:mail") == 1


@pytest.mark.usefixtures("no_looks")
def test_a_worker_is_noted_anew_once_redis_was_away(store: RedisStore, control: Control) -> None:
    store.register(info())
    assert store.wait(info(), ["mail"], 0.01) is False
    errors: list[StoreUnavailable] = []

    def wait() -> None:
        try:
            store.wait(info(), ["mail"], 40.0)
        except StoreUnavailable as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    eventually(lambda: control.info("clients")["blocked_clients"] == 1)
    control.flushall()  # as one that begins anew, and keeps nothing
    control.client_kill_filter(_type="normal", skipme=True)
    thread.join()
    assert errors
    assert store.wait(info(), ["mail"], 0.01) is False
    assert control.exists("resque:spoolq:idle:mail") == 1


# namespaces


@pytest.mark.parametrize("namespace", ["{resque}", "a:b", "odd*[x]?"])
def test_any_namespace(server: Server, control: Control, namespace: str) -> None:
    store = RedisStore(server.url, namespace=namespace, deadline=20.0, timeout=20.0)
    control.sadd(f"{namespace}:timestamps:x", "delayed:1")
    store.put([message("a")], Effects(counters=(("seen", 1),)))
    store.put([message("b")])
    store.promote(1)
    assert dict(store.counters()) == {"seen": 1}
    assert len(store.claim(info(), 1, ["mail"], 5).claims) == 2
    store.close()
    assert {key for key in keys(control) if not key.startswith(f"{namespace}:")} == set()
    assert not control.exists(f"{namespace}:timestamps:x")
