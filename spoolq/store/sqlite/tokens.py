"""A claim's token: where its row is, and the fence that the row must still show. 32 hex digits."""

from __future__ import annotations

_LARGEST = (1 << 63) - 1
_HALF = (1 << 64) - 1
_NONE = 0, 0


def join(seq: int, fence: int) -> str:
    """The token of a row claimed under a fence."""
    return f"{seq:016x}{fence:016x}"


def form(fence: int) -> str:
    """The same for many: `form(fence) % seq` is a row's token."""
    return f"%016x{fence:016x}"


def split(token: str) -> tuple[int, int]:
    """(seq, fence). A token of somebody else's making fits no row."""
    if len(token) != 32:
        return _NONE
    try:
        both = int(token, 16)
    except ValueError:
        return _NONE
    seq, fence = both >> 64, both & _HALF
    return (seq, fence) if 0 <= seq <= _LARGEST and 0 <= fence <= _LARGEST else _NONE
