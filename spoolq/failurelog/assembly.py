"""From the settings to what writes failures beside the store's list, and what goes on in the background for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from spoolq.config import digits
from spoolq.counts import Counts
from spoolq.failurelog.bucket import ObstoreBucket
from spoolq.failurelog.files import FailureFiles
from spoolq.failurelog.outbox import Outbox, written
from spoolq.failurelog.retention import Retention
from spoolq.failurelog.sink import FailureSink, Local, Turn
from spoolq.failurelog.target import target
from spoolq.failurelog.uploader import Uploader
from spoolq.store.base import Store

if TYPE_CHECKING:
    from spoolq.config import Settings
    from spoolq.failurelog.entry import Redact


def sink(
    settings: Settings, redact: Redact | None = None, *, own_directory: bool = False, counts: Counts | None = None
) -> FailureSink | None:
    """What writes to every place of `failure_log`; None where there is none. `own_directory`: the spool's directory is made where
    it isn't there. Raises ConfigError where a package is missing."""
    places: list[Local] = []
    services: list[tuple[str, Turn]] = []
    last: list[tuple[Callable[[], bool], Turn]] = []
    for one in map(target, settings.failure_log):
        if one.kind == "files":
            files = FailureFiles(
                Path(one.place),
                max_bytes=settings.failure_log_size,
                keep=settings.failure_log_keep,
                max_age=settings.failure_log_max_age,
                min_free=settings.spool_min_free,
            )
            places.append(files)
            services.append((f"failures-tidy-{len(services)}", files.turn))
        else:
            outbox = Outbox(
                outbox_of(settings, one.place),
                one.place,
                max_bytes=settings.failure_log_outbox,
                min_free=settings.spool_min_free,
                parents=own_directory,
            )
            places.append(outbox)
            uploader = Uploader(outbox, ObstoreBucket(one))
            services.append((f"failures-upload-{len(services)}", uploader.turn))
            last.append((uploader.is_hopeful, uploader.turn))
    if not places:
        return None
    return FailureSink(places, redact=redact, limit=settings.disk_limit, services=services, last=last, counts=counts)


def outbox_of(settings: Settings, url: str) -> Path:
    """Where failures wait for that bucket: beside the spool, or the queue where that is an SQLite file."""
    return outboxes(settings) / digits(url)


def outboxes(settings: Settings) -> Path:
    """The directory of all outboxes of this application on this host."""
    beside = settings.sqlite_path or settings.spool_path
    return beside.with_name(f"{beside.name}-failures")


class Waiting(NamedTuple):
    """What waits on this disk for one bucket: how many files of failures, since when (epoch seconds), and the bucket's URL, which
    isn't known (None) where `failure_log` names it no more."""

    folder: Path
    url: str | None
    files: int
    since: float


def waiting(settings: Settings) -> list[Waiting]:
    """The outboxes of this host that have failures in them. Only looks. Raises OSError where they can't be read."""
    urls = {digits(place): place for place in settings.failure_log}
    found: dict[Path, list[str]] = {}
    for path in outboxes(settings).glob("*/[0-9]*.jsonl"):
        found.setdefault(path.parent, []).append(path.name)
    return [Waiting(each, urls.get(each.name), len(names), written(min(names))) for each, names in sorted(found.items())]


def forgotten(settings: Settings) -> list[Path]:
    """Outboxes with failures in them for buckets that `failure_log` names no more: nobody uploads those."""
    return [each.folder for each in waiting(settings) if each.url is None]


def retention(settings: Settings, stores: list[tuple[str, Callable[[], Store]]]) -> list[tuple[str, Turn]]:
    """What lets the oldest failures of these stores go, where the settings ask for it."""
    keep, max_age = settings.failures_keep, settings.failures_max_age
    if keep is None and max_age is None:
        return []

    def turn(where: str, store: Callable[[], Store]) -> Turn:
        return Retention(where, lambda: store().failures, lambda: store().now(), keep=keep, max_age=max_age).turn

    return [(f"failures-retention-{number}", turn(*one)) for number, one in enumerate(stores)]
