"""Redis fails over, twice at most, to a replica that lags: to an older state, in another life. One job, accepted into the spool
first (write-ahead) or by Redis first; a drainer, two who watch over kept rows, and answers of the old master that come late.

What must never be: a job queued twice; one of the spool's lost that no Redis had taken; with write-ahead, any lost, or sent again
only when its time is up. What Redis took and the replica had not is lost with it, and that is all that may be.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from tests.model.explore import On, Steps, Story

LIFE, END, CLAIMS, REQUESTS, FAIL_OVERS = 1, 3, 3, 2, 2

RULES = {
    "both_or_neither": "a push and its marker are one step, for a replica too: no older state has one without the other",
    "keep_row": "the row stays until Redis has persisted what it took",
    "other_life": "a row that was handed over in an earlier life of Redis is sent again",
    "life_before": "the life of a hand-over is that of a moment before its put",
    "replicated": "a row is let go only when Redis says that a replica has what it took",
    "same_life": "what one life says that it has persisted is no word of the next",
    "frees_its_own": "who watches frees the ids of those rows only that it let go itself",
    "free_late": "a marker is freed only when the row is gone and the latest not-after that the row knew has passed",
    "not_after": "an attempt that arrives past its not-after is refused",
}


class Request(NamedTuple):
    who: str  # client, drainer
    not_after: int
    life: int  # the server that it was sent to
    token: int = 0


class Kept(NamedTuple):
    """A row as one who watches has read it."""

    does: str = ""  # "", begun, asked (persisted?), sure (it may be let go)
    token: int = 0
    life: int = 0  # noted at its beginning
    known: int = -1


class S(NamedTuple):
    t: int = 0
    life: int = 0  # of Redis: one more with each fail-over
    accept: Literal["", "spool", "primary"] = ""
    client: str = "new"  # new, waits, acked
    pushed: int = 0
    marker: bool = False
    replica: tuple[int, bool] = (0, False)
    row: str = ""  # "", ready, sent, kept
    token: int = 0  # of the row's claim; kept, of its watch
    known: int = -1  # the latest not-after that the row, or who settled it, knows of
    handed: int = 0  # kept: in which life it was handed over
    claim: tuple[int, int, int] = (0, 0, 0)  # the drainer's: token (0: none), not-after, and the life noted
    sent: bool = False
    net: tuple[Request, ...] = ()
    watchers: tuple[Kept, Kept] = (Kept(), Kept())
    frees: tuple[int, ...] = ()  # a marker to be freed past that time
    took: bool = False  # a Redis answered that it has it, and the row went, or there was none


def steps(s: S, on: On) -> Steps:
    if s.t < END:
        yield "a tick", s._replace(t=s.t + 1)
    yield from _client(s)
    yield from _drainer(s)
    yield from _redis(s, on)
    for i, request in enumerate(s.net):
        rest = s._replace(net=s.net[:i] + s.net[i + 1 :])
        yield f"the {request.who}'s put is dropped", rest
        there = _put(rest, request, on)
        yield f"the {request.who}'s put arrives, its answer is lost", there
        yield f"the {request.who}'s put is answered", _answered(there, request, on)
        if request.life != s.life:
            yield f"the {request.who}'s put is answered by the old master", _answered(rest, request, on)
    for n in (0, 1):
        yield from _watcher(s, n, on)


def _client(s: S) -> Steps:
    if s.client == "new":
        yield "write-ahead: spooled", s._replace(client="acked", accept="spool", row="ready")
        sent = Request("client", s.t + LIFE, s.life)
        yield "the client sends", s._replace(client="waits", accept="primary", net=(*s.net, sent))
    if s.client == "waits":
        known = next((request.not_after for request in s.net if request.who == "client"), s.t + LIFE)
        yield "the client times out, and spools", s._replace(client="acked", row="ready", known=max(s.known, known))


def _drainer(s: S) -> Steps:
    token, not_after, _ = s.claim
    if not token and s.row == "ready":
        after = s.token + 1
        known = max(s.known, s.t + LIFE)
        yield (
            "the drainer claims",
            s._replace(row="sent", token=after, known=known, claim=(after, s.t + LIFE, s.life), sent=False),
        )
    if token and not s.sent:
        yield "the drainer sends", s._replace(sent=True, net=(*s.net, Request("drainer", not_after, s.life, token)))
    if token:
        yield "the drainer times out, or dies and is taken over", s._replace(claim=(0, 0, 0), row="ready")


def _redis(s: S, on: On) -> Steps:
    now = (s.pushed, s.marker)
    if s.life < FAIL_OVERS:
        if s.replica != now:
            yield "the replica follows", s._replace(replica=now)
        if s.replica[0] < s.pushed and not on("both_or_neither"):
            yield "the replica follows with the push alone", s._replace(replica=(s.pushed, s.replica[1]))
        pushed, marker = s.replica  # and so begins the next replica
        yield "a fail-over", s._replace(life=s.life + 1, pushed=pushed, marker=marker)
    for known in s.frees:
        if s.t > known or not on("free_late"):
            rest = tuple(sorted(other for other in s.frees if other != known))
            yield "the marker is freed", s._replace(frees=rest, marker=False)


def _put(s: S, request: Request, on: On) -> S:
    """The script, at the master of now: a request in a proxy's hands may reach it. What the old one does, nobody will see."""
    if s.marker or (s.t > request.not_after and on("not_after")):
        return s
    return s._replace(pushed=s.pushed + 1, marker=True)


def _answered(s: S, request: Request, on: On) -> S:
    late = s.t > request.not_after and on("not_after")
    if request.who == "client":
        if s.client != "waits":
            return s
        if late:
            return s._replace(client="acked", row="ready")
        return s._replace(client="acked", took=True, frees=_and(s.frees, -1))  # nobody will send it again
    token, _, life = s.claim
    if token != request.token:
        return s
    s = s._replace(claim=(0, 0, 0))
    if late:
        return s._replace(row="ready")
    if s.accept == "spool" and on("keep_row"):
        return s._replace(row="kept", handed=life if on("life_before") else s.life)
    return s._replace(row="", took=True, frees=_and(s.frees, s.known))


def _watcher(s: S, n: int, on: On) -> Steps:
    """Notes the life, asks whether a replica has what Redis took, looks at the id, lets the row go, frees: one by one."""
    watcher = s.watchers[n]
    mine = s.row == "kept" and s.token == watcher.token
    if not watcher.does and s.row == "kept":
        if s.handed != s.life and on("other_life"):
            yield f"w{n}: another life, the row is sent again", s._replace(row="ready", token=s.token + 1)
        else:
            yield f"w{n} looks at the life", _with(s, n, Kept("begun", s.token, s.life, s.known))
    if watcher.does == "begun" and (s.life == FAIL_OVERS or s.replica == (s.pushed, s.marker) or not on("replicated")):
        yield f"w{n} asks: persisted", _with(s, n, watcher._replace(does="asked"))
    if watcher.does == "asked" and (watcher.life == s.life or not on("same_life")):
        if s.marker:
            yield f"w{n} looks: the id is there", _with(s, n, watcher._replace(does="sure"))
        elif mine:
            yield f"w{n} looks: the id is gone", _with(s, n, Kept())._replace(row="ready", token=s.token + 1)
    if watcher.does == "sure":
        after = _with(s, n, Kept())
        if mine:
            after = after._replace(row="", took=True)
        if mine or not on("frees_its_own"):
            after = after._replace(frees=_and(s.frees, watcher.known))
        yield f"w{n} lets it go{'' if mine else ', too late'}", after
    if watcher.does:
        yield f"w{n} ends its turn", _with(s, n, Kept())


def _with(s: S, n: int, watcher: Kept) -> S:
    return s._replace(watchers=(watcher, s.watchers[1]) if n == 0 else (s.watchers[0], watcher))


def _and(frees: tuple[int, ...], known: int) -> tuple[int, ...]:
    return tuple(sorted({*frees, known}))


def broken(s: S, on: On) -> str | None:
    if s.pushed > 1:
        return "queued twice"
    gone = s.client == "acked" and not s.row and not s.pushed
    if gone and not s.took:
        return "accepted, and gone, although no Redis has taken it"
    if gone and s.life == 0:
        return "accepted, and gone, although Redis has lost nothing"
    if gone and s.accept == "spool":
        return "written ahead, and lost"
    if s.row == "kept" and not s.pushed and (s.handed == s.life or not on("other_life")):
        return "written ahead, lost, and not sent again until its time is up"
    return None


STORY = Story("fail_over", S(), RULES, steps, broken, lambda s: s.token <= CLAIMS and len(s.net) <= REQUESTS)
