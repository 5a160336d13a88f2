"""From what was read to the values of each metric. Pure."""

from __future__ import annotations

import platform
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from spoolq.accounting import Known, accounts
from spoolq.counts import OTHER, REST, SEPARATOR, SUM
from spoolq.facts import Facts, Side
from spoolq.metrics.table import BY_NAME, METRICS, Metric
from spoolq.store.base import WorkerView
from spoolq.store.tally import IN, Ledger
from spoolq.version import VERSION

MOST_QUEUES = 200
"""Queues that a scrape names; those with the fewest jobs beyond that, and of counters those that came last, are `_other`."""

Labels = tuple[str, ...]


class Histogram(NamedTuple):
    """`buckets`: (upper bound as a text, how many up to it) in rising order, `+Inf` last; `sum` in seconds."""

    buckets: tuple[tuple[str, int], ...]
    sum: float


Numbers = dict[Labels, float]
Values = Mapping[Labels, float | Histogram]
Samples = dict[str, Values]
"""By the name of the metric, by the values of its labels in the table's order."""


def of_process() -> Samples:
    """What any answer has."""
    return {"spoolq_build_info": {(VERSION, platform.python_version()): 1.0}}


def of_counts(series: Mapping[str, int]) -> Samples:
    """Of what processes have counted. What this spoolq doesn't know, such as a newer one's, is left out."""
    counted: dict[str, dict[Labels, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    numbers: dict[str, Numbers] = {metric.name: {} for metric in METRICS if metric.source == "counts"}
    for name, n in series.items():
        first, *labels = name.split(SEPARATOR)
        metric = BY_NAME.get(first)
        if metric is None:
            continue
        if metric.kind == "histogram" and len(labels) == len(metric.labels) + 1:
            counted[first][tuple(labels[:-1])][labels[-1]] = n
        elif metric.kind == "counter" and len(labels) == len(metric.labels):
            numbers.setdefault(first, {})[tuple(labels)] = n
    for metric in METRICS:
        if metric.source == "counts" and not metric.labels:
            numbers[metric.name].setdefault((), 0.0)  # 0 is an answer, and a rate needs it
    histograms = {
        first: {labels: _histogram(BY_NAME[first], cell) for labels, cell in found.items()} for first, found in counted.items()
    }
    return {**numbers, **histograms}


def _histogram(metric: Metric, cell: Mapping[str, int]) -> Histogram:
    total, buckets = 0, []
    for bound in (*map(str, metric.bounds), REST):
        total += cell.get(bound, 0)
        buckets.append((bound, total))
    return Histogram(tuple(buckets), cell.get(SUM, 0) / 1e6)


def of_accounts(primary: Ledger, spool: Ledger | None, known: Known | None) -> Samples:
    """Whether it balances."""
    return {"spoolq_jobs_missing": {(): accounts(primary, spool, known).total.missing}}


def named(primary: Ledger, before: frozenset[str] = frozenset()) -> frozenset[str]:
    """The queues that counters name: those `before`, and while there is room the others, those with the most jobs first. A queue
    that took the place of another would make the counter of the rest fall."""
    room = MOST_QUEUES - len(before)
    others = sorted(
        (one for one in primary.queues.values() if one.queue not in before), key=lambda one: (-one.sum(IN), one.queue)
    )
    return before | {one.queue for one in others[:room]}


def of_ledger(primary: Ledger, queues: frozenset[str]) -> Samples:
    """What came into the primary, from producers and from drainers: of spools, processes count the rest. By these `queues`."""
    put, drained = defaultdict[Labels, float](float), defaultdict[Labels, float](float)
    for one in primary.queues.values():
        queue = one.queue if one.queue in queues else OTHER
        put[queue, "primary"] += one.counts.get("put", 0)
        drained[queue, "moved"] += one.counts.get("drained", 0)
    return {"spoolq_jobs_enqueued_total": put, "spoolq_drained_jobs_total": drained}


def of_primary(facts: Facts, ledger: Ledger | None) -> Samples:
    """The primary's queues and workers as they are now; nothing while it can't be asked."""
    side = facts.primary
    up = float(side.state == "up")
    samples: Samples = {"spoolq_store_up": {("primary",): up}}
    if side.state not in ("up", "refusing"):
        return samples
    samples["spoolq_queue_jobs"] = _jobs(ledger, "primary", "ready", "scheduled", "claimed")
    samples["spoolq_queue_oldest_timestamp_seconds"] = _oldest(side, facts.at)
    samples["spoolq_failures"] = {("primary",): side.failures}
    samples["spoolq_queue_paused"] = {(queue,): 1.0 for queue in sorted(side.paused)[:MOST_QUEUES]}
    states = dict.fromkeys(("busy", "idle", "late"), 0)
    for view in side.workers:
        if view.info.role == "worker":
            states[_state(view)] += 1
    samples["spoolq_workers"] = {(state,): n for state, n in states.items()}
    samples["spoolq_workers_wanted"] = {(): sum(pool.wanted for pool, _ in facts.pools)}
    return samples


def _state(view: WorkerView) -> str:
    return "late" if view.lease_left < 0 else "busy" if view.working else "idle"


def of_spool(side: Side, ledger: Ledger | None, now: float, drained_at: float) -> Samples:
    """This host's spool as it is now."""
    samples: Samples = {"spoolq_store_up": {("spool",): float(side.refuses is None)}}
    if side.info is None:
        return samples
    info = side.info
    samples |= {
        "spoolq_failures": {("spool",): side.failures},
        "spoolq_queue_jobs": _jobs(ledger, "spool", "ready", "scheduled", "claimed"),
        "spoolq_spool_jobs": _jobs(ledger, "", "ready", "scheduled", "claimed", "in_doubt", "quarantined"),
        "spoolq_spool_oldest_timestamp_seconds": _oldest(side, now),
        "spoolq_spool_bytes": {(): info.bytes},
        "spoolq_spool_limit_bytes": {(): info.limit_bytes},
        "spoolq_spool_disk_free_bytes": {(): info.disk_free},
        "spoolq_drain_lag_seconds": {(): info.oldest or 0.0},
        "spoolq_drainer_last_success_timestamp_seconds": {(): drained_at},
    }
    return samples


def of_breaker(open: bool, outage: float) -> Samples:
    """What this host's producers go by, and for how many seconds in all they went past the primary."""
    states: Numbers = {("closed",): float(not open), ("open",): float(open)}
    return {"spoolq_breaker_state": states, "spoolq_outage_seconds_total": {(): outage}}


def _jobs(ledger: Ledger | None, store: str, *states: str) -> Numbers:
    """By queue and state, and by store where one is named."""
    queues = {} if ledger is None else ledger.queues
    last = (store,) if store else ()
    return _bounded({(queue, state, *last): getattr(one, state) for queue, one in queues.items() for state in states})


def _oldest(side: Side, now: float) -> Numbers:
    return _bounded({(depth.queue,): now - depth.oldest for depth in side.depths if depth.oldest is not None}, least=True)


def _bounded(values: Numbers, *, least: bool = False) -> Numbers:
    """With the queue as the first label: no more of them than a scrape may name. The others are summed up, or the least taken."""
    weights: dict[str, float] = defaultdict(float)
    for labels, value in values.items():
        weights[labels[0]] += value
    if len(weights) <= MOST_QUEUES:
        return values
    order = sorted(weights, key=lambda queue: (weights[queue] if least else -weights[queue], queue))
    named = set(order[:MOST_QUEUES])
    found: Numbers = {}
    for labels, value in values.items():
        key = labels if labels[0] in named else (OTHER, *labels[1:])
        before = found.get(key)
        found[key] = value if before is None else min(before, value) if least else before + value
    return found


def merged(several: Iterable[Samples]) -> Samples:
    """All of them together; the same metric may have values in more than one."""
    found: Samples = {}
    for samples in several:
        for name, values in samples.items():
            found[name] = {**found.get(name, {}), **values}
    return found


def ordered(samples: Samples) -> Iterator[tuple[Metric, Values]]:
    """In the table's order, with the metrics that have no value now."""
    for metric in METRICS:
        yield metric, samples.get(metric.name, {})
