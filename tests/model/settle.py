"""Settling while the store is away: what a worker has to say of a job waits with it, and is said when the store answers.

One job, the worker w that ran it, and another that takes over when the lease ends. w may write down what it has to say, and die:
then others of its host say it. What must never be: a job that is nowhere, one that is back in its queue, or in the log of
failures, although somebody has done it since, and a verb that was written down, is no longer, and never was told.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.model.explore import On, Steps, Story

CLAIMS, REQUESTS = 4, 2

RULES = {
    "fence": "a verb names the claim's token, and is refused when that is no longer held",
    "as_verb": "what can't be told is kept as the verb with its arguments, never as a job: the job's own marker would swallow it",
    "until_told": "a verb is kept until it was answered: done, or no longer held",
    "strike_last": "a verb that was written down is struck out after it was answered",
}


class S(NamedTuple):
    where: str = "w"  # queue, w, other, failed, done; nowhere
    token: int = 1
    marker: bool = True
    w: str = "runs"  # runs, then what it has to say: ack, retry, fail; then silent; or dead
    own: int = 1  # its token
    journal: str = ""  # a job kept in the spool, where verbs are not
    written: str = ""  # a verb, with w's token
    noted: bool = False  # whether there ever was one
    net: tuple[tuple[str, int], ...] = ()
    done: bool = False  # by anybody, as far as a store was told


def steps(s: S, on: On) -> Steps:
    if s.w == "runs":
        for verb in ("ack", "retry", "fail"):
            yield f"w has to say {verb}", s._replace(w=verb)
    if s.w != "dead":
        yield "w dies", s._replace(w="dead")
    if s.written:
        told = s._replace(net=tuple(sorted((*s.net, (s.written, s.own)))))
        yield f"another of w's host says {s.written}", told if on("strike_last") else told._replace(written="")
    if s.w in ("ack", "retry", "fail"):
        if not s.noted:
            yield f"w writes {s.w} down", s._replace(written=s.w, noted=True)
        sent = s._replace(net=tuple(sorted((*s.net, (s.w, s.own)))))
        yield f"w says {s.w}", sent if on("until_told") else sent._replace(w="silent")
        if s.w == "retry" and not on("as_verb"):
            gone = s._replace(where="nowhere") if s.where == "w" else s
            yield "w drops its claim, and spools the job", gone._replace(w="silent", journal="retry")
    if s.journal:
        pushed = s if s.marker else s._replace(where="queue")
        yield "the spooled job is drained", pushed._replace(journal="")
    for i, (verb, token) in enumerate(s.net):
        rest = s._replace(net=s.net[:i] + s.net[i + 1 :])
        yield f"{verb} is dropped", rest
        applied = _apply(rest, verb, token, on)
        yield f"{verb} arrives, its answer is lost", applied
        if verb == s.w:
            yield f"{verb} is answered", applied._replace(w="silent")
        if verb == s.written:
            yield f"{verb} is answered, and struck out", applied._replace(written="")
    if s.where in ("w", "other"):
        yield "the lease ends: another takes over", s._replace(where="other", token=s.token + 1)
    if s.where == "other":
        yield "the other is done", s._replace(where="done", token=0, done=True)
        yield "the other puts it back", s._replace(where="queue", token=0)
    if s.where == "queue":
        yield "a worker takes it", s._replace(where="other", token=s.token + 10)


def _apply(s: S, verb: str, token: int, on: On) -> S:
    held = s.where in ("w", "other") and s.token == token
    if not held and on("fence"):
        return s
    where = {"ack": "done", "retry": "queue", "fail": "failed"}[verb]
    return s._replace(where=where, token=0, done=s.done or verb == "ack")


def broken(s: S, on: On) -> str | None:
    if s.where == "nowhere" and not s.journal:
        return "the job is nowhere"
    if s.done and s.where in ("queue", "failed"):
        return f"done, and {'back in its queue' if s.where == 'queue' else 'a failure'}"
    if s.noted and s.where == "w" and s.w == "dead" and not s.written and not s.net:
        return "what w wrote down is struck out, and was never told"
    if s.where == "w" and s.w == "silent" and not s.net:
        return "w has nothing more to say, and its claim stays"
    return None


STORY = Story("settle", S(), RULES, steps, broken, lambda s: s.token <= 20 + CLAIMS and len(s.net) <= REQUESTS)
