"""The spool, or the queue where that is an SQLite file: its place, its file, what is in it, and who has it open."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress

from spoolq import checks
from spoolq.doctor.case import Room, note, problem, short, some, typed, warning
from spoolq.doctor.look import Look, Unseen
from spoolq.errors import NoAccess, NoPlace, SpoolDamaged
from spoolq.places import unwritable
from spoolq.store.upkeep import Finding, Peeked
from spoolq.units import jobs, say_age, say_size

ROOM = Room("spool")

PARTS = ("-wal", "-shm", "-lock", "-wake", "-reserve", "-drain")
LOCAL = {"tmpfs": "is gone after a reboot", "ramfs": "is gone after a reboot", "overlay": "goes with its container"}


@ROOM.check(
    "place", "the file can be used, or made where it belongs", "found out in the outage, it is too late: jobs are refused"
)
def place(look: Look) -> Iterator[Finding]:
    """Its permissions, or those of the directory."""
    try:
        if look.there:
            if not look.path.is_file():
                yield problem(f"{look.path} is no file, so jobs can't be kept there", "name a file as the spool (SPOOLQ_SPOOL)")
            return
    except Unseen as unseen:
        if not isinstance(unseen.__cause__, NoAccess | NoPlace):
            raise
        yield problem(str(unseen), f"{typed('ls', '-l', look.path.parent)}; run this, and what uses it, as one user")
        return
    if not look.folder.is_dir():
        yield problem(
            f"there is no directory {look.folder} for the {look.what}", f"{typed('mkdir', '-p', look.folder)}, for who enqueues"
        )
    elif why := unwritable(look.folder):
        yield problem(f"the {look.what} can't be made: {why}", f"chown {look.folder} to the user who enqueues")


@ROOM.check("filesystem", "the file is on a disk of this machine", "a network disk breaks SQLite; a passing one loses the jobs")
def filesystem(look: Look) -> Iterator[Finding]:
    """Network, memory, or a container's own layer."""
    kind, remedy = look.disk, "name a file on a local disk or a mounted volume: SPOOLQ_SPOOL=/var/lib/NAME/spool.db"
    if kind in LOCAL:
        text = f"the {look.what} is on {kind}: what it holds {LOCAL[kind]}"
        yield (warning if kind == "overlay" else problem)(text, remedy)
    elif kind:
        yield problem(f"the {look.what} is on a network file system ({kind}), where SQLite loses jobs", remedy)


@ROOM.check("space", "the disk has room", "below spool_min_free new jobs are refused")
def space(look: Look) -> Iterator[Finding]:
    """Twice as much as must stay free, at least."""
    if not look.folder.is_dir():  # as `place` says
        return
    free, least = shutil.disk_usage(look.folder).free, look.settings.spool_min_free
    if free < 2 * least:
        text = (
            f"{say_size(free)} are free on the disk of the {look.what}; below {say_size(least)} jobs are refused (spool_min_free)"
        )
        yield (problem if free < least else warning)(text, f"free space on {look.folder} ({typed('df', '-h', look.folder)})")


@ROOM.check("schema", "the file is spoolq's, and of this version", "a newer one can't be used; an older one lacks what is new")
def schema(look: Look) -> Iterator[Finding]:
    """As it says itself, before it is opened."""
    peeked = look.peeked
    if peeked is None:
        return
    if not peeked.ours:
        if look.path.stat().st_size:
            yield problem(f"{look.path} is none of spoolq's files", "name another file as the spool, and leave this one alone")
    elif peeked.schema > peeked.newest:
        text = f"{look.path} was made by a newer spoolq (schema {peeked.schema}, this one knows {peeked.newest})"
        if peeked.usable:
            yield warning(f"{text}; this one can use it", "upgrade spoolq here too, and restart what runs")
        else:
            yield problem(f"{text}, and this one can't use it", "upgrade spoolq here")
    elif peeked.schema < peeked.newest:
        yield warning(
            f"{look.path} has the schema {peeked.schema} of an older spoolq (now {peeked.newest})",
            "`spoolq spool upgrade`, or start a worker or `spoolq drain` of this version; older ones can still use it",
        )


@ROOM.check("journal", "the file is in WAL mode", "in another mode a reader stops all who enqueue")
def journal(look: Look) -> Iterator[Finding]:
    """A copy made by some tools is not."""
    peeked = look.peeked
    if peeked is not None and peeked.ours and peeked.journal != "wal":
        yield warning(
            f"{look.path} is in journal mode {peeked.journal}, as a copy that some tool made: is this the file that is meant?",
            "if it is, `spoolq spool info` opens it, which puts it into WAL",
        )


@ROOM.check("destination", "the spool is for this Redis and namespace", "jobs for another one are not drained to this one")
def destination(look: Look) -> Iterator[Finding]:
    """As recorded when it was made."""
    peeked = look.peeked
    if look.what == "spool" and peeked is not None and peeked.destination not in ("", look.settings.destination):
        yield problem(
            f"{look.path} holds {jobs(peeked.rows)} for {short(peeked.destination)}, not for {look.settings.destination}",
            "`spoolq drain` with that URL and namespace, or with --to-here; or name another spool",
        )


@ROOM.check("owner", "all its files belong to one user, who uses them", "SQLite can't open a -wal or -shm of another user's")
def owner(look: Look) -> Iterator[Finding]:
    """The file, those beside it, and the directory."""
    if not look.there:
        return
    path, own = look.path, look.path.stat()
    foreign = []
    for part in PARTS:
        with suppress(FileNotFoundError):
            if os.stat(f"{path}{part}").st_uid != own.st_uid:
                foreign.append(f"{path.name}{part}")
    if foreign:
        yield problem(
            f"{some(foreign)} belong to another user than {path.name} (uid {own.st_uid})",
            f"chown --reference={typed(path)} {typed(path)}-*",
        )
    if os.geteuid() not in (0, own.st_uid):
        yield warning(
            f"{path} belongs to uid {own.st_uid}, and this is uid {os.geteuid()}: files that it makes would shut that one out",
            "run spoolq as the file's owner",
        )
    folder = path.parent.stat()
    if folder.st_mode & stat.S_IWOTH and not folder.st_mode & stat.S_ISVTX:
        yield warning(f"everybody may replace files in {path.parent}", typed("chmod", "o-w", path.parent))


@ROOM.check("mode", "nobody else may read the file", "jobs carry what they are given: names, addresses, tokens")
def mode(look: Look) -> Iterable[Finding]:
    """0600."""
    return _inside(look, "mode")


@ROOM.check("sqlite", "this SQLite has no fault that can harm the file", "3.7.0 to 3.51.2 can damage a WAL when it is reset")
def sqlite(look: Look) -> Iterable[Finding]:
    """spoolq's processes keep each other from it; others don't."""
    found = None if look.info is None else checks.sqlite(look.info.sqlite)
    return () if found is None else (found,)


@ROOM.check("replaced", "every process uses the file that is there", "what is spooled into a file that was moved nobody drains")
def replaced(look: Look) -> Iterator[Finding]:
    """Those that still have another one open."""
    if lost := [f"{one.pid} ({one.name})" for one in look.holders if not one.current]:
        yield problem(
            f"{look.path} was moved or deleted, and these processes have the old file open: {some(lost)}",
            "restart them; the old file is /proc/PID/fd/NUMBER until then: copy it, with its -wal, before (docs/spool.md)",
        )


@ROOM.check("versions", "one version of spoolq uses the file", "processes that were not restarted still run the older code")
def versions(look: Look) -> Iterator[Finding]:
    """By what is installed where a process was started from, and when."""
    version, since = look.installed
    others = {one.pid: one.version for one in look.holders if one.version not in (None, version)}
    if others:
        yield warning(
            f"beside spoolq {version} these use the {look.what}: " + some(f"{found} ({pid})" for pid, found in others.items()),
            "upgrade and restart them",
        )
    old = [f"{one.pid} ({one.name})" for one in look.holders if one.pid not in others and one.started_at < since]
    if old:
        yield warning(f"spoolq was installed anew since these processes started: {some(old)}", "restart them")


@ROOM.check("structure", "the file's structure is sound", "what SQLite can't read can't be drained")
def structure(look: Look) -> Iterable[Finding]:
    """SQLite's own check of each table, within a fraction of a second; with --deep however long it takes."""
    try:
        return _inside(look, "structure")
    except Unseen as unseen:
        if not isinstance(unseen.__cause__, SpoolDamaged):
            raise
        return [problem(str(unseen), "`spoolq spool recover` sets it aside whole and saves what can be read of it")]


@ROOM.check("checksum", "each row is as it was written", "a bit that the disk has changed makes another job of it")
def checksum(look: Look) -> Iterable[Finding]:
    """As many as two seconds allow; with --deep all."""
    return _inside(look, "checksum")


@ROOM.check("damaged", "every damaged file was recovered whole", "its jobs run only after somebody has saved them")
def damaged(look: Look) -> Iterable[Finding]:
    """Files that were set aside whole, and those of which a recovery could not read all."""
    return _inside(look, "damaged")


@ROOM.check("quarantine", "no row is set aside", "such a job does not run until somebody looks")
def quarantine(look: Look) -> Iterable[Finding]:
    """Rows that Redis refused for their own sake, or that were in doubt for too long."""
    return _inside(look, "quarantine")


@ROOM.check("doubt", "no row stays in doubt", "only a drainer can settle whether Redis has it, and it is set aside in the end")
def doubt(look: Look) -> Iterator[Finding]:
    """A row whose put had no answer: one moment of it is as it should be."""
    info = look.info
    if info is None or not info.in_doubt:
        return
    text = f"{jobs(info.in_doubt, 'row')} in doubt: Redis may have them already"
    if look.what == "spool" and look.answers and (info.oldest or 0.0) > checks.STUCK:
        yield warning(f"{text}, and Redis answers since (oldest {say_age(info.oldest)})", "`spoolq drain` settles them")
    else:
        yield note(text, "`spoolq drain` settles them when Redis answers")


@ROOM.check(
    "full", "the file is far from its limits", "at spool_max_bytes, spool_max_rows or the horizon jobs are refused or set aside"
)
def full(look: Look) -> Iterable[Finding]:
    """Four fifths of the nearest one."""
    return _inside(look, "full")


@ROOM.check("wal", "the -wal is copied into the file", "it grows as long as a reader holds on, and fills the disk")
def wal(look: Look) -> Iterable[Finding]:
    """A quarter of spool_max_bytes."""
    return _inside(look, "wal")


@ROOM.check("reserve", "there is a reserve for a full disk", "without it a spool on a full disk can't be drained")
def reserve(look: Look) -> Iterable[Finding]:
    """PATH-reserve. It is made with the first job."""
    return _inside(look, "reserve") if look.info is not None and look.info.rows else []


@ROOM.check("waiting", "rows don't wait while Redis answers", "they are accepted jobs that do not run")
def waiting(look: Look) -> Iterable[Finding]:
    """For more than a minute."""
    found = None if look.info is None or look.what != "spool" else checks.waiting(look.info, answers=look.answers)
    return () if found is None else (found,)


@ROOM.check("untold", "Redis knows what became of the jobs that ran here", "what it is not told in time runs again")
def untold(look: Look) -> Iterable[Finding]:
    """Outcomes in the journal."""
    found = None if look.info is None else checks.untold(look.info)
    return () if found is None else (found,)


@ROOM.check(
    "orphans",
    "no other spool with jobs lies beside it",
    "a host, a container or a setting that changed left it: nobody drains it",
)
def orphans(look: Look) -> Iterator[Finding]:
    """Files of the same directory that no process has open."""
    unread = []
    for path, peeked in look.beside.items():
        if isinstance(peeked, str):
            unread.append(path.name)
        elif peeked.ours:
            yield warning(
                f"{path} holds {jobs(peeked.rows)} for {short(peeked.destination) or 'itself'}, and no process has it open",
                _drains(path, peeked, look),
            )
    if unread:
        yield warning(
            f"these files beside the {look.what} can't be read: {some(unread)}",
            f"look with the user that they belong to ({typed('ls', '-l', look.path.parent)})",
        )


def _drains(path: os.PathLike[str], peeked: Peeked, look: Look) -> str:
    if not peeked.destination:
        return f"it is a queue of its own: `spoolq worker APP` with SPOOLQ_URL={typed(f'sqlite:///{path}')}"
    if peeked.destination == look.settings.destination:
        return f"`spoolq drain --once --spool {typed(path)}`"
    return f"`spoolq drain --once --spool {typed(path)}` with that URL and namespace"


def _inside(look: Look, name: str) -> list[Finding]:
    return [one for one in look.inside if one.name == name]
