"""A search through queues that change meanwhile, and Resque's own delayed jobs, page by page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest

from spoolq import moving, wire
from spoolq.errors import StoreUnavailable
from spoolq.job import Job
from spoolq.store.redis import RedisStore
from spoolq.store.redis.names import Names
from spoolq.store.redis.waiting import RedisWaitingJobs
from spoolq.store.waiting import Move
from tests.servers import Server


@pytest.mark.parametrize(("page", "removed"), [(1000, 200), (21, 10)])
def test_one_that_moves_up_as_others_are_removed_is_found(page: int, removed: int) -> None:
    """As two people cancel many jobs of one queue."""
    queue = [wire.encode(Job(f"j{n:05}", "t", "q", ())) for n in range(3 * page)]
    target = len(queue) - page - 1  # the first of the second page, from the end

    def scripted(name: str, args: Sequence[bytes], fits: object) -> list[object]:
        start, needle = int(args[1]), args[2]
        some = queue[::-1][start : start + page]
        if not start:
            del queue[-removed:]
        return [start + len(some), int(start + len(some) >= len(queue)), [one for one in some if needle in one]]

    jobs = RedisWaitingJobs(scripted, lambda *given: [b"0", []], lambda: ["q"], Names("n"), lambda: 0.0)
    assert jobs.find(f"j{target:05}")


@pytest.fixture
def store(server: Server) -> Iterator[RedisStore]:
    with closing(RedisStore(server.url, deadline=20.0, timeout=20.0)) as one:
        yield one


def delay(server: Server, second: int, count: int = 1) -> None:
    """As node-resque does it."""
    with server.client() as control:
        control.zadd("resque:delayed_queue_schedule", {str(second): second})
        for n in range(count):
            payload = json.dumps({"class": "t", "queue": "q", "args": [], "id": f"{second}-{n}"})
            control.rpush(f"resque:delayed:{second}", payload)
            control.sadd(f"resque:timestamps:{payload}", f"delayed:{second}")


def ids(store: RedisStore, limit: int = 10) -> list[str]:
    seen, after = list[str](), None
    while True:
        jobs, after = store.waiting_jobs.page(scheduled=True, after=after, limit=limit)
        seen += [json.loads(job.payload)["id"] for job in jobs]
        if after is None:
            return seen


def test_all_of_one_second_are_shown_however_many_there_are(server: Server, store: RedisStore) -> None:
    delay(server, 4_000_000_000, 25)
    delay(server, 4_000_000_001)
    assert ids(store) == [*(f"4000000000-{n}" for n in range(25)), "4000000001-0"]


def test_keys_of_another_kind_are_empty_pages(server: Server, store: RedisStore) -> None:
    with server.client() as control:
        control.set("resque:queue:q", "no list")
        control.set("resque:delayed_queue_schedule", "no set")
    assert store.waiting_jobs.page("q") == ([], None)
    assert ids(store) == []


def test_one_of_resques_own_goes_on_waiting_as_such_in_its_new_queue(server: Server, store: RedisStore) -> None:
    delay(server, 4_000_000_000, 2)
    jobs, _ = store.waiting_jobs.page(scheduled=True, after=("resque", 0, 0), limit=1)
    assert moving.to_queue(store, jobs, "other") == 1
    with server.client(decode_responses=True) as control:
        left, moved = control.lrange("resque:delayed:4000000000", 0, -1)
        assert json.loads(moved) == {**json.loads(left), "queue": "other", "id": "4000000000-0"}
        assert sorted(control.keys("resque:timestamps:*")) == sorted(f"resque:timestamps:{one}" for one in (left, moved))
        assert control.zcard("resque:delayed_queue_schedule") == 1
    assert moving.to_front(store, store.waiting_jobs.page("other", scheduled=True, after=("resque", 0, 0))[0][0], 0.0)
    assert [json.loads(job.payload)["id"] for job in store.waiting_jobs.page("other")[0]] == ["4000000000-0"]
    with server.client() as control:
        assert len(control.keys("resque:timestamps:*")) == 1


def test_a_move_that_fails_half_way_leaves_all_as_it_was(server: Server, store: RedisStore) -> None:
    with server.client() as control:
        for n in range(3):
            control.rpush("resque:queue:q", f'{{"class":"t","args":[{n}]}}')
        control.set("resque:queue:bad", "no list")
        before = control.lrange("resque:queue:q", 0, -1)
        jobs, _ = store.waiting_jobs.page("q")
        with pytest.raises(StoreUnavailable):
            store.waiting_jobs.move([Move(jobs[0], "good", b"1"), Move(jobs[1], "bad", b"2")])
        assert sorted(control.lrange("resque:queue:q", 0, -1)) == sorted(before)
        assert not control.exists("resque:queue:good")
