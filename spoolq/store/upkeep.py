"""What an operator does to a spool: look whether it is sound, empty its quarantine, move its rows. The docstrings are the
specification."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

Document = Mapping[str, Any]
"""A row as it leaves a spool. `kind` is `job`, `settled` (an id that must not be put again) or `failure`; payloads and entries
are bytes, times epoch seconds."""

Kind = Literal["job", "quarantine", "failure", "settled"]
KINDS: tuple[Kind, ...] = ("settled", "job", "quarantine", "failure")


Level = Literal["ok", "note", "unknown", "warning", "problem"]


class Finding(NamedTuple):
    """What a check found, `what` in words, and what to do about it.

    `level`, from well to bad: `ok`; `note`: good to know; `unknown`: it could not be looked at; `warning`: it works, and somebody
    should look; `problem`: jobs are lost or refused, or may be.
    """

    name: str
    level: Level
    what: str
    remedy: str


class Peeked(NamedTuple):
    """What a file says of itself before anybody uses it. `ours`: it is a queue of spoolq's. `schema` is its version, `newest` the
    one that this spoolq makes, and `usable` whether this one can use it; `journal` is SQLite's journal mode, which becomes `wal`
    when it is used. `rows` are jobs of any state, up to 100,000."""

    ours: bool
    schema: int
    newest: int
    usable: bool
    journal: str
    destination: str = ""
    rows: int = 0


class Quarantined(NamedTuple):
    """A row that was set aside. `age` is in seconds since it was spooled; not `sound`: its checksum doesn't fit."""

    id: str
    queue: str
    payload: bytes
    reason: str
    age: float
    in_doubt: bool
    sound: bool


class Added(NamedTuple):
    """What became of documents: added, or left out because the id is known here."""

    added: int
    known: int


class Recovered(NamedTuple):
    """What was saved of one damaged file: jobs into the spool, some of them into its quarantine; `lost` names ids of which only
    the index was readable; `complete` tells whether all that the file should hold was read. `path` is where it lies now."""

    path: str
    saved: int
    quarantined: int
    known: int
    failures: int
    lost: tuple[str, ...]
    complete: bool


class Upkeep(Protocol):
    """Every verb works in short transactions, beside producers, workers and drainers."""

    def check(
        self, *, whole: bool = False, limit: float | None = None, report: Callable[[int], None] = lambda rows: None
    ) -> list[Finding]:
        """Look at the file's structure and at each row's checksum. Changes nothing, and holds no snapshot for longer than a
        second: a structure that takes longer is looked at `whole` only, which may make the -wal grow meanwhile.

        `limit`: seconds for all of it, about; what isn't looked at by then is told as unknown.
        """

    def compactable(self) -> tuple[int, int]:
        """What `compact` would return, about."""

    def compact(self) -> tuple[int, int]:
        """Give the room of deleted rows back to the disk, a little at a time. Returns the bytes of the database before and
        after."""

    def quarantined(self, after: int = 0, limit: int = 100) -> list[tuple[int, Quarantined]]:
        """A page of what was set aside, in the order in which it came; the number is what the next call begins `after`."""

    def find(self, id: str) -> Quarantined | None:
        """One row of the quarantine."""

    def release(self, ids: Sequence[str], *, damaged: bool = False) -> list[str]:
        """Back to where a drainer takes it, in doubt, as if it had been spooled now. A row whose checksum doesn't fit stays,
        unless `damaged`. Returns the ids that were released."""

    def drop(self, ids: Sequence[str]) -> int:
        """Delete rows of the quarantine. Returns how many."""

    def page(self, kind: Kind, after: Any = None, limit: int = 100) -> list[tuple[Any, Document]]:
        """A page of rows to be exported, each with what `remove` and the next page need. Jobs in somebody's hands are left out.

        In the same transaction each job's id becomes one given by the caller, in doubt: wherever it is put into the primary
        from now on, its marker stays for the horizon, and whoever comes second is answered that it is there.
        """

    def remove(self, kind: Kind, keys: Sequence[Any], release: Sequence[tuple[str, str]] = ()) -> list[Any]:
        """Delete rows that were exported and written, and let go of these guards (key, holder). A row that somebody has taken
        meanwhile stays, also when it was given back. Returns the keys of those that were deleted."""

    def add(self, documents: Sequence[Document], *, mark: tuple[str, int] | None = None, elsewhere: str = "") -> Added:
        """Take exported rows in: as ids given by the caller, in doubt, as old as they were. Ids that are known here are left out.

        `mark`: (name, number) kept in the same transaction, to be asked for by `marked`. `elsewhere`: they come from a spool
        for this other destination, so those that were in doubt there go to quarantine. Raises StoreFull.
        """

    def marked(self, name: str) -> int:
        """The last number kept under that name, 0 when there is none."""

    def damaged(self) -> tuple[bool, tuple[str, ...]]:
        """Whether the file can't be read through, and which were set aside and not recovered yet."""

    def recover(self) -> list[Recovered]:
        """Set the file aside if it is damaged, and save into the spool what can be read of each file that was set aside.
        Nothing is deleted. Raises ConfigError for a file that has never been a queue."""
