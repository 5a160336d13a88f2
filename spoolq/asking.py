"""What an application asks of a job by its id: how far it is, what it returned, and that it stop."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from spoolq.breaker import Breaker
from spoolq.errors import PayloadError
from spoolq.importing import importing
from spoolq.spans import Seconds, seconds
from spoolq.store.base import Spool, Store

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor
    from contextlib import AbstractContextManager

    from spoolq.cancelling import Cancellation
    from spoolq.config import Settings
    from spoolq.results import Results
    from spoolq.tracking import Status

T = TypeVar("T")


class Asking:
    """The part of an application's object that looks after jobs it has launched, or knows the ids of."""

    settings: Settings
    breaker: Breaker
    _results: Results | None = None
    _asked_on: ThreadPoolExecutor | None = None
    _lock: AbstractContextManager[object]

    if TYPE_CHECKING:  # the application object's own

        @property
        def primary(self) -> Store: ...

        def _open_spool(self) -> Spool: ...

    def status(self, id: str) -> Status:
        """How far the job of that id is: a text (`queued`, `scheduled`, `spooled`, `running`, `retrying`, `done`, `failed`,
        `cancelled`, `expired`, `discarded`) that has its progress and more beside it (`Status`).

        `unknown` for jobs whose task has neither `track` nor `result_ttl`, for those whose time is over, and where Redis can't be
        asked (`status.why`). What this host's spool has is known in an outage too. Answers within 2 s or so. Raises PayloadError
        for what is no id.
        """
        return self._asking().status(_id(id))

    async def astatus(self, id: str) -> Status:
        """`status` for asyncio."""
        return await self._aside(self.status, id)

    def result(self, id: str, *, timeout: Seconds = 0.0) -> Any:
        """What the job's task returned (`result_ttl`), as JSON gives it back. Waits up to `timeout` seconds for its end.

        Raises ResultTimeout, a TimeoutError, when it has not ended by then, as far as is known; its `status` says what is. Never
        waits longer, also while Redis is gone. JobFailed, JobCancelled, JobExpired, JobDiscarded: it ended without a result.
        ResultLost: it is done, and its result could not be kept.
        """
        return self._asking().wait(_id(id), _span(timeout))

    async def aresult(self, id: str, *, timeout: Seconds = 0.0) -> Any:  # noqa: ASYNC109  (that of `result`)
        """`result` for asyncio: the loop is never blocked, and no thread is held while it waits."""
        import asyncio

        from spoolq import tracking

        results, span = self._asking(), _span(timeout)
        for left, pause in results.turns(span):
            status, values = await self._aside(results.look, _id(id), left)
            if status.over:
                return tracking.outcome(id, values)
            if pause is None:
                raise results.too_late(id, span, status)
            await asyncio.sleep(pause)
        raise AssertionError("a turn without a pause is the last one")

    def cancel(self, id: str) -> Cancellation:
        """Have the job of that id not run: it is removed wherever it waits (Redis, this host's spool). One that runs is asked to
        stop (`current_job().cancelled`), and isn't tried again. The answer says which.

        In Redis every queue is searched, so that it takes the longer, the more waits there. Raises PayloadError for what is no
        id.
        """
        with importing():
            from spoolq.cancelling import Canceller
        return Canceller(self.primary, self.spool_there()).cancel(_id(id))

    async def acancel(self, id: str) -> Cancellation:
        """`cancel` for asyncio."""
        return await self._aside(self.cancel, id)

    # what it is made of

    def _asking(self) -> Results:
        if self._results is None:
            with importing():
                from spoolq.results import Results
            self._results = Results(lambda: self.primary, self.spool_there, self.breaker, address=self.settings.destination)
        return self._results

    def spool_there(self) -> Spool | None:
        """The spool, where there is one already: asking makes none."""
        if self.settings.sqlite_path is not None or not os.path.exists(self.settings.spool_path):
            return None
        return self._open_spool()

    async def _aside(self, call: Callable[..., T], *values: Any) -> T:
        import asyncio

        return await asyncio.wrap_future(self._askers().submit(call, *values))

    def _askers(self) -> ThreadPoolExecutor:
        """Threads apart from those of `aenqueue`, which doesn't wait behind many who ask a store that hangs."""
        if self._asked_on is None:
            with importing():
                from concurrent.futures import ThreadPoolExecutor
            with self._lock:
                if self._asked_on is None:
                    self._asked_on = ThreadPoolExecutor(8, "spoolq-ask")
        return self._asked_on


def _id(id: object) -> str:
    if not isinstance(id, str) or not id or not id.isprintable() or len(id) > 200:
        raise PayloadError(f"id={id!r:.220}: an id is a text of 1 to 200 printable characters, such as a receipt's")
    return id


def _span(timeout: Seconds) -> float:
    if (span := seconds(timeout, "timeout")) < 0:
        raise PayloadError(f"timeout={timeout!r}: 0 seconds or more")
    return span
