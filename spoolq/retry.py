"""What becomes of a job whose attempt ended badly: a pure decision, from the policy, the job, the error and the time."""

from __future__ import annotations

import inspect
import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from spoolq.errors import ConfigError, Discard, Retry, SoftTimeLimit, TimeLimit, UnknownTask, WorkerDied
from spoolq.job import Job

FIRST, LONGEST = 1.0, 600.0
"""The default wait, in seconds: at least FIRST before the second attempt, doubled each time, never more than LONGEST."""

LEAST = 3
"""How often a job is tried again whose task the worker didn't know, though its own `retries` are fewer: it was never begun."""

MAX_CRASHES = 3
"""How often a job's worker may die while it runs it: with the last of them the job goes to the failure log."""

ALONE_WITHIN = 60.0
"""Seconds since its last attempt for which a job on its last chance waits until it can run alone."""

_DEPLOY = 15.0  # a deploy takes minutes: waits of about 15 s, 30 s and 1 min before "no such task" is final
_YEAR = 365 * 86400.0
_EVER = 1e12  # an int may be too large for a float


class Rng(Protocol):
    """A source of chance: the module `random`, or a seeded `random.Random`."""

    def uniform(self, a: float, b: float, /) -> float:
        """A number between a and b."""


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Run it again, not before `at` (epoch seconds)."""

    at: float
    reason: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Into the failure log."""

    reason: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """The task discarded it: done with, and no failure."""

    reason: str


Decision = RetryAt | GiveUp | Dropped


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a failed job is tried again.

    retries      how often, after the first attempt (a job's own `retries` override it); None: as often as `retry_for` allows
    backoff      any tenacity wait, or a function of its RetryCallState that returns seconds; None: from 1 s up to 10 min, doubled
                 each time, with jitter
    retry_on     exception classes that are worth another try (one, or several)
    give_up_on   exception classes that aren't, also where `retry_on` names a parent of theirs
    retry_for    seconds (or a timedelta) since the first attempt ended badly, after which no other one is begun; None: no limit
    max_crashes  with so many deaths of its worker a job is given up. They are counted apart, and use up no `retries`

    Raises ConfigError for what can't be a policy.
    """

    retries: int | None = 3
    backoff: object | None = None
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    give_up_on: tuple[type[BaseException], ...] = ()
    retry_for: float | timedelta | None = None
    max_crashes: int = MAX_CRASHES

    def __post_init__(self) -> None:
        endless = self.retries is None and self.retry_for is not None
        if not endless and not _whole(self.retries, 0):
            raise ConfigError(f"retries={self.retries!r}: a whole number from 0 up is needed, or retry_for beside it")
        if not _whole(self.max_crashes, 1):
            raise ConfigError(f"max_crashes={self.max_crashes!r}: a whole number from 1 up is needed")
        if self.retry_for is not None:
            object.__setattr__(self, "retry_for", _span(self.retry_for))
        if self.backoff is not None and not _waits(self.backoff):
            raise ConfigError(
                f"backoff={self.backoff!r}: a tenacity wait is needed, as in backoff=tenacity.wait_fixed(30), or a function of"
                " one argument that returns seconds"
            )
        for name in ("retry_on", "give_up_on"):
            object.__setattr__(self, name, _classes(name, getattr(self, name)))


def _waits(backoff: object) -> bool:
    """Whether it can be asked for a wait: not a class that was never called, and none of tenacity's other parts."""
    if not callable(backoff) or isinstance(backoff, type) or type(backoff).__module__ in ("tenacity.stop", "tenacity.retry"):
        return False
    try:
        inspect.signature(backoff).bind(None)
    except TypeError:
        return False
    except ValueError:  # one that is written in C may not say
        return True
    return True


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _span(given: object) -> float:
    value = given.total_seconds() if isinstance(given, timedelta) else given
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ConfigError(f"retry_for={given!r}: a number of seconds above 0 is needed, or a timedelta, as in retry_for=3600")
    return float(min(value, _EVER))


def _classes(name: str, given: Any) -> tuple[type[BaseException], ...]:
    found = tuple(given) if isinstance(given, tuple | list | set | frozenset) else (given,)
    for one in found:
        if not (isinstance(one, type) and issubclass(one, BaseException)):
            raise ConfigError(
                f"{name}: {one!r} is no exception class; give classes, as in {name}=(ConnectionError, TimeoutError)"
            )
    return found


def decide(policy: RetryPolicy, job: Job, error: BaseException, now: float, rng: Rng = random) -> Decision:
    """What to do with `job` after this attempt ended with `error` at `now` (epoch seconds). Never raises.

    `job.attempt` is the number of attempts that ended before this one, `job.crashes` that of its worker's deaths. `errors.Retry`
    and `errors.Discard` are the task's own word. `retry_on` isn't asked about `errors.WorkerDied` and `errors.UnknownTask`, which
    aren't the task's doing, nor about `errors.TimeLimit` and `errors.SoftTimeLimit`, which come from its options: `give_up_on`
    may name them.
    """
    if isinstance(error, Discard):
        return Dropped(str(error) or "the task discarded the job")
    retries = policy.retries if job.retries is None else job.retries
    ours = isinstance(error, WorkerDied | UnknownTask)
    name = type(error).__qualname__
    if isinstance(error, policy.give_up_on) and not isinstance(error, Retry):
        return GiveUp(f"{name} is among give_up_on")
    if not ours and not isinstance(error, (Retry, SoftTimeLimit, TimeLimit, *policy.retry_on)):
        return GiveUp(f"{name} is not among retry_on")
    what = _what(error, job)
    if isinstance(error, WorkerDied):
        if job.crashes + 1 >= policy.max_crashes:
            return GiveUp(_crashed(job.crashes + 1, policy.max_crashes))
        ordinal = f"death {job.crashes + 1}, given up at {policy.max_crashes}; another attempt"
    else:
        limit = float("inf") if retries is None else max(retries, LEAST) if ours else retries
        of = "" if retries is None else f" of {limit + 1}"
        if job.attempt >= limit:
            return GiveUp(f"{what}; that was attempt {job.attempt + 1}{of}")
        ordinal = f"attempt {job.attempt + 2}{of}"
    wait, remark = _wait(policy, job, error, rng)
    if (late := _too_late(policy, job, now, wait)) is not None:
        return GiveUp(f"{what}; {late}")
    return RetryAt(now + wait, f"{what}; {ordinal} in {_said(wait)} s{remark}")


def died_too_often(policy: RetryPolicy, job: Job) -> str | None:
    """Why a job isn't begun any more. Who settled its worker's death may have been one that doesn't know its task, and so not
    what its policy says. None: it may be begun."""
    if job.crashes and issubclass(WorkerDied, policy.give_up_on):
        return "WorkerDied is among give_up_on"
    return _crashed(job.crashes, policy.max_crashes) if job.crashes >= policy.max_crashes else None


def last_chance(policy: RetryPolicy, job: Job) -> bool:
    """Whether the job is given up if its worker dies once more. Then it must run alone, or another's death would be taken for its
    own: several jobs of a process die together, and nobody can tell which of them it was."""
    return job.crashes > 0 and job.crashes + 1 >= policy.max_crashes


def put_off(job: Job, alone: bool | None, now: float, rng: Rng = random) -> RetryAt | None:
    """When such a job is tried next, nothing counted; None: now. `alone`: whether nothing runs beside it, None when another one
    has that right. One that is never alone is run beside others, a minute after its last attempt."""
    since = now - job.history[-1].at if job.history else ALONE_WITHIN
    if alone or (alone is False and not 0 <= since < ALONE_WITHIN):
        return None
    return RetryAt(
        now + rng.uniform(1, 3), f"it was running at the death of {_workers(job.crashes)}, and waits for a moment to run alone"
    )


def _workers(count: int) -> str:
    return "a worker" if count == 1 else f"{count} workers"


def _crashed(deaths: int, most: int) -> str:
    times = "once" if deaths == 1 else f"{deaths} times"
    return f"this job's worker died {times} while it ran it; it isn't tried again: max_crashes={most}"


def _too_late(policy: RetryPolicy, job: Job, now: float, wait: float) -> str | None:
    """Why no other attempt is made: it would begin too long after the first one ended. None: it wouldn't."""
    if policy.retry_for is None:
        return None
    since = max(0.0, now - job.history[0].at) if job.history else 0.0
    allowed = _span(policy.retry_for)
    if since + wait <= allowed:
        return None
    return f"another attempt would begin {_said(since + wait)} s after the first one failed: retry_for={_said(allowed)}"


def _what(error: BaseException, job: Job) -> str:
    if isinstance(error, UnknownTask):
        return f"no task {job.task!r} is registered on the worker (is a deploy on its way, or the task renamed?)"
    if isinstance(error, WorkerDied):
        return "the worker died while it ran the job"
    if isinstance(error, SoftTimeLimit | TimeLimit):
        return str(error)
    return "the task asked to be retried" if isinstance(error, Retry) else f"the task raised {type(error).__qualname__}"


def _wait(policy: RetryPolicy, job: Job, error: BaseException, rng: Rng) -> tuple[float, str]:
    before = _before(job, error)
    if isinstance(error, Retry) and error.delay is not None:
        asked = _seconds(error.delay)
        if asked is not None:
            return asked, ""
        return _default(before, rng), f" (Retry({error.delay!r}) is no number of seconds)"
    if policy.backoff is None:
        return _default(before, rng, _DEPLOY if isinstance(error, UnknownTask) else FIRST), ""
    try:
        answer = _ask(policy.backoff, job, error)
    except Exception as broken:
        return _default(before, rng), f" (the default: its backoff raised {type(broken).__qualname__}: {broken})"
    found = _seconds(answer)
    if found is None:
        return _default(before, rng), f" (the default: its backoff gave {answer!r}, not seconds)"
    return found, ""


def _before(job: Job, error: BaseException) -> int:
    """How often it ended like this before: deaths and attempts lengthen the wait each for itself."""
    return job.crashes if isinstance(error, WorkerDied) else job.attempt


def _default(ended: int, rng: Rng, first: float = FIRST) -> float:
    """Between the step and twice the step: jobs that failed together don't come back together, and none comes at once."""
    step = min(first * 2.0 ** min(ended, 60), LONGEST / 2)
    return rng.uniform(step, 2 * step)


def _ask(backoff: Any, job: Job, error: BaseException) -> object:
    from tenacity import RetryCallState, Retrying

    state = RetryCallState(Retrying(wait=backoff), None, tuple(job.args), dict(job.kwargs))
    state.attempt_number = _before(job, error) + 1
    state.set_exception((type(error), error, error.__traceback__))
    return backoff(state)


def _said(seconds: float) -> str:
    """A number of seconds for people: `0.25`, `1.3`, `21800`."""
    return f"{seconds:.3g}" if seconds < 100 else f"{seconds:.0f}"


def _seconds(value: object) -> float | None:
    """Seconds from now: not below 0, and no further than a year, so that the time stays one that people can be shown."""
    # only NaN isn't at least -inf (an int may be too large for math.isnan)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= float("-inf"):
        return None
    return float(min(max(value, 0.0), _YEAR))
