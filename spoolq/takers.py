"""Which queues have jobs that nobody takes: by the lists of the workers that live, Resque's own among them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress

from spoolq.errors import ConfigError
from spoolq.selection import parse
from spoolq.store.base import WorkerView
from spoolq.store.looking import Depth, Stranger

RESCUE = 15.0
"""Seconds after the end of a lease within which a worker that lives takes its claims over."""

SILENT = 300.0
"""Seconds after which Ruby's Resque itself prunes a worker that gives no sign of life (its `prune_interval`)."""

PATTERNS = 200
"""Workers' lists with patterns that are looked at."""


def untaken(
    depths: Iterable[Depth], workers: Iterable[WorkerView], strangers: Callable[[], Iterable[Stranger]], now: float
) -> list[Depth]:
    """Those of the queues with ready jobs from which no worker takes. `strangers`: Resque's own, asked for where spoolq's don't
    take from all; `now`: epoch seconds."""
    filled = [depth for depth in depths if depth.ready]
    lists = {view.info.queues for view in workers if view.lease_left >= -RESCUE and view.info.role == "worker"}
    left = _without(filled, lists)
    return left and _without(left, {_queues(one) for one in strangers() if not silent(one, now)})


def silent(one: Stranger, now: float) -> bool:
    """Whether it gives signs of life, and the last one is too old."""
    return one.heard is not None and now - one.heard > SILENT


def _queues(one: Stranger) -> tuple[str, ...]:
    return tuple(one.id.rpartition(":")[2].split(","))


def _without(depths: list[Depth], lists: Collection[Sequence[str]]) -> list[Depth]:
    """Less those from which workers with these lists take. Who names none takes from all."""
    if () in lists or ("*",) in lists:
        return []
    taken = {name for names in lists for name in names}
    queues = [depth.queue for depth in depths]
    open_ones = [names for names in lists if any("*" in name or name.startswith("!") for name in names)]
    for names in open_ones[:PATTERNS]:
        with suppress(ConfigError):  # a stranger's own idea of a list
            taken.update(queue for some in parse(list(names)).expand(queues).values() for queue in some)
    return [depth for depth in depths if depth.queue not in taken]
