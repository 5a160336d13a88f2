"""`spoolq failed retry`, `remove` and `prune`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import click

from spoolq import tracking, units
from spoolq.app import SpoolQ
from spoolq.cli.failed_choice import asking, choice_options, chosen, from_option, must_choose, place_alone, read
from spoolq.cli.faults import PROBLEM
from spoolq.cli.journal import acts
from spoolq.cli.opening import Given, command_options, json_option
from spoolq.cli.output import agreed, clean, emit, hint
from spoolq.cli.stores import Place, places, where_option
from spoolq.failurelog import again, moving, source
from spoolq.failurelog.choice import Choice
from spoolq.failurelog.entry import Record
from spoolq.failurelog.moving import Moved
from spoolq.job import RERUN, Message
from spoolq.units import jobs


def _span(_ctx: click.Context, _param: click.Parameter, text: str | None) -> float | None:
    try:
        return None if text is None else units.duration(text)
    except ValueError:
        raise click.BadParameter(f"{text!r}: expected a duration such as 30d or 12h") from None


all_option = click.option("--all", "every", is_flag=True, help="Every failure that there is.")
yes_option = click.option("--yes", is_flag=True, help="Don't ask.")
dry_option = click.option("--dry-run", is_flag=True, help="Only say how many.")


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@all_option
@choice_options
@from_option
@dry_option
@where_option
@json_option
@command_options()
@acts
def retry(
    given: Given, ids: tuple[str, ...], every: bool, choice: Choice, origin: str | None, dry_run: bool, where: str, as_json: bool
) -> None:
    """Put failed jobs back into their queues. They are new launches, with all their retries. Exit 1 when one isn't there.

    With --from, of a file, directory or bucket: each job once, however often this is called, and out of the stores' lists.
    What was redacted can't be put back.
    """
    must_choose(ids, every, choice)
    if origin is not None:
        place_alone(where)
        _retry_from(given.open(), origin, ids, choice, dry_run, as_json)
        return
    found, missing = chosen(given, ids, choice, where)
    total = sum(len(each.entries) for each in found)
    done = 0
    if dry_run:
        words = f"Would put back {jobs(total)}."
    else:
        for place, entries in found:
            with place.asking():
                done += again.put_back(place.store, list(entries))
        total = max(total, done)  # entries of stock workers may be equal, and then have one id
        words = f"Put back {jobs(done)}."
        if done < total:
            words += f" {total - done:,} stay in the log: unreadable, or taken by somebody else meanwhile."
    _end({"dry_run": dry_run, "found": total, "retried": done}, words, missing, as_json, total - done if not dry_run else 0)


def _retry_from(q: SpoolQ, origin: str, ids: Sequence[str], choice: Choice, dry_run: bool, as_json: bool) -> None:
    place = source.source(origin)
    wanted, there = set(ids), set[str]()
    lists: list[tuple[Place, dict[str, int]]] = []
    for store in places(q, "all"):
        with store.asking():
            lists.append((store, moving.runs(store.store.failures, wanted)))

    def put(messages: list[Message]) -> list[bool]:
        if dry_run:
            return [True] * len(messages)
        launches = (message.id.rpartition(RERUN) for message in messages)
        before = {id: int(run) - 1 for id, _, run in launches}
        new = q.primary.put(messages, tracking.wanted_again(before))
        for store, known in lists:  # put first, removed then; some may have run, and failed, in between
            if has := before.keys() & known.keys():
                with store.asking():
                    store.store.failures.remove(has, runs=before)
        return new

    def records() -> Iterator[Record]:
        for record in read(place, choice):
            if not wanted or record.failure.id in wanted:
                there.add(record.failure.id)
                yield record

    primary = next(iter(places(q, "primary")))
    with asking(place.name), primary.asking():
        moved = moving.put_back(records(), put, lambda id: max((known.get(id, -1) for _, known in lists), default=-1))
    counts = {"retried": moved.done, "known": moved.known, "later": moved.later, "redacted": len(moved.redacted)}
    words = f"{'Would put' if dry_run else 'Put'} back {jobs(moved.done)} of {clean(place.name)}."
    if moved.known:
        words += f" {moved.known:,} left alone: put back before, or from a newer failure of the job."
    if moved.later:
        words += (
            f" {moved.later:,} left alone: the store's list has a later failure of the job, `spoolq failed retry` takes that."
        )
    document = {"dry_run": dry_run, "from": place.name, **counts, "bad": moved.bad}
    _end(document, words, [id for id in ids if id not in there], as_json, _refused(moved, "put back"))


def _refused(moved: Moved, what: str) -> int:
    if moved.redacted:
        few = ", ".join(map(clean, moved.redacted[:5]))
        hint(
            f"spoolq: {jobs(len(moved.redacted), 'failure')} can't be {what}, since arguments were taken out ({few}): "
            "use the store's own list, which has them whole"
        )
    if moved.bad:
        hint(
            f"spoolq: {jobs(moved.bad, 'line')} can't be {what}: no failure that can be read, or one of a payload that is no job"
        )
    return len(moved.redacted) + moved.bad


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@all_option
@choice_options
@yes_option
@dry_option
@where_option
@json_option
@command_options()
@acts
def remove(
    given: Given, ids: tuple[str, ...], every: bool, choice: Choice, yes: bool, dry_run: bool, where: str, as_json: bool
) -> None:
    """Delete failures for good. Asks first, and names the count. Exit 1 when one isn't there.

    Of a job that is chosen all failures go. Files and buckets keep theirs.
    """
    must_choose(ids, every, choice)
    found, missing = chosen(given, ids, choice, where)
    total = sum(sum(each.entries.values()) for each in found)
    done = 0
    if dry_run:
        words = f"Would delete {jobs(total, 'failure')}."
    else:
        if total and not yes:
            parts = ", ".join(f"{sum(each.entries.values()):,} in {each.place.where}" for each in found)
            agreed(f"Delete {jobs(total, 'failure')} for good ({parts})?")
        for place, entries in found:
            with place.asking():
                done += place.store.failures.remove(entries)
        words = f"Deleted {jobs(done, 'failure')}."
    _end({"dry_run": dry_run, "found": total, "removed": done}, words, missing, as_json, 0)


@click.command()
@click.option("--older", metavar="SPAN", callback=_span, help="Those that failed longer ago: 30d, 12h.")
@click.option("--keep", metavar="N", type=click.IntRange(0), help="All but the newest so many.")
@yes_option
@dry_option
@where_option
@json_option
@command_options()
@acts
def prune(given: Given, older: float | None, keep: int | None, yes: bool, dry_run: bool, where: str, as_json: bool) -> None:
    """Delete the oldest failures.

    By age, by number, or by both. Asks first, and names the count.

    Workers do so by themselves where failures_max_age or failures_keep are set.
    """
    if older is None and keep is None:
        raise click.UsageError("say which: --older 30d, --keep 10000, or both")
    before = None if older is None else time.time() - older
    found = [(place, count) for place in places(given.open(), where) if (count := _old(place, before, keep))]
    total, done = sum(count for _, count in found), 0
    if not dry_run and total:
        if not yes:
            parts = ", ".join(f"{count:,} in {place.where}" for place, count in found)
            agreed(f"Delete {jobs(total, 'failure')} for good ({parts})?")
        for place, _ in found:
            with place.asking():
                log = place.store.failures
                done += 0 if before is None else log.prune(before)
                while keep is not None and (gone := log.retire(keep=keep)):
                    done += gone
    words = f"Would delete {jobs(total, 'failure')}." if dry_run else f"Deleted {jobs(done, 'failure')}."
    _end({"dry_run": dry_run, "found": total, "removed": done}, words, (), as_json, 0)


def _old(place: Place, before: float | None, keep: int | None) -> int:
    with place.asking():
        log = place.store.failures
        if before is None:
            return max(0, log.count() - (keep or 0))
        return sum(
            0 < failure.failed_at < before or (keep is not None and number >= keep)
            for number, failure in enumerate(moving.walk(log))
        )


def _end(document: dict[str, Any], words: str, missing: Sequence[str], as_json: bool, left: int) -> None:
    if as_json:
        emit({**document, "unknown": missing})
    else:
        click.echo(words)
    if missing:
        hint(f"spoolq: no failure of {', '.join(map(clean, missing[:10]))}; `spoolq failed list` shows those that there are")
    if missing or left:
        sys.exit(PROBLEM)
