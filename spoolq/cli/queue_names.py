"""Names of queues as commands take them."""

from __future__ import annotations

import click

from spoolq.cli.output import clean


def checked(name: str) -> str:
    """The name. Raises UsageError for what can't be one queue's."""
    if not name or not name.isprintable() or set(name) & set("*,"):
        raise click.UsageError(f"{clean(name)!r}: one queue's name is meant, as `spoolq queues list` has it; give several apart")
    return name


def one_queue(_ctx: click.Context, _param: click.Parameter, name: str | None) -> str | None:
    """For an option or argument that takes one."""
    return None if name is None else checked(name)
