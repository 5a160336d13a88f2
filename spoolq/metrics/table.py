"""Every metric that spoolq has: the one place from which the collector, docs/metrics.md, the Grafana board and the tests take
names, labels and words. Base units (seconds, bytes), as Prometheus names them."""

from __future__ import annotations

from typing import Literal, NamedTuple

from spoolq.counts import BOUNDS

Kind = Literal["gauge", "counter", "histogram"]
Source = Literal["rows", "counts"]


class Metric(NamedTuple):
    """`source`: read from the rows of the stores at each scrape, or counted by processes, which tell the stores every few
    seconds. `values`: what a label of a closed set may be."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    source: Source = "rows"
    unit: Literal["", "s", "bytes", "timestamp"] = ""

    @property
    def bounds(self) -> tuple[float, ...]:
        """Upper bounds of a histogram's buckets."""
        return BOUNDS[self.name]


def _rows(name: str, kind: Kind, labels: str, help: str, unit: Literal["", "s", "bytes", "timestamp"] = "") -> Metric:
    return Metric(f"spoolq_{name}", kind, tuple(labels.split()), help, "rows", unit)


def _counts(name: str, kind: Kind, labels: str, help: str, unit: Literal["", "s", "bytes", "timestamp"] = "") -> Metric:
    return Metric(f"spoolq_{name}", kind, tuple(labels.split()), help, "counts", unit)


METRICS: tuple[Metric, ...] = (
    _rows("build_info", "gauge", "version python", "1, with the versions of spoolq and Python that answer this scrape."),
    _rows("store_up", "gauge", "store", "1 where that store (primary, spool) answered this scrape and takes jobs, else 0."),
    # in
    _rows(
        "jobs_enqueued_total",
        "counter",
        "queue route",
        "Jobs that were stored, by where they went: primary, or the spool of the host. Of the primary it is counted in the step "
        "that stores them, jobs that other jobs and schedules put included; of spools by the processes that enqueue.",
    ),
    _counts(
        "enqueue_errors_total",
        "counter",
        "queue reason",
        "Jobs for which enqueue raised: not_stored, full (the spool is at a limit), unknown (they may be stored), payload.",
    ),
    _counts(
        "enqueue_duration_seconds",
        "histogram",
        "route",
        "Seconds that the storing of one call's jobs took, by where they went. Calls that raised are not in it.",
        "s",
    ),
    # the primary
    _counts(
        "redis_errors_total",
        "counter",
        "reason operation",
        "Calls of the primary that failed, by spoolq's word for why, and by who made them: enqueue, probe, drain, work.",
    ),
    _rows(
        "breaker_state",
        "gauge",
        "state",
        "1 for the state (closed, open) that this host's producers go by: open, and new jobs go to the spool at once.",
    ),
    _counts("breaker_transitions_total", "counter", "to", "Changes of the breaker (to open, to closed), each process by itself."),
    _rows(
        "outage_seconds_total",
        "counter",
        "",
        "Seconds in which this host's producers went past the primary, the outage that lasts included.",
        "s",
    ),
    # the spool
    _rows(
        "spool_jobs",
        "gauge",
        "queue state",
        "Jobs in this host's spool, each in one state: ready, scheduled, claimed, in_doubt (the primary may have it too), "
        "quarantined.",
    ),
    _rows("spool_bytes", "gauge", "", "Bytes of this host's spool: the file and its write-ahead log.", "bytes"),
    _rows("spool_limit_bytes", "gauge", "", "Bytes that it may have (spool_max_bytes); past that enqueue raises.", "bytes"),
    _rows("spool_disk_free_bytes", "gauge", "", "Bytes free on its disk.", "bytes"),
    _rows(
        "spool_oldest_timestamp_seconds",
        "gauge",
        "queue",
        "When the oldest job that waits in this host's spool could have gone, in epoch seconds.",
        "timestamp",
    ),
    _counts("spool_rejected_total", "counter", "", "Jobs that the primary didn't take and the spool refused: nobody has them."),
    # the drainer
    _rows(
        "drained_jobs_total",
        "counter",
        "queue outcome",
        "Rows that left spools through drainers: moved (counted by the primary in the step that takes them), already_there (a "
        "second copy that was kept out), expired, unique, cancelled, quarantined.",
    ),
    _rows(
        "drain_lag_seconds",
        "gauge",
        "",
        "Age of the oldest job that waits in this host's spool to be handed over; 0: none does.",
        "s",
    ),
    _rows(
        "drainer_last_success_timestamp_seconds",
        "gauge",
        "",
        "When a drainer last handed rows of this host's spool over, in epoch seconds, within some 5 s; 0: never.",
        "timestamp",
    ),
    # queues
    _rows("queue_jobs", "gauge", "queue state store", "Jobs in a queue of a store (primary, spool): ready, scheduled, claimed."),
    _rows(
        "queue_oldest_timestamp_seconds",
        "gauge",
        "queue",
        "When the oldest job that is ready in the primary was enqueued, in epoch seconds.",
        "timestamp",
    ),
    _rows("queue_paused", "gauge", "queue", "1 for each queue of the primary that an operator has paused; `*` for all of them."),
    _rows("jobs_missing", "gauge", "", "Jobs that came, and neither ended nor are anywhere: what the primary has lost."),
    _rows(
        "failures", "gauge", "store", "Entries in the list of failed jobs of a store; of an SQLite file counted up to 100,000."
    ),
    # work
    _counts(
        "jobs_processed_total",
        "counter",
        "queue task outcome",
        "Runs that workers have ended: done, failed (for good), retried, discarded, expired, cancelled. A task that the worker "
        "doesn't know is _other.",
    ),
    _counts("job_duration_seconds", "histogram", "queue task", "Seconds that one run of a task took, however it ended.", "s"),
    _counts(
        "job_wait_seconds",
        "histogram",
        "queue",
        "Seconds from a job's enqueue to its first run, a delay that was asked for included.",
        "s",
    ),
    _rows(
        "workers",
        "gauge",
        "state",
        "Worker processes that the primary knows: busy, idle, late (not heard of within their lease).",
    ),
    _rows("workers_wanted", "gauge", "", "Processes that all pools together should have now."),
    _counts(
        "autoscale_decisions_total",
        "counter",
        "direction reason",
        "Changes of a pool's size, up or down, by what they were for, as its housekeeper saw them.",
    ),
    _counts(
        "failure_log_writes_total",
        "counter",
        "backend outcome",
        "Failures written beside the store's list (files, s3, gs, az: into the outbox for it): written, or failed.",
    ),
)
BY_NAME = {metric.name: metric for metric in METRICS}
