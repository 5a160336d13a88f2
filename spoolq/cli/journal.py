"""The journal of this host, for commands that look into it and for those that are written down in it."""

from __future__ import annotations

import functools
import os
import pwd
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from spoolq import events
from spoolq.cli.faults import UNREACHABLE, Fault
from spoolq.cli.opening import Given, opened
from spoolq.cli.output import Refused, clean
from spoolq.errors import NoAccess, NoPlace
from spoolq.places import there

if TYPE_CHECKING:
    from spoolq.app import SpoolQ
    from spoolq.store.events import EventLog

Command = Callable[..., Any]
_QUIET = frozenset({"where", "as_json", "yes", "dry_run"})
_CHOOSING = frozenset({"task", "queue", "text", "state", "error", "exception", "since", "before"})
"""Options that a command gets as one choice. By which text jobs were searched for is a part of their arguments."""


def existing(q: SpoolQ) -> EventLog | None:
    """The journal, None where its file isn't there: neither a look nor a note makes one."""
    return q.journal() if there(q.settings.sqlite_path or q.settings.spool_path) else None


def acts(command: Command) -> Command:
    """A command by which an operator changes something: that it was given, and by whom, is written into the journal of the host
    once it is done, also where Redis was away and only this host's spool was told."""

    @functools.wraps(command)
    def run(given: Given, **values: Any) -> Any:
        try:
            result = command(given, **values)
        except Fault as error:
            if error.exit_code == UNREACHABLE:
                _note(values, fault=error.message)
            raise
        except Refused:
            raise
        except (SystemExit, click.exceptions.Exit):  # done, but not wholly: one wasn't there, or can't be read
            _note(values)
            raise
        _note(values)
        return result

    return run


def _note(values: Mapping[str, Any], **detail: object) -> None:
    q = opened()
    if q is None or values.get("dry_run"):
        return
    what = _said(values)
    try:
        away = " (Redis was away)" if "fault" in detail else ""
        events.record(lambda: existing(q), "action", f"{who()}: {what}{away}", who=who(), what=what, by="command line", **detail)
    except (NoAccess, NoPlace):
        return


def who() -> str:
    """The user who runs this."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user without a name
        return str(os.getuid())


def _said(values: Mapping[str, Any]) -> str:
    """The command with its own arguments: of those that say where things are there may be secrets."""
    context = click.get_current_context()
    words = [context.command_path.partition(" ")[2]]
    values = {**{name: value for name, value in context.params.items() if name in _CHOOSING}, **values}
    if values.get("text"):
        values["text"] = "…"
    for parameter in context.command.params:
        value = values.get(parameter.name or "")
        if value in (None, False, ()) or parameter.name in _QUIET or parameter.name not in values:
            continue
        texts = [str(each) for each in value] if isinstance(value, tuple) else [] if value is True else [str(value)]
        words += [*([parameter.opts[-1]] if isinstance(parameter, click.Option) else []), *texts]
    return clean(" ".join(words))
