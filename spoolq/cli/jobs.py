"""`spoolq jobs`: jobs one by one, by their id or by what they are to do: listed and cancelled; found, shown, moved, deleted."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from spoolq import wire
from spoolq.cli.away import connect
from spoolq.cli.faults import Fault
from spoolq.cli.jobs_change import delete, move
from spoolq.cli.jobs_find import find
from spoolq.cli.jobs_show import show
from spoolq.cli.journal import acts
from spoolq.cli.opening import Given, command_options, json_option, must_exist
from spoolq.cli.output import clean, emit, hint, table
from spoolq.cli.stores import Place, look, places, where_option
from spoolq.errors import PayloadError
from spoolq.failed import UNREADABLE
from spoolq.store.waiting import WaitingJob
from spoolq.units import jobs as counted
from spoolq.units import when

if TYPE_CHECKING:
    from spoolq.app import SpoolQ
    from spoolq.cancelling import Cancellation

_PAGE = 500
_SAYS = {
    "removed": "removed, it does not run",
    "asked": "asked to stop",
    "late": "not there",
    "away": "not known",
}


@click.group()
def jobs() -> None:
    """Find, show, list, move, delete and cancel jobs."""


for _command in (find, show, move, delete):
    jobs.add_command(_command)


@jobs.command("list")
@click.argument("queue", required=False)
@click.option("--scheduled", is_flag=True, help="Those that wait for their time, of QUEUE or of all queues, the next one first.")
@click.option("--arguments", "whole", is_flag=True, help="Their arguments too, which may be nobody's business.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many of each store.")
@where_option
@json_option
@command_options()
def list_(given: Given, queue: str | None, scheduled: bool, whole: bool, limit: int, where: str, as_json: bool) -> None:
    """List the jobs of QUEUE that wait.

    Those that are ready, the next one first; with --scheduled those for later, Resque's own delayed jobs too.
    """
    if queue is None and not scheduled:
        raise click.UsageError("name the queue whose jobs are meant, or give --scheduled; `spoolq queues list` has the names")
    q = given.open()
    answers, fault = look(q, where, lambda place: [(place.name, job) for job in _some(place, queue, scheduled, limit)])
    rows = [(name, _Shown.of(job)) for answer in answers for name, job in answer]
    if as_json:
        hidden = {} if whole else {"arguments": None}
        emit({"jobs": [{"in": name, **shown._asdict(), "due": when(shown.due), **hidden} for name, shown in rows]})
    elif rows:
        table(
            ("ID", "IN", "QUEUE", "DUE", "TASK", *(["ARGUMENTS"] if whole else [])),
            [
                (one.id or "-", name, one.queue, when(one.due) or "now", one.task, *([one.arguments] if whole else []))
                for name, one in rows
            ],
        )
    elif fault is None:
        hint(
            f"No job waits in queue {clean(queue)}; `spoolq queues list` has the names."
            if queue
            else "No job waits for its time."
        )
    if fault is not None:
        raise fault


@jobs.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--task", metavar="NAME", help="All that wait of this task (Resque's class); with --args those with these.")
@click.option("--args", "arguments", metavar="JSON", help="A JSON list, such as '[\"a@example.com\"]'.")
@click.option("--queue", metavar="QUEUE", help="With --task: of this queue alone.")
@click.option("--scheduled", is_flag=True, help="With --task: only those that wait for their time.")
@json_option
@command_options()
@acts
def cancel(
    given: Given,
    ids: tuple[str, ...],
    task: str | None,
    arguments: str | None,
    queue: str | None,
    scheduled: bool,
    as_json: bool,
) -> None:
    """Take back jobs, by ID or by task.

    What waits is removed, in Redis and in this host's spool; what runs is asked to stop (`current_job().cancelled`) and is not
    tried again. Exit 1 when there was nothing to cancel, 69 when a store could not be asked.
    """
    if bool(ids) == (task is not None):
        raise click.UsageError("name the jobs by their ids, or by --task NAME" + (", not both" if ids else ""))
    if task is None and (arguments is not None or queue is not None or scheduled):
        raise click.UsageError("--args, --queue and --scheduled choose among the jobs of --task NAME")
    q = given.open()
    if task is None:
        must_exist(q)
        _say_each(q, list(dict.fromkeys(ids)), as_json)
        return
    from spoolq.cancelling import Canceller

    wanted = None if arguments is None else _list_of(arguments)
    found, removed = 0, 0
    canceller = Canceller(q.primary, q.spool_there())
    for place in places(q, "all"):
        with place.asking():
            for job in _matching(place, task, wanted, queue, scheduled):
                found += 1
                removed += canceller.take_back(place.store, job)
    if as_json:
        emit({"task": task, "found": found, "cancelled": removed})
    else:
        click.echo(f"Cancelled {counted(removed)} of {clean(task)}.")
    if not found:
        raise Fault(f"no job of task {clean(task)} waits{' with these arguments' if wanted is not None else ''}")


def _say_each(q: SpoolQ, ids: list[str], as_json: bool) -> None:
    connect(q)
    told: list[Cancellation] = [q.cancel(id) for id in ids]
    if as_json:
        emit({"jobs": [{"id": one.id, "outcome": one.outcome, "detail": one.detail} for one in told]})
    else:
        for one in told:
            detail = f": {clean(one.detail)}" if one.detail else ""
            click.echo(f"{clean(one.id)}: {_SAYS[one.outcome]}{detail}", file=sys.stdout if one else sys.stderr)
    if any(one.outcome == "away" for one in told):
        click.get_current_context().exit(69)
    if not all(told):
        click.get_current_context().exit(1)


def _list_of(arguments: str) -> list[Any]:
    try:
        found = json.loads(arguments)
    except ValueError as error:
        raise click.UsageError(f"--args is no JSON: {error}") from None
    if not isinstance(found, list):
        raise click.UsageError("--args must be a JSON list, with an entry for each argument: '[1, \"b\"]'")
    return found


def _some(place: Place, queue: str | None, scheduled: bool, limit: int) -> list[WaitingJob]:
    shown: list[WaitingJob] = []
    for job in _all(place, queue, scheduled):
        if len(shown) == limit:
            hint(f"There are more in {place.where}; --limit shows them.")
            break
        shown.append(job)
    return shown


def _all(place: Place, queue: str | None, scheduled: bool) -> Iterator[WaitingJob]:
    after = None
    while True:
        page, after = place.store.waiting_jobs.page(queue, scheduled=scheduled, after=after, limit=_PAGE)
        yield from page
        if after is None:
            return


def _matching(place: Place, task: str, arguments: list[Any] | None, queue: str | None, scheduled: bool) -> list[WaitingJob]:
    """Looked through before any is removed: places move up."""
    waiting = list(_all(place, queue, True))
    for name in () if scheduled else place.store.queues() if queue is None else (queue,):
        waiting += _all(place, name, False)
    return [job for job in waiting if _is(job, task, arguments)]


def _is(job: WaitingJob, task: str, arguments: list[Any] | None) -> bool:
    try:
        found = wire.decode(job.payload, job.queue)
    except PayloadError:
        return False
    return found.task == task and (arguments is None or (list(found.args) == arguments and not found.kwargs))


class _Shown(NamedTuple):
    """A job as it is shown. `id` is empty where its payload has none."""

    id: str
    queue: str
    due: float | None
    task: str
    arguments: str

    @classmethod
    def of(cls, waiting: WaitingJob) -> _Shown:
        try:
            job = wire.decode(waiting.payload, waiting.queue)
        except PayloadError:
            return cls("", waiting.queue, waiting.run_at or None, UNREADABLE, "")
        known = job.id if wire.has_id(waiting.payload) else ""
        words = [json.dumps(value, ensure_ascii=False) for value in job.args]
        words += [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in job.kwargs.items()]
        return cls(known, waiting.queue, waiting.run_at or None, job.task, ", ".join(words)[:500])
