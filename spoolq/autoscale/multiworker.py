"""node-resque's rule for the size of its `MultiWorker`, for processes in the place of its workers.

One more while more than half of them work, one less while fewer than half do, each time it is looked; but one less where the
event loop is late. (https://github.com/actionhero/node-resque, `MultiWorker.checkWorkers`.) There all share one event loop; here
each process has its own, and the one that is latest counts.
"""

from __future__ import annotations

from spoolq.autoscale.sample import Bounds, Decision, Sample

MAX_EVENT_LOOP_DELAY = 0.01
CHECK_TIMEOUT = 0.5


class MultiWorker:
    """As node-resque decides. `delay` is its `maxEventLoopDelay` and `check` its `checkTimeout`, in seconds."""

    name = "multiworker"

    def __init__(self, *, delay: float = MAX_EVENT_LOOP_DELAY, check: float = CHECK_TIMEOUT) -> None:
        self._delay, self._check = delay, check
        self._next = float("-inf")
        self._last = Decision(0, "not looked at yet")

    def decide(self, sample: Sample, bounds: Bounds) -> Decision:
        """See `Policy`. Between two checks it stays with what it said."""
        if sample.at >= self._next or not bounds.least <= sample.size <= bounds.most:
            self._next = sample.at + self._check
            self._last = self._checked(sample, bounds)
        return self._last._replace(size=min(max(self._last.size, bounds.least), bounds.most))

    def _checked(self, sample: Sample, bounds: Bounds) -> Decision:
        size, working = sample.size, sample.working
        if size > bounds.most:
            return Decision(bounds.most, f"{bounds} by {bounds.whose}", "bounds")
        late = "isn't known" if sample.lag is None else f"is {sample.lag * 1000:.0f} ms, of {self._delay * 1000:g} ms"
        if sample.lag is None or sample.lag > self._delay:
            if size > bounds.least and sample.lag is not None:
                return Decision(size - 1, f"the event-loop delay {late}", "delay")
            return Decision(max(size, bounds.least), f"held: the event-loop delay {late}", "delay")
        if size < bounds.least:
            return Decision(size + 1, f"{bounds} by {bounds.whose}", "bounds")
        if size < bounds.most and working / size > 0.5:
            return Decision(size + 1, f"{working} of {size} processes work", "backlog")
        if size > bounds.least and working / size < 0.5:
            return Decision(size - 1, f"{working} of {size} processes work", "idle")
        return Decision(size, f"{working} of {size} processes work", "enough")
