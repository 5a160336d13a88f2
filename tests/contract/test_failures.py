"""The failure log: newest first, by job id, and the way back into a queue."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from spoolq import history, reruns, wire
from spoolq.job import Attempt, Failure, Job, Message
from spoolq.store.base import Store
from tests.contract.hands import Hand, claimable, failure, ids, message, messages

THEN = 1_700_000_000.0


@pytest.fixture
def failed(store: Store, hand: Hand) -> list[str]:
    """Five failures, a minute apart; the ids, newest first."""
    names = [f"id{n}" for n in range(5)]
    store.put(messages(*names))
    for n, claim in enumerate(hand.claim()):
        store.fail(claim, failure(claim, f"error {n}", THEN + 60 * n))
    return names[::-1]


def test_failures_are_paged_newest_first(store: Store, failed: list[str]) -> None:
    assert store.failures.count() == 5
    assert [kept.id for kept in store.failures.page()] == failed
    assert [kept.id for kept in store.failures.page(1, 2)] == failed[1:3]
    assert [kept.id for kept in store.failures.page(4, 10)] == failed[4:]
    assert store.failures.page(5, 10) == []


def test_one_is_found_by_its_jobs_id(store: Store, failed: list[str]) -> None:
    kept = store.failures.get("id3")
    assert kept is not None
    assert (kept.id, kept.error, kept.failed_at) == ("id3", "error 3", THEN + 180)
    assert store.failures.get("absent") is None


def test_of_several_failures_of_a_job_the_newest_is_found(store: Store, hand: Hand) -> None:
    for n in range(3):
        store.put([Message(f"put{n}", "q", message("a").payload)])
        [claim] = hand.claim()
        store.fail(claim, failure(claim, f"error {n}", THEN + n))
    kept = store.failures.get("a")
    assert kept is not None
    assert kept.error == "error 2"


def test_odd_texts_are_kept(store: Store, hand: Hand) -> None:
    error = 'ünï \u2028 \x00 \x1f " \\ / </script> 💥 ' + "x" * 5000
    store.put(messages("a"))
    [claim] = hand.claim()
    store.fail(claim, failure(claim, error))
    assert store.failures.page()[0].error == error


def test_retried_ones_are_new_launches_and_out_of_the_log(store: Store, hand: Hand, failed: list[str]) -> None:
    assert store.failures.retry(["id1", "absent", "id3"]) == 2
    assert [kept.id for kept in store.failures.page()] == ["id4", "id2", "id0"]
    claims = hand.claim()
    assert sorted(ids(claims)) == ["id1", "id3"]
    for claim in claims:
        job = wire.decode(claim.payload, claim.queue)
        assert (job.run, job.attempt, job.task, job.args) == (1, 0, "t", ("x",))


def test_a_relaunch_is_not_taken_for_another_job_whose_id_is_like_it(store: Store, hand: Hand) -> None:
    store.put([wire.message(Job("order", "t", "q", ("x",)))])
    [claim] = hand.claim()
    store.fail(claim, failure(claim))
    store.put([wire.message(Job("order.1", "t", "q", ("y",), given=True))])
    assert store.failures.retry(["order"]) == 1
    assert sorted(ids(hand.claim())) == ["order", "order.1"]


def test_all_that_is_known_is_kept_and_a_new_launch_begins_without_it(store: Store, hand: Hand) -> None:
    past = tuple(Attempt(n, THEN + n / 7, "WorkerDied" if n == 2 else "ValueError", "é", "host:1", n / 3) for n in range(1, 5))
    job = Job("a", "t", "q", ("x",), attempt=2, crashes=1, history=history.read(history.written(past[:3])))
    store.put([wire.message(job)])
    [claim] = hand.claim()
    known: dict[str, Any] = {"attempts": 4, "host": "host", "pid": 1, "versions": {"spoolq": "1"}}
    full = replace(failure(claim), history=history.added(job.history, past[3]), **known)
    store.fail(claim, full)
    assert store.failures.get("a") == full
    assert store.failures.retry(["a"]) == 1
    [again] = hand.claim()
    assert wire.decode(again.payload, "q") == replace(job, attempt=0, crashes=0, history=(), run=1)


def test_a_retried_payload_comes_back_with_its_history(store: Store, hand: Hand) -> None:
    store.put([wire.message(Job("a", "t", "q"))])
    for number in range(1, 13):
        [claim] = hand.claim()
        job = wire.decode(claim.payload, "q")
        assert (job.id, job.ended, len(job.history)) == ("a", number - 1, min(number - 1, 10))
        attempt = Attempt(number, THEN + number / 7, "WorkerDied", "é\ud800", "", None)
        store.retry(claim, wire.attempted(claim.payload, job, attempt, crash=number % 3 == 0), 0.0)
    [claim] = hand.claim()
    job = wire.decode(claim.payload, "q")
    assert (job.attempt, job.crashes, [one.number for one in job.history]) == (8, 4, [1, *range(4, 13)])


def test_a_job_fails_and_is_launched_again_many_times(store: Store, hand: Hand) -> None:
    """Each launch is a new put: no marker of an earlier one swallows it."""
    store.put([message("a", attempt=3, given=True)])
    for run in range(4):
        [claim] = hand.claim()
        assert wire.decode(claim.payload, "q").run == run
        store.fail(claim, failure(claim))
        assert store.failures.retry(["a"]) == 1
        assert store.failures.count() == 0
    assert claimable(store) == ["a"]


def test_retried_ones_are_put_back_once(store: Store, hand: Hand, failed: list[str]) -> None:
    assert store.failures.retry(["id2"]) == 1
    assert store.failures.retry(["id2"]) == 0
    assert ids(hand.claim()) == ["id2"]


def test_what_cannot_be_read_stays_in_the_log(store: Store, hand: Hand) -> None:
    store.put([Message("a", "q", b"\xffnot json"), message("b")])
    for claim in hand.claim():
        store.fail(claim, failure(claim))
    everything = [kept.id for kept in store.failures.page()]
    assert store.failures.retry(everything) == 1
    [kept] = store.failures.page()
    assert kept.payload == b"\xffnot json"
    assert claimable(store) == ["b"]


NINES = b"9" * 4300  # Python reads it, and can't write the next integer


@pytest.mark.parametrize("field", [b"run", b"attempt", b"retries"])
def test_a_count_that_can_not_be_is_not_counted_from(store: Store, hand: Hand, field: bytes) -> None:
    store.put([Message("p", "q", b'{"class":"t","id":"p","args":[],"%b":%b}' % (field, NINES)), message("b")])
    for claim in hand.claim():
        store.fail(claim, failure(claim))
    assert store.failures.retry(["p", "b"]) == 2
    assert store.failures.count() == 0
    jobs = [wire.decode(claim.payload, "q") for claim in hand.claim()]
    assert sorted((job.id, job.run, job.attempt, job.retries) for job in jobs) == [("b", 1, 0, None), ("p", 1, 0, None)]


def fails(store: Store, hand: Hand, *payloads: bytes) -> None:
    """A failure of each, one after the other."""
    for payload in payloads:
        store.put([Message(f"put{next(_numbers)}", "q", payload)])
        [claim] = hand.claim()
        store.fail(claim, failure(claim))


_numbers = itertools.count()


def test_entries_are_counted_by_job(store: Store, hand: Hand) -> None:
    fails(store, hand, *(message(id).payload for id in ("a", "b", "a", "c", "a", "b")))
    assert list(store.failures.entries().items()) == [("b", 2), ("a", 3), ("c", 1)]
    assert list(store.failures.entries(["c", "absent", "a", "c"]).items()) == [("a", 3), ("c", 1)]
    assert store.failures.entries([]) == {}


def test_a_job_that_is_in_the_log_several_times_is_removed_whole(store: Store, hand: Hand) -> None:
    fails(store, hand, *(message(id).payload for id in ("a", "b", "a", "a")))
    assert store.failures.remove(["a"]) == 3
    assert [kept.id for kept in store.failures.page()] == ["b"]


def test_a_job_that_is_in_the_log_several_times_goes_back_once(store: Store, hand: Hand) -> None:
    fails(store, hand, *(message(id, attempt=n).payload for n, id in enumerate(("a", "b", "a", "a"))))
    assert store.failures.retry(["a", "b", "a"]) == 2
    assert store.failures.count() == 0
    assert sorted(claimable(store)) == ["a", "b"]


def test_an_entry_of_other_work_under_the_same_id_stays_in_the_log(store: Store, hand: Hand) -> None:
    fails(
        store,
        hand,
        b'{"class":"t","args":[1],"id":"a"}',
        b'{"class":"t","args":[2],"id":"a"}',
        b'{"class":"t","args":[],"id":"b"}',
    )
    assert store.failures.retry(["a", "b"]) == 2
    assert [kept.payload for kept in store.failures.page()] == [b'{"class":"t","args":[1],"id":"a"}']
    assert sorted(claimable(store)) == ["a", "b"]


def test_the_newest_entry_that_can_be_read_goes_back(store: Store, hand: Hand) -> None:
    """Here the newest can't: its text has no task, though an id."""
    fails(store, hand, b'{"class":"t","args":[1],"id":"a"}', b'{"class":5,"id":"a"}')
    assert store.failures.retry(list(store.failures.entries())) == 1
    assert [kept.payload for kept in store.failures.page()] == [b'{"class":5,"id":"a"}']
    assert claimable(store) == ["a"]


def test_all_of_a_long_log_go(store: Store, hand: Hand) -> None:
    """More than any page of it holds, with some that stay."""
    names = [f"id{n}" for n in range(450)]
    for at in range(0, 450, 50):
        some = messages(*names[at : at + 49])
        store.put([*some, Message(f"odd{at}", "q", b"odd %d" % at)])
        for claim in hand.claim(limit=50):
            store.fail(claim, failure(claim))
    everything = store.failures.entries()
    assert sum(everything.values()) == 450
    assert store.failures.retry(everything) == 441
    assert store.failures.remove(store.failures.entries()) == 9
    assert store.failures.count() == 0
    assert len(claimable(store)) == 441


def test_removed_ones_are_gone(store: Store, failed: list[str]) -> None:
    assert store.failures.remove(["id0", "id4", "absent"]) == 2
    assert [kept.id for kept in store.failures.page()] == ["id3", "id2", "id1"]
    assert store.failures.remove(["id0"]) == 0
    assert store.failures.remove([]) == 0
    assert store.failures.retry([]) == 0


def test_an_unreadable_one_can_be_removed_by_the_id_it_is_shown_with(store: Store, hand: Hand) -> None:
    store.put([Message("a", "q", b"\xffnot json")])
    [claim] = hand.claim()
    store.fail(claim, failure(claim))
    [kept] = store.failures.page()
    assert store.failures.get(kept.id) == kept
    assert store.failures.remove([kept.id]) == 1
    assert store.failures.count() == 0


def test_old_ones_are_pruned(store: Store, failed: list[str]) -> None:
    assert store.failures.prune(THEN + 120) == 2
    assert [kept.id for kept in store.failures.page()] == ["id4", "id3", "id2"]
    assert store.failures.prune(THEN + 120) == 0
    assert store.failures.prune(THEN + 3600) == 3
    assert store.failures.count() == 0


def test_one_whose_time_is_not_known_is_pruned_by_nothing(store: Store, hand: Hand) -> None:
    store.put(messages("a"))
    [claim] = hand.claim()
    store.fail(claim, failure(claim, at=0.0))
    [kept] = store.failures.page()
    assert kept.failed_at == 0.0
    assert store.failures.prune(THEN) == 0
    assert store.failures.retire(before=THEN) == 0
    assert store.failures.count() == 1


def test_a_log_is_gone_through_by_pages(store: Store, hand: Hand, failed: list[str]) -> None:
    seen: list[str] = []
    after, pages = None, 0
    while True:
        page, after = store.failures.scan(after, 2)
        seen += [kept.id for kept in page]
        pages += 1
        if after is None:
            break
    assert seen == failed
    assert pages in (3, 4)
    fails(store, hand, message("later").payload)
    assert [kept.id for kept in store.failures.scan(None, 1)[0]] == ["later"]


def test_an_empty_log_has_no_pages(store: Store) -> None:
    assert store.failures.scan() == ([], None)
    assert store.failures.retire(before=THEN, keep=0) == 0


def test_what_is_added_is_the_newest_and_as_it_was(store: Store, failed: list[str]) -> None:
    kept = store.failures.page()[-2:]
    store.failures.remove([one.id for one in kept])
    store.failures.add(kept)
    store.failures.add([])
    assert store.failures.page(0, 2) == kept[::-1]
    assert store.failures.count() == 5


def test_the_oldest_are_retired_by_age(store: Store, failed: list[str]) -> None:
    assert store.failures.retire(before=THEN + 180, limit=2) == 2
    assert [kept.id for kept in store.failures.page()] == ["id4", "id3", "id2"]
    assert store.failures.retire(before=THEN + 180, limit=2) == 1
    assert store.failures.retire(before=THEN + 180, limit=2) == 0
    assert store.failures.count() == 2


def test_the_oldest_are_retired_by_count(store: Store, failed: list[str]) -> None:
    assert store.failures.retire(keep=5) == 0
    assert store.failures.retire(keep=3) == 2
    assert [kept.id for kept in store.failures.page()] == ["id4", "id3", "id2"]
    assert store.failures.retire(keep=0, limit=1) == 1
    assert [kept.id for kept in store.failures.page()] == ["id4", "id3"]
    assert store.failures.retire(before=THEN + 200, keep=2, limit=10) == 1
    assert [kept.id for kept in store.failures.page()] == ["id4"]


def test_of_launches_up_to_one_they_are_removed(store: Store) -> None:
    for n in (1, 2, 3):
        launches = [wire.message(Job(str(n), "t", "q", ("x",), run=run)).payload for run in (1, 0, 2)]
        store.failures.add([replace(numbered(n), payload=payload) for payload in launches])
    assert store.failures.remove(["1", "2"], runs={"1": 1, "2": 0, "3": 2}) == 3
    left = [(kept.id, reruns.run_of(kept)) for kept in store.failures.page()]
    assert sorted(left) == [("1", 2), ("2", 1), ("2", 2), ("3", 0), ("3", 1), ("3", 2)]


def test_those_between_others_are_removed_from_a_long_log(store: Store) -> None:
    some = [numbered(n) for n in range(500)]
    store.failures.add(some)
    gone = [one.id for one in some if int(one.id) % 3 == 0]
    assert store.failures.remove(gone) == len(gone)
    assert [kept.id for kept in store.failures.page(0, 500)] == [one.id for one in some[::-1] if one.id not in set(gone)]
    assert store.failures.prune(THEN + 250) == 166
    assert store.failures.retire(keep=100, limit=500) == 67
    assert [kept.id for kept in store.failures.page(0, 500)] == [one.id for one in some[::-1] if one.id not in set(gone)][:100]


def numbered(n: int) -> Failure:
    payload = message(str(n)).payload
    return Failure(str(n), "q", "w:1:q", "ValueError", "no", (), THEN + n, payload)
