"""A worker's numbered calls: settle and claim in one step, over a network that loses answers and delivers late.

Two jobs, the worker whose calls are watched, and another that takes over when a lease ends. What must never be: a claim that the
store keeps for a worker that doesn't know of it and won't find out; an acknowledgement that was applied and is reported lost; a
job that runs twice although no lease has ended.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.model.explore import On, Steps, Story

QUEUED, DONE, OTHER, ORPHAN = 0, -1, -2, -3  # where a job is; a number above 0 is the token under which the worker holds it
RESCUED = 100  # tokens from here on: taken over by the worker, outside its numbered calls
CALLS, REQUESTS = 5, 2

RULES = {
    "same_answer": "the same number again gets the same claims and outcome, and changes nothing",
    "repeat": "after a lost answer the worker makes the same call again, or reconciles, before any other",
    "lower_refused": "a number below the last is refused, however late it arrives",
    "raises": "reconciling raises the number, so that a call still under way takes no effect after it",
    "count": "a heartbeat answers how many claims there are; another number than the worker's own leads to reconciling",
}


class Request(NamedTuple):
    number: int
    acks: tuple[tuple[int, int], ...]  # (job, token)


class S(NamedTuple):
    jobs: tuple[int, ...] = (QUEUED, QUEUED)
    runs: tuple[int, ...] = (0, 0)
    last: int = 0  # the store's memory of the worker's last call, and what came of it
    took: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()
    number: int = 0
    pending: Request | None = None
    holds: tuple[tuple[int, int], ...] = ()  # (job, token), as far as the worker knows
    finished: tuple[tuple[int, int], ...] = ()
    net: tuple[Request, ...] = ()
    lapsed: bool = False  # a lease has ended: then a job may run twice, and an acknowledgement be lost
    wrong: str = ""


def steps(s: S, on: On) -> Steps:
    yield from _worker(s, on)
    for i, request in enumerate(s.net):
        rest = s._replace(net=s.net[:i] + s.net[i + 1 :])
        yield f"call {request.number} is dropped", rest
        applied, took, lost = _apply(rest, request, on)
        yield f"call {request.number} arrives, its answer is lost", applied
        if s.pending == request:
            yield f"call {request.number} is answered", _answered(applied, request, took, lost)
    for job, held in enumerate(s.jobs):
        if held > QUEUED and not s.lapsed:
            yield f"job {job}: the lease ends, another takes it", s._replace(jobs=_put(s.jobs, job, OTHER), lapsed=True)
        if held == OTHER:
            ran = s._replace(runs=_put(s.runs, job, s.runs[job] + 1))
            yield f"job {job}: the other has done it", ran._replace(jobs=_put(s.jobs, job, DONE))
            yield f"job {job}: the other dies", s._replace(jobs=_put(s.jobs, job, ORPHAN))
        if held == ORPHAN:
            token = RESCUED + job
            taken = s._replace(jobs=_put(s.jobs, job, token))
            yield f"job {job}: taken over from the dead", taken._replace(holds=tuple(sorted((*s.holds, (job, token)))))
            yield f"job {job}: taken over from the dead, the answer is lost", taken


def _worker(s: S, on: On) -> Steps:
    for job, token in s.holds:
        yield (
            f"the worker runs job {job}",
            s._replace(
                holds=tuple(held for held in s.holds if held != (job, token)),
                finished=tuple(sorted((*s.finished, (job, token)))),
                runs=_put(s.runs, job, s.runs[job] + 1),
            ),
        )
    if s.pending is not None:
        yield f"call {s.pending.number} is sent again", s._replace(net=_sent(s, s.pending))
    if s.pending is None or not on("repeat"):
        call = Request(s.number + 1, s.finished)
        yield f"call {call.number} is sent", s._replace(number=call.number, pending=call, finished=(), net=_sent(s, call))
    if s.pending is not None or (on("count") and _unknown(s)):
        yield "the worker reconciles", _reconciled(s, on)


def _apply(s: S, request: Request, on: On) -> tuple[S, tuple[int, ...], tuple[int, ...]]:
    """The script. Returns the state after it, the jobs taken and the jobs whose claims were no longer held."""
    if request.number < s.last and on("lower_refused"):
        return s, (), ()
    if request.number == s.last and on("same_answer"):
        return s, s.took, s.lost
    jobs, lost = s.jobs, []
    for job, token in request.acks:
        if jobs[job] == token:
            jobs = _put(jobs, job, DONE)
        else:
            lost.append(job)
    took = tuple(job for job, held in enumerate(jobs) if held == QUEUED)[:1]
    for job in took:
        jobs = _put(jobs, job, request.number)
    return s._replace(jobs=jobs, last=request.number, took=took, lost=tuple(lost)), took, tuple(lost)


def _answered(s: S, request: Request, took: tuple[int, ...], lost: tuple[int, ...]) -> S:
    wrong = "an acknowledgement that was applied is reported lost" if lost and not s.lapsed else s.wrong
    return s._replace(pending=None, holds=tuple(sorted((*s.holds, *((job, request.number) for job in took)))), wrong=wrong)


def _reconciled(s: S, on: On) -> S:
    """One step: raise the number and list the claims. Those that the worker doesn't know of are put back; what it has done and
    the store still holds is acknowledged with the next call."""
    unknown = _unknown(s)
    jobs = tuple(QUEUED if job in unknown else held for job, held in enumerate(s.jobs))
    done = (*s.finished, *(s.pending.acks if s.pending is not None else ()))
    raised = {"number": s.number + 1, "last": s.number + 1, "took": (), "lost": ()} if on("raises") else {}
    return s._replace(
        jobs=jobs,
        pending=None,
        holds=tuple((job, token) for job, token in s.holds if jobs[job] == token),
        finished=tuple((job, token) for job, token in done if jobs[job] == token),
        **raised,
    )


def _unknown(s: S) -> set[int]:
    known = {*s.holds, *s.finished, *(s.pending.acks if s.pending is not None else ())}
    return {job for job, held in enumerate(s.jobs) if held > QUEUED and (job, held) not in known}


def _sent(s: S, call: Request) -> tuple[Request, ...]:
    return tuple(sorted((*s.net, call)))


def _put(values: tuple[int, ...], job: int, value: int) -> tuple[int, ...]:
    return (*values[:job], value, *values[job + 1 :])


def broken(s: S, on: On) -> str | None:
    if s.wrong:
        return s.wrong
    if max(s.runs) > 1 and not s.lapsed:
        return "run twice, although no lease has ended"
    if not s.net and s.pending is None and not on("count") and _unknown(s):
        return "the store keeps a claim that the worker doesn't know of, and its heartbeat keeps it alive"
    return None


def _bounded(s: S) -> bool:
    return s.number <= CALLS and len(s.net) <= REQUESTS and max(s.runs) <= 2


STORY: Any = Story("calls", S(), RULES, steps, broken, _bounded)
