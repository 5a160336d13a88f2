"""Imports that wait until they are needed, and forks that wait for them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_LONGEST = 10.0  # seconds that a fork waits for imports

_gate = threading.RLock()  # not a Lock: a signal handler may enqueue as well
_inside: dict[threading.Lock, int] = {}  # the imports under way, each with a lock that it holds, and their threads
_held = False


@contextmanager
def importing() -> Iterator[None]:
    """Around an import inside a function.

    A child that is forked while another thread imports a module finds that module's lock taken, for ever: its own import of it
    never ends. So a fork waits until nobody is in here, and whoever comes or goes meanwhile waits for the fork. Imports don't
    wait for each other: for a slow one of another thread a caller has no time.
    """
    mine, gate = threading.Lock(), _gate
    mine.acquire()
    try:
        with gate:  # held for longer by who forks
            _inside[mine] = threading.get_ident()
        yield
    finally:
        _inside.pop(mine, None)
        mine.release()
        with gate:  # what is raised in an empty body leaves the gate shut (CPython 3.11)
            _inside.pop(mine, None)


def _before_fork() -> None:
    global _held
    until = time.monotonic() + _LONGEST
    _held = _gate.acquire(timeout=_LONGEST)
    for one, thread in list(_inside.items()):
        if thread != threading.get_ident():
            one.acquire(timeout=max(0.0, until - time.monotonic()))


def _after_in_parent() -> None:
    if _held:
        _gate.release()


def _after_in_child() -> None:
    global _gate
    _gate = threading.RLock()
    _inside.clear()


os.register_at_fork(before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
