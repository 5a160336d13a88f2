"""The drainer against a real spool and a primary that answers as told. Real faults are in tests/faults and tests/torture."""

import os
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from spoolq.breaker import Breaker
from spoolq.drain import Drainer
from spoolq.errors import StoreFull, StoreUnavailable, WorkerDied
from spoolq.job import Job, Member, Message
from spoolq.store.base import DRAIN_PAUSED, DRAINED_AT, Life, WorkerInfo
from spoolq.store.effects import NONE, RELAY, Countdown, Effects
from spoolq.store.events import STALE, Away
from spoolq.store.looking import Load
from spoolq.store.sqlite import SQLiteStore
from spoolq.wire import message
from tests.clock import Clock

REFUSED = StoreUnavailable("Redis refused at localhost:1", reason="refused")
NO_ANSWER = StoreUnavailable("no answer", reason="timeout", maybe_applied=True, not_after=1.0)
CUT = StoreUnavailable("the connection was cut", reason="cut", maybe_applied=True, not_after=1.0)
LATE = StoreUnavailable("came too late", reason="late", server_wide=False)


class Primary:
    """Has an idempotent put. `bad` ids are refused for their own sake, `cut` ids cut the connection."""

    def __init__(self) -> None:
        self.has: list[str] = []
        self.markers: set[str] = set()
        self.batches: list[int] = []
        self.refusals: list[StoreUnavailable | None] = []
        self.probes: list[StoreUnavailable | None] = []
        self.loads: list[Load] = []
        self.bad: set[str] = set()
        self.cut: set[str] = set()
        self.forgotten: list[tuple[str, float]] = []
        self.effects: list[Effects] = []

    def ready(self, timeout: float) -> float:
        if self.probes and (error := self.probes.pop(0)) is not None:
            raise error
        return self.now()

    def load(self, timeout: float, *, memory: bool = False) -> Load:
        return self.loads.pop(0) if self.loads else Load(0.0001)

    def life(self, timeout: float) -> Life:
        return Life("run", "line", len(self.has))

    def now(self) -> float:
        return time.time()

    def put(self, messages: list[Message], effects: Effects = NONE, **options: Any) -> list[bool]:
        assert options["hold"]
        assert options["not_after"] > time.time()
        if self.refusals and (error := self.refusals.pop(0)) is not None:
            raise error
        ids = {m.id for m in messages}
        if ids & self.cut:
            raise CUT
        if ids & self.bad:
            raise StoreUnavailable("WRONGTYPE", reason="wrongtype", server_wide=False)
        self.batches.append(len(messages))
        self.effects += [effects] * bool(effects)
        new = [m.id not in self.markers for m in messages]
        self.has += [m.id for m, fresh in zip(messages, new, strict=True) if fresh]
        self.markers |= ids
        return new

    def forget(self, ids: Sequence[tuple[str, float]]) -> None:
        self.forgotten += ids


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "spool.db", role="spool", min_free=0, timeout=20.0)
    yield store
    store.close()


@pytest.fixture
def primary() -> Primary:
    return Primary()


WHO = WorkerInfo("drainer-1", "host", 1, (), kind="drainer")


def drainer(spool: SQLiteStore, primary: Primary, who: WorkerInfo = WHO, **options: Any) -> Drainer:
    return Drainer(spool, cast(Any, primary), Breaker(), who, rng=random.Random(1), **options)


def fill(spool: SQLiteStore, count: int, **options: Any) -> list[str]:
    jobs = [Job(f"j{n:04}", "t", f"q{n % 3}", (n,), enqueued_at=1.0, **options) for n in range(count)]
    spool.spool([message(job) for job in jobs])
    return [job.id for job in jobs]


def local_rows(spool: SQLiteStore) -> set[bytes]:
    """What a local worker may take."""
    worker = WorkerInfo("local", "host", 2, ("q0", "q1", "q2"))
    claims = spool.claim(worker, 1, worker.queues, 1000).claims
    spool.release(claims)
    spool.unregister(worker)
    return {claim.payload for claim in claims}


def no_wait(delay: float) -> None:
    """Waits for nothing: a drainer that needs time to pass would spin, and the test's time-out would tell."""


def test_every_row_arrives_in_order_once_and_its_marker_may_go(spool, primary):
    ids = fill(spool, 700)
    done = drainer(spool, primary).run_once(wait=no_wait)
    assert primary.has == ids
    assert (done.moved, done.already_there, done.error, spool.waiting()) == (700, 0, None, 0)
    assert [id for id, _ in primary.forgotten] == ids
    assert all(not_after > time.time() for _, not_after in primary.forgotten)


def test_batches_begin_small_and_grow_to_the_limit(spool, primary):
    fill(spool, 700)
    drainer(spool, primary, batch=200).run_once(wait=no_wait)
    assert primary.batches == [25, 25, 50, 100, 200, 200, 100]


def test_a_drainer_gets_out_of_the_way_when_others_have_to_wait(spool, primary):
    """What it does with each measurement stands in test_pace."""
    fill(spool, 700)
    primary.loads = [*[Load(0.0001)] * 4, *[Load(0.3)] * 3]
    drainer(spool, primary, batch=200).run_once(wait=no_wait)
    assert primary.batches[:7] == [25, 25, 50, 100, 50, 25, 25]


def test_the_memory_of_a_primary_that_is_nearly_full_is_left_to_live_traffic(spool, primary):
    ids = fill(spool, 10)
    primary.loads = [Load(0.0001, 91, 100), Load(0.0001, 91, 100), Load(0.0001, 80, 100)]
    one = drainer(spool, primary)
    assert one.turn() > 0
    assert one.progress.error is not None
    assert one.progress.error.reason == "headroom"
    assert "91 % full" in str(one.progress.error)
    assert one._breaker.allows(), "live traffic goes there as before"
    assert len(local_rows(spool)) == 10, "nothing was claimed"
    one.run_once(60.0, wait=no_wait)
    assert primary.has == ids


def test_an_operators_pause_is_kept_in_the_spool_and_obeyed_by_every_drainer(spool, primary):
    ids = fill(spool, 10)
    spool.set_meta(DRAIN_PAUSED, "1700000000")
    one = drainer(spool, primary)
    done = one.run_once(wait=no_wait)
    assert (done.rows, done.left, primary.has) == (0, 10, [])
    assert "paused since 2023-11-14 22:13:20 UTC" in str(done.error)
    assert "spoolq drain resume" in str(done.error)
    assert len(local_rows(spool)) == 10
    spool.set_meta(DRAIN_PAUSED, None)
    assert one.run_once(wait=no_wait).error is None
    assert primary.has == ids


def test_a_drainer_that_is_held_moves_nothing_until_it_may_go_on(spool, primary):
    ids = fill(spool, 120)
    waits: list[float] = []
    one = drainer(spool, primary)
    one.hold()

    def wait(delay: float) -> None:
        waits.append(delay)
        if delay > 60:
            assert primary.has == []
            one.hold(False)

    done = one.run_once(wait=wait)
    assert max(waits) > 60, "held for longer than its timeout, which counts outages only"
    assert (done.error, primary.has) == (None, ids)


def test_jobs_for_later_leave_the_host_now(spool, primary):
    fill(spool, 3, run_at=4e9)
    drainer(spool, primary).run_once(wait=no_wait)
    assert len(primary.has) == 3


def test_a_given_id_keeps_its_marker(spool, primary):
    fill(spool, 2, given=True)
    drainer(spool, primary).run_once(wait=no_wait)
    assert primary.forgotten == []


def test_nothing_is_claimed_while_the_primary_does_not_answer(spool, primary):
    fill(spool, 10)
    primary.probes = [REFUSED, REFUSED]
    one = drainer(spool, primary)
    assert 0.1 <= one.turn() <= 5.1
    assert one.progress.error is REFUSED
    assert spool.info().in_doubt == 0
    assert len(local_rows(spool)) == 10


def test_what_surely_was_not_applied_is_given_back_to_local_workers(spool, primary):
    fill(spool, 10)
    for refusal in (REFUSED, StoreFull("OOM"), LATE):
        primary.refusals = [refusal]
        drainer(spool, primary).turn()
        assert len(local_rows(spool)) == 10, refusal


def test_what_may_have_been_applied_stays_in_doubt_and_arrives_once(spool, primary):
    ids = fill(spool, 10)
    primary.refusals = [NO_ANSWER]
    one = drainer(spool, primary)
    one.turn()
    assert local_rows(spool) == set()
    primary.markers |= set(ids[:4])  # these had been applied before the answer was lost
    done = one.run_once(60.0, wait=no_wait)
    assert primary.has == ids[4:]
    assert (done.moved, done.already_there, spool.waiting()) == (6, 4, 0)


def test_a_row_refused_for_its_own_sake_is_found_by_halving_and_set_aside(spool, primary, caplog):
    ids = fill(spool, 40)
    primary.bad = {ids[7], ids[30]}
    done = drainer(spool, primary).run_once(wait=no_wait)
    assert sorted(primary.has) == sorted(set(ids) - primary.bad)
    assert (done.quarantined, spool.info().quarantined, spool.waiting()) == (2, 2, 0)
    assert "refused by Redis for its own sake" in caplog.text


def test_a_row_that_cuts_the_connection_each_time_does_not_block_those_behind_it(spool, primary):
    ids = fill(spool, 20)
    primary.cut = {ids[5]}
    done = drainer(spool, primary).run_once(1e9, wait=no_wait)
    assert sorted(primary.has) == sorted(set(ids) - primary.cut)
    assert (done.quarantined, spool.waiting()) == (1, 0)


def test_the_rest_of_a_halved_batch_is_given_back_when_the_primary_goes_away(spool, primary):
    ids = fill(spool, 8)
    primary.bad = {ids[0]}
    primary.refusals = [None, None, REFUSED]  # the whole; its first half; then away
    drainer(spool, primary).turn()
    assert spool.info().claimed == 0
    assert len(local_rows(spool)) == 8


def test_an_expired_job_is_dropped_and_counted(spool, primary):
    fill(spool, 3, expires_at=10.0)
    done = drainer(spool, primary).run_once(wait=no_wait)
    assert (done.expired, primary.has, spool.waiting(), spool.counters()["expired"]) == (3, [], 0, 3)
    assert Counter(name.split("\t")[2] for name in done.counts.totals()) == {"expired": 3}  # each of another queue


def test_word_is_left_of_when_rows_were_last_handed_over(spool, primary):
    drainer(spool, primary).run_once(wait=no_wait)
    assert spool.meta(DRAINED_AT) is None  # an empty spool is no success
    fill(spool, 2)
    one = drainer(spool, primary, wall=lambda: 1_700_000_000.0)
    one.run_once(wait=no_wait)
    assert spool.meta(DRAINED_AT) == "1700000000.000"
    fill(spool, 1)
    primary.refusals = [REFUSED]
    drainer(spool, primary, wall=lambda: 1_800_000_000.0).turn()
    assert spool.meta(DRAINED_AT) == "1700000000.000"


@pytest.mark.parametrize(("ago", "empties"), [(4.0, True), (90.0, False), (-3600.0, False), (None, False)])
def test_a_spool_tells_whether_rows_leave_it(spool, ago, empties):
    fill(spool, 1)
    spool.set_meta(DRAINED_AT, None if ago is None else f"{spool.now() - ago:.3f}")
    assert spool.info().empties is empties


def relay(spool: SQLiteStore, *members: str, size: int = 10) -> Effects:
    """These members of a batch have ended here. Returns what the primary is to be told."""
    then = message(Job("then", "t", "q0", given=True))
    counted = Effects(countdown=tuple(Countdown("b", member, size, then, 60.0) for member in members))
    spool.put([], counted)
    return counted


def test_what_is_no_job_happens_in_the_primary_together_with_the_jobs_around_it(spool, primary):
    first = fill(spool, 1)
    counted = relay(spool, "m1", "m2")
    done = drainer(spool, primary).run_once(wait=no_wait)
    assert (primary.has, primary.effects, primary.batches) == (first, [counted], [1])
    assert (done.moved, done.quarantined, spool.waiting()) == (3, 0, 0)
    assert [id for id, _ in primary.forgotten] == first


def test_it_is_sent_alone_and_again_also_when_it_was_in_doubt_for_long(tmp_path, primary):
    """It does no harm where it happened already."""
    now = [1000.0]
    spool = SQLiteStore(tmp_path / "old.db", role="spool", min_free=0, clock=lambda: now[0], timeout=20.0)
    counted = relay(spool, "m1")
    primary.refusals = [NO_ANSWER]
    one = drainer(spool, primary)
    one.turn()
    now[0] += 6.5 * 86_400
    one.run_once(60.0, wait=no_wait)
    assert (primary.effects, spool.waiting(), one.progress.quarantined) == ([counted], 0, 0)
    spool.close()


@pytest.mark.parametrize(
    "payload",
    [
        b'{"dance":[[]]}',
        b'{"put":[[5]]}',
        b'{"countdown":[5]}',
        b"[]",
        b"[" * 100_000,
        b'{"class":"t","queue":"spoolq:relay","args":[{"bytes":5}],"id":"x"}',
    ],
)
def test_what_is_no_effects_or_of_a_newer_spoolq_is_set_aside_and_holds_up_nobody(spool, primary, payload):
    spool.put([Message("\tb\tm", RELAY, payload)])
    ids = fill(spool, 3)
    done = drainer(spool, primary).run_once(wait=no_wait)
    assert (primary.has, done.quarantined, spool.info().quarantined) == (ids, 1, 1)


def test_a_member_of_a_batch_that_expires_here_has_ended_where_all_that_have_ended_count(spool, primary):
    then = Job("then", "t", "q0")
    for on in ("success", "complete"):
        spool.spool([message(Job(on, "t", "q0", expires_at=1.0, batch=Member("b", 2, on, then)))])
    done = drainer(spool, primary).run_once(wait=no_wait)
    assert (done.expired, primary.has) == (2, [])
    assert [one.member for effects in primary.effects for one in effects.countdown] == ["complete"]


def test_an_expired_member_in_doubt_ends_where_it_may_have_been_counted_already(spool, primary):
    """With the others, which were: here, it could call back once more."""
    job = Job("m", "t", "q0", expires_at=1.0, batch=Member("b", 1, "complete", Job("then", "t", "q0")))
    spool.spool([message(job)], not_after=time.time())
    done = drainer(spool, primary).run_once(wait=no_wait)
    assert (done.expired, primary.has, spool.waiting()) == (0, ["m"], 0)


def test_an_expired_job_in_doubt_leaves_what_the_primary_says_of_its_end(spool, primary):
    """It may have run there in time."""
    job = Job("m", "t", "q0", expires_at=1.0, track=60.0, result=True)
    spool.spool([message(job)], not_after=time.time())
    done = drainer(spool, primary).run_once(wait=no_wait)
    assert (done.expired, primary.has, spool.counters()) == (0, ["m"], {})
    assert not [key for effects in primary.effects for key, _, _ in effects.values if key == "job:m"]


def test_a_row_in_doubt_for_almost_the_horizon_is_set_aside_not_sent(tmp_path, primary):
    now = [1000.0]
    spool = SQLiteStore(tmp_path / "old.db", role="spool", min_free=0, clock=lambda: now[0], timeout=20.0)
    spool.spool([Message("doubtful", "q", b"{}")], not_after=5.0)
    spool.spool([Message("plain", "q", b"{}")])
    now[0] += 6.5 * 86_400
    done = drainer(spool, primary).run_once(wait=no_wait)
    assert primary.has == ["plain"]
    assert (done.quarantined, spool.info().quarantined) == (1, 1)
    spool.close()


def test_two_drainers_at_once_deliver_each_row_once(spool, primary):
    ids = fill(spool, 300)
    pair = [drainer(spool, primary, replace(WHO, key=f"drainer-{n}")) for n in range(2)]
    while spool.waiting():
        for one in pair:
            one.turn()
    assert sorted(primary.has) == ids


def test_ids_that_the_spool_need_not_remember_any_more_are_swept_while_there_is_nothing_to_do(tmp_path, primary):
    """They count for its size limit, and no outage may come for long in which local workers would sweep them."""
    now = [1000.0]
    spool = SQLiteStore(tmp_path / "spool.db", role="spool", min_free=0, remember=60.0, clock=lambda: now[0], timeout=20.0)
    ids = fill(spool, 600)
    here = WorkerInfo("local", "host", 2, ("q0", "q1", "q2"))
    spool.ack(spool.claim(here, 1, here.queues, 1000).claims)
    one = drainer(spool, primary)

    def remembered() -> int:
        return int(spool._run(lambda session: session.scalar("SELECT count(*) FROM settled"), writes=False))

    one.turn()
    assert (remembered(), spool.recall(ids[:1])) == (600, ["ran"])
    now[0] += 61
    one.turn()
    assert 0 < remembered() < 600  # a bounded number: others want the file as well
    one.turn()
    assert remembered() == 0
    spool.close()


def test_a_drainer_that_died_after_the_put_leaves_rows_that_another_finds_already_there(tmp_path, primary):
    now = [1000.0]
    spool = SQLiteStore(tmp_path / "spool.db", role="spool", min_free=0, clock=lambda: now[0], timeout=20.0)
    ids = fill(spool, 5)
    dead = replace(WHO, key="dead", lease=10.0)
    handoffs = spool.take(dead, 10, 1 << 20, time.time() + 5)
    primary.put([h.message for h in handoffs], hold=True, not_after=time.time() + 5)
    heir = drainer(spool, primary)
    assert heir.turn() > 0  # its lease is not over
    now[0] += 11
    done = heir.run_once(wait=no_wait)
    assert (done.moved, done.already_there, spool.waiting(), primary.has) == (0, 5, 0, ids)
    assert sum(n for name, n in done.counts.totals().items() if name.endswith("\talready_there")) == 5
    spool.close()


@pytest.mark.parametrize("verb", ["take", "give_back", "handed_over"])
@pytest.mark.parametrize("keeps_its_name", [False, True])
def test_rows_that_a_drainer_lost_sight_of_are_sent_when_its_lease_is_over(tmp_path, primary, monkeypatch, verb, keeps_its_name):
    """The disk was slow, and the answer of one step did not come in time. The control, a drainer that goes on under its name,
    keeps them claimed for as long as it lives."""
    now = [1000.0]
    spool = SQLiteStore(tmp_path / "spool.db", role="spool", min_free=0, clock=lambda: now[0], timeout=20.0)
    ids = fill(spool, 5)
    one = drainer(spool, primary, replace(WHO, lease=10.0))
    real = getattr(spool, verb)

    def unanswered(*args, **options):
        if verb != "give_back":
            real(*args, **options)
        raise StoreUnavailable("the disk has not answered", reason="timeout", maybe_applied=True)

    if verb == "give_back":
        primary.refusals = [REFUSED]
    if verb == "handed_over":
        real = lambda *given, **options: None  # noqa: E731
    monkeypatch.setattr(spool, verb, unanswered)
    with pytest.raises(StoreUnavailable, match="the disk"):
        one.turn()
    monkeypatch.undo()
    assert one._breaker.allows()  # the spool's fault isn't the primary's
    if keeps_its_name:
        one._worker = replace(WHO, lease=10.0)
    for _ in range(6):
        now[0] += 6
        one.turn()
    sent = ids if verb == "handed_over" or not keeps_its_name else []
    assert (sorted(primary.has), spool.waiting()) == (sent, 5 if keeps_its_name else 0)
    spool.close()


def test_a_dead_local_workers_rows_are_sent_with_the_crash_counted(tmp_path, primary):
    now = [1000.0]
    spool = SQLiteStore(tmp_path / "spool.db", role="spool", min_free=0, clock=lambda: now[0], timeout=20.0)
    [id] = fill(spool, 1)
    spool.put([Message("foreign", "q0", b"no job")])
    local = WorkerInfo("local", "host", 2, ("q0",), lease=10.0)
    assert len(spool.claim(local, 1, local.queues, 10).claims) == 2
    one = drainer(spool, primary)
    assert one.turn() > 0
    assert (primary.has, spool.waiting()) == ([], 2)  # it lives still
    now[0] += 11
    sent: list[Message] = []
    put = primary.put
    primary.put = lambda messages, *more, **options: sent.extend(messages) or put(messages, *more, **options)
    one.run_once(wait=no_wait)
    assert {m.id: m.payload for m in sent} == {
        id: b'{"class":"t","queue":"q0","args":[0],"id":"j0000","enqueued_at":1,"crashes":1,"history":[{"n":1,"at":1011,'
        b'"exception":"WorkerDied","error":"%b"}]}' % str(WorkerDied()).encode(),
        "foreign": b"no job",
    }
    assert spool.waiting() == 0
    spool.close()


def test_the_rate_is_kept(spool, primary):
    fill(spool, 200)
    waits, clock = list[float](), Clock()

    def wait(delay: float) -> None:
        waits.append(delay)
        clock.later(delay)

    drainer(spool, primary, rate=100.0, batch=50, clock=clock).run_once(wait=wait)
    assert sum(waits) == pytest.approx(200 / 100 - 0.5, abs=0.5)


def test_run_once_gives_up_after_its_timeout_and_says_why(spool, primary):
    fill(spool, 1)
    primary.probes = [REFUSED] * 100
    now = [0.0]

    def wait(delay: float) -> None:
        now[0] += delay

    one = drainer(spool, primary, clock=lambda: now[0])
    done = one.run_once(3.0, wait=wait)
    assert done.error is REFUSED
    assert done.left == 1
    assert now[0] == pytest.approx(3.0, abs=0.01)
    assert spool.waiting() == 1


def test_what_comes_in_after_the_spool_was_seen_empty_is_not_left_over(spool, primary, monkeypatch):
    fill(spool, 3)
    waiting = spool.waiting

    def one_comes_in(limit: int | None = None) -> int:
        found = waiting(limit)
        if not found:
            spool.spool([Message("late", "mail", b"{}")])
        return int(found)

    monkeypatch.setattr(spool, "waiting", one_comes_in)
    assert drainer(spool, primary).run_once(wait=no_wait).left == 0
    assert waiting() == 1


def test_stop_ends_it_between_batches(spool, primary):
    fill(spool, 500)
    one = drainer(spool, primary)
    one.run_once(wait=no_wait, report=lambda progress: one.stop())
    assert primary.batches == [31]
    assert spool.info().claimed == 0


def test_closing_waits_until_the_ids_of_the_last_puts_may_go_unless_it_was_stopped(spool, primary):
    fill(spool, 3)
    waits: list[float] = []
    one = drainer(spool, primary, timeout=2.0)
    began = time.monotonic()
    one.run_once(wait=no_wait)
    one.close(waits.append)
    [waited] = waits
    assert 2.59 - (time.monotonic() - began) <= waited <= 2.61, "what is left of it"
    one.stop()
    one.close(waits.append)
    assert len(waits) == 1


@pytest.mark.parametrize("options", [{"batch": 0}, {"batch": 10_001}, {"rate": 0.0}, {"rate": -1.0}])
def test_wrong_options_are_refused_at_once(spool, primary, options):
    with pytest.raises(ValueError, match=r"batch=|rate="):
        drainer(spool, primary, **options)


def test_an_outage_that_begins_when_nothing_is_left_is_no_reason_to_end(spool, primary, monkeypatch):
    def forget(ids: object) -> None:
        raise REFUSED

    monkeypatch.setattr(primary, "forget", forget)
    assert drainer(spool, primary).turn() > 0


# at full speed: the next rows are taken while the primary is busy with those before


def at_full_speed(spool: SQLiteStore, primary: Primary) -> tuple[Drainer, list[str]]:
    """A drainer of batches of 10 that has taken the next already, and what it has still to put."""
    ids = fill(spool, 100)
    one = drainer(spool, primary, batch=10)
    one._pace.pause = lambda *measured: 0.0  # type: ignore[method-assign]  # however slow this computer is
    while spool.info().claimed < 20:  # the last, whose rows are still there, and the next
        one.turn()
    return one, ids[len(primary.has) :]


def test_what_the_primary_has_is_deleted_as_the_next_is_taken(spool, primary, monkeypatch):
    one, left = at_full_speed(spool, primary)
    alone: list[int] = []
    real = spool.handed_over
    monkeypatch.setattr(
        spool, "handed_over", lambda done, *more, **options: alone.append(len(done)) or real(done, *more, **options)
    )
    monkeypatch.setattr(spool, "take", None)
    ids = primary.has + left
    done = one.run_once(wait=no_wait)
    assert (primary.has, done.moved, spool.waiting(), alone) == (ids, 100, 0, [10])
    assert [id for id, _ in primary.forgotten] == ids


@pytest.mark.parametrize("error", [REFUSED, LATE, NO_ANSWER])
def test_what_was_taken_and_not_sent_is_given_back_when_the_primary_goes_away(spool, primary, error):
    one, left = at_full_speed(spool, primary)
    primary.refusals = [error]
    one.turn()
    assert (one.progress.error, spool.info().claimed, spool.waiting()) == (error, 0, len(left))
    assert len(local_rows(spool)) == len(left) - 10 * error.maybe_applied
    one.run_once(60.0, wait=no_wait)
    assert primary.has[-len(left) :] == left


@pytest.mark.parametrize("word", ["probe", "load", "pause", "hold", "leave", "stop"])
def test_what_was_taken_and_not_sent_is_given_back_when_it_does_not_go_on(spool, primary, word):
    one, left = at_full_speed(spool, primary)
    if word == "probe":
        one._breaker.failed("refused", "gone")
        primary.probes = [REFUSED]
    primary.loads = [Load(0.0001, 99, 100)] if word == "load" else []
    one._room.seen(*((0, 0, -1e9) if word == "load" else (None, None, 1e18)))
    if word == "pause":
        spool.set_meta(DRAIN_PAUSED, "1700000000")
    if word == "hold":
        one.hold()
    if word == "stop":
        one.stop()
        one.run_once(wait=no_wait)
    elif word == "leave":
        one.leave()
    else:
        assert one.turn() > 0
    assert (spool.info().claimed, spool.waiting(), len(local_rows(spool))) == (0, len(left), len(left))


def test_what_was_taken_long_ago_is_taken_anew(spool, primary, monkeypatch):
    """Its time would be short for a put."""
    one, left = at_full_speed(spool, primary)
    sent: list[float] = []
    put, now = primary.put, time.time() + 1.5
    monkeypatch.setattr(primary, "now", lambda: now)
    monkeypatch.setattr(primary, "put", lambda *given, **more: sent.append(more["timeout"]) or put(*given, **more))
    one.turn()
    assert (sent, primary.has[-10:]) == ([pytest.approx(2.0)], left[:10])


def test_where_others_have_the_rest_what_the_primary_has_is_deleted(spool, primary, monkeypatch):
    one, left = at_full_speed(spool, primary)
    now = time.time() + 1.5
    monkeypatch.setattr(primary, "now", lambda: now)
    monkeypatch.setattr(spool, "take", lambda *given: [])
    one.turn()
    assert (spool.info().claimed, spool.waiting()) == (0, len(left))


def test_when_it_is_killed_after_the_answer_the_next_finds_them_there(tmp_path, primary):
    now = [1000.0]
    with closing(SQLiteStore(tmp_path / "spool.db", role="spool", min_free=0, clock=lambda: now[0], timeout=20.0)) as spool:
        _, left = at_full_speed(spool, primary)
        ids = primary.has + left
        now[0] += 31
        done = drainer(spool, primary, replace(WHO, key="heir")).run_once(wait=no_wait)
        assert (primary.has, done.moved, done.already_there, spool.waiting()) == (ids, len(left), 10, 0)


@pytest.mark.parametrize("does", ["turn", "leave"])
def test_in_a_forked_child_what_is_in_hand_is_the_parents(spool, primary, monkeypatch, does):
    one, left = at_full_speed(spool, primary)
    held, process = spool.info().claimed, os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: process + 1)
    one._busy.acquire()  # a turn was under way in another thread, which is not here
    one.turn() if does == "turn" else one.leave()
    assert spool.info().claimed >= held
    assert not set(primary.has) & set(left[:10])


@pytest.mark.parametrize("verb", ["exchange", "handed_over"])
def test_rows_in_hand_that_it_lost_sight_of_arrive_once(tmp_path, primary, monkeypatch, verb):
    now = [1000.0]
    with closing(SQLiteStore(tmp_path / "spool.db", role="spool", min_free=0, clock=lambda: now[0], timeout=20.0)) as spool:
        one, left = at_full_speed(spool, primary)
        ids = primary.has + left
        if verb == "handed_over":
            one.hold()

        def unanswered(*args: object, **options: object) -> None:
            raise StoreUnavailable("the disk has not answered", reason="timeout", maybe_applied=True)

        monkeypatch.setattr(spool, verb, unanswered)
        with pytest.raises(StoreUnavailable, match="the disk"):
            one.turn()
        monkeypatch.undo()
        one.hold(False)
        assert one._breaker.allows()
        while spool.waiting():
            now[0] += 6
            one.turn()
        assert primary.has == ids or sorted(primary.has) == ids


def test_where_order_is_kept_the_next_of_a_queue_waits_for_the_last(tmp_path, primary):
    with closing(SQLiteStore(tmp_path / "fifo.db", role="spool", min_free=0, ordered=True, timeout=20.0)) as spool:
        ids = fill(spool, 100)
        done = drainer(spool, primary, batch=10).run_once(wait=no_wait)
        assert (done.moved, spool.waiting()) == (100, 0)
        for queue in range(3):
            mine = [id for id in ids if int(id[1:]) % 3 == queue]
            assert [id for id in primary.has if id in mine] == mine


# the outage


@pytest.fixture
def mono() -> Clock:
    return Clock(100.0)


@pytest.fixture
def watched(tmp_path: Path, mono: Clock) -> Iterator[SQLiteStore]:
    """A spool with a row of an outage that somebody has just seen."""
    with closing(
        SQLiteStore(tmp_path / "watched.db", role="spool", min_free=0, ticks=lambda: ("boot", mono.now), timeout=20.0)
    ) as store:
        store.spool([message(Job("a", "t", "q"))], outage=Away(mono.now, "refused"))
        yield store


def test_one_that_ends_by_itself_ends_an_outage_that_nobody_sees_any_more(watched, primary, mono):
    mono.later(STALE + 1)
    assert drainer(watched, primary).run_once(wait=no_wait).left == 0
    [outage] = watched.events.outages()
    assert None not in (outage.ended_at, outage.drained_at)
    assert outage.spooled == 1


def test_what_somebody_may_see_still_is_ended_by_the_next_that_finds_the_spool_empty(watched, primary, mono):
    drainer(watched, primary).run_once(wait=no_wait)
    assert watched.events.outage() is not None
    mono.later(STALE + 1)
    primary.probes = [REFUSED]
    assert drainer(watched, primary).run_once(wait=no_wait).left == 0
    assert watched.events.outage() is not None, "the control: Redis is away"
    mono.later(STALE + 1)
    assert drainer(watched, primary).run_once(wait=no_wait).left == 0
    [outage] = watched.events.outages()
    assert None not in (outage.ended_at, outage.drained_at)


def test_one_that_ends_by_itself_says_that_the_spool_is_empty(watched, primary):
    watched.events.back()
    assert watched.events.outages()[0].drained_at is None
    drainer(watched, primary).run_once(wait=no_wait)
    assert watched.events.outages()[0].drained_at is not None
    assert [event.kind for event in watched.events.page()][:2] == ["drain_ended", "drain_begun"]
