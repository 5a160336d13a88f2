"""Metrics for Prometheus: what is true of both stores, read at each scrape, and what processes have counted. docs/metrics.md has
the table.

`spoolq exporter` serves them; the dashboard does so too. Their package is an extra, and loaded when it is needed.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING

from spoolq.errors import ConfigError

if TYPE_CHECKING:
    from prometheus_client.registry import CollectorRegistry

    from spoolq.app import SpoolQ

__all__ = ["page", "register", "registry", "text"]

_registries: weakref.WeakKeyDictionary[SpoolQ, CollectorRegistry] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def missing(error: ModuleNotFoundError) -> Exception:
    """What to say of a package that isn't installed: one line, where it is the extra's; else the error itself."""
    ours = (error.name or "").split(".")[0] == "spoolq"
    return error if ours else ConfigError(f"metrics need: pip install 'spoolq[metrics]' ({error.name} is missing)")


def register(registry: CollectorRegistry, q: SpoolQ) -> None:
    """Show on a web server's own metrics page what this process has counted, and this host's spool. Redis is asked nothing.

    Once for each registry. With several processes each shows its own counts (a multiprocess page of prometheus_client leaves
    custom collectors out): `spoolq exporter` shows those of all together. Raises ConfigError where the package is missing.
    """
    try:
        from spoolq.metrics.collector import SpoolqCollector
    except ModuleNotFoundError as error:
        raise missing(error) from error
    registry.register(SpoolqCollector(q, own=True))


def registry(q: SpoolQ) -> CollectorRegistry:
    """The one registry in which all of the stores of this application are, made when it is asked for. Raises ConfigError where
    the package is missing."""
    try:
        from prometheus_client import CollectorRegistry

        from spoolq.metrics.collector import SpoolqCollector
    except ModuleNotFoundError as error:
        raise missing(error) from error
    with _lock:
        found = _registries.get(q)
        if found is None:
            found = _registries[q] = CollectorRegistry()
            found.register(SpoolqCollector(q))
    return found


def page(q: SpoolQ, accept: str = "") -> tuple[bytes, str]:
    """The metrics of all of the stores as `/metrics` answers them, and their content type: as OpenMetrics where the request's
    header `Accept` asks for that. Takes some seconds at most, whatever the stores do. Raises ConfigError where the package is
    missing."""
    found = registry(q)
    from prometheus_client.exposition import choose_encoder

    encode, kind = choose_encoder(accept)
    return encode(found), kind


def text(q: SpoolQ) -> bytes:
    """The same in Prometheus's text format."""
    return page(q)[0]
