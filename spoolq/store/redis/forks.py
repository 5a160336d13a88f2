"""Who must forget something in a forked child: connections and markers belong to the parent."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forkable(Protocol):
    """Something with a state that a child must not share."""

    def after_fork(self) -> None:
        """Called in the child, where only the forking thread lives on."""


_all: weakref.WeakSet[Forkable] = weakref.WeakSet()


def watch(thing: Forkable) -> None:
    """Have `after_fork` called in every child of this process, as long as the thing lives."""
    _all.add(thing)


def _after_fork() -> None:
    for thing in list(_all):
        thing.after_fork()


os.register_at_fork(after_in_child=_after_fork)
