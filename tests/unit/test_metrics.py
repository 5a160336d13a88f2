"""From what was read to what a scrape shows: bounded in time and in series, and true of what can't be known."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from spoolq import SpoolQ, metrics
from spoolq.counts import BOUNDS, DURATION, OTHER, encoded
from spoolq.job import Message
from spoolq.metrics import samples
from spoolq.metrics.collector import SpoolqCollector
from spoolq.metrics.look import Look, take
from spoolq.metrics.samples import MOST_QUEUES, named, of_counts, of_ledger
from spoolq.metrics.table import METRICS
from spoolq.store.tally import Ledger, Tally
from tests.waiting import eventually


@pytest.fixture
def q(tmp_path: Path) -> Iterator[SpoolQ]:
    with SpoolQ(f"sqlite:///{tmp_path}/jobs.db") as q:
        yield q


def names(collector: SpoolqCollector) -> set[str]:
    """Of the series that have a value."""
    return {sample.name for family in collector.collect() for sample in family.samples}


class Clock:
    """Moves when told."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_registering_asks_no_store(q: SpoolQ) -> None:
    def look(q: SpoolQ) -> Look:
        raise AssertionError("asked")

    registry = CollectorRegistry()
    registry.register(SpoolqCollector(q, look=look))
    assert not [thread for thread in threading.enumerate() if thread.name == "spoolq-scrape"]


def test_an_sqlite_queue_alone_has_its_numbers_and_no_spools(q: SpoolQ) -> None:
    @q.task(queue="mail")
    def send() -> None: ...

    send.enqueue()
    q._teller.tell()
    text = metrics.text(q).decode()
    assert 'spoolq_queue_jobs{queue="mail",state="ready",store="primary"} 1.0' in text
    assert 'spoolq_jobs_enqueued_total{queue="mail",route="primary"} 1.0' in text
    assert 'spoolq_enqueue_duration_seconds_count{route="primary"} 1.0' in text
    assert "spoolq_jobs_missing 0.0" in text
    assert 'store="spool"' not in text
    assert "spoolq_spool_bytes " not in text.replace("# HELP spoolq_spool_bytes ", "").replace("# TYPE spoolq_spool_bytes ", "")


def test_a_queue_that_isnt_there_yet_makes_no_file(tmp_path: Path) -> None:
    with SpoolQ(f"sqlite:///{tmp_path}/none.db") as q:
        assert b'spoolq_store_up{store="primary"} 0.0' in metrics.text(q)
    assert list(tmp_path.iterdir()) == []


def test_a_page_speaks_openmetrics_to_who_asks_for_it(q: SpoolQ) -> None:
    body, kind = metrics.page(q, "application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    assert metrics.page(q)[1].startswith("text/plain")


def test_what_was_read_serves_for_a_moment_and_then_is_read_anew(q: SpoolQ) -> None:
    looks: list[int] = []

    def look(q: SpoolQ) -> Look:
        looks.append(1)
        return take(q)

    clock = Clock()
    collector = SpoolqCollector(q, look=look, clock=clock, fresh=1.5, wait=40.0)
    for _ in range(3):
        collector.collect()
    assert len(looks) == 1
    clock.now += 2.0
    collector.collect()
    assert len(looks) == 2


def test_a_store_that_hangs_holds_up_no_scrape_and_is_asked_once(q: SpoolQ) -> None:
    q.primary.put([Message("1", "mail", b"{}")])
    go_on, asked = threading.Event(), []

    def look(q: SpoolQ) -> Look:
        asked.append(1)
        go_on.wait(30)
        return take(q)

    collector = SpoolqCollector(q, look=look, wait=0.05)
    began = time.monotonic()
    try:
        assert names(collector) == {"spoolq_build_info", "spoolq_store_up"}
        assert names(collector) == {"spoolq_build_info", "spoolq_store_up"}
        assert time.monotonic() - began < 20
        eventually(lambda: asked)
        assert len(asked) == 1
    finally:
        go_on.set()
    eventually(lambda: "spoolq_workers" in names(collector))


def test_an_error_of_our_own_is_logged_and_leaves_what_was_known(q: SpoolQ, caplog: pytest.LogCaptureFixture) -> None:
    clock, wrong = Clock(), False

    def look(q: SpoolQ) -> Look:
        if wrong:
            raise RuntimeError("a mistake")
        return take(q)

    @q.task
    def send() -> None: ...

    send.enqueue()
    collector = SpoolqCollector(q, look=look, clock=clock, wait=40.0)
    before = names(collector)
    wrong = True
    clock.now += 5.0
    assert names(collector) == before
    assert "a mistake" in caplog.text


def test_what_is_old_is_no_picture_of_now_but_counters_stay(q: SpoolQ) -> None:
    @q.task(queue="mail")
    def send() -> None: ...

    send.enqueue()
    q._teller.tell()
    clock, go_on, hangs = Clock(), threading.Event(), False

    def look(q: SpoolQ) -> Look:
        if hangs:
            go_on.wait(30)
        return take(q)

    collector = SpoolqCollector(q, look=look, clock=clock, wait=0.05, stale=15.0)
    eventually(lambda: "spoolq_queue_jobs" in names(collector))
    hangs = True
    clock.now += 16.0
    try:
        found = names(collector)
        assert "spoolq_queue_jobs" not in found
        assert {"spoolq_jobs_enqueued_total", "spoolq_enqueue_duration_seconds_count", "spoolq_build_info"} <= found
    finally:
        go_on.set()


def test_old_outages_that_are_forgotten_take_no_seconds_back(tmp_path: Path) -> None:
    clock, seconds = Clock(), 50.0
    with SpoolQ("redis://127.0.0.1:1/0", spool=tmp_path / "spool.db") as q:
        collector = SpoolqCollector(q, look=lambda q: Look(primary_series={}, outage=seconds), clock=clock, wait=40.0)

        def told() -> Any:
            [family] = [one for one in collector.collect() if one.name == "spoolq_outage_seconds"]
            return [sample.value for sample in family.samples]

        assert told() == [50.0]
        seconds, clock.now = 10.0, clock.now + 5
        assert told() == [50.0]


def test_counts_become_counters_and_rising_buckets() -> None:
    front = encoded(DURATION, "mail", "send")
    found = of_counts({f"{front}\t0.005": 2, f"{front}\t+Inf": 1, f"{front}\tsum": 2_500_000})
    histogram = found[DURATION]["mail", "send"]
    assert isinstance(histogram, samples.Histogram)
    assert histogram.sum == 2.5
    assert [bound for bound, _ in histogram.buckets] == [*map(str, BOUNDS[DURATION]), "+Inf"]
    assert [n for _, n in histogram.buckets] == [0, *[2] * (len(BOUNDS[DURATION]) - 1), 3]


@pytest.mark.parametrize(
    "series", ["nonsense", "", "spoolq_of_a_newer_one\ta", "spoolq_redis_errors_total\tone label", f"{DURATION}\ta"]
)
def test_series_that_this_version_doesnt_know_are_left_out(series: str) -> None:
    assert of_counts({series: 5}) == of_counts({})


def test_a_counter_without_labels_is_0_from_the_start() -> None:
    assert of_counts({})["spoolq_spool_rejected_total"] == {(): 0.0}


def ledger(puts: Callable[[int], int]) -> Ledger:
    """Of more queues than are named: how many jobs came into each."""
    return Ledger({f"q{n:04d}": Tally(f"q{n:04d}", {"put": puts(n)}) for n in range(MOST_QUEUES + 40)})


def test_queues_beyond_the_bound_are_one() -> None:
    primary = ledger(lambda n: 1 if n else 50)
    found = of_ledger(primary, named(primary))["spoolq_jobs_enqueued_total"]
    assert len(found) == MOST_QUEUES + 1
    assert found[OTHER, "primary"] == 40
    assert found["q0000", "primary"] == 50


def test_a_queue_that_grows_takes_no_place_of_another_so_no_counter_falls(q: SpoolQ) -> None:
    ledgers = iter([ledger(lambda n: 10 if n < MOST_QUEUES else 9), ledger(lambda n: 10 if n < MOST_QUEUES else 11)])
    clock = Clock()
    collector = SpoolqCollector(q, look=lambda q: Look(primary=next(ledgers)), clock=clock, wait=40.0)

    def enqueued() -> dict[str, float]:
        [family] = [one for one in collector.collect() if one.name == "spoolq_jobs_enqueued"]
        return {sample.labels["queue"]: sample.value for sample in family.samples}

    before = enqueued()
    clock.now += 5.0
    after = enqueued()
    assert before.keys() == after.keys()
    assert (before[OTHER], after[OTHER]) == (40 * 9, 40 * 11)


def test_every_family_is_described_as_it_is_collected(q: SpoolQ) -> None:
    collector = SpoolqCollector(q)
    described = [(one.name, one.type, one.documentation) for one in collector.describe()]
    assert described == [(one.name, one.type, one.documentation) for one in collector.collect()]
    assert len(described) == len(METRICS)


def test_many_scrapers_at_once_get_whole_pages(q: SpoolQ) -> None:
    registry = CollectorRegistry()
    registry.register(SpoolqCollector(q, fresh=0.0))
    pages: list[bytes] = []
    scrape: Callable[[], None] = lambda: pages.append(generate_latest(registry))  # noqa: E731
    threads = [threading.Thread(target=scrape) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {page.count(b"# TYPE") for page in pages} == {len(METRICS)}
