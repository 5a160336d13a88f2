"""The wait of an idle worker: on a list of its own, into which a put pushes a token, with a look at its queues once a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from spoolq.errors import StoreUnavailable
from spoolq.store.redis.names import Names
from spoolq.store.redis.resp import ReplyError
from spoolq.store.redis.transport import Transport, refused

LOOK = 1.0  # seconds between looks at the queues while idle: what a stock producer pushes wakes nobody
ANEW = 20.0  # seconds after which a worker is noted as idle again: whoever woke it in vain has taken it from there

_NOT_SURE: tuple[list[bytes], float] = ([], 0.0)


class Idling:
    """Who waits in this process. `scripted` runs `wait.lua`: it notes the worker as idle, and answers whether there is a job.
    `timeout` is what an answer may take, in seconds."""

    def __init__(
        self, transport: Transport, scripted: Callable[[str, list[bytes]], int], names: Names, label: str, timeout: float
    ) -> None:
        self._transport, self._scripted, self._names = transport, scripted, names
        self._label, self._timeout, self._now = label, timeout, transport.clock.monotonic
        self._noted: dict[str, tuple[list[bytes], float]] = {}  # with which arguments, and when that is to be done anew

    def __contains__(self, key: str) -> bool:
        """Whether the worker may be noted as idle."""
        return key in self._noted

    def over(self, key: str) -> None:
        """It waits no more, and Redis knows."""
        self._noted.pop(key, None)

    def wait(self, key: str, queues: Sequence[str], timeout: float, *, appear: bool) -> bool:
        """See `Store.wait`. Only a wait that begins looks at the queues: the next one follows."""
        end = self._now() + timeout
        args = [key.encode(), b"%d" % len(queues), *(queue.encode() for queue in queues), b"1" if appear else b"0"]
        try:
            while not self._job_there(key, queues, args):
                left = end - self._now()
                if left <= 0:
                    return False
                block = max(0.01, min(LOOK, left))  # never 0, which is for ever
                by = self._now() + block + self._timeout
                reply = self._transport.call((b"BLPOP", self._names.wake(key), b"%.3f" % block), by)
                if isinstance(reply, ReplyError):
                    raise refused(reply, self._label)
                if reply is not None:
                    return True
                if end <= self._now():
                    return False
        except StoreUnavailable:
            self._noted[key] = _NOT_SURE  # a server that was away may have forgotten who waits
            raise
        return True

    def _job_there(self, key: str, queues: Sequence[str], args: list[bytes]) -> bool:
        noted, until = self._noted.get(key, _NOT_SURE)
        if noted == args and self._now() < until and queues:  # then a plain look is enough: half the commands, and no script
            looks = [(b"LLEN", self._names.queue(queue)) for queue in queues]
            return any(map(self._jobs, self._transport.talk(looks, self._now() + self._timeout)))
        asked = self._noted[key] = ([], 0.0)  # from before it is asked: the answer may be lost
        if self._scripted("wait", args):
            return True
        if (
            self._noted.get(key) is asked
        ):  # else a claim of another thread came meanwhile, and perhaps after it: not idle any more
            self._noted[key] = (args, self._now() + ANEW)
        return False

    def _jobs(self, reply: Any) -> Any:
        if isinstance(reply, ReplyError):
            if reply.text.startswith("WRONGTYPE"):
                return 0  # such a queue keeps nobody from the others
            raise refused(reply, self._label)
        return reply
