"""What the file's own verbs write into its journal, in their transactions."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Any

from spoolq.store.events import KINDS, Kind
from spoolq.store.sqlite.session import Session, micros
from spoolq.store.sqlite.settings import Settings
from spoolq.store.sqlite.statements import statements

SQL = statements("events")

MOST, LONGEST = 10_000, 90 * 86_400.0
"""Events kept at most, and for how many seconds."""

_SHARE = 16_384  # bytes of the file for each event kept: a small file has a small journal
_FEWEST = 128
_PRUNED = 10
_SAME = 10_000_000  # microseconds within which the same again is counted, not written
_TEXT, _DETAIL = 500, 4000


def record(session: Session, kind: Kind, text: str, **detail: object) -> None:
    """Write one down, and let the oldest go. The same again within seconds is counted in the first's `times`."""
    if kind not in KINDS:
        raise ValueError(f"{kind!r}: no kind of event")
    text, now = text[:_TEXT], session.now
    same = session.one(SQL["last_like"], (kind, text, now - _SAME, now))
    if same is not None:
        number, told = same[0], decoded(same[1])
        session.execute(SQL["again"], (number, _encoded({**told, "times": told.get("times", 1) + 1})))
        return
    session.execute(SQL["add"], (now, kind, text, _encoded(detail), os.getpid()))
    session.execute(SQL["beyond"], (most(session.settings),))
    session.execute(SQL["outlived"], (now - micros(LONGEST), _PRUNED))


def noted(session: Session, kind: Kind, text: str, **detail: object) -> None:
    """`record` beside what befalls a job: that goes on where the journal can't be written."""
    session.beside(lambda: record(session, kind, text, **detail))


def most(settings: Settings) -> int:
    """Events that a file of that size keeps."""
    return max(_FEWEST, min(MOST, settings.max_bytes // _SHARE))


def decoded(detail: str) -> dict[str, Any]:
    """What `record` was given; nothing where a disk has changed it."""
    with suppress(ValueError, RecursionError):
        found = json.loads(detail)
        if isinstance(found, dict):
            return found
    return {}


def _encoded(detail: object) -> str:
    text = json.dumps(detail, default=str)
    return text if len(text) <= _DETAIL else "{}"
