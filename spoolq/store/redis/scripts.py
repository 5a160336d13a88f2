"""The Lua scripts, each with its sha1, by which Redis knows it once it was loaded."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from spoolq.importing import importing

NEEDS_LIB = b"-- needs lib\n"


class Script(NamedTuple):
    """A script's name, text and sha1 in hex."""

    name: str
    text: bytes
    sha: bytes


@cache
def script(name: str) -> Script:
    """The script `scripts/NAME.lua`, with lib.lua in front where its first line says `-- needs lib`."""
    text = _read(name)
    if text.startswith(NEEDS_LIB):
        text = _read("lib") + text
    return Script(name, text, hashlib.sha1(text, usedforsecurity=False).hexdigest().encode())


def _read(name: str) -> bytes:
    with importing():  # `files` loads what it needs at its first call
        return files(__package__).joinpath("scripts", f"{name}.lua").read_bytes()
