"""A batch: its members end in the primary or in the spool, and its callback is put once, when all have.

Each store counts the members that end in it. What the spool counts is told to the primary by a drainer, whose request may be
lost, or come again; how members themselves go from one store to the other is told elsewhere. Some of them may be run again when
they have ended, by a person who has seen them fail; not all of them.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.model.explore import On, Steps, Story

SIZE, AGAIN = 3, 2

RULES = {
    "one_step": "a member is counted in the step that settles it",
    "by_member": "members are counted by their ids: the same one twice counts once",
    "is_told": "one that ends in the spool is told to the primary, where others may be counted",
    "told_last": "a row that tells is deleted after it was answered",
    "none_told": "the spool puts the callback only where all have ended there, and the primary was surely told of none",
    "then_remembered": "the primary remembers the callback's id: a forgotten count that is full again puts no second one",
}


class S(NamedTuple):
    members: tuple[str, ...] = (
        "new",
    ) * SIZE  # new, primary, spool, ended; uncounted: settled, and to be counted by a later step
    ended: frozenset[int] = frozenset()  # at least once
    primary: tuple[int, ...] = ()  # counted there
    spool: tuple[int, ...] = ()
    rows: frozenset[int] = frozenset()  # of the spool, that tell
    told: frozenset[int] = frozenset()  # once at least, perhaps to nobody
    net: frozenset[int] = frozenset()  # requests under way
    then: int = 0  # how often the callback was put
    remembered: bool = False
    again: int = 0


def steps(s: S, on: On) -> Steps:
    for i, at in enumerate(s.members):
        if at == "new":
            yield f"{i} is put", _move(s, i, "primary")
            yield f"{i} is spooled", _move(s, i, "spool")
        if at == "spool":
            yield f"{i} is drained", _move(s, i, "primary")
        if at in ("primary", "spool"):
            settled = _move(s._replace(ended=s.ended | {i}), i, "ended")
            if on("one_step"):
                yield f"{i} ends in the {at}", _counted(settled, i, at, on)
            else:
                yield f"{i} ends in the {at}", _move(settled, i, f"uncounted {at}")
        if at.startswith("uncounted"):
            yield f"the worker dies before {i} is counted", _move(s, i, "ended")
            yield f"{i} is counted", _counted(_move(s, i, "ended"), i, at.split()[1], on)
        if at == "ended" and s.again < AGAIN:
            yield f"{i} runs again", _move(s._replace(again=s.again + 1), i, "primary")
    for i in s.rows:
        sent = s._replace(net=s.net | {i}, told=s.told | {i})
        yield f"{i} is told", sent if on("told_last") else sent._replace(rows=s.rows - {i})
    for i in s.net:
        rest = s._replace(net=s.net - {i})
        yield f"what is told of {i} is lost", rest
        applied = _counted(rest, i, "primary", on)
        yield f"{i} is counted in the primary, the answer is lost", applied
        yield f"{i} is counted in the primary, the row is deleted", applied._replace(rows=applied.rows - {i})


def _move(s: S, i: int, to: str) -> S:
    return s._replace(members=(*s.members[:i], to, *s.members[i + 1 :]))


def _counted(s: S, i: int, at: str, on: On) -> S:
    if i in (s.primary if at == "primary" else s.spool) and on("by_member"):
        return s
    counted = tuple(sorted((*(s.primary if at == "primary" else s.spool), i)))
    full = len(counted) >= SIZE
    if at == "primary":
        if full and not (s.remembered and on("then_remembered")):
            s = s._replace(then=s.then + 1, remembered=True)
        return s._replace(primary=() if full else counted)
    if full and not (s.told and on("none_told")):
        return s._replace(then=s.then + 1, spool=(), rows=frozenset())
    return s._replace(spool=counted, rows=s.rows | {i} if on("is_told") else s.rows)


def broken(s: S, on: On) -> str | None:
    if s.then > 1:
        return "the callback was put twice"
    if s.then and len(s.ended) < SIZE:
        return "the callback came before all had ended"
    if not s.then and not s.rows and not s.net and set(s.members) == {"ended"}:
        return "all have ended, and the callback never comes"
    return None


STORY = Story("count_down", S(), RULES, steps, broken)
