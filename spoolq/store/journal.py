"""What a worker could not tell the primary of its claims there, written down in this host's spool. The docstrings are the
specification.

An outcome is kept as the verb and its arguments, never as a job. Two who tell the same one do no harm: the verb is fenced by the
claim's token, and whoever comes second is told that it is no longer held.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple, Protocol

from spoolq.job import Claim

Verb = Literal["ack", "retry", "fail", "release"]


class Settlement(NamedTuple):
    """A verb for one claim of the primary. `claim` has no payload here: no verb needs it.

    argument   of a retry its payload, of a failure its entry in the log
    at         of a retry when it is due, in epoch seconds of the primary's clock
    word       of an ack what it counts as, of a retry why
    effects    what happens with it, as `store.effects` encodes it
    """

    claim: Claim
    verb: Verb
    argument: bytes = b""
    at: float = 0.0
    word: str = ""
    effects: bytes = b""


class Settlements(Protocol):
    """The journal of one file. Each entry has a holder, who tells the primary, until a time; then anybody may take it. An entry
    is for the primary for which the file was opened as it was written, and is seen by those only who opened it for the same."""

    def keep(self, holder: str, settlements: Sequence[Settlement], told: Collection[str], lease: float) -> None:
        """In one step, synced: write these down, delete those of the tokens `told`, and hold all that is then the holder's for
        `lease` seconds from now, 60 at most."""

    def held(self) -> bool:
        """Whether somebody holds an entry now."""

    def take(self, holder: str, limit: int, lease: float) -> list[Settlement]:
        """Up to `limit` entries that nobody holds any more, in the order in which they were written: the holder's for `lease`
        seconds from now. One that the disk has changed is dropped, and told in the log."""
