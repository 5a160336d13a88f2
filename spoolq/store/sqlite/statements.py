"""SQL lives in `sql/`; a file holds one subject, its statements each under a line `-- name: …`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

_FOLDER = Path(__file__).with_name("sql")
_COMMENT, _SPACE = re.compile(r"^--.*\n", re.MULTILINE), re.compile(r"\s+")
_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def schema() -> Sequence[str]:
    """The statements that make a new file, without what is there for the eye: SQLite keeps their text in the file, on whose first
    page it must fit."""
    text = _COMMENT.sub("", (_FOLDER / "schema.sql").read_text("utf-8"))
    return [_SPACE.sub(" ", one).strip().replace("( ", "(").replace(" )", ")") for one in text.split(";\n") if one.strip()]


def statements(subject: str) -> Mapping[str, str]:
    """The statements of `sql/SUBJECT.sql` by name, which only one of them has."""
    _, *parts = _NAME.split((_FOLDER / f"{subject}.sql").read_text("utf-8"))
    found = dict(zip(parts[::2], (text.strip().removesuffix(";") for text in parts[1::2]), strict=True))
    if len(found) < len(parts) // 2:  # two changes, each with the same name for its own
        raise AssertionError(f"sql/{subject}.sql has two statements of one name")
    return MappingProxyType(found)
