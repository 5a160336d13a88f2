"""Time: markers end with the horizon, and a job that is for later leaves its host now.

One row in doubt (its client timed out), a drainer that looks in each tick, and Redis, out of reach in some of them. What must
never be: a second push after the marker has ended; a row set aside although the drainer could have handed it over in time.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.model.explore import On, Steps, Story

HORIZON, MARGIN, END = 4, 1, 8

RULES = {
    "set_aside": "a row in doubt older than the horizon less a margin is not sent: a person looks",
    "keeps_marker": "a marker lasts the whole horizon",
    "leaves_now": "a drainer takes rows whatever their run_at",
}


class S(NamedTuple):
    t: int = 0
    due: int = 0  # when the job is for
    away: bool = False  # Redis, in this tick
    was_up: bool = False  # Redis, in some tick before the row was too old
    looked: bool = False  # the drainer, in this tick
    row: str = "ready"  # ready, gone, aside
    marked: int = -1  # when its marker was set
    pushed: int = 0
    first: bool = True  # the client's own attempt is still under way


def steps(s: S, on: On) -> Steps:
    if s == S():
        yield "the job is for much later", s._replace(due=END)
    if s.first:
        yield "the client's attempt is applied late", _push(s)._replace(first=False)
        yield "the client's attempt is dropped", s._replace(first=False)
    life = HORIZON if on("keeps_marker") else HORIZON - 2
    if s.marked >= 0 and s.t - s.marked > life:
        yield "the marker ends", s._replace(marked=-1)
    if not s.looked and s.row == "ready" and (s.t >= s.due or on("leaves_now")):
        seen = s._replace(looked=True, was_up=s.was_up or not s.away)
        if s.t > HORIZON - MARGIN and on("set_aside"):
            yield "the drainer sets it aside", seen._replace(row="aside", was_up=s.was_up)
        elif s.away:
            yield "the drainer finds Redis away", seen
        else:
            yield "the drainer hands it over", _push(seen)._replace(row="gone")
            yield "the drainer's answer is lost", _push(seen)
    if s.t < END and (s.looked or s.row != "ready" or (s.t < s.due and not on("leaves_now"))):
        for away in (False, True):
            after = s._replace(t=s.t + 1, looked=False, away=away, first=False, was_up=s.was_up or not s.away)
            yield f"a tick, Redis is {'away' if away else 'there'}", after


def _push(s: S) -> S:
    return s if s.marked >= 0 else s._replace(marked=s.t, pushed=s.pushed + 1)


def broken(s: S, on: On) -> str | None:
    if s.pushed > 1:
        return "queued twice"
    if s.row == "aside" and s.was_up and not s.pushed:
        return "set aside, although Redis was there in time"
    return None


STORY = Story("horizon", S(), RULES, steps, broken)
