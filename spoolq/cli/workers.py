"""`spoolq workers`: the worker processes of all hosts; to have one take no more jobs, go on, or end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import click

from spoolq import wishes
from spoolq.cli.faults import Fault
from spoolq.cli.journal import acts
from spoolq.cli.opening import Given, command_options, json_option
from spoolq.cli.output import clean, emit, hint, table
from spoolq.cli.stores import Place, look, where_option
from spoolq.facts import moved_on
from spoolq.store.base import WorkerView
from spoolq.units import say_age, when
from spoolq.wishes import Wish, Word


class _Seen(NamedTuple):
    """A worker as one store knows it."""

    place: Place
    view: WorkerView
    wish: Wish | None

    @property
    def name(self) -> str:
        """`host:pid`, as people name it."""
        return f"{self.view.info.host}:{self.view.info.pid}"


@click.group()
def workers() -> None:
    """List the workers of all hosts; have one take no more jobs, go on, or end."""


def _known(place: Place) -> list[_Seen]:
    views = [view for view in place.store.workers() if view.info.kind == "worker"]
    said = wishes.said(place.store, [view.info.key for view in views])
    return [_Seen(place, view, said.get(view.info.key)) for view in views]


@workers.command("list")
@where_option
@json_option
@command_options()
def list_(given: Given, where: str, as_json: bool) -> None:
    """Each worker: its queues, what it runs, what was said to it."""
    answers, fault = look(given.open(), where, _known)
    seen, now = _there([one for answer in answers for one in answer]), time.time()
    if as_json:
        emit({"workers": [_document(one, now) for one in seen]})
    elif seen:
        rows = [
            (one.name, one.place.name, one.view.info.role, f"{len(one.view.working)}/{one.view.info.threads}", *_state(one, now))
            for one in seen
        ]
        table(("WORKER", "IN", "IS", "BUSY", "LONGEST", "STATE", "QUEUES"), rows, right=("BUSY",))
    elif fault is None:
        hint("No worker is known: start one with `spoolq worker`.")
    if fault is not None:
        raise fault


def _there(seen: list[_Seen]) -> list[_Seen]:
    """Without what processes that live have left in another store."""
    views = [one.view for one in seen]
    return [one for one in seen if not moved_on(one.view, views)]


def _state(one: _Seen, now: float) -> tuple[str, str, str]:
    since = min((working.since for working in one.view.working), default=None)
    state = "gone" if one.view.lease_left < 0 else _says(one.wish)
    return "-" if since is None else say_age(now - since), state, ",".join(one.view.info.queues)


def _says(wish: Wish | None) -> str:
    if wish is None or (wish.word == "resume" and wish.obeyed):
        return "works"
    return {"quiet": "quiet", "stop": "ends", "resume": "works"}[wish.word] + ("" if wish.obeyed else " (not heard yet)")


def _document(one: _Seen, now: float) -> dict[str, Any]:
    info, view = one.view.info, one.view
    return {
        "key": info.key,
        "in": one.place.name,
        "host": info.host,
        "pid": info.pid,
        "kind": info.role,
        "queues": list(info.queues),
        "threads": info.threads,
        "busy": len(view.working),
        "claims": view.claims,
        "lease_left": view.lease_left,
        "started_at": when(info.started_at or None),
        "said": one.wish and {"word": one.wish.word, "at": when(one.wish.at), "obeyed": one.wish.obeyed},
    }


def _tell(given: Given, names: Sequence[str], every: bool, where: str, as_json: bool, word: Word) -> None:
    if bool(names) == every:
        raise click.UsageError("name the workers (host:pid, or their keys), or give --all" + (", not both" if names else ""))

    def ask(place: Place) -> list[_Seen]:
        meant = [one for one in _known(place) if one.view.info.role == "worker" and one.view.lease_left >= 0]
        meant = [one for one in meant if every or one.name in names or one.view.info.key in names]
        for one in meant:
            wishes.say(place.store, one.view.info.key, word)
        return meant

    answers, fault = look(given.open(), where, ask)
    told = [one for answer in answers for one in answer]
    known = {name for one in told for name in (one.name, one.view.info.key)}
    missing = [name for name in names if name not in known]
    if as_json:
        emit({"word": word, "told": [{"key": one.view.info.key, "worker": one.name} for one in told], "missing": missing})
    else:
        for one in told:
            click.echo(f"{clean(one.name)} is told to {_WORDS[word]}. It looks every {wishes.EVERY:g} s.")
    if fault is not None:
        raise fault
    if missing or not told:
        raise Fault(f"no worker that lives: {', '.join(map(clean, missing)) or 'none is known'}; `spoolq workers list` has them")


_WORDS = {"quiet": "take no more jobs", "resume": "go on", "stop": "finish what it runs and end"}


def _command(word: Word, help: str) -> click.Command:
    @click.argument("names", nargs=-1, metavar="[HOST:PID]...")
    @click.option("--all", "every", is_flag=True, help="All workers that live.")
    @where_option
    @json_option
    @command_options()
    @acts
    def command(given: Given, names: tuple[str, ...], every: bool, where: str, as_json: bool) -> None:
        _tell(given, names, every, where, as_json, word)

    return click.command(word, help=help)(command)


for _one in (
    _command("quiet", "Have workers take no more jobs. What they run is finished."),
    _command("resume", "Have workers that are quiet go on."),
    _command("stop", "Have workers finish what they run, within their grace, and end.\n\nThe pool of one starts another."),
):
    workers.add_command(_one)
