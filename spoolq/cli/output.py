"""What commands print: tables, JSON, colour. Data goes to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

SCHEMA = 1

WIDTH = 80
"""Columns of what is made to fit, whatever the terminal: also in a log or a ticket."""


def emit(document: Mapping[str, Any]) -> None:
    """One JSON document on one line, with the number of its schema in front."""
    click.echo(json.dumps({"schema": SCHEMA, **document}, default=str, allow_nan=False))


def hint(text: str) -> None:
    """A line for the person at the terminal, on standard error."""
    click.echo(text, err=True)


class Refused(click.exceptions.Exit):
    """Somebody was asked, and said no: nothing was done."""


def agreed(question: str) -> None:
    """Go on only after a yes. A command that nobody watches can't be asked: there it is refused, and `--yes` named."""
    _go_on(lambda: click.confirm(question, err=True))


def typed(question: str, word: str) -> None:
    """Go on only after that word was typed: for what takes much away at once. Refused as `agreed` does it."""
    ask = f"{question} Type {clean(word)} to go on"
    _go_on(lambda: str(click.prompt(ask, err=True, default="", show_default=False)).strip() == word)


def _go_on(asked: Callable[[], bool]) -> None:
    try:
        yes = asked()
    except click.Abort:
        click.echo(err=True)
        if not sys.stdin.isatty():
            raise click.UsageError("nobody is there to answer, so nothing was done; --yes goes ahead without asking") from None
        yes = False
    if not yes:
        hint("Nothing was done.")
        raise Refused(1)


def terminal(err: bool = False) -> bool:
    """Whether somebody looks at it."""
    return (sys.stderr if err else sys.stdout).isatty()


def clean(value: object) -> str:
    """Text of foreign origin on one line, with nothing in it that a terminal would obey."""
    text = "" if value is None else str(value)
    return "".join(char if char.isprintable() else char.encode("unicode_escape", "replace").decode() for char in text)


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """Aligned columns; numbers of the columns in `right` to the right. A terminal gets rich's table where rich is installed;
    there the last column is shortened to the width, in a pipe nothing is."""
    cells = [[clean(cell) for cell in row] for row in rows]
    if terminal() and _rich(headers, cells, right):
        return
    widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]
    room = click.get_current_context().terminal_width or 80
    limit = room - sum(widths[:-1]) - 2 * (len(widths) - 1) if terminal() else sys.maxsize
    for number, line in enumerate([list(headers), *cells]):
        parts = [
            cell.rjust(width) if header in right else cell.ljust(width)
            for header, cell, width in zip(headers, line, widths, strict=True)
        ]
        if len(parts[-1].rstrip()) > limit > 8:
            parts[-1] = parts[-1][: limit - 3] + "..."
        text = "  ".join(parts).rstrip()
        click.echo(click.style(text, bold=True) if number == 0 else text)


def _rich(headers: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[str]) -> bool:
    plain = click.get_current_context().color is False  # click then leaves out bold too
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    shown = Table(box=None, pad_edge=False, header_style="" if plain else "bold", padding=(0, 2, 0, 0))
    for header in headers:
        shown.add_column(
            header, justify="right" if header in right else "left", no_wrap=header != headers[-1], overflow="ellipsis"
        )
    for row in cells:
        shown.add_row(*map(Text, row))
    Console(no_color=plain, highlight=False).print(shown)
    return True
