"""Who works: drainers, workers, queues, and the tasks that wait in them."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator, Sequence

from spoolq import checks, wire
from spoolq.doctor import processes
from spoolq.doctor.case import Room, problem, short, some, typed, warning
from spoolq.doctor.look import Look, Unseen
from spoolq.errors import PayloadError
from spoolq.facts import Facts, paused_since
from spoolq.failed import UNREADABLE
from spoolq.store.base import EVERY_QUEUE
from spoolq.store.looking import Stranger
from spoolq.store.upkeep import Finding
from spoolq.takers import RESCUE, SILENT, silent, untaken
from spoolq.units import jobs, say_age

ROOM = Room("work")

ASKED = 1000
"""Queues for which a worker is looked for."""

QUEUES, HEAD = 20, 10
"""Queues looked into, and jobs at the head of each."""


def _answering(look: Look) -> Facts:
    facts = look.facts
    if facts.primary.state not in ("up", "refusing"):
        raise Unseen(f"{'Redis' if facts.primary.kind == 'redis' else 'the queue'} could not be asked")
    return facts


@ROOM.check("missing", "the accounts of jobs balance", "what came, and neither went nor is there, Redis has lost")
def missing(look: Look) -> Iterator[Finding]:
    """What the stores counted, against what there is."""
    count = _answering(look).missing
    if count:
        yield problem(
            f"{jobs(count)} that Redis took {'is' if count == 1 else 'are'} gone from it",
            "`spoolq accounts` says of which queues, and --write-off that it is known; mend `persistence`",
        )


@ROOM.check("drainer", "something drains the spool, and goes on", "the jobs of an outage wait in it for ever")
def drainer(look: Look) -> Iterator[Finding]:
    """By the lock that drainers hold, the state of their processes, and their leases."""
    info, start = look.info, "start `spoolq drain`, or a worker, on this host"
    if info is None or look.drained is None:
        return
    stopped = {one.pid for one in look.drainers if one.state == "T"}
    for pid in sorted(stopped):
        yield warning(f"process {pid}, which drains the spool, is stopped", f"kill -CONT {pid}; or kill it, and {start}")
    for view in look.facts.spool.workers if look.facts.spool is not None else ():
        if view.info.kind == "drainer" and view.lease_left < 0 and view.claims and view.info.pid not in stopped:
            yield warning(
                f"the drainer {view.info.host}:{view.info.pid} holds {jobs(view.claims, 'row')} and was last heard of "
                f"{say_age(view.info.lease - view.lease_left)} ago",
                f"look whether it hangs (kill -TTIN {view.info.pid} has it write where it stands); {start}",
            )
    if not look.drained and info.drain_paused_at is None:
        waits = f"{jobs(info.rows)} in it" if info.rows else "what the next outage brings would stay in it"
        yield warning(f"nobody drains the spool of this host: {waits}", start)


@ROOM.check("queues", "somebody works on each queue that has jobs", "they wait for ever, and nothing fails")
def queues(look: Look) -> Iterator[Finding]:
    """Against what the workers that live said they take, Resque's own among them."""
    facts = _answering(look)
    filled = [depth for depth in facts.primary.depths if depth.ready][:ASKED]
    known = [view for view in facts.primary.workers if view.info.key not in facts.primary.dead]
    alone = untaken(filled, known, lambda: _strangers(look), look.wall())
    if alone:
        names = typed(",".join(depth.queue for depth in alone[:5] if len(depth.queue) <= 200) or "QUEUE")
        yield warning(
            f"nobody works on {some(f'{short(depth.queue, 60)} ({jobs(depth.ready)})' for depth in alone)}",
            f"`spoolq worker {look.app or 'APP'} --queues {names}`",
        )


def _strangers(look: Look) -> Sequence[Stranger]:
    return () if look.settings.sqlite_path is not None else look.strangers


@ROOM.check("paused", "no queue with jobs is paused", "somebody meant to resume it")
def paused(look: Look) -> Iterator[Finding]:
    """A pause is kept until it is taken back."""
    side = _answering(look).primary
    held = [depth for depth in side.depths if depth.ready and paused_since(side.paused, depth.queue) is not None]
    if held:
        every = EVERY_QUEUE in side.paused
        which = "--all" if every else typed(*(depth.queue for depth in held[:5]))
        yield warning(
            f"{jobs(sum(depth.ready for depth in held))} behind a pause of {some(depth.queue for depth in held)}",
            f"`spoolq queues resume {which}`",
        )


@ROOM.check("claims", "no dead worker holds jobs", "they run again only when somebody takes them over")
def claims(look: Look) -> Iterator[Finding]:
    """A worker whose lease is over, and whose jobs nobody took."""
    facts = _answering(look)
    here = facts.primary.dead
    known = [view for view in facts.primary.workers if view.info.key not in here]
    alive = any(view.lease_left >= 0 and view.info.role == "worker" for view in known)
    dead = [view for view in known if view.claims and view.lease_left < -max(view.info.lease, RESCUE)]
    if not alive:
        dead += [view for view in facts.primary.workers if view.claims and view.info.key in here]
    if dead:
        yield warning(
            f"{jobs(sum(view.claims for view in dead))} held by workers that are gone: "
            + some(f"{view.info.host}:{view.info.pid}" for view in dead),
            "look at the logs of the workers that run" if alive else f"start `spoolq worker {look.app or 'APP'}`",
        )


@ROOM.check("names", "each worker has a name of its own", "Resque's views show one for two, and the wrong one's job")
def names(look: Look) -> Iterator[Finding]:
    """Host and process id: two containers may share both."""
    alive = [view.info for view in _answering(look).primary.workers if view.lease_left >= 0 and view.info.kind == "worker"]
    twice = [name for name, count in Counter(f"{info.host}:{info.pid}" for info in alive if info.threads).items() if count > 1]
    if twice:
        yield warning(
            f"several workers call themselves {some(twice)}", "give each container a host name of its own (docker run --hostname)"
        )
    ours = {f"{info.host}:{info.pid}" for info in alive}
    same = sorted(
        {one.id for one in _strangers(look) if ":".join(one.id.split(":")[:2]) in ours and not silent(one, look.wall())}
    )
    if same:
        yield warning(f"other Resque workers have the names of spoolq's: {some(same)}", "give each its own host name")


@ROOM.check("strangers", "Resque's list has no workers that are gone", "its views show them at work, with jobs that nobody runs")
def strangers(look: Look) -> Iterator[Finding]:
    """By their sign of life; on this host by their process."""
    host, now = socket.gethostname(), look.wall()
    gone = [one.id for one in _strangers(look) if silent(one, now) or _dead_here(one, host, look.root)]
    if gone:
        yield warning(
            f"{jobs(len(gone), 'worker')} in Resque's list, gone or silent for {say_age(SILENT)}: {some(gone)}",
            f"`redis-cli SREM {look.settings.namespace}:workers NAME`, or Resque's own prune_dead_workers",
        )


def _dead_here(one: Stranger, host: str, root: str) -> bool:
    at, _, rest = one.id.partition(":")
    pid = rest.partition(":")[0].partition("+")[0].partition("-")[0]
    return at == host and pid.isdigit() and len(pid) < 10 and not processes.state(int(pid), root)


@ROOM.check("tasks", "every job that waits is of a task that APP has", "a worker fails each job whose task it doesn't know")
def tasks(look: Look) -> Iterator[Finding]:
    """The heads of the queues of this application's tasks."""
    known = set(look.q.tasks.names())
    if not known:
        raise Unseen("no application was given, so its tasks aren't known", "`spoolq doctor APP`, such as shop.jobs:q")
    facts, found = _answering(look), Counter[str]()
    mine = set(look.q.queues())
    looked = [depth.queue for depth in facts.primary.depths if depth.ready and depth.queue in mine][:QUEUES]
    for queue in looked:
        for job in look.q.primary.waiting_jobs.page(queue, limit=HEAD)[0]:
            try:
                task = wire.decode(job.payload, queue).task
            except PayloadError:
                task = UNREADABLE
            if task not in known:
                found[f"{short(task, 50)} in {short(queue, 25)}"] += 1
    if found:
        yield problem(
            f"no task of {look.app or 'this application'} has these names: {some(found)}",
            "import the module that defines them in APP, or `spoolq jobs` to take them away",
        )


@ROOM.check("uploads", "failures on their way to a bucket go on", "the disk fills, and nobody sees them")
def uploads(look: Look) -> Iterator[Finding]:
    """What waits in an outbox of this host for more than a minute."""
    now = look.wall()
    for one in look.facts.waiting:
        if now - one.since > checks.STUCK:
            text = f"{jobs(one.files, 'file')} of failures wait in {one.folder}, the oldest for {say_age(now - one.since)}"
            yield warning(
                text, f"`spoolq config check` tries {one.url}" if one.url else f"`spoolq failed import {typed(one.folder)}`"
            )
