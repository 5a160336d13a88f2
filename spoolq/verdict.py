"""How things stand, judged from the facts: a level for monitors and a sentence for people. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from spoolq.checks import STUCK
from spoolq.facts import Facts, Side, paused_since
from spoolq.store.base import EVERY_QUEUE
from spoolq.store.events import Outage
from spoolq.store.looking import Depth
from spoolq.takers import RESCUE
from spoolq.units import jobs, say_age
from spoolq.units import kept as safe

OK, DEGRADED, CRITICAL, UNKNOWN = range(4)
WORDS = ("ok", "degraded", "critical", "unknown")
SAFE = "Nothing is lost on this host"  # what Redis itself held is as safe as Redis keeps it, and nobody can tell
UNSURE = "Whether anything is lost isn't known"
SAYS = {
    "oom": "is full",
    "auth": "refuses the login",
    "timeout": "doesn't answer in time",
    "connect_timeout": "doesn't answer in time",
    "config": "can't be asked",
    "noperm": "denies the login its rights",
    "tls": "can't be spoken to safely",
    "loading": "still reads its data",
    "busy": "is blocked by a script",
    "maxclients": "takes no more connections",
    "protected": "refuses this host",
    "garbage": "doesn't speak its protocol",
    "masterdown": "has lost its master",
    "local": "can't be asked from here",
}
NOTHING = "There is nothing to do"
DOWN = frozenset({"timeout", "connect_timeout"})  # among those: from here it is as if it were down
MEND = {
    "oom": "Make room in Redis",
    "readonly": "Use the master's address",
    "misconf": "Look at Redis's disk",
    "noreplicas": "Look at Redis's replicas",
    "auth": "Mend the login",
    "noperm": "Mend the login's rights",
    "config": "Mend the settings",
    "tls": "Mend the certificates",
    "timeout": "See whether Redis hangs",
    "connect_timeout": "See whether Redis hangs",
    "loading": "Wait while Redis loads",
    "busy": "End the script in Redis",
    "maxclients": "Raise Redis's maxclients",
    "protected": "Open Redis to this host",
    "garbage": "Mend Redis's address",
    "dns": "Mend the host's name",
    "unreachable": "Mend the network",
    "masterdown": "Start Redis's master",
    "clusterdown": "Mend the cluster",
    "unsupported": "Upgrade Redis",
    "undo": "Mend the login's rights",
    "local": "Mend spoolq's own set-up",
}
"""24 characters at most: with what comes before and behind it the line has 80."""
CHECK = "Run `spoolq spool check`"
WORK = "See that a `spoolq worker` runs"
RECOVER = "Run `spoolq spool recover`"
ROOM = "See that the spool can take jobs"
RESUME = "End the pause, as below"
OWNER = "Run this as the user whose jobs they are"
ALONE = 5.0  # seconds that rows may wait where nobody drains: in less, a worker that was only started anew is there again


class Verdict(NamedTuple):
    """`level` is the exit code of `health`; `lost` answers "is anything lost?" and `todo` "what do I do now?", in a few words:
    together less than a line, whatever names and numbers there are. `sentence` says the rest."""

    level: int
    lost: str
    sentence: str
    todo: str = NOTHING

    @property
    def word(self) -> str:
        """`ok`, `degraded`, `critical` or `unknown`."""
        return WORDS[self.level]


def judge(facts: Facts) -> Verdict:
    """The verdict on these facts."""
    verdict = _unsure(_judged(facts), facts.spool)
    if not facts.missing or verdict.level == UNKNOWN:
        return verdict
    are = "is" if facts.missing == 1 else "are"
    what = f"`spoolq accounts` says of which queues; {verdict.sentence[0].lower()}{verdict.sentence[1:]}"
    return Verdict(max(DEGRADED, verdict.level), f"{jobs(facts.missing)} {are} missing in Redis", what, "See `spoolq accounts`")


def _judged(facts: Facts) -> Verdict:
    for side in (facts.primary, facts.spool):
        if side is not None and side.state == "forbidden":
            return Verdict(UNKNOWN, UNSURE, f"{side.error}.", OWNER)
    if facts.spool is None:
        return _single(facts.primary)
    if facts.primary.state == "up":
        verdict = _reachable(facts.primary, facts.spool)
        if verdict.level == OK and facts.outage is not None and facts.outage.reason == "slow":
            # of any other outage an answer to us, just now, is the newer word
            slow = f"Redis answers too slowly, so new jobs go to the spool; {verdict.sentence}"
            return Verdict(DEGRADED, SAFE, slow, "Look why Redis is slow")
        return verdict
    if facts.primary.state in ("away", "refusing"):
        return _away(facts.primary, facts.spool, facts.lasting, facts.at)
    return Verdict(UNKNOWN, UNSURE, f"{facts.primary.error}.", "Look at the address and the settings")


def _single(primary: Side) -> Verdict:
    if primary.state == "up":
        if idle := _nobody_works(primary):
            return Verdict(DEGRADED, SAFE, f"{idle}.", WORK)
        if held := _behind_a_pause(primary):
            return Verdict(DEGRADED, SAFE, f"{held}.", RESUME)
        return Verdict(OK, SAFE, f"{_work(primary)}.")
    if primary.state == "absent":
        return Verdict(UNKNOWN, UNSURE, f"{primary.error}.", "Look whether that is the right path")
    return Verdict(CRITICAL, UNSURE, f"{_named(primary)}.", "Look at the file and its disk")


def _reachable(primary: Side, spool: Side) -> Verdict:
    if spool.state == "unreadable":
        return Verdict(DEGRADED, UNSURE, f"Redis answers, but {_named(spool)}.", _repair(spool))
    waiting, oldest, aside = _rows(spool)
    if aside:
        verb = "is" if aside == 1 else "are"
        return Verdict(
            DEGRADED,
            SAFE,
            f"{jobs(aside)} {verb} set aside in the spool and will not run until somebody looks; {jobs(waiting)} beside.",
            "Look: `spoolq spool quarantine list`",
        )
    if spool.info is not None and spool.info.damaged:
        return Verdict(DEGRADED, UNSURE, f"Redis answers{_damaged(spool)}.", RECOVER)
    if spool.refuses:
        return Verdict(DEGRADED, SAFE, f"Redis answers, but the spool would take no job now: {spool.refuses}.", ROOM)
    if waiting and spool.info is not None and spool.info.drain_paused_at is not None:
        paused = f"{_wait(waiting)} in the spool, and draining is paused: `spoolq drain resume` lets it go on."
        return Verdict(DEGRADED, SAFE, paused, "Run `spoolq drain resume`")
    late = (oldest or 0.0) > STUCK
    if waiting and (oldest or 0.0) > (STUCK if spool.attended else ALONE) and not _empties(spool):
        what = "look at the log of who drains it" if spool.attended else "start `spoolq drain` or a worker here"
        stuck = f"Redis answers, yet {_wait(waiting)} in the spool, oldest {say_age(oldest)}: {what}."
        return Verdict(DEGRADED, SAFE, stuck, f"{what[0].upper()}{what[1:]}")
    on_the_way = f"{jobs(waiting)} on the way from the spool into Redis{f', oldest {say_age(oldest)}' if late else ''}"
    idle = _nobody_works(primary)
    if held := idle or _behind_a_pause(primary):
        there = on_the_way if waiting else _none(spool)
        return Verdict(DEGRADED, SAFE, f"{held}; {there}{_kept(spool)}.", WORK if idle else RESUME)
    if waiting:
        return Verdict(DEGRADED if late else OK, SAFE, f"{on_the_way}; {_work(primary, spool)}{_kept(spool)}.")
    return Verdict(OK, SAFE, f"{_work(primary, spool)}; {_none(spool)}{_kept(spool)}.")


def _away(primary: Side, spool: Side, lasting: Outage | None, now: float) -> Verdict:
    does = SAYS.get(primary.reason or "", "takes no jobs" if primary.state == "refusing" else "is away")
    gone = f"Redis {does} ({primary.reason or 'unknown'})"
    waiting, oldest, aside = _rows(spool)
    kept = f"{safe(waiting)} in the spool" if waiting else _none(spool)
    if lasting is not None and primary.state == "away":
        age = say_age(lasting.seconds(now))
        up = primary.reason in SAYS and primary.reason not in DOWN
        gone = f"{gone}, jobs have gone past it for {age}" if up else f"Redis down for {age} ({primary.reason or 'unknown'})"
    mend = MEND.get(primary.reason or "", "Start Redis")
    if spool.state == "unreadable":
        return Verdict(CRITICAL, UNSURE, f"{gone}, and {_named(spool)}.", f"{mend}; {_repair(spool)[len('Run ') :]}")
    if spool.refuses:
        return Verdict(
            CRITICAL,
            "New jobs are refused",
            f"{gone}, and the spool takes none: {spool.refuses}; {kept}.",
            f"{mend}, or make {'the spool possible' if spool.state == 'absent' else 'room'}",
        )
    if spool.state == "absent":
        return Verdict(DEGRADED, "Nothing is known to be lost", f"{gone}; {_none(spool)}.", mend)
    paused = spool.info is not None and spool.info.drain_paused_at is not None
    if waiting and (paused or not spool.attended):
        mend += f", then run `spoolq drain{' resume' if paused else ''}`"
    aged = f", oldest {say_age(oldest)}" if waiting else ""
    more = "; draining is paused" if waiting and paused else ""
    more += f"; {aside:,} set aside" if aside else ""
    if held := _behind_a_pause(spool):
        more += f"; {held}"
    return Verdict(DEGRADED, SAFE, f"{gone}; {kept}{aged}{more}{_kept(spool)}{_damaged(spool)}.", mend)


def _nobody_works(primary: Side) -> str | None:
    """That claims are left with dead workers, or jobs with nobody to run them; None when it is well, or can't be told."""
    workers = [view for view in primary.workers if view.info.kind == "worker"]
    alive = any(view.lease_left >= 0 and view.info.key not in primary.dead for view in workers if view.info.role == "worker")
    # where one lives, its next look is waited for; where none does, nobody will look
    dead = [view for view in workers if -view.lease_left > max(view.info.lease, RESCUE if alive else 0.0)]
    dead += [view for view in workers if view.info.key in primary.dead and not alive]
    start = "look at the logs of those that run" if alive else "start `spoolq worker`"
    holders = [view for view in dead if view.claims]
    if held := sum(view.claims for view in holders):
        one = holders[0].info
        whom = f"a worker that is gone ({one.host}:{one.pid})" if len(holders) == 1 else "workers that are gone"
        are, them = ("is", "it") if held == 1 else ("are", "them")
        return f"{jobs(held)} {are} held by {whom}, and nobody takes {them} over: {start}"
    waiting = [depth for depth in primary.depths if depth.ready and paused_since(primary.paused, depth.queue) is None]
    late = any((depth.oldest or 0.0) > STUCK for depth in waiting)
    # Nobody else can work on a file. In Redis, Resque's own workers may: there it takes one of ours that was lost, or a queue
    # from which none of them takes either.
    if waiting and not alive and (dead or (primary.kind != "redis" and late)):
        return f"{_ready(waiting)}, and no worker of spoolq's lives: {start}"
    if alone := [depth for depth in waiting if depth.queue in primary.untaken]:
        names = ", ".join(depth.queue for depth in alone[:3]) + (f" and {len(alone) - 3:,} more" if len(alone) > 3 else "")
        return (
            f"{_ready(alone)}, and no worker takes from {names}: start `spoolq worker` for {'it' if len(alone) == 1 else 'them'}"
        )
    return None


def _ready(depths: Sequence[Depth]) -> str:
    """That their jobs wait to be run, and for how long."""
    oldest = max((depth.oldest for depth in depths if depth.oldest is not None), default=None)
    return f"{_wait(sum(depth.ready for depth in depths))} to be run{'' if oldest is None else f', oldest {say_age(oldest)}'}"


def _behind_a_pause(side: Side) -> str | None:
    """That jobs wait in queues that somebody paused, None where none do."""
    held = [depth for depth in side.depths if depth.ready and paused_since(side.paused, depth.queue) is not None]
    if not held:
        return None
    names = [depth.queue for depth in held if depth.queue in side.paused]
    what, which = ("all queues", "--all") if EVERY_QUEUE in side.paused else (", ".join(names), " ".join(names))
    return f"{_wait(sum(depth.ready for depth in held))} behind a pause of {what}: `spoolq queues resume {which}` ends it"


def _repair(spool: Side) -> str:
    """What to do about a spool that can't be used."""
    return RECOVER if spool.reason == "damaged" else CHECK


def _damaged(spool: Side) -> str:
    """Of files that were set aside whole."""
    found = spool.info.damaged if spool.info is not None else ()
    return f"; the spool was damaged and set aside as {', '.join(found)}: `spoolq spool recover` saves its jobs" if found else ""


def _unsure(verdict: Verdict, spool: Side | None) -> Verdict:
    """The verdict where files were set aside: nobody can say that nothing is lost before all that they held is known."""
    info = None if spool is None else spool.info
    if info is None or not (info.damaged or info.incomplete):
        return verdict
    lost = UNSURE if verdict.lost == SAFE else verdict.lost
    if not info.incomplete:
        return verdict._replace(lost=lost)
    says = (
        f"{verdict.sentence[:-1]}; not all of {', '.join(info.incomplete)} could be recovered: move it away once that is settled."
    )
    return Verdict(max(DEGRADED, verdict.level), lost, says, CHECK if verdict.todo == NOTHING else verdict.todo)


def _rows(spool: Side) -> tuple[int, float | None, int]:
    if spool.info is None:
        return 0, None, 0
    return spool.info.rows, spool.info.oldest, spool.info.quarantined


def _empties(spool: Side) -> bool:
    """Whether rows leave it, however long those at its end have waited: a long outage takes its time to be drained."""
    return spool.attended and spool.info is not None and spool.info.empties


def _kept(spool: Side) -> str:
    """What Redis took and may lose yet: it is no job more, and nothing to worry about."""
    kept = 0 if spool.info is None else spool.info.kept
    return f"; {kept:,} watched until Redis has persisted them" if kept else ""


def _named(side: Side) -> str:
    what = "spool" if side.kind == "spool" else "queue"
    return f"the {what} can't be used: {'' if side.name in (side.error or '') else f'{side.name}: '}{side.error}"


def _wait(count: int) -> str:
    return f"{jobs(count)} wait{'s' if count == 1 else ''}"


def _none(spool: Side) -> str:
    """That nothing waits there; of a file that is absent only that it is."""
    return f"no spool at {spool.name} so far" if spool.state == "absent" else "none in the spool"


def _work(side: Side, spool: Side | None = None) -> str:
    """What the store holds, with the failures of both."""
    parts = [f"{side.total('ready'):,} ready", f"{side.total('claimed'):,} running"]
    if scheduled := side.total("scheduled"):
        parts.append(f"{scheduled:,} scheduled")
    if failures := side.failures + (spool.failures if spool is not None else 0):
        parts.append(f"{failures:,} failed")
    return ", ".join(parts)
