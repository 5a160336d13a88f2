"""What became of claims is told one after the other, kept while the store is away, and holds up nobody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from spoolq.errors import StoreUnavailable
from spoolq.job import Failure
from spoolq.outcome import Done, RetryLater
from spoolq.settler import Settler
from spoolq.store.effects import Effects
from tests.clock import Clock
from tests.unit.hands import Flaky, claim, failed, file, held, info, job, jobs, left, warnings


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Flaky]:
    real = file(tmp_path / "jobs.db")
    yield Flaky(real)
    real.close()


@pytest.fixture
def settler(store: Flaky, clock: Clock) -> Settler:
    return Settler(store, info(), "worker", clock)  # type: ignore[arg-type]


def test_each_outcome_becomes_its_verb(store: Flaky, settler: Settler) -> None:
    a, b, c, d = claim(store, 4)
    settler.add(a, Done("expired"))
    settler.add(b, RetryLater(b.payload, 0.0, "it raised"))
    settler.add(c, failed(c))
    settler.put_back([d])
    assert (settler.count, settler.results) == (4, True)
    assert settler.tokens == {one.token for one in (a, b, c, d)}
    settler.send()
    assert (settler.count, settler.results, settler.tokens) == (0, False, set())
    assert sorted(left(store.store)) == ["j0001", "j0003"]
    assert [failure.id for failure in store.failures.page()] == ["j0002"]
    counters = dict(store.counters())
    assert counters == {"expired": 1, "retried": 1, "failed": 1, "failed:host:4242": 1}


def test_the_effects_of_an_outcome_happen_with_it_and_only_with_it(store: Flaky, settler: Settler) -> None:
    def noted(name: str) -> Effects:
        return Effects(put=(job(f"after-{name}"),), values=((name, b"1", 60.0),), counters=(("noted", 1),))

    a, b, c, late = claim(store, 4)
    store.store.ack([late])
    settler.add(a, Done("processed", noted("a")))
    settler.add(b, RetryLater(b.payload, 0.0, "it raised", noted("b")))
    settler.add(c, replace(failed(c), effects=noted("c")))
    settler.add(late, Done("processed", noted("late")))
    settler.send()
    assert sorted(left(store.store)) == ["after-a", "after-b", "after-c", "j0001"]
    assert [store.store.value(name) for name in ("a", "b", "c", "late")] == [b"1", b"1", b"1", None]
    assert (store.counters()["noted"], store.counters()["processed"]) == (3, 1)


def test_what_is_put_back_keeps_its_order_at_the_front(store: Flaky, settler: Settler) -> None:
    claims = claim(store, 5)
    store.put(jobs(7)[5:])
    settler.put_back(claims)
    settler.put_back([])
    settler.send()
    assert store.calls["release"] == 1
    assert left(store.store) == [f"j{n:04}" for n in range(7)]


def test_a_queue_that_cant_be_written_keeps_no_other_ones_jobs(store: Flaky, settler: Settler) -> None:
    store.put([job("a", "note", "broken"), job("b", "note", "sound"), job("c", "note", "sound")])
    settler.put_back(store.claim(info(), 1, ["broken", "sound"], 3).claims)
    store.inject("own", "release")
    settler.send()
    assert [claim.queue for claim, _ in settler.refused] == ["broken"]
    assert left(store.store, "sound") == ["b", "c"]


def test_an_outage_keeps_everything_in_its_order(store: Flaky, settler: Settler) -> None:
    a, b = claim(store, 2)
    settler.add(a, RetryLater(a.payload, 0.0, "it raised"))
    settler.add(b, failed(b))
    store.inject("refused", "retry", times=2)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            settler.send()
    assert (settler.count, store.calls["fail"]) == (2, 0)
    settler.send()
    assert settler.count == 0
    assert held(store.store) == 0


def test_a_lost_answer_is_no_second_settling(store: Flaky, settler: Settler, caplog: pytest.LogCaptureFixture) -> None:
    a, b = claim(store, 2)
    settler.add(a, RetryLater(a.payload, 0.0, "it raised"))
    settler.add(b, failed(b))
    store.inject("lost", "retry", "fail")
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            settler.send()
    settler.send()
    assert settler.count == 0
    assert left(store.store) == ["j0000"]
    assert store.failures.count() == 1
    assert dict(store.counters())["retried"] == 1
    assert len(warnings(caplog)) == 2
    assert "settled before, or taken over" in warnings(caplog)[0]


@pytest.mark.parametrize("how", ["own", "broken"])
def test_what_is_refused_for_its_own_sake_holds_up_nobody(
    store: Flaky, settler: Settler, clock: Clock, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    a, b = claim(store, 2)
    settler.add(a, RetryLater(a.payload, 0.0, "it raised"))
    settler.add(b, failed(b))
    store.inject(how, "retry", times=2)
    settler.send()
    assert (settler.count, settler.parked) == (1, True)
    assert settler.tokens == {a.token}
    assert store.failures.count() == 1
    settler.send()
    assert store.calls["retry"] == 1, "not before its time"
    for _ in range(2):
        clock.now += 6
        settler.send()
    assert (settler.count, settler.parked) == (0, False)
    assert left(store.store) == ["j0000"]
    assert len([line for line in warnings(caplog) if "can't be settled" in line]) == 1


def test_claims_that_somebody_else_has_are_let_go(store: Flaky, settler: Settler, caplog: pytest.LogCaptureFixture) -> None:
    a, b = claim(store, 2)
    store.ack([a])
    settler.put_back([a, b])
    settler.send()
    assert settler.count == 0
    assert left(store.store) == ["j0001"]
    assert len(warnings(caplog)) == 1


def test_it_says_what_is_unsettled_and_what_of_it_was_refused(store: Flaky, settler: Settler) -> None:
    a, b, c = claim(store, 3)
    retry = RetryLater(a.payload, 0.0, "it raised")
    settler.add(a, retry)
    settler.put_back([b, c])
    assert settler.unsettled == [(a, retry), (b, None), (c, None)]
    assert settler.refused == []
    store.inject("own", "retry")
    settler.send()
    assert settler.unsettled == settler.refused == [(a, retry)]


def test_failures_are_recorded_before_the_store_is_told_and_once(store: Flaky, clock: Clock) -> None:
    seen: list[tuple[list[str], int]] = []
    settler = Settler(
        store,  # type: ignore[arg-type]
        info(),
        "worker",
        clock,
        lambda failures: seen.append(([one.id for one in failures], store.store.failures.count())),
    )
    a, b, c = claim(store, 3)
    settler.add(a, failed(a))
    settler.add(b, Done("expired"))
    settler.add(c, failed(c))
    store.inject("refused", "fail")
    with pytest.raises(StoreUnavailable):
        settler.send()
    settler.send()
    assert seen == [(["j0000", "j0002"], 0)]
    assert store.failures.count() == 2


def test_a_failure_that_comes_in_while_others_are_told_is_recorded_first(store: Flaky, clock: Clock) -> None:
    seen: list[str] = []
    settler = Settler(store, info(), "worker", clock, lambda failures: late(failures))  # type: ignore[arg-type]
    a, b = claim(store, 2)

    def late(failures: Sequence[Failure]) -> None:
        assert not any(kept.id == one.id for one in failures for kept in store.store.failures.page())
        seen.extend(one.id for one in failures)
        if len(seen) == 1:
            settler.add(b, failed(b))

    settler.add(a, failed(a))
    settler.send()
    assert seen == ["j0000", "j0001"]
    assert store.failures.count() == 2
