"""Several things at a time: as many as one step should carry, so that others get their turn in between. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

BYTES = 1 << 20


def parcels(items: Iterable[T], size: Callable[[T], int], most: int = 100) -> Iterator[list[T]]:
    """These in their order, up to `most` at a time, about a megabyte by their `size` in bytes. A larger one goes alone."""
    parcel: list[T] = []
    total = 0
    for item in items:
        if parcel and (len(parcel) >= most or total + size(item) > BYTES):
            yield parcel
            parcel, total = [], 0
        parcel.append(item)
        total += size(item)
    if parcel:
        yield parcel
