"""New rows of callers that share a commit, on their way into the table by one statement.

Most of what a row costs the writer thread is the call for it, and at each call the callers' threads contend for the interpreter.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from spoolq.store.sqlite.rows import FORGET, SQL, Row, later, values
from spoolq.store.sqlite.session import Session

_MOST = 32  # rows a statement; there is one statement for each number of them
_ONE = "(1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"


class Twice(Exception):
    """A row was there already: all is to be undone, and each caller's done alone, which then finds out whose."""


class Together:
    """The rows of one transaction. Each is taken to be new, and `write` makes sure of it."""

    def __init__(self) -> None:
        self._rows: list[tuple[Any, ...]] = []
        self._seen: list[list[bool]] = []

    def add(self, session: Session, row: Row, seen: list[bool], not_after: float | None, word: str) -> None:
        """As `insert`, for a `fresh` one. Once it is there `seen` says that it is new."""
        self._rows.append(values(session, row, None if not_after is None else later(not_after), in_doubt=False))
        self._seen.append(seen)
        session.tally(word, row.queue)
        session.woke = True

    def write(self, session: Session) -> None:
        """Before the commit, and before anything that may look for one of them. Raises Twice."""
        rows, self._rows = self._rows, []
        for start in range(0, len(rows), _MOST):
            some = rows[start : start + _MOST]
            if session.execute(_insert(len(some)), [value for row in some for value in row]).rowcount != len(some):
                raise Twice
        seen, self._seen = self._seen, []
        for one in seen:
            one[:] = [True]


def fresh(rows: list[Row]) -> bool:
    """Whether it is a single one, with an id that its caller has just made: as good as surely new."""
    return len(rows) == 1 and rows[0].keep == FORGET


@cache
def _insert(rows: int) -> str:
    """The statement for so many."""
    return SQL["insert"].replace(_ONE, ", ".join(f"({number}{13 * ', ?'})" for number in range(1, rows + 1)))
