"""The size that clears the backlog within a target, as far as this host and the store have room for it.

It grows fast, by doubling, and only where more processes help: all are busy, and neither the store nor the host is what jobs wait
for. It shrinks slowly, one at a time. What it can't see it doesn't act on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from spoolq.autoscale.sample import Bounds, Cause, Decision, Host, Sample, Sight
from spoolq.units import say_age, say_size

BLIND = 5.0
"""Seconds after which what was seen of the store is too old to act on."""

FRESH = 3.0
"""Seconds after which it is too old to grow on: a store that is asked, and doesn't answer, may be away."""

GROW_EVERY = 3.0
"""Seconds between two growths: for so long the one before has to show."""

_FULL = 0.8  # share of what they can run from which on they count as busy
_ROOMY = 0.8  # and which one less may come to be busy by, so that it isn't followed by one more
_OVER = 10.0  # seconds for which a host or a store must be overloaded before one less is tried
_TIGHT = 5.0  # the same for memory
_CALM, _CALM_MOST = 30.0, 600.0  # seconds without growth after it; doubled each time that growing brought the overload back
_NEXT = 1 / 4  # of the idle period, after which a second one is ended
_STALLED = 0.8  # share of time in which something waited for a core
_LOADED = 2.0  # load average by core, where the stall isn't known
_MEMORY_STALLED = 0.1
_RESERVE, _RESERVE_MOST = 0.1, 1 << 30  # share of the memory that is left free, and bytes that are enough
_QUICK, _STEADY, _KNOWN = 1.5, 10.0, 60.0  # time constants, in seconds: of busyness twice, of what a job costs


class Load:
    """Follows the load.

    target    seconds within which the backlog should be cleared
    idle      seconds for which one process less must have been enough before one is ended
    most_cpu  share of the processor from which on it doesn't grow; None: it doesn't look
    """

    name = "load"

    def __init__(self, *, target: float = 10.0, idle: float = 60.0, most_cpu: float | None = 0.9) -> None:
        self._target, self._idle, self._most_cpu = target, idle, most_cpu
        self._last: Sample | None = None
        self._seen: tuple[Sight, int] | None = None  # the last sight, and the jobs that had ended by then
        self._busy = self._steady = 0.0
        self._spent = self._ended = 0.0  # process-seconds of work, and jobs that they brought to an end; both fade
        self._came = 0.0  # jobs a second
        self._since: dict[str, float] = {}
        self._changed = self._grown = self._relieved = float("-inf")
        self._calm, self._calm_until = 0.0, float("-inf")
        self._idles = False  # the last change was that one was ended for having nothing to do

    def decide(self, sample: Sample, bounds: Bounds) -> Decision:
        """See `Policy`."""
        self._learn(sample)
        decision = self._decided(sample, bounds)
        if decision.size != sample.size:
            self._changed = sample.at
            self._idles = decision.cause == "idle"
            self._since.clear()
            if decision.size > sample.size:
                self._grown = sample.at
        return decision

    def _decided(self, sample: Sample, bounds: Bounds) -> Decision:
        size = sample.size
        if not bounds.least <= size <= bounds.most:
            return Decision(min(max(size, bounds.least), bounds.most), f"{bounds} by {bounds.whose}", "bounds")
        if (relief := self._relief(sample, bounds)) is not None:
            return relief
        if (unknown := _unseen(sample)) is not None:
            self._since.clear()
            return unknown
        if why := self._too_few(sample):
            return self._grow(sample, bounds, why)
        return self._idling(sample, bounds)

    # what it learns

    def _learn(self, sample: Sample) -> None:
        last, self._last = self._last, sample
        if last is None:
            self._steady = sample.busy
            return
        passed = max(0.0, sample.at - last.at)
        self._busy += (sample.busy - self._busy) * -math.expm1(-passed / _QUICK)
        self._steady += (sample.busy - self._steady) * -math.expm1(-passed / _STEADY)
        kept = math.exp(-passed / _KNOWN)
        self._spent = self._spent * kept + sample.busy * sample.ready * passed
        self._ended = self._ended * kept + max(0, sample.ran - last.ran)
        sight = sample.sight
        if sight is None or sight.backlog is None or (self._seen is not None and sight.at <= self._seen[0].at):
            return
        if self._seen is not None and self._seen[0].backlog is not None:
            before, ran = self._seen
            span = sight.at - before.at
            came = (sight.backlog - (before.backlog or 0) + sample.ran - ran) / span
            self._came += (came - self._came) * -math.expm1(-span / _STEADY)  # below 0 where others work too, and by chance
        self._seen = sight, sample.ran

    @property
    def _cost(self) -> float | None:
        """Seconds of one process that a job takes, None until one has ended."""
        return self._spent / self._ended if self._ended > 0.05 and self._spent > 0 else None

    @property
    def _arriving(self) -> float:
        return max(0.0, self._came)

    def _lasts(self, what: str, is_so: bool, at: float) -> float:
        """For how many seconds it has been so."""
        if not is_so:
            self._since.pop(what, None)
            return 0.0
        return at - self._since.setdefault(what, at)

    # more

    def _too_few(self, sample: Sample) -> str:
        """Why more are needed, empty where they aren't."""
        full, sight = self._lasts("full", self._busy >= _FULL, sample.at), sample.sight
        if sight is None or not sight.backlog or self._busy < _FULL:
            return ""
        if sight.at < sample.at - full:  # what waited then may be what they run now
            return ""
        backlog, oldest = sight.backlog, sight.oldest or 0.0
        if (cost := self._cost) is None:
            return f"{_jobs(backlog)} while all are busy, and none has ended yet"
        clear = backlog * cost / sample.size  # were no more to come
        rest = sample.size / cost - self._arriving
        lasting = clear > self._target / 2 and (rest <= 0 or backlog / rest > self._target or oldest > self._target)
        if clear <= self._target and not lasting:
            return ""
        word = f", the oldest for {say_age(oldest)}" if oldest > self._target else ""
        many = f"{sample.size} process(es)"
        takes = f"{many} clear them in {say_age(backlog / rest)}" if rest > 0 else f"more come than {many} can do"
        return f"{_jobs(backlog)}{word}; {takes}, the target is {say_age(self._target)}"

    def _grow(self, sample: Sample, bounds: Bounds, why: str) -> Decision:
        size, at, host = sample.size, sample.at, sample.host
        if sample.sight is not None and at - sample.sight.at > FRESH:
            return Decision(size, f"held: nothing was heard of the store for {say_age(at - sample.sight.at)}", "blind")
        if size >= bounds.most:
            return Decision(size, f"held: {why}; {bounds} by {bounds.whose} allows no more", "bounds")
        if at < self._calm_until:
            return Decision(size, f"held: {why}; one was ended for an overload, and it may grow in {self._calm_until - at:.0f} s")
        if self._most_cpu is not None and host.cpu is not None and host.cpu >= self._most_cpu:
            return Decision(size, f"held: {why}; but {_cpu(host)} already (scale_cpu)", "cpu")
        if at - max(self._grown, self._changed) < GROW_EVERY or sample.ready < size:
            return Decision(size, f"held: {why}; {sample.ready} of {size} work so far, which has to show first", "backlog")
        most = min(bounds.most - sample.leaving, 2 * size, self._enough(sample))
        if self._most_cpu is not None and host.cpu:
            most = min(most, max(size + 1, int(size / max(host.cpu, 0.01))))
        if most <= size:
            return Decision(size, f"held: {why}; {sample.leaving} of those that are to end are still there", "bounds")
        if host.free is not None and sample.each:
            room = int((host.free - _reserve(host)) // sample.each)
            if room < 1:
                return Decision(size, f"held: {why}; but {_memory(host)}, and one takes {say_size(sample.each)}", "memory")
            most = min(most, size + room)
        return Decision(most, why, "backlog")

    def _enough(self, sample: Sample) -> int:
        """How many clear the backlog within the target, one more at least."""
        backlog = (sample.sight and sample.sight.backlog) or 0
        if (cost := self._cost) is None:
            return sample.size + max(1, -(-backlog // sample.threads))
        return max(sample.size + 1, math.ceil(cost * (self._arriving + backlog / self._target)))

    # fewer

    def _relief(self, sample: Sample, bounds: Bounds) -> Decision | None:
        """Fewer where the host or the store can't bear them."""
        at, size = sample.at, sample.size
        for cause, is_so, after, less, why in self._burdens(sample):
            lasts = self._lasts(cause, is_so, at)
            if not is_so:
                continue
            if size > bounds.least and lasts >= after and at - self._relieved >= _TIGHT and not sample.leaving:
                if self._grown > self._relieved or not self._calm:
                    self._calm = min(_CALM_MOST, max(_CALM, 2 * self._calm))
                self._relieved = at
                self._calm_until = at + self._calm
                return Decision(max(bounds.least, size - less), why, cause)
            if cause != "cpu" or lasts < after:
                return Decision(size, f"held: {why}", cause)
        if self._calm and at - self._calm_until > _CALM_MOST:
            self._calm = 0.0
        return None

    def _burdens(self, sample: Sample) -> Iterator[tuple[Cause, bool, float, int, str]]:
        """Of what there may be too much: whether there is, after how many seconds how many less are tried, and why."""
        host, sight = sample.host, sample.sight
        missing = _missing(host)
        less = max(1, math.ceil(missing / sample.each)) if sample.each else 1
        soon = 0.0 if missing > _reserve(host) / 4 else _TIGHT
        yield "memory", missing > 0 or (host.memory_stall or 0.0) >= _MEMORY_STALLED, soon, less, _memory(host)
        yield "cpu", self._overloaded(host), _OVER, 1, f"{_cpu(host)}, and what could run waits for a core"
        slow = sight is not None and sight.broker == "slow" and sample.at - sight.at <= _OVER  # looking takes long then
        waits = f"{1000 * ((sight and sight.wait) or 0.0):.0f} ms"
        yield "broker", slow, _OVER, 1, f"the store is what jobs wait for: it answers after {waits}"

    def _overloaded(self, host: Host) -> bool:
        if self._most_cpu is None or host.cpu is None or host.cpu < self._most_cpu:
            return False
        return host.stall >= _STALLED if host.stall is not None else (host.load or 0.0) >= _LOADED

    def _idling(self, sample: Sample, bounds: Bounds) -> Decision:
        size, at, cost = sample.size, sample.at, self._cost
        backlog = (sample.sight and sample.sight.backlog) or 0
        clears = backlog == 0 or (size > 1 and cost is not None and backlog * cost / (size - 1) <= self._target / 4)
        spare = size > 1 and clears and self._steady * size <= _ROOMY * (size - 1)
        period = self._idle * (_NEXT if self._idles else 1.0)
        if self._lasts("idle", spare, at) >= period and size > bounds.least:
            return Decision(size - 1, f"for {say_age(period)} {size - 1} process(es) would have been enough", "idle")
        if backlog and self._busy < _FULL:
            return Decision(
                size, f"held: {_jobs(backlog)}, and not for a process: {self._busy:.0%} of what they can run is taken"
            )
        return Decision(size, f"enough: {self._busy:.0%} busy, {_jobs(backlog)}")


def _unseen(sample: Sample) -> Decision | None:
    """Nothing is decided on what can't be seen, nor while the store takes nothing."""
    sight, size = sample.sight, sample.size
    if sight is None:
        return Decision(size, "held: nothing is known of the store yet", "blind")
    if sample.at - sight.at > BLIND:
        return Decision(size, f"held: nothing was heard of the store for {say_age(sample.at - sight.at)}", "blind")
    if sight.broker in ("away", "refusing"):
        return Decision(size, f"held: the store {'is away' if sight.broker == 'away' else 'takes nothing'}", "broker")
    if sight.backlog is None:
        return Decision(size, "held: what waits in the store can't be seen", "blind")
    return None


def _reserve(host: Host) -> float:
    return min(_RESERVE * (host.total or 0), _RESERVE_MOST)


def _missing(host: Host) -> float:
    """Bytes that should be free beside those that are: half of what is kept back from growing."""
    return 0.0 if host.free is None or host.total is None else max(0.0, _reserve(host) / 2 - host.free)


def _cpu(host: Host) -> str:
    cores = "" if host.cores is None else f" of {host.cores:g} core(s)"
    return f"{host.cpu or 0.0:.0%}{cores} are used"


def _memory(host: Host) -> str:
    free = "" if host.free is None else f"{say_size(host.free)} of memory are free"
    stall = f"all waits for memory {host.memory_stall or 0.0:.0%} of the time"
    return free if free and (host.memory_stall or 0.0) < _MEMORY_STALLED else f"{free}{' and ' if free else ''}{stall}"


def _jobs(count: int) -> str:
    return f"{count:,} job{'' if count == 1 else 's'} wait{'s' if count == 1 else ''}"
