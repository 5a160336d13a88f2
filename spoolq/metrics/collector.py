"""What Prometheus's client asks at each scrape: the stores, in bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from spoolq.latest import Latest
from spoolq.metrics import samples
from spoolq.metrics.look import Look, take, take_own
from spoolq.metrics.samples import Histogram, Samples, Values
from spoolq.metrics.table import METRICS, Metric

if TYPE_CHECKING:
    from spoolq.app import SpoolQ
    from spoolq.store.tally import Ledger


class _Known(NamedTuple):
    """What the looks have shown: the newest one, of each counter what was read last, and the queues that counters name."""

    look: Look | None = None
    primary: Ledger | None = None
    primary_series: Mapping[str, int] | None = None
    spool_series: Mapping[str, int] = {}
    outage: float = 0.0
    queues: frozenset[str] = frozenset()

    def and_now(self, look: Look) -> _Known:
        """With what this look shows. Old outages go out of the journal, and seconds stay seconds."""
        return _Known(
            look,
            look.primary or self.primary,
            self.primary_series if look.primary_series is None else look.primary_series,
            self.spool_series if look.spool_series is None else look.spool_series,
            max(self.outage, look.outage),
            self.queues if look.primary is None else samples.named(look.primary, self.queues),
        )


class SpoolqCollector(Collector):
    """All of spoolq's metrics, for one `registry.register(SpoolqCollector(q))`. Safe to scrape from several threads.

    own     show this process's own counts and the host's spool, and never ask the primary: for the page of a web server
    fresh   seconds for which what was read serves
    wait    seconds that a scrape waits for a new look; then it gets what was known, and the look goes on
    stale   seconds after which what was read is no picture of now: gauges are left out, counters stay

    Counts lie in both stores. While the primary is away its part is the one that was read last; before it was read once, there
    are no such counters: a sum without it would fall, and rise again with its return, and a rate would show jobs that never were.
    """

    def __init__(
        self,
        q: SpoolQ,
        *,
        own: bool = False,
        fresh: float = 1.5,
        wait: float = 3.0,
        stale: float = 15.0,
        look: Callable[[SpoolQ], Look] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._q, self._own, self._wait, self._stale, self._clock = q, own, wait, stale, clock
        self._take = look or (take_own if own else take)
        self._known = _Known()
        self._latest = Latest(self._look, fresh=fresh, name="spoolq-scrape", clock=clock)

    def describe(self) -> Iterable[Family]:
        """Names alone: who registers it asks no store."""
        return [_family(metric, {}) for metric in METRICS]

    def collect(self) -> Iterable[Family]:
        """One scrape. Never raises for a store."""
        seen, known = self._latest.get(self._wait), _Known()
        if seen is not None:
            began, known = seen
            if self._clock() - began > self._stale:
                known = known._replace(look=None)
        return [_family(metric, values) for metric, values in samples.ordered(self._samples(known))]

    def _look(self) -> _Known:
        self._known = self._known.and_now(self._take(self._q))
        return self._known

    def _samples(self, known: _Known) -> Samples:
        look, parts = known.look, [samples.of_process()]
        if known.primary_series is not None:
            names = {*known.primary_series, *known.spool_series}
            parts.append(
                samples.of_counts({name: known.primary_series.get(name, 0) + known.spool_series.get(name, 0) for name in names})
            )
        if known.primary is not None:
            parts.append(samples.of_ledger(known.primary, known.queues))
        if look is None:
            parts.append({"spoolq_store_up": {("primary",): 0.0} if not self._own else {}})
            return samples.merged(parts)
        if look.facts is not None:
            parts.append(samples.of_primary(look.facts, look.primary))
        if look.primary is not None and (look.spool is not None or look.side is None or look.side.state == "absent"):
            parts.append(samples.of_accounts(look.primary, look.spool, look.remembered))
        if look.side is not None:
            parts.append(samples.of_spool(look.side, look.spool, look.at, look.drained_at))
        return samples.merged([*parts, samples.of_breaker(self._open(look), known.outage)])

    def _open(self, look: Look) -> bool:
        """Whether producers here go past the primary: by their own word to each other, or since it doesn't answer us either."""
        if look.facts is None:
            return not self._q.breaker.allows()
        return look.side is not None and (look.facts.primary.state != "up" or look.facts.outage is not None)


def _family(metric: Metric, values: Values) -> Family:
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, value in values.items():
            if isinstance(value, Histogram):
                histogram.add_metric(labels, value.buckets, value.sum)
        return histogram
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for labels, value in values.items():
        if not isinstance(value, Histogram):
            family.add_metric(labels, value)
    return family
