"""The clock that all processes of a host share until its next boot, and that boot's own name."""

from __future__ import annotations

import time
from functools import cache

_BOOT = "/proc/sys/kernel/random/boot_id"


def tick() -> tuple[str, float]:
    """This boot's name, and the seconds on its clock: it never jumps, and begins anew with each boot."""
    return name(), time.monotonic()


@cache
def name() -> str:
    """This boot's own name, empty where it has none."""
    try:
        with open(_BOOT, encoding="ascii") as file:
            return file.read().strip()
    except (OSError, UnicodeDecodeError):
        return ""
