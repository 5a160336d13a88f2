"""`spoolq jobs find`: jobs by what they are to do, in whatever state they are."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import click

from spoolq import wire
from spoolq.choosing import JobChoice
from spoolq.cli.failed_choice import some_text
from spoolq.cli.jobs_choice import Meant
from spoolq.cli.opening import Given, command_options, json_option
from spoolq.cli.output import emit, hint, table
from spoolq.cli.stores import Place, look, where_option
from spoolq.failed import UNREADABLE
from spoolq.failurelog import groups
from spoolq.failurelog.choice import Choice, task_of
from spoolq.store.waiting import WaitingJob
from spoolq.units import when
from spoolq.whereabouts import WAITING, decoded, state_of

_STATES = (*WAITING, "running", "failed")


class _Found(NamedTuple):
    """A job as it is shown. `at`: when it is due, or failed."""

    id: str
    state: str
    queue: str
    task: str
    at: float | None
    error: str


@click.command()
@click.option("--task", metavar="NAME", callback=some_text, help="Only of this task.")
@click.option("--queue", metavar="NAME", callback=some_text, help="Only of this queue.")
@click.option("--text", metavar="TEXT", callback=some_text, help="Only with this in their payload; of failures, in their error.")
@click.option("--state", type=click.Choice(_STATES), help="Only these: retrying are those to be tried again.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many of each store.")
@where_option
@json_option
@command_options()
def find(
    given: Given, task: str | None, queue: str | None, text: str | None, state: str | None, limit: int, where: str, as_json: bool
) -> None:
    """Find jobs by what they are, whether they wait, run or have failed.

    Of failures, the newest 10,000 are looked at. Arguments are not shown: `spoolq jobs show ID --payload` does. Exit 1 when
    there is none.
    """
    choice = JobChoice(task, queue, text)

    def ask(place: Place) -> list[tuple[str, _Found]]:
        some = [(place.name, one) for one in islice(_all(place, choice, state), limit + 1)]
        if len(some) > limit:
            hint(f"There are more in {place.where}; --limit shows them.")
        return some[:limit]

    answers, fault = look(given.open(), where, ask)
    rows = [one for answer in answers for one in answer]
    if as_json:
        emit({"jobs": [_document(name, one) for name, one in rows]})
    elif rows:
        table(
            ("ID", "IN", "STATE", "QUEUE", "DUE, FAILED", "TASK", "ERROR"),
            [(one.id or "-", name, one.state, one.queue, when(one.at) or "-", one.task, one.error) for name, one in rows],
        )
    elif fault is None:
        hint("No such job waits, runs or has failed.")
    if fault is not None:
        raise fault
    if not rows:
        click.get_current_context().exit(1)


def _all(place: Place, choice: JobChoice, state: str | None) -> Iterator[_Found]:
    if state in (None, "running"):
        yield from (_waiting(job) for job in _in_hands(place) if choice.fits(job))
    if state in (None, *WAITING):
        retrying = {"scheduled": False, "retrying": True}.get(state or "")
        meant = Meant(JobChoice(choice.task, choice.queue, choice.text, retrying), state)
        yield from map(_waiting, meant.of(place))
    if state in (None, "failed"):
        failed = Choice(choice.task, choice.queue, choice.text)
        for failure in groups.newest(place.store.failures):
            if failed.fits(failure):
                error = f"{failure.exception}: {failure.error}"
                yield _Found(failure.id, "failed", failure.queue, task_of(failure), failure.failed_at or None, error)


def _in_hands(place: Place) -> Iterator[WaitingJob]:
    after = None
    while True:
        jobs, after = place.store.waiting_jobs.claimed(after)
        yield from jobs
        if after is None:
            return


def _waiting(job: WaitingJob) -> _Found:
    known = decoded(job.payload, job.queue)
    if known is None:
        return _Found("", state_of(job), job.queue, UNREADABLE, job.run_at or None, "")
    id = known.id if wire.has_id(job.payload) else ""
    last = known.history[-1] if known.history else None
    error = f"{last.exception}: {last.error}" if last else ""
    state = "running" if job.holder == "worker" else state_of(job)
    return _Found(id, state, job.queue, known.task, job.run_at or None, error)


def _document(name: str, one: _Found) -> dict[str, Any]:
    return {
        "id": one.id or None,
        "in": name,
        "state": one.state,
        "queue": one.queue,
        "task": one.task,
        "due": when(one.at) if one.state != "failed" else None,
        "failed_at": when(one.at) if one.state == "failed" else None,
        "error": one.error or None,
    }
