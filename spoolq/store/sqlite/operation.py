"""One caller's wish, on its way to the writer thread and back."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from typing import Any

from spoolq.errors import StoreError, StoreUnavailable
from spoolq.store.sqlite import driver
from spoolq.store.sqlite.session import Session

UNDONE = object()
"""The result of what was not done, or not answered for."""


class Operation:
    """`done` is held until there is an answer. The ticket is taken once: by the thread, which begins, or by the caller, who
    withdraws.

    Bare locks instead of events and futures: the hop to the thread and back is on the path of every enqueue.
    """

    __slots__ = (
        "_end",
        "_ticket",
        "answered",
        "begun",
        "done",
        "error",
        "grows",
        "guarded",
        "left",
        "maybe",
        "not_after",
        "plain",
        "result",
        "unheard",
        "woke",
        "work",
        "writes",
    )

    def __init__(
        self,
        work: Callable[[Session], Any],
        writes: bool,
        not_after: float = 0.0,
        *,
        guarded: bool = False,
        grows: bool = False,
        unheard: Callable[[Session], object] | None = None,
        plain: bool = False,
    ) -> None:
        self.work = work
        self.writes = writes
        self.guarded = guarded
        self.grows = grows
        self.unheard = unheard
        self.plain = plain
        self.not_after = not_after
        self.done = threading.Lock()
        self.done.acquire()
        self._ticket, self._end = threading.Lock(), threading.Lock()
        self.answered = False
        self.begun = False
        self.left = False
        self.maybe = False
        self.woke = False
        self.result: Any = UNDONE
        self.error: BaseException | None = None

    def begin(self) -> bool:
        """The thread's: whether the caller still wants it. True again for one that was begun before."""
        if not self.begun:
            self.begun = self._ticket.acquire(blocking=False)
        return self.begun

    def withdraw(self) -> bool:
        """The caller's: whether it was not begun, and now never will be."""
        return self._ticket.acquire(blocking=False)

    def leave(self) -> bool:
        """The caller's: whether it goes without the outcome. Not where that is there already."""
        self.left = self._end.acquire(blocking=False)
        return self.left

    def heard(self) -> bool:
        """The thread's, once it is done: whether the caller will have the outcome."""
        return self._end.acquire(blocking=False)

    def answer(self) -> None:
        """Wake the caller, if one still waits. More than once does no harm."""
        if not self.answered:
            self.answered = True
            self.done.release()

    def undone(self, *, maybe: bool) -> None:
        """Its transaction failed: as if it had not run. `maybe`: what was written may still turn up after a crash."""
        self.result, self.error = UNDONE, None
        self.woke = False
        self.maybe = self.maybe or maybe

    def fail(self, error: Exception, path: str) -> None:
        """Its answer is this error, as an object of its own: it will be raised in another thread than its neighbours'."""
        if not self.begin():
            return
        if isinstance(error, driver.Error):
            self.error = driver.translate(error, path, maybe_applied=self.maybe, not_after=self.not_after)
        elif isinstance(error, OSError):
            certain = "It is not known whether this was stored" if self.maybe else "Nothing was stored"
            reason = _REASONS.get(error.errno or 0, "io")
            self.error = StoreUnavailable(
                f"{path}: {error.strerror or error}. {certain}{driver.HINTS.get(reason, '')}",
                reason=reason,
                maybe_applied=self.maybe,
                not_after=self.not_after,
            )
        else:
            self.error = _copy(error)
            if self.maybe and isinstance(error, StoreError):
                self.error = StoreUnavailable(
                    f"{error}. It is not known whether this was stored",
                    reason=getattr(error, "reason", "error"),
                    maybe_applied=True,
                    not_after=self.not_after,
                )


class Rest(Operation):
    """The thread closes the file and does nothing until `over`: around a fork."""

    __slots__ = ("over",)

    def __init__(self) -> None:
        super().__init__(lambda session: None, writes=False)
        self.over = threading.Event()


_REASONS = dict.fromkeys((errno.ENOENT, errno.ENOTDIR), "missing") | dict.fromkeys(
    (errno.EACCES, errno.EPERM, errno.EROFS), "readonly"
)


def _copy(error: Exception) -> Exception:
    twin = type(error).__new__(type(error), *error.args)
    twin.__dict__.update(error.__dict__)
    return twin
