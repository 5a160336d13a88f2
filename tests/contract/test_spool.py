"""The spool's own verbs: jobs kept for a primary, the two facts of doubt, and the hand-over."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from spoolq.errors import GuardHeld, LeaseLost
from spoolq.job import Handoff
from spoolq.store.base import Spool, WorkerInfo
from spoolq.store.effects import Effects
from tests.contract.hands import LONG, SHORT, Hand, at_front, claimable, failure, ids, message, messages, worker
from tests.waiting import eventually

DRAINER = worker("drainer", kind="drainer")
BIG = 1 << 20


def soon() -> float:
    """A not-after on the primary's clock."""
    return time.time() + 5.0


def take(spool: Spool, limit: int = 10, max_bytes: int = BIG, who: WorkerInfo = DRAINER, not_after: float = 0.0) -> list[Handoff]:
    return spool.take(who, limit, max_bytes, not_after or soon())


def names(handoffs: list[Handoff]) -> list[str]:
    return [handoff.message.id for handoff in handoffs]


@pytest.fixture
def local(spool: Spool) -> Hand:
    """A worker of this host, that runs the spool's own jobs."""
    return Hand(spool, "local")


# spooling


def test_what_was_spooled_waits_and_can_be_run_here(spool: Spool, local: Hand) -> None:
    assert spool.spool(messages("a", "b")) == [True, True]
    assert spool.waiting() == 2
    claims = local.claim()
    assert ids(claims) == ["a", "b"]
    spool.ack(claims)
    assert spool.waiting() == 0


def test_an_id_is_spooled_once(spool: Spool) -> None:
    assert spool.spool(messages("a")) == [True]
    assert spool.spool(messages("a", "b", "b")) == [False, True, False]
    assert spool.waiting() == 2


def test_what_goes_to_the_front_is_run_first_here_and_says_so_to_who_hands_it_over(spool: Spool, local: Hand) -> None:
    spool.spool(messages("a", "b"))
    assert spool.spool(at_front("c", "d")) == [True, True]
    claims = local.claim()
    assert ids(claims) == ["d", "c", "a", "b"]
    spool.release(claims)
    assert ids(local.claim(1)) == ["d"]
    handoffs = take(spool)
    assert [(handoff.message.id, handoff.message.front) for handoff in handoffs] == [("a", False), ("b", False), ("c", True)]
    spool.give_back(handoffs, applied="no")
    assert ids(local.claim()) == ["c", "a", "b"]


def test_effects_happen_with_what_is_spooled_or_nothing_does(spool: Spool) -> None:
    noted = Effects(acquire=(("lock", "a", LONG),), values=(("status", b"spooled", LONG),))
    assert spool.spool(messages("a"), noted) == [True]
    with pytest.raises(GuardHeld) as raised:
        spool.spool(messages("b"), Effects(acquire=(("lock", "b", LONG),), values=(("status", b"other", LONG),)))
    assert (raised.value.key, raised.value.holder) == ("lock", "a")
    assert (spool.waiting(), spool.value("status")) == (1, b"spooled")


def test_what_was_spooled_is_there_after_closing(spool: Spool) -> None:
    from spoolq.store.sqlite import SQLiteStore

    later = round(time.time()) + 3600.5
    spool.spool([message("a"), message("b", "r", run_at=later, given=True)])
    path = spool.info().path
    spool.close()
    again = SQLiteStore(Path(path), role="spool", timeout=20.0)
    try:
        handoffs = take(again)
    finally:
        again.close()
    assert [handoff.message for handoff in handoffs] == [message("a"), message("b", "r", run_at=later, given=True)]


def test_what_waits_is_counted_up_to_a_limit(spool: Spool) -> None:
    spool.spool(messages("a", "b", "c"))
    assert (spool.waiting(), spool.waiting(1), spool.waiting(10)) == (3, 1, 3)


# doubt


def test_a_row_in_doubt_is_not_run_here(spool: Spool, local: Hand) -> None:
    """The primary may have it already: only the primary can tell."""
    spool.spool(messages("doubtful"), not_after=soon())
    spool.spool(messages("sure"))
    assert ids(local.claim()) == ["sure"]
    assert spool.info().in_doubt == 1
    assert spool.waiting() == 2


def test_a_row_of_a_given_id_is_in_doubt_from_birth(spool: Spool, local: Hand) -> None:
    """Another host may have asked the primary for the same id."""
    spool.spool([message("a", given=True)])
    assert local.claim() == ()
    [handoff] = take(spool)
    assert handoff.in_doubt
    assert handoff.message == message("a", given=True)


def test_spooling_an_id_that_is_there_clears_no_doubt(spool: Spool, local: Hand) -> None:
    not_after = soon() + 100
    spool.spool(messages("a"), not_after=not_after)
    assert spool.spool(messages("a")) == [False]
    assert local.claim() == ()
    [handoff] = take(spool)
    assert handoff.in_doubt
    assert handoff.not_after == pytest.approx(not_after, abs=0.002)


def test_a_local_workers_retry_and_rescue_leave_the_row_to_this_host_or_the_primary(spool: Spool, local: Hand) -> None:
    spool.spool(messages("a"))
    [claim] = local.claim()
    spool.retry(claim, message("a", attempt=1).payload, 0.0)
    [handoff] = take(spool)
    assert handoff.message == message("a", attempt=1)
    assert not handoff.in_doubt


# taking


def test_rows_are_taken_oldest_first_whatever_their_queue_and_time(spool: Spool) -> None:
    later = round(time.time()) + 3600.5
    sent = [message("a", "r"), message("b", run_at=later), message("c"), message("d", "r", given=True)]
    for one in sent:
        spool.spool([one])
    assert [handoff.message for handoff in take(spool)] == sent


def test_a_limit_of_rows_is_kept(spool: Spool) -> None:
    spool.spool(messages("a", "b", "c"))
    assert names(take(spool, 2)) == ["a", "b"]
    assert names(take(spool, 2)) == ["c"]
    assert take(spool, 2) == []


def test_a_limit_of_bytes_is_kept_but_one_row_always_goes(spool: Spool) -> None:
    spool.spool([message(id)._replace(payload=b"x" * 1000) for id in "abcd"])
    assert names(take(spool, 10, 2500)) == ["a", "b"]
    assert names(take(spool, 10, 10)) == ["c"]
    assert names(take(spool, 10, 1000)) == ["d"]


def test_a_taken_row_notes_its_attempt_and_what_it_was(spool: Spool) -> None:
    spool.spool(messages("sure"))
    spool.spool(messages("doubtful"), not_after=123.0)
    not_after = soon()
    sure, doubtful = take(spool, not_after=not_after)
    assert (sure.in_doubt, doubtful.in_doubt) == (False, True)
    assert [handoff.not_after for handoff in (sure, doubtful)] == pytest.approx([not_after, not_after], abs=0.002)
    assert all(0 <= handoff.age < 60 for handoff in (sure, doubtful))
    assert sure.claim.worker == "drainer"
    assert sure.claim.payload == sure.message.payload
    assert sure.claim.token != doubtful.claim.token


def test_the_latest_not_after_of_any_attempt_is_told(spool: Spool) -> None:
    far = soon() + 1000
    spool.spool(messages("a"), not_after=far)
    [handoff] = take(spool)
    assert handoff.not_after == pytest.approx(far, abs=0.002)


def test_a_taken_row_is_nobody_elses(spool: Spool, local: Hand) -> None:
    spool.spool(messages("a"))
    assert names(take(spool)) == ["a"]
    assert take(spool, who=worker("drainer-2", kind="drainer")) == []
    assert local.claim() == ()
    assert spool.waiting() == 1
    assert spool.info().claimed == 1


def test_a_row_that_runs_here_is_not_taken(spool: Spool, local: Hand) -> None:
    spool.spool(messages("a"))
    [claim] = local.claim()
    assert take(spool) == []
    spool.release([claim])
    assert names(take(spool)) == ["a"]


def test_a_silent_drainers_rows_are_taken_again_in_doubt(spool: Spool, local: Hand) -> None:
    """Its attempt may be on its way: its not-after stays, and nobody runs the row here."""
    spool.spool(messages("a"))
    far = soon() + 1000
    [old] = take(spool, who=worker("silent", lease=SHORT, kind="drainer"), not_after=far)
    other = worker("drainer-2", kind="drainer")

    def taken_again() -> list[Handoff]:
        spool.rescue(other, 10)
        assert local.claim() == ()
        return take(spool, who=other)

    [new] = eventually(taken_again)
    assert new.in_doubt
    assert new.not_after == pytest.approx(far, abs=0.002)
    with pytest.raises(LeaseLost):
        spool.handed_over([old])
    with pytest.raises(LeaseLost):
        spool.quarantine(old, "no longer mine")
    spool.handed_over([new])
    assert spool.waiting() == 0


def test_a_drainer_that_ended_leaves_its_rows_to_the_next_at_once(spool: Spool) -> None:
    spool.spool(messages("a"))
    take(spool)
    spool.unregister(DRAINER)
    other = worker("drainer-2", kind="drainer")
    spool.rescue(other, 10)
    assert names(take(spool, who=other)) == ["a"]


def test_rescue_never_hands_a_drainers_rows_to_a_worker(spool: Spool, local: Hand) -> None:
    spool.spool(messages("a", "witness"))
    take(spool, 1, who=worker("silent", lease=SHORT, kind="drainer"))
    Hand(spool, "dead", lease=2 * SHORT).claim(1)
    taken = eventually(lambda: spool.rescue(local.info, 10))
    assert ids(taken) == ["witness"]
    assert local.claim() == ()


# handing over, or not


def test_what_was_handed_over_is_gone(spool: Spool) -> None:
    spool.spool(messages("a", "b", "c"))
    spool.handed_over(take(spool, 2))
    assert spool.waiting() == 1
    assert names(take(spool)) == ["c"]


def test_handing_over_twice_is_told(spool: Spool) -> None:
    spool.spool(messages("a", "b"))
    a, b = take(spool)
    spool.handed_over([a])
    with pytest.raises(LeaseLost) as lost:
        spool.handed_over([a, b])
    assert lost.value.tokens == (a.claim.token,)
    assert spool.waiting() == 0


def test_those_that_were_lost_are_told_and_the_others_gone(spool: Spool) -> None:
    spool.spool(messages(*"abcdefg"))
    taken = take(spool)
    spool.give_back(taken[2:3], applied="no")  # amid neighbours
    with pytest.raises(LeaseLost) as lost:
        spool.handed_over(taken)
    assert lost.value.tokens == (taken[2].claim.token,)
    assert names(take(spool)) == ["c"]


def test_of_neighbours_those_that_are_not_named_stay(spool: Spool) -> None:
    spool.spool(messages(*"abcdefg"))
    taken = take(spool)
    spool.handed_over([*taken[:2], *taken[3:5], taken[6]])
    assert spool.waiting() == 2
    spool.give_back([taken[2], taken[5]], applied="no")
    assert names(take(spool)) == ["c", "f"]


def test_a_drainer_takes_the_next_as_it_hands_over_the_last(spool: Spool, local: Hand) -> None:
    spool.spool(messages(*"abcde"))
    first = take(spool, 2)
    taken, lost = spool.exchange(first, DRAINER, 2, BIG, not_after := soon())
    assert (names(taken), lost, spool.waiting()) == (["c", "d"], (), 3)
    assert taken[0].not_after == pytest.approx(not_after, abs=1e-5)
    assert ids(local.claim()) == ["e"]
    taken, lost = spool.exchange(taken, DRAINER, 2, BIG, soon())
    assert (taken, lost, spool.waiting()) == ([], (), 1)


def test_as_it_takes_the_next_it_is_told_what_it_had_lost(spool: Spool) -> None:
    spool.spool(messages(*"abcd"))
    first = take(spool, 3)
    spool.give_back(first[1:2], applied="maybe")
    taken, lost = spool.exchange(first, DRAINER, 10, BIG, soon(), known={first[0].claim.token})
    assert (names(taken), lost) == (["b", "d"], (first[1].claim.token,))
    assert (taken[0].in_doubt, taken[1].in_doubt) == (True, False)
    assert spool.counts()["q"]["duplicate"] == 1


def test_what_was_surely_not_applied_is_as_it_was(spool: Spool, local: Hand) -> None:
    spool.spool(messages("sure"))
    spool.spool(messages("doubtful"), not_after=soon())
    spool.give_back(take(spool), applied="no")
    assert spool.info().claimed == 0
    assert spool.info().in_doubt == 1
    assert ids(local.claim()) == ["sure"]
    [handoff] = take(spool)
    assert (handoff.message.id, handoff.in_doubt) == ("doubtful", True)


def test_what_may_have_been_applied_stays_in_doubt(spool: Spool, local: Hand) -> None:
    spool.spool(messages("a"))
    far = soon() + 1000
    spool.give_back(take(spool, not_after=far), applied="maybe")
    assert spool.info().claimed == 0
    assert local.claim() == ()
    [handoff] = take(spool)
    assert handoff.in_doubt
    assert handoff.not_after == pytest.approx(far, abs=0.002)


def test_a_guards_holder_that_may_have_been_handed_over_refuses_no_put(spool: Spool) -> None:
    def put(id: str, *, given: bool = False, **more: float) -> str:
        try:
            spool.spool([message(id, given=given)], Effects(acquire=(("unique:t:1", id, LONG),)), **more)
        except GuardHeld as refused:
            return refused.holder
        return id

    assert [put("a"), put("b")] == ["a", "a"]
    spool.give_back(take(spool), applied="no")
    assert put("b") == "a", "as it was: it was surely not handed over"
    taken = take(spool)
    with pytest.raises(GuardHeld):  # only a put passes by: what runs here goes on keeping out what would run beside it
        spool.put([], Effects(acquire=(("unique:t:1", "b", LONG),)))
    assert [put("b"), put("c")] == ["b", "b"]
    spool.handed_over(taken, Effects(release=(("unique:t:1", "a"),)))
    assert [guard.holder for guard in spool.guards()] == ["b"]
    assert [put("d", not_after=soon()), put("e")] == ["b", "b"]
    spool.give_back(take(spool), applied="maybe")
    assert [put("f", not_after=soon()), put("g", not_after=soon())] == ["f", "g"], "each of them may have run"
    assert [put("h", given=True), put("i", given=True)] == ["h", "h"], "as the ticks of a schedule: nobody has sent it yet"


def test_what_was_given_back_keeps_its_place(spool: Spool) -> None:
    spool.spool(messages("a", "b", "c"))
    spool.give_back(take(spool, 2), applied="no")
    assert names(take(spool)) == ["a", "b", "c"]


def test_a_drainer_may_settle_a_stale_row_itself(spool: Spool) -> None:
    spool.spool(messages("stale", "other"))
    stale, other = take(spool)
    spool.ack([stale.claim])
    spool.handed_over([other])
    assert spool.waiting() == 0


# quarantine


def test_a_row_in_quarantine_is_out_of_the_way_and_kept(spool: Spool, local: Hand) -> None:
    spool.spool(messages("bad", "good"))
    bad, good = take(spool)
    spool.quarantine(bad, "Redis refuses it: wrong type")
    spool.give_back([good], applied="no")
    assert spool.info().quarantined == 1
    assert spool.waiting() == 1
    assert ids(local.claim()) == ["good"]
    assert take(spool) == []
    with pytest.raises(LeaseLost):
        spool.handed_over([bad])
    assert spool.info().quarantined == 1


# ids given by the caller


def test_an_id_that_was_never_here_is_not_recalled(spool: Spool) -> None:
    assert spool.recall(["a"]) == [None]


def test_a_row_that_waits_is_the_answer_and_put_in_doubt(spool: Spool, local: Hand) -> None:
    spool.spool(messages("a"))
    assert spool.recall(["a"]) == ["waiting"]
    assert local.claim() == ()
    [handoff] = take(spool)
    assert handoff.in_doubt


def test_a_row_in_a_drainers_hands_is_waiting(spool: Spool) -> None:
    spool.spool([message("a", given=True)])
    take(spool)
    assert spool.recall(["a"]) == ["waiting"]


def test_a_row_that_runs_here_now_is_not_asked_of_the_primary(spool: Spool, local: Hand) -> None:
    spool.spool(messages("a"))
    local.claim()
    assert spool.recall(["a"]) != [None]


def test_an_id_that_ran_here_is_remembered(spool: Spool, local: Hand) -> None:
    spool.spool(messages("a"))
    spool.ack(local.claim())
    assert spool.recall(["a"]) == ["ran"]
    assert spool.spool([message("a", given=True)]) == [False]
    assert spool.waiting() == 0


def test_an_id_that_failed_here_is_remembered(spool: Spool, local: Hand) -> None:
    spool.spool(messages("a"))
    [claim] = local.claim()
    spool.fail(claim, failure(claim))
    assert spool.recall(["a"]) == ["ran"]
    assert spool.failures.count() == 1


def test_several_ids_are_answered_in_their_order(spool: Spool, local: Hand) -> None:
    spool.spool(messages("ran"))
    spool.ack(local.claim())
    spool.spool(messages("b", "a"))
    assert spool.recall(["a", "never", "ran", "b", "a"]) == ["waiting", None, "ran", "waiting", "waiting"]
    assert [handoff.in_doubt for handoff in take(spool)] == [True, True]
    assert spool.recall([]) == []


def test_an_id_that_was_handed_over_is_asked_of_the_primary(spool: Spool) -> None:
    spool.spool([message("a", given=True)])
    spool.handed_over(take(spool))
    assert spool.recall(["a"]) == [None]


# facts


def test_its_facts_are_told(spool: Spool, local: Hand, tmp_path: Path) -> None:
    spool.spool(messages("a", "b", "c"))
    spool.spool(messages("d"), not_after=soon())
    [claim] = local.claim(1)
    spool.fail(claim, failure(claim))
    local.claim(1)
    info = spool.info()
    assert info.path == str(tmp_path / "spool.db")
    assert (info.rows, info.in_doubt, info.claimed, info.quarantined, info.failures) == (3, 1, 1, 0, 1)
    assert 0 < info.bytes < info.limit_bytes
    assert info.disk_free > 0
    assert info.oldest is not None
    assert 0 <= info.oldest < 60


def test_an_empty_spool_has_no_oldest(spool: Spool) -> None:
    assert spool.info().oldest is None
    assert spool.waiting() == 0
    assert take(spool) == []


# the store's verbs, on a spool


def test_a_spools_own_jobs_run_like_any_stores(spool: Spool, local: Hand) -> None:
    spool.spool(messages("done", "failed", "again", "back"))
    done, failed, again, back = local.claim()
    spool.ack([done])
    spool.fail(failed, failure(failed))
    spool.retry(again, message("again", attempt=1).payload, 0.0)
    spool.release([back])
    spool.promote(10)
    assert sorted(claimable(spool)) == ["again", "back"]
    assert [kept.id for kept in spool.failures.page()] == ["failed"]
