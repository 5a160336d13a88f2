"""Two rows in one put: x, and y, of which an earlier attempt is under way, and which Redis may refuse for its own sake.

What must never be: an id pushed twice, or pushed and run here; a row deleted that Redis doesn't have; or one that waits for ever
because of the other.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.model.explore import On, Steps, Story

LIFE, END, CLAIMS, REQUESTS = 1, 3, 4, 2
X, Y = 0, 1

RULES = {
    "each_alone": "in a batch each id answers for itself: dup for one says nothing of the other",
    "undo_all": "a script that fails half-way takes back what it pushed and marked before",
    "marker_after": "an id is marked after its push, so that what stops in between leaves no marker without a job",
    "halve": "a batch refused for a row's own sake is halved until that row stands alone, and is set aside",
    "not_after": "an attempt that arrives past its not-after is refused",
    "latest": "freeing a marker waits for the latest not-after that the row knew, its own client's attempt included",
}


class Batch(NamedTuple):
    rows: tuple[int, ...]
    not_after: int
    token: int


class S(NamedTuple):
    t: int = 0
    bad: bool = False  # y's queue isn't a list
    row: tuple[str, str] = ("ready", "ready")  # ready, held, gone, aside
    doubt: tuple[bool, bool] = (False, True)
    ran: tuple[bool, bool] = (False, False)  # by a local worker
    known: tuple[int, int] = (-1, LIFE)
    pushed: tuple[int, int] = (0, 0)
    marker: tuple[bool, bool] = (False, False)
    token: int = 0
    most: int = 2  # rows of a batch
    refusals: int = 0  # of the same batch
    sent: Batch | None = None
    was: tuple[bool, bool] = (False, True)  # their doubt, before they were sent
    net: tuple[Batch, ...] = (Batch((Y,), LIFE, 0),)  # the client's attempt for y, which timed out


def steps(s: S, on: On) -> Steps:
    if s.t < END:
        yield "a tick", s._replace(t=s.t + 1)
    if s == S():
        yield "y's queue isn't a list", s._replace(bad=True)
    ready = tuple(row for row in (X, Y) if s.row[row] == "ready")[: s.most]
    if s.sent is None and ready:
        batch = Batch(ready, s.t + LIFE, s.token + 1)
        taken = s._replace(token=s.token + 1, sent=batch, net=(*s.net, batch), was=s.doubt)
        taken = _each(_each(taken, "row", ready, "held"), "doubt", ready, True)
        yield f"a drainer sends {_names(ready)}", _each(taken, "known", ready, batch.not_after)
    if s.sent is not None:
        back = _each(s, "row", s.sent.rows, "ready")._replace(sent=None)
        yield "the drainer times out, or dies and is taken over", back
    for i, batch in enumerate(s.net):
        rest = s._replace(net=s.net[:i] + s.net[i + 1 :])
        yield f"{_names(batch.rows)} are dropped", rest
        for answer, after in _redis(rest, batch, on):
            yield f"{_names(batch.rows)}: {answer}, the answer is lost", after
            if s.sent == batch:
                yield f"{_names(batch.rows)}: {answer}", _answered(after, batch, answer, on)
    for row in (X, Y):
        if s.row[row] == "ready" and not s.doubt[row]:
            yield f"a local worker runs {_names((row,))}", _each(_each(s, "row", (row,), "gone"), "ran", (row,), True)
        latest = s.known[row] if on("latest") else -1
        if s.marker[row] and s.row[row] == "gone" and s.t > latest:
            yield f"the marker of {_names((row,))} is freed", _each(s, "marker", (row,), False)


def _redis(s: S, batch: Batch, on: On) -> Steps:
    if s.t > batch.not_after and on("not_after"):
        yield "late", s
        return
    new = [row for row in batch.rows if not s.marker[row]]
    if not on("each_alone") and len(new) < len(batch.rows):
        new = []
    after = s
    for row in new:
        if row == Y and s.bad:
            yield "wrong type", s if on("undo_all") else after
            return
        after = _each(after, "pushed", (row,), after.pushed[row] + 1)
        after = _each(after, "marker", (row,), True)
    yield "ok", after
    if new:  # the last push is refused, by a full memory say
        half = _each(after, "pushed", new[-1:], after.pushed[new[-1]] - 1)
        clean = _each(half, "marker", new[-1:], False)
        yield "oom", s if on("undo_all") and on("marker_after") else half if not on("marker_after") else clean


def _answered(s: S, batch: Batch, answer: str, on: On) -> S:
    s = s._replace(sent=None)
    if answer == "ok":
        return _each(s, "row", batch.rows, "gone")._replace(most=2, refusals=0)
    if answer == "wrong type" and len(batch.rows) == 1:
        return _each(s, "row", batch.rows, "aside")
    back = _each(s, "row", batch.rows, "ready")._replace(doubt=s.was)
    if answer == "wrong type":
        return back._replace(most=1 if on("halve") else 2, refusals=s.refusals + 1)
    return back


def _each(s: S, field: str, rows: tuple[int, ...] | list[int], value: object) -> S:
    old = getattr(s, field)
    return s._replace(**{field: tuple(value if row in rows else old[row] for row in (X, Y))})


def _names(rows: tuple[int, ...]) -> str:
    return " and ".join("xy"[row] for row in rows)


def broken(s: S, on: On) -> str | None:
    if max(s.pushed) > 1:
        return "queued twice"
    if any(pushed and ran for pushed, ran in zip(s.pushed, s.ran, strict=True)):
        return "queued, and run here"
    if any(row == "gone" and not (pushed or ran) for row, pushed, ran in zip(s.row, s.pushed, s.ran, strict=True)):
        return "deleted, and not in Redis"
    if any(marked and not pushed for marked, pushed in zip(s.marker, s.pushed, strict=True)):
        return "marked, and not in Redis"
    if s.refusals > 1:
        return "refused again and again: x waits behind y for ever"
    return None


STORY = Story("batch", S(), RULES, steps, broken, lambda s: s.token <= CLAIMS and len(s.net) <= REQUESTS)
