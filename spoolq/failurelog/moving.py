"""Failures out of files and buckets and back: into queues as new launches, or into a store's list. Each can be done again to no
effect."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace

from spoolq import jsjson
from spoolq.errors import PayloadError
from spoolq.failed import job_id
from spoolq.failurelog.entry import Record
from spoolq.job import Failure, Message
from spoolq.parcels import parcels
from spoolq.reruns import Reruns, run_of
from spoolq.store.failures import FailureLog

_PAGE = 100


@dataclass
class Moved:
    """What became of the records that were meant.

    done      put back, or taken in
    known     left alone, since that was done before, or the job is put back from another record of it
    later     of a retry: left alone, since a store's list has a later failure of the job
    redacted  refused: arguments were taken out of them
    bad       refused: no entry of a failure, or none of a job
    """

    done: int = 0
    known: int = 0
    later: int = 0
    redacted: list[str] = field(default_factory=list)
    bad: int = 0


def put_back(records: Iterable[Record], put: Callable[[list[Message]], list[bool]], listed: Callable[[str], int]) -> Moved:
    """Launch the job of each record anew, newest first, each job once. `put` stores messages, and says which were new; `listed`
    tells which run of a job (by its id) failed last, as far as a store's list knows; -1: none."""
    moved, reruns = Moved(), Reruns()
    seen: set[str] = set()

    def launches() -> Iterator[Message]:
        for record in records:
            failure = record.failure
            if record.redacted:
                moved.redacted.append(failure.id)
            elif failure.id in seen:
                moved.known += 1
            elif (message := reruns.message(_named(failure))) is None:
                moved.bad += 1
            else:
                seen.add(failure.id)
                if listed(failure.id) > record.run:
                    moved.later += 1
                else:
                    yield message._replace(given=True)  # its marker stays: the same record again is no second launch

    def launch(batch: list[Message]) -> None:
        try:
            new = put(batch)
        except PayloadError:  # nothing of it was stored: the store can't carry one of them
            if len(batch) == 1:
                moved.bad += 1
            else:
                for one in batch:
                    launch([one])
            return
        moved.done += sum(new)
        moved.known += len(new) - sum(new)

    for batch in parcels(launches(), lambda message: len(message.payload)):
        launch(batch)
    return moved


def runs(log: FailureLog, ids: Collection[str]) -> dict[str, int]:
    """The last run of each of these jobs (empty: of all) that failed, as far as the list tells."""
    found: dict[str, int] = {}
    for failure in walk(log):
        if not ids or failure.id in ids:
            found[failure.id] = max(found.get(failure.id, 0), run_of(failure))
    return found


def _named(failure: Failure) -> Failure:
    """With the failure's id in a payload that brings none, so that launching it again is the same launch."""
    try:
        if job_id(jsjson.fields(failure.payload)) == failure.id:
            return failure
        text = jsjson.edited(failure.payload.decode(), {"id": jsjson.stringify(failure.id)})
    except PayloadError:
        return failure
    return replace(failure, payload=text.encode())


def take_in(records: Iterable[Record], log: FailureLog, *, dry_run: bool = False) -> Moved:
    """Put each record, oldest first, into a store's list, unless it has that failure."""
    moved = Moved()
    known = {name(failure) for failure in walk(log)}

    def new() -> Iterator[Failure]:
        for record in records:
            if not record.readable:
                moved.bad += 1
            elif record.redacted:
                moved.redacted.append(record.failure.id)
            elif record.name in known:
                moved.known += 1
            else:
                known.add(record.name)
                yield record.failure

    for batch in parcels(new(), _size):
        if not dry_run:
            log.add(batch)
        moved.done += len(batch)
    return moved


def _size(failure: Failure) -> int:
    return len(failure.payload) + len(failure.error) + sum(map(len, failure.backtrace))


def name(failure: Failure) -> str:
    """The same for each copy of a failure, as `Record.name`."""
    return Record(failure, run_of(failure), False, b"").name


def walk(log: FailureLog) -> Iterator[Failure]:
    """Every failure of a store's list, newest first, a page at a time."""
    after = None
    while True:
        page, after = log.scan(after, _PAGE)
        yield from page
        if after is None:
            return
