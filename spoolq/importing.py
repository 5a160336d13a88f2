"""Imports that wait until they are needed, and forks that wait for them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LONGEST = 10.0  # seconds that a fork waits for an import

_lock = threading.RLock()  # not a Lock: a signal handler may enqueue as well
_held = False


@contextmanager
def importing() -> Iterator[None]:
    """Around an import inside a function.

    A child that is forked while another thread imports a module finds that module's lock taken, for ever: its own import of it
    never ends. So a fork waits until nobody is in here.
    """
    lock = _lock
    with lock:
        yield


def _before_fork() -> None:
    global _held
    _held = _lock.acquire(timeout=_LONGEST)


def _after_in_parent() -> None:
    if _held:
        _lock.release()


def _after_in_child() -> None:
    global _lock
    _lock = threading.RLock()


os.register_at_fork(before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
