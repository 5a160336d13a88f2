"""SQL lives in `sql/`; a file holds one subject, its statements each under a line `-- name: …`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

_FOLDER = Path(__file__).with_name("sql")
_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def schema() -> str:
    """The whole of a new file's schema."""
    return (_FOLDER / "schema.sql").read_text("utf-8")


def statements(subject: str) -> Mapping[str, str]:
    """The statements of `sql/SUBJECT.sql` by name."""
    _, *parts = _NAME.split((_FOLDER / f"{subject}.sql").read_text("utf-8"))
    return MappingProxyType(dict(zip(parts[::2], (text.strip().removesuffix(";") for text in parts[1::2]), strict=True)))
