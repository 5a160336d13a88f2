"""A call that goes on while its caller does something else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class Meanwhile(Generic[T]):
    """Calls `what`, once, on a thread of its own, from now on. Where no thread can be had it is called by `result`."""

    def __init__(self, what: Callable[[], T]) -> None:
        self._what = what
        self._answer: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="spoolq-meanwhile", daemon=True)
        with suppress(RuntimeError):
            self._thread.start()

    def _run(self) -> None:
        try:
            self._answer.append(self._what())
        except BaseException as error:
            self._error = error

    def result(self) -> T:
        """Wait until it has returned; what it returned, or raised."""
        if self._thread.ident is not None:
            self._thread.join()
        elif not self._answer and self._error is None:
            self._run()
        if self._error is not None:
            raise self._error
        return self._answer[0]
