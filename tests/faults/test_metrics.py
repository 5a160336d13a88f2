"""Scrapes of real stores and processes: in an outage, of a Redis that answers nothing, of a million jobs, of processes that were
killed or have forked."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from spoolq import SpoolQ, metrics
from spoolq.errors import SpoolFull
from spoolq.metrics.collector import SpoolqCollector
from spoolq.metrics.samples import MOST_QUEUES
from spoolq.metrics.table import BY_NAME, METRICS
from tests.faults.metered import EACH
from tests.servers import Server
from tests.waiting import eventually

pytestmark = pytest.mark.one_server

ROOT = Path(__file__).parents[2]
Scrape = dict[str, dict[tuple[str, ...], float]]
BOUND = 10.0  # seconds: Prometheus's own time-out; a scrape waits for 3 at most, and this machine may be busy


@pytest.fixture
def own_server() -> Iterator[Server]:
    """To be broken."""
    with Server() as server:
        yield server


@contextmanager
def application(url: str, folder: Path, **settings: Any) -> Iterator[SpoolQ]:
    with SpoolQ(url, spool=folder / "spool.db", spool_min_free=0, **({"disk_limit": 20.0} | settings)) as q:

        @q.task(queue="mail", retries=0)
        def send(n: int) -> None:
            if n == 3:
                raise ValueError("no such address")

        tell = q._teller.tell
        q._teller.tell = lambda timeout=20.0: tell(timeout)  # type: ignore[method-assign]  # an answer after a second is none
        yield q


def scraper(q: SpoolQ, **options: Any) -> Callable[[], Scrape]:
    """A page of its own, that asks the stores each time."""
    registry = CollectorRegistry()
    registry.register(SpoolqCollector(q, **{"fresh": 0.0, **options}))

    def scrape() -> Scrape:
        from prometheus_client import generate_latest

        found: Scrape = {}
        for family in text_string_to_metric_families(generate_latest(registry).decode()):
            for sample in family.samples:
                metric = BY_NAME.get(sample.name) or BY_NAME[sample.name.rpartition("_")[0]]
                labels = tuple(sample.labels[label] for label in (*metric.labels, *(["le"] if "le" in sample.labels else [])))
                found.setdefault(sample.name, {})[labels] = sample.value
        return found

    return scrape


def whole(scrape: Callable[[], Scrape], primary: int, *names: str) -> Scrape:
    """One in which these are, with the primary up or away: what could not be read in time comes with a later scrape."""

    def complete() -> Scrape | None:
        one = scrape()
        return one if one["spoolq_store_up"].get(("primary",)) == primary and set(names) <= set(one) else None

    found = eventually(complete, what=f"a scrape with {', '.join(names)}")
    assert found is not None
    return found


def enqueue(q: SpoolQ, count: int, start: int = 0) -> None:
    task = q.tasks.get("send")
    for n in range(start, start + count):
        task.enqueue(n)


def test_a_live_scene_has_every_name_and_its_numbers_are_those_of_the_scene(server: Server, tmp_path: Path) -> None:
    with application(server.url, tmp_path, failure_log=f"{tmp_path}/failures", deadline=5.0) as q:
        began = time.time()
        enqueue(q, 10)
        q.worker(burst=True).run()
        enqueue(q, 2, 20)
        q.primary.pause("mail")
        q.failure_sink()
        q._teller.tell(5.0)
        names = ("spoolq_queue_jobs", "spoolq_jobs_processed_total", "spoolq_workers", "spoolq_spool_limit_bytes")
        found = whole(scraper(q), 1, *names, "spoolq_jobs_missing", "spoolq_queue_paused")
        page = metrics.text(q).decode()
        for metric in METRICS:
            assert f"# TYPE {metric.name} {metric.kind}\n" in page
        assert found["spoolq_store_up"] == {("primary",): 1, ("spool",): 1}
        assert found["spoolq_jobs_enqueued_total"] == {("mail", "primary"): 12}
        assert found["spoolq_jobs_processed_total"] == {("mail", "send", "done"): 9, ("mail", "send", "failed"): 1}
        assert found["spoolq_job_duration_seconds_count"] == {("mail", "send"): 10}
        assert found["spoolq_job_wait_seconds_count"] == {("mail",): 10}
        assert 0 < found["spoolq_job_wait_seconds_sum"][("mail",)] < 10 * (time.time() - began)
        assert found["spoolq_enqueue_duration_seconds_count"] == {("primary",): 12}
        assert found["spoolq_queue_jobs"][("mail", "ready", "primary")] == 2
        assert began <= found["spoolq_queue_oldest_timestamp_seconds"][("mail",)] <= time.time()
        assert found["spoolq_queue_paused"] == {("mail",): 1}
        assert found["spoolq_failures"][("primary",)] == 1
        assert found["spoolq_failure_log_writes_total"] == {("files", "written"): 1}
        assert found["spoolq_breaker_state"] == {("closed",): 1, ("open",): 0}
        assert found["spoolq_jobs_missing"] == {(): 0}
        assert found["spoolq_workers"] == {("busy",): 0, ("idle",): 0, ("late",): 0}
        assert found["spoolq_spool_limit_bytes"] == {(): q.settings.spool_max_bytes}
        assert found["spoolq_spool_disk_free_bytes"][()] > 0
        assert "no such address" not in page


def test_buckets_of_a_histogram_rise_to_its_count(server: Server, tmp_path: Path) -> None:
    with application(server.url, tmp_path, deadline=5.0) as q:
        enqueue(q, 8)
        q._teller.tell(5.0)
        found = whole(scraper(q), 1, "spoolq_enqueue_duration_seconds_bucket")
        counts = [n for (_, bound), n in found["spoolq_enqueue_duration_seconds_bucket"].items() if bound]
        assert counts == sorted(counts)
        assert counts[-1] == found["spoolq_enqueue_duration_seconds_count"][("primary",)] == 8


def test_an_outage_is_seen_and_no_counter_falls(own_server: Server, tmp_path: Path) -> None:
    server = own_server
    with application(server.url, tmp_path, deadline=5.0) as q:
        enqueue(q, 5)
        q.worker(burst=True).run()
        q._teller.tell(5.0)
        scrape = scraper(q)
        before = whole(scrape, 1, "spoolq_queue_jobs", "spoolq_jobs_processed_total")
        server.kill()
        enqueue(q, 4, 10)
        q._teller.tell(5.0)
        # with the errors: those only the spool's own series tell of, which may have been read too late for the rest
        names = ("spoolq_spool_jobs", "spoolq_drain_lag_seconds", "spoolq_jobs_enqueued_total", "spoolq_redis_errors_total")
        during = whole(scrape, 0, *names)
        assert during["spoolq_store_up"] == {("primary",): 0, ("spool",): 1}
        assert during["spoolq_breaker_state"] == {("closed",): 0, ("open",): 1}
        assert during["spoolq_spool_jobs"][("mail", "ready")] == 4
        assert during["spoolq_drain_lag_seconds"][()] > 0
        assert 0 < during["spoolq_outage_seconds_total"][()] < 600
        assert ("mail", "ready", "primary") not in during["spoolq_queue_jobs"]
        assert during["spoolq_jobs_enqueued_total"] == {("mail", "primary"): 5, ("mail", "spool"): 4}
        assert sum(during["spoolq_redis_errors_total"].values()) >= 1
        for name, values in before.items():
            if name.endswith(("_total", "_count", "_bucket", "_sum")):
                assert all(during[name][labels] >= value for labels, value in values.items()), name
        cold = whole(scraper(q), 0, "spoolq_spool_jobs")  # begun in the outage: what it can't know, it doesn't make up
        assert "spoolq_jobs_processed_total" not in cold
        assert "spoolq_jobs_enqueued_total" not in cold
        assert cold["spoolq_spool_jobs"][("mail", "ready")] == 4
        server.start()
        eventually(lambda: q.drainer().run_once(5.0).left == 0)
        q._teller.tell(5.0)
        after = whole(scrape, 1, "spoolq_drained_jobs_total", "spoolq_drain_lag_seconds")
        assert after["spoolq_store_up"] == {("primary",): 1, ("spool",): 1}
        assert after["spoolq_drained_jobs_total"][("mail", "moved")] == 4
        assert after["spoolq_drain_lag_seconds"][()] == 0
        assert time.time() - after["spoolq_drainer_last_success_timestamp_seconds"][()] < 60


def test_a_redis_that_answers_nothing_holds_up_no_scrape(own_server: Server, tmp_path: Path) -> None:
    server = own_server
    with application(server.url, tmp_path, deadline=5.0) as q:
        enqueue(q, 3)
        scrape = scraper(q)
        whole(scrape, 1, "spoolq_jobs_enqueued_total")  # what is kept of it afterwards has been read once
        server.stop()
        try:
            for _ in range(3):
                began = time.monotonic()
                found = scrape()
                assert time.monotonic() - began < BOUND
                assert found["spoolq_jobs_enqueued_total"] == {("mail", "primary"): 3}
            eventually(lambda: scrape()["spoolq_store_up"][("primary",)] == 0)
        finally:
            server.cont()
        eventually(lambda: scrape()["spoolq_store_up"][("primary",)] == 1)


def test_a_web_servers_own_page_asks_redis_nothing(own_server: Server, tmp_path: Path) -> None:
    server = own_server
    with application(server.url, tmp_path, deadline=5.0) as q:
        enqueue(q, 3)
        registry = CollectorRegistry()
        metrics.register(registry, q)
        with closing(server.client()) as control:

            def asks_nothing() -> Scrape | None:
                asked = control.info("stats")["total_commands_processed"]
                found = scraper(q, own=True)()
                more = control.info("stats")["total_commands_processed"] - asked
                return found if more <= 2 else None  # the two of this control; what was counted is told to Redis now and then

            own = eventually(asks_nothing, what="a page that asks Redis nothing")
            assert own is not None
        assert own["spoolq_enqueue_duration_seconds_count"] == {("primary",): 3}
        assert own["spoolq_breaker_state"] == {("closed",): 1, ("open",): 0}
        assert "spoolq_queue_jobs" not in own
        assert ("primary",) not in own["spoolq_store_up"]


def test_what_nobody_took_is_counted(tmp_path: Path) -> None:
    with application("redis://127.0.0.1:1/0", tmp_path, spool_max_rows=2) as q:
        enqueue(q, 2)
        with pytest.raises(SpoolFull):
            enqueue(q, 1)
        found = scraper(q, own=True)()
        assert found["spoolq_spool_rejected_total"] == {(): 1}
        assert found["spoolq_enqueue_errors_total"] == {("mail", "full"): 1}
        assert found["spoolq_jobs_enqueued_total"] == {("mail", "spool"): 2}


def metered(mode: str, url: str, folder: Path, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.faults.metered", mode, url, str(folder / "spool.db"), str(count)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_forked_processes_are_counted_once_each(server: Server, tmp_path: Path) -> None:
    process = metered("fork", server.url, tmp_path, 4)
    process.communicate(timeout=60)
    assert process.returncode == 0
    with application(server.url, tmp_path, deadline=5.0) as q:
        found = whole(scraper(q), 1, "spoolq_enqueue_duration_seconds_count", "spoolq_jobs_enqueued_total")
        assert found["spoolq_enqueue_duration_seconds_count"] == {("primary",): 5 * EACH}
        assert found["spoolq_jobs_enqueued_total"] == {("quick", "primary"): 5 * EACH}


def test_a_killed_worker_takes_no_more_than_it_had_not_told(server: Server, tmp_path: Path) -> None:
    process = metered("worker", server.url, tmp_path, 20)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "stuck\n"
        with application(server.url, tmp_path, deadline=5.0) as q:
            scrape = scraper(q)
            done = ("quick", "quick", "done")
            eventually(lambda: scrape().get("spoolq_jobs_processed_total", {}).get(done) == 20)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            assert scrape()["spoolq_jobs_processed_total"] == {done: 20}
            assert whole(scrape, 1, "spoolq_queue_jobs")["spoolq_queue_jobs"][("stuck", "claimed", "primary")] == 1
    finally:
        process.kill()
        process.communicate()


def test_a_thousand_queues_are_no_thousand_series(server: Server, tmp_path: Path) -> None:
    with application(server.url, tmp_path, deadline=5.0) as q:
        task = q.tasks.get("send")
        q.enqueue_many([task.using(queue=f"queue-{n:04d}").job(n) for n in range(1000) for _ in range(1 + (n == 7))])
        found = eventually(lambda: (one := scraper(q)()).get("spoolq_queue_jobs") and one)
        ready = {
            queue: n for (queue, state, store), n in found["spoolq_queue_jobs"].items() if (state, store) == ("ready", "primary")
        }
        assert len(ready) == MOST_QUEUES + 1
        assert (sum(ready.values()), ready["queue-0007"], ready["_other"]) == (1001, 2, 1000 - MOST_QUEUES)


MILLION = 1_000_000
FILL = """
import sqlite3, sys
file = sqlite3.connect(sys.argv[1], isolation_level=None)
names = [row[1] for row in file.execute("PRAGMA table_info(jobs)") if row[1] not in ("seq", "id")]
file.execute("BEGIN")
file.execute(
    f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {sys.argv[2]})"
    f" INSERT INTO jobs (id, {', '.join(names)}) SELECT 'copy-' || i, {', '.join(names)} FROM n, (SELECT * FROM jobs LIMIT 1)"
)
file.execute("COMMIT")
"""


@pytest.mark.slow
def test_a_million_jobs_are_scraped_in_bounded_time(own_server: Server, tmp_path: Path) -> None:
    """In a queue of Redis, and in the spool: what can't be read in time is left out, and comes with a later scrape."""
    server = own_server
    server.kill()
    with application(server.url, tmp_path) as q:
        enqueue(q, 1)
    subprocess.run([sys.executable, "-c", FILL, str(tmp_path / "spool.db"), str(MILLION - 1)], check=True, timeout=100)
    server.start()
    with closing(server.client(socket_timeout=60)) as control:
        control.sadd("resque:queues", "mail")
        push = "for i = 1, 1000000 do redis.call('RPUSH', KEYS[1], ARGV[1]) end"
        control.eval(push, 1, "resque:queue:mail", '{"class":"send","queue":"mail","args":[1]}')
    with application(server.url, tmp_path, deadline=5.0) as q:
        scrape = scraper(q)
        began = time.monotonic()
        scrape()
        assert time.monotonic() - began < BOUND
        found = eventually(lambda: (one := scrape()).get("spoolq_queue_jobs") and one, within=60)
        assert found["spoolq_queue_jobs"][("mail", "ready", "primary")] == MILLION
        assert found["spoolq_spool_jobs"][("mail", "ready")] == MILLION


def test_the_copies_of_a_row_are_rows(tmp_path: Path) -> None:
    """What fills the file of the test above."""
    with application("redis://127.0.0.1:1/0", tmp_path) as q:
        enqueue(q, 1)
    subprocess.run([sys.executable, "-c", FILL, str(tmp_path / "spool.db"), "9"], check=True, timeout=100)
    with closing(sqlite3.connect(tmp_path / "spool.db")) as file:
        assert file.execute("SELECT count(*) FROM jobs").fetchone() == (10,)
