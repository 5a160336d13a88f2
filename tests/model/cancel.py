"""One job is called back while a client, a drainer, a local worker and a worker of Redis have to do with it, and the network
loses answers and delivers late.

What must never be: a job that is reported as removed and is queued, or run, all the same; one that is reported as too late and is
queued afterwards.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.model.explore import On, Steps, Story

CLAIMS, REQUESTS = 3, 3

RULES = {
    "refuse_first": "of a row in doubt, Redis is told to take no put of its id before the row is removed",
    "was_it_there": "whether an attempt was applied is what Redis answers to that; if one was, the job is looked for there",
    "refuse_then_search": "Redis is searched after it was told to take no put of the id",
    "same_doubt": "a row is removed only with the doubt that it was found with",
    "not_in_hands": "a row in a drainer's or a worker's hands is not removed",
}


class S(NamedTuple):
    client: str = "new"  # new, waits, over
    row: str = ""  # sure, doubt
    hand: str = ""  # who has the row: drainer, local
    was: str = ""  # the doubt of the row before the drainer took it
    token: int = 0
    net: tuple[int, ...] = ()  # puts under way, by their token; 0 is the client's
    marker: bool = False
    at: str = ""  # in Redis: queued, held
    ran: bool = False
    phase: str = "look"  # of who cancels; at its end removed, asked, late
    refused: str = ""  # what Redis said when it was told to take no put: new, old


def steps(s: S, on: On) -> Steps:
    yield from _client(s)
    yield from _drainer(s)
    yield from _workers(s)
    yield from _cancels(s, on)


def _client(s: S) -> Steps:
    if s.client == "new":
        yield "the put is sent", s._replace(client="waits", net=(*s.net, 0))
        yield "Redis refuses: spooled", s._replace(client="over", row="sure")
    elif s.client == "waits":
        yield "the put times out: spooled in doubt", s._replace(client="over", row="doubt")


def _drainer(s: S) -> Steps:
    if s.row and not s.hand:
        token = s.token + 1
        yield (
            "the drainer takes and sends it",
            s._replace(hand="drainer", was=s.row, row="doubt", token=token, net=(*s.net, token)),
        )
    if s.hand == "drainer":
        yield "the drainer times out, or dies and is taken over", s._replace(hand="")
    for i, token in enumerate(s.net):
        rest = s._replace(net=s.net[:i] + s.net[i + 1 :])
        there = rest if s.marker else rest._replace(marker=True, at="queued")
        waits = s.row and s.hand == "drainer" and s.token == token
        yield "a put is dropped", rest
        yield "a put is applied, its answer lost", there
        if waits:
            yield "the drainer's put is refused", rest._replace(hand="", row=s.was)
            yield "the drainer's put is answered", there._replace(hand="", row="")
        if not token and s.client == "waits":
            yield "the client's put is answered", there._replace(client="over")


def _workers(s: S) -> Steps:
    if s.row == "sure" and not s.hand:
        yield "a local worker begins it", s._replace(hand="local")
    if s.hand == "local":
        yield "the local worker has run it", s._replace(hand="", row="", ran=True)
    if s.at == "queued":
        yield "a worker claims it", s._replace(at="held")
    if s.at == "held":
        yield "the worker has run it", s._replace(at="", ran=True)


def _cancels(s: S, on: On) -> Steps:
    if s.phase == "look":
        if s.hand:
            yield "cancel: it is in hands, and asked", s._replace(phase="asked")
            if s.hand == "drainer" or on("not_in_hands"):
                return
        if not s.row:
            if s.refused or not on("refuse_then_search"):
                yield "cancel: Redis is searched", s._replace(phase="search")
            else:
                yield "cancel: no row; Redis is told", _told(s)._replace(phase="search", refused="")
        elif s.row == "sure" or s.refused:
            yield f"cancel: sees a {s.row} row", s._replace(phase=s.row)
        elif on("refuse_first"):
            yield "cancel: sees a row in doubt; Redis is told", _told(s)._replace(phase="doubt")
        else:
            yield "cancel: sees a row in doubt", s._replace(phase="doubt", refused="new")
    elif s.phase in ("sure", "doubt"):
        free = not s.hand or not on("not_in_hands")
        if s.row and free and (s.row == s.phase or not on("same_doubt")):
            gone = s._replace(row="")
            if s.phase == "sure" or s.refused == "new" or not on("was_it_there"):
                yield "cancel: removes it", gone._replace(phase="removed")
            else:
                yield "cancel: removes the row", gone._replace(phase="search")
        else:
            yield "cancel: it has changed", s._replace(phase="look")
    elif s.phase == "search":
        if s.at == "queued":
            yield "cancel: removes it from Redis", s._replace(at="", phase="removed")
        else:
            yield "cancel: not in Redis's queues", s._replace(phase="held")
    elif s.phase == "held":
        verdict = "asked" if s.at == "held" else "removed" if s.refused == "new" else "search again" if s.at else "late"
        yield f"cancel: {verdict}", s._replace(phase="search" if verdict == "search again" else verdict)


def _told(s: S) -> S:
    return s._replace(marker=True, refused="old" if s.marker else "new")


def broken(s: S, on: On) -> str | None:
    if s.phase == "removed" and (s.ran or s.at):
        return "a job that was removed is queued, or was run"
    if s.phase == "late" and s.at == "queued":
        return "a job that was too late to be cancelled is queued"
    return None


STORY = Story("cancel", S(), RULES, steps, broken, lambda s: s.token <= CLAIMS and len(s.net) <= REQUESTS)
