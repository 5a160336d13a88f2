"""A node program that is running, and what it says."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import time
from typing import Any


class Peer:
    """A running node program that prints one JSON object a line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def wait_for(self, event: str, within: float = 60.0) -> dict[str, Any]:
        """The next line with that `event`; what came before it is in `events`."""
        deadline = time.monotonic() + within
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {event!r} within {within} s, only {self.events}") from None
            if line is None:
                raise AssertionError(f"ended without {event!r}: {self.events}; {self._error()}")
            self.events.append(json.loads(line))
            if self.events[-1]["event"] == event:
                return self.events[-1]

    def finish(self, within: float = 60.0) -> list[dict[str, Any]]:
        """Wait for its end and return every line."""
        if not any(event["event"] == "end" for event in self.events):
            self.wait_for("end", within)
        self.process.wait(within)
        assert self.process.returncode == 0, self._error()
        return self.events

    def of(self, event: str) -> list[dict[str, Any]]:
        return [one for one in self.events if one["event"] == event]

    def _error(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read() if self.process.poll() is not None else "still running"
