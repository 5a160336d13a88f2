"""What Prometheus's client asks at each scrape: the stores, in bounded time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from spoolq.metrics import samples
from spoolq.metrics.look import Look, take, take_own
from spoolq.metrics.samples import Histogram, Samples, Values
from spoolq.metrics.table import METRICS, Metric

if TYPE_CHECKING:
    from spoolq.app import SpoolQ
    from spoolq.store.tally import Ledger

log = logging.getLogger("spoolq.metrics")


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
        self._q, self._own, self._fresh, self._wait, self._stale, self._clock = q, own, fresh, wait, stale, clock
        self._take = look or (take_own if own else take)
        self._lock = threading.Lock()
        self._looking: threading.Event | None = None
        self._seen: tuple[float, Look] | None = None
        self._primary: Ledger | None = None
        self._series: tuple[Mapping[str, int] | None, Mapping[str, int]] = (None, {})
        self._outage = 0.0

    def describe(self) -> Iterable[Family]:
        """Names alone: who registers it asks no store."""
        return [_family(metric, {}) for metric in METRICS]

    def collect(self) -> Iterable[Family]:
        """One scrape. Never raises for a store."""
        if (over := self._begin()) is not None:
            over.wait(self._wait)
        with self._lock:
            seen = self._seen
            late = seen is None or self._clock() - seen[0] > self._stale
            found = self._samples(None if late or seen is None else seen[1])
        return [_family(metric, values) for metric, values in samples.ordered(found)]

    def _begin(self) -> threading.Event | None:
        """The end of the look that is under way, begun where one is due; None where the last one serves."""
        with self._lock:
            if self._looking is not None:
                return self._looking
            if self._seen is not None and self._clock() - self._seen[0] <= self._fresh:
                return None
            over = self._looking = threading.Event()
        threading.Thread(target=self._look, args=(over,), name="spoolq-scrape", daemon=True).start()
        return over

    def _look(self, over: threading.Event) -> None:
        began, look = self._clock(), None
        try:
            look = self._take(self._q)
        except Exception:
            log.exception("a scrape: an error of our own; it gets what was known")
        with self._lock:
            if look is not None:
                self._seen = began, look
                self._remember(look)
            self._looking = None
        over.set()

    def _remember(self, look: Look) -> None:
        primary, spool = self._series
        self._primary = look.primary or self._primary
        self._series = (
            primary if look.primary_series is None else look.primary_series,
            spool if look.spool_series is None else look.spool_series,
        )
        self._outage = max(self._outage, look.outage)  # old outages go out of the journal, and seconds stay seconds

    def _samples(self, look: Look | None) -> Samples:
        parts = [samples.of_process()]
        primary, spool = self._series
        if primary is not None:
            names = {*primary, *spool}
            parts.append(samples.of_counts({name: primary.get(name, 0) + spool.get(name, 0) for name in names}))
        if self._primary is not None:
            parts.append(samples.of_ledger(self._primary))
        if look is None:
            parts.append({"spoolq_store_up": {("primary",): 0.0} if not self._own else {}})
            return samples.merged(parts)
        if look.facts is not None:
            parts.append(samples.of_primary(look.facts, look.primary))
        if look.primary is not None and (look.spool is not None or look.side is None or look.side.state == "absent"):
            parts.append(samples.of_accounts(look.primary, look.spool, look.remembered))
        if look.side is not None:
            parts.append(samples.of_spool(look.side, look.spool, look.at, look.drained_at))
        return samples.merged([*parts, samples.of_breaker(self._open(look), self._outage)])

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
