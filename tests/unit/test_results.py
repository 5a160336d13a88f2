from __future__ import annotations

import asyncio
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest

from spoolq import SpoolQ, tracking
from spoolq.breaker import Breaker
from spoolq.errors import ConfigError, JobCancelled, PayloadError, ResultLost, ResultTimeout, StoreUnavailable
from spoolq.job import Job, Receipt
from spoolq.results import Results
from tests.servers import NOWHERE


class Time:
    """That passes where somebody sleeps."""

    def __init__(self) -> None:
        self.now, self.slept = 0.0, list[float]()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Store:
    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.looks = list[float]()
        self.gone = False
        self.waiting_jobs = self
        self.rows: list[Any] = []

    def values(self, keys: Any, *, timeout: float) -> list[bytes | None]:
        self.looks.append(timeout)
        if self.gone:
            raise StoreUnavailable("it is gone", reason="refused")
        return [self.kept.get(key) for key in keys]

    def find(self, id: str) -> list[Any]:
        return self.rows

    def add(self, effects: Any) -> None:
        self.kept.update({key: value for key, value, ttl in effects.values if ttl})


JOB = Job("a", "t", "q", (), track=60.0, result=True)


def make(primary: Store, spool: Store | None = None, time: Time | None = None) -> Results:
    return Results(lambda: primary, lambda: spool, Breaker(), monotonic=time or Time())  # type: ignore[arg-type,return-value]


def test_a_wait_looks_less_and_less_often_and_ends_in_time():
    time, store = Time(), Store()
    with pytest.raises(ResultTimeout, match="within 30 s: unknown") as late:
        make(store, time=time).wait("a", 30.0, time.sleep)
    assert isinstance(late.value, TimeoutError)
    assert (late.value.id, late.value.status) == ("a", "unknown")
    assert time.now == pytest.approx(30.0)
    assert time.slept[0] <= 0.02
    assert max(time.slept) <= 1.0
    assert len(time.slept) < 80
    assert max(store.looks) <= 1.0


def test_a_result_is_found_at_the_first_look_that_has_it():
    time, store = Time(), Store()

    def sleep(seconds: float) -> None:
        time.sleep(seconds)
        if time.now > 2:
            store.add(tracking.done(JOB, [1, None], 0.0))

    assert make(store, time=time).wait("a", 30.0, sleep) == [1, None]
    assert time.now < 4


def test_a_primary_that_is_away_is_told_of_and_waited_for_no_longer():
    time, store = Time(), Store()
    store.gone = True
    with pytest.raises(ResultTimeout, match="it is gone"):
        make(store, time=time).wait("a", 5.0, time.sleep)
    assert time.now == pytest.approx(5.0)


def test_a_primary_that_is_known_to_be_away_is_not_asked():
    store, breaker = Store(), Breaker()
    breaker.failed("refused", "it refuses")
    status = Results(lambda: store, lambda: None, breaker, address="redis://x").status("a")  # type: ignore[arg-type,return-value]
    assert (status, store.looks) == ("unknown", [])
    assert "redis://x" in status.why


def test_what_the_spool_has_counts_where_the_primary_knows_nothing():
    primary, spool = Store(), Store()
    results = make(primary, spool)
    assert results.status("a") == "unknown"
    spool.rows = [type("Row", (), {"aside": False})()]
    assert results.status("a") == "spooled"
    spool.add(tracking.tried_again(JOB, 0.0, 0.0, "ValueError: no"))
    assert results.status("a") == "retrying"
    spool.rows = []
    assert results.status("a") == "unknown", "the row has gone on to the primary"
    spool.add(tracking.ended(JOB, "cancelled", 0.0))
    with pytest.raises(JobCancelled):
        results.wait("a", 0.0)
    primary.add(tracking.done(JOB, 5, 0.0))
    assert results.wait("a", 0.0) == 5


# the application's side


@pytest.fixture
def q(tmp_path: Path) -> Any:
    with SpoolQ(f"sqlite:///{tmp_path}/jobs.db") as one:
        yield one


def test_a_receipt_is_plain_data_and_can_be_asked(q: SpoolQ):
    @q.task(result_ttl=60)
    def add(a: int, b: int) -> int:
        return a + b

    receipt = add.enqueue(1, 2)
    assert receipt == Receipt(receipt.id, "primary")
    assert tuple(receipt) == (receipt.id, "primary", True)
    assert receipt.status() == "queued"
    copy = pickle.loads(pickle.dumps(receipt))
    assert copy == receipt
    with pytest.raises(ConfigError, match=r"q\.result"):
        copy.wait(1)
    assert receipt.cancel().outcome == "removed"
    assert receipt.status() == "cancelled"


def test_a_wait_for_what_is_not_kept_is_refused_at_once(q: SpoolQ):
    with pytest.raises(ConfigError, match="result_ttl"):
        q.remote("t").enqueue().wait(60)
    with pytest.raises(ResultTimeout):
        q.remote("t").using(track=True).enqueue().wait(0)


def run(q: SpoolQ) -> None:
    assert q.worker(burst=True, threads=1).run() == 0


def test_a_result_comes_back_as_json_gives_it(q: SpoolQ):
    @q.task(result_ttl=60)
    def echo(value: Any) -> Any:
        return (value, {"n": 1.5})

    @q.task(result_ttl=60)
    async def later(value: Any) -> Any:
        return value

    @q.task(track=True)
    def unkept() -> int:
        return 7

    one, two, three = echo.enqueue("é"), later.enqueue([1]), unkept.enqueue()
    plain = echo.using(track=False).enqueue(1)
    run(q)
    assert one.wait(40) == ["é", {"n": 1.5}]
    assert two.wait(40) == [1]
    with pytest.raises(ResultLost, match="result_ttl"):
        three.wait(40)
    assert three.status() == "done"
    assert q.status(plain.id) == "unknown"


def test_asyncio_waits_without_blocking(q: SpoolQ):
    @q.task(result_ttl=60)
    def add(a: int, b: int) -> int:
        return a + b

    async def ask() -> Receipt:
        receipt = await add.aenqueue(1, 2)
        assert await q.astatus(receipt.id) == "queued"
        with pytest.raises(ResultTimeout):
            await receipt.aresult(0.1)
        return receipt

    async def wait(receipt: Receipt) -> None:
        assert await receipt.aresult(5) == 3
        assert (await q.acancel(receipt.id)).outcome == "late"

    receipt = asyncio.run(ask())
    run(q)
    asyncio.run(wait(receipt))


def test_who_enqueues_waits_for_none_of_those_who_ask(q: SpoolQ, monkeypatch: pytest.MonkeyPatch):
    answered = threading.Event()
    monkeypatch.setattr(q, "status", lambda id: answered.wait(60))

    async def both() -> None:
        asks = [asyncio.ensure_future(q.astatus("a")) for _ in range(40)]
        try:
            await asyncio.sleep(0)
            assert (await asyncio.wait_for(q.aenqueue(q.remote("t").job()), 20)).new
        finally:
            answered.set()
            await asyncio.gather(*asks)

    asyncio.run(both())


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), "60", True])
def test_a_time_for_results_that_is_none_is_refused_where_it_is_declared(q: SpoolQ, ttl: Any):
    with pytest.raises(ConfigError, match="result_ttl"):
        q.task(result_ttl=ttl, name="t")(lambda: None)
    with pytest.raises(PayloadError, match="result_ttl"):
        q.remote("t").using(result_ttl=ttl)


@pytest.mark.parametrize("options", [{"track": "yes"}, {"track": False, "result_ttl": 5}])
def test_options_that_can_not_be_are_refused(q: SpoolQ, options: Any):
    with pytest.raises(ConfigError, match="track"):
        q.task(name="t", **options)(lambda: None)
    with pytest.raises(PayloadError, match="track"):
        q.remote("t").using(**options)


@pytest.mark.parametrize("id", ["", "a\nb", "x" * 201, None, 5])
def test_what_is_no_id_is_refused(q: SpoolQ, id: Any):
    for ask in (q.status, q.result, q.cancel):
        with pytest.raises(PayloadError, match="id="):
            ask(id)


def test_a_timeout_below_0_is_refused(q: SpoolQ):
    with pytest.raises(PayloadError, match="timeout"):
        q.result("a", timeout=-1)


def test_where_redis_is_gone_nothing_hangs_and_no_spool_is_made(tmp_path: Path):
    with SpoolQ(NOWHERE, spool=tmp_path / "spool.db", spool_min_free=0) as q:
        status = q.status("a")
        assert (status, bool(status.why)) == ("unknown", True)
        with pytest.raises(ResultTimeout, match="refused"):
            q.result("a", timeout=0.2)
        assert q.cancel("a").outcome == "away"
        assert not (tmp_path / "spool.db").exists()
        receipt = q.remote("t").enqueue()
        assert receipt.status() == "spooled"
        assert receipt.cancel().outcome in ("removed", "asked")


def unique(q: SpoolQ) -> Any:
    @q.task(queue="mail", unique="until_done", track=True)
    def send(to: str) -> None:
        pass

    return send


def test_an_equal_job_may_be_enqueued_once_a_unique_one_is_cancelled(q: SpoolQ):
    send = unique(q)
    first, second = send.enqueue("a@x"), send.enqueue("a@x")
    assert (second.new, second.id) == (False, first.id)
    assert first.cancel().outcome == "removed"
    assert send.enqueue("a@x").new


def test_so_it_may_in_the_spool(tmp_path: Path):
    with SpoolQ(NOWHERE, spool=tmp_path / "spool.db", spool_min_free=0) as q:
        send = unique(q)
        q.breaker.failed("refused", "it refuses")
        first = send.enqueue("a@x")
        assert (first.route, send.enqueue("a@x").new) == ("spool", False)
        assert first.cancel().outcome == "removed"
        assert first.status() == "cancelled"
        assert send.enqueue("a@x").new
