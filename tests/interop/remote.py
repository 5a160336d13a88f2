"""One node process for many tests: node-resque's own classes, called from here. What they say comes back as events."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Iterable
from typing import Any

from tests.interop.peer import Peer
from tests.waiting import eventually


class Refused(Exception):
    """node-resque threw; the text is its own."""


class Remote:
    """The process behind every `Resque`."""

    def __init__(self, peer: Peer) -> None:
        self._peer, self._numbers = peer, itertools.count()
        peer.wait_for("ready")

    def ask(self, redis: str, do: str, **order: Any) -> Any:
        """One order and its answer. Raises Refused."""
        n = next(self._numbers)
        assert self._peer.process.stdin is not None
        self._peer.process.stdin.write(json.dumps({"n": n, "redis": redis, "do": do, **order}) + "\n")
        self._peer.process.stdin.flush()
        while (reply := self._peer.wait_for("reply"))["n"] != n:
            pass
        if "error" in reply:
            raise Refused(reply["error"])
        return reply["value"]

    def heard(self, redis: str) -> list[dict[str, Any]]:
        """What was said of one Redis so far, replies aside."""
        return [event for event in self._peer.events if event.get("redis") == redis]

    def forget(self) -> None:
        """Begin a new test."""
        self._peer.events.clear()

    def close(self) -> None:
        """End the process."""
        self._peer.process.kill()
        self._peer.process.wait()


class Resque:
    """node-resque on one server, with nothing running yet."""

    def __init__(self, remote: Remote, url: str) -> None:
        self._remote, self._url = remote, url
        remote.forget()

    def queue(self, method: str, *args: Any) -> Any:
        """A method of node's Queue. Raises Refused with what it threw."""
        return self._remote.ask(self._url, "queue", method=method, args=args)

    def failure(self, method: str, index: int = 0) -> Any:
        """A method of node's Queue, given the failure at that index as node itself has read it."""
        return self._remote.ask(self._url, "failure", method=method, index=index)

    def begin(self, kind: str, *, jobs: dict[str, Any] | None = None, **options: Any) -> str:
        """Start a Worker, MultiWorker or Scheduler. Returns its name."""
        name: str = self._remote.ask(self._url, "begin", kind=kind, options=options, jobs=jobs or {})["name"]
        return name

    def end(self) -> None:
        """End all that was begun, as node ends it."""
        self._remote.ask(self._url, "end")

    def wait_for(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """Until so many events of that name were said."""
        return eventually(lambda: found if len(found := self.heard(event)) >= count else None, what=f"{count} x {event!r}") or []

    def heard(self, event: str) -> list[dict[str, Any]]:
        """The events of that name so far. Asks something first: what was said before its answer has arrived then."""
        self.queue("queues")
        return [one for one in self._remote.heard(self._url) if one["event"] == event]


def start(command: Iterable[str], folder: str) -> Remote:
    """The process."""
    process = subprocess.Popen(
        list(command), cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    return Remote(Peer(process))
