"""Whether a file is sound: its structure, its rows' checksums, and what else an operator should know of it. Reads only."""

from __future__ import annotations

import os
import shlex
import stat
import time

from spoolq.store.sqlite import aside, driver
from spoolq.store.sqlite.limits import disk_free, measure, pages_used, wal_bytes
from spoolq.store.sqlite.rows import checksum
from spoolq.store.sqlite.session import Session
from spoolq.store.sqlite.statements import statements
from spoolq.store.upkeep import Finding, Level
from spoolq.units import jobs, say_age

SQL = statements("upkeep")
_VIEWS = statements("views")
_ROWS_AT_ONCE = 50
_TABLES = ("jobs", "failures", "settled", "workers", "watches", "settlements", "guards", "vals", "counters", "meta", "about")
_INCOMPLETE = (
    "`spoolq events` has what was saved; move the file out of this directory, with its -wal, once you have settled the rest"
)
_ASIDE = "`spoolq spool recover` sets the file aside whole and saves what can be read of it"


def check_structure(session: Session, limit: float, late: Level = "warning") -> list[Finding]:
    """SQLite's own check, table by table, each a snapshot of its own of at most `limit` seconds. One that takes longer is found
    `late`."""
    found: list[Finding] = []
    for table in _TABLES:
        try:
            with session.interrupted_after(time.monotonic() + limit):
                said = [line for (line,) in session.all(f"PRAGMA integrity_check({table})")]
                for _ in session.execute(SQL["texts"]) if table == "jobs" else ():
                    pass
        except driver.Error as error:
            if driver.is_interrupt(error):
                text = f"the table {table} takes longer than {say_age(limit)}, so its structure was not looked at"
                found.append(Finding("structure", late, text, "`spoolq spool check --whole`, when little is written"))
                continue
            if not driver.is_damage(error):
                raise
            said = [str(error)]
        if said != ["ok"]:
            found.append(broken(f"the table {table} is damaged: {'; '.join(said[:3])}"))
    return found


def broken(text: str) -> Finding:
    """The finding on a structure that is damaged."""
    return Finding("structure", "problem", text, _ASIDE)


def in_part(rows: int) -> Finding:
    """The finding where time was up after so many rows."""
    return Finding("checksum", "unknown", f"only the first {rows:,} rows were looked at", "`spoolq spool check` looks at all")


def check_rows(session: Session, after: int) -> tuple[int, int, list[str]] | None:
    """The next rows: the last number, how many, and the ids of those whose checksum doesn't fit. None at the end."""
    rows = session.all(SQL["rows"], (after, _ROWS_AT_ONCE))
    if not rows:
        return None
    bad = [id for seq, id, queue, payload, crc in rows if seq > 0 and checksum(id, queue, payload) != crc]
    return rows[-1][0], len(rows), bad


def check_state(session: Session) -> list[Finding]:
    """What waits for a person, and what will."""
    settings = session.settings
    path, found = settings.path, list[Finding]()
    aside_rows = session.scalar(_VIEWS["count_quarantined"], (1 << 60,))
    if aside_rows:
        text = f"{jobs(aside_rows, 'row')} set aside, not to run until somebody looks"
        found.append(Finding("quarantine", "warning", text, "`spoolq spool quarantine list`"))
    found += [
        Finding("damaged", "problem", f"a damaged spool was set aside as {kept}", "`spoolq spool recover` saves its jobs")
        for kept in aside.kept(path)
    ]
    found += [
        Finding("damaged", "problem", f"not all of {kept} could be read: what else it held isn't known", _INCOMPLETE)
        for kept in aside.kept(path, aside.INCOMPLETE)
    ]
    wal = wal_bytes(path)
    full = measure(session, pages_used(session) + wal, disk_free(path))
    if full.share >= 0.8:
        text = f"the file is {100 * full.share:.0f} % full, by {full.bound}"
        found.append(Finding("full", "warning", text, "drain it, free disk space, or raise the bound"))
    if wal > settings.max_bytes // 4:
        text = f"the -wal has grown to {wal >> 20} MiB: a reader keeps it from being copied into the file"
        found.append(Finding("wal", "warning", text, "end the backup or the sqlite3 shell that has it open"))
    if not session.reserve.held():
        text = "there is no reserve: on a full disk it could not be drained"
        found.append(Finding("reserve", "warning", text, "free disk space; the next job that is spooled makes it"))
    if (mode := stat.S_IMODE(os.stat(path).st_mode)) & 0o077:
        found.append(Finding("mode", "warning", f"others may read {path} (mode {mode:o})", f"chmod 600 {shlex.quote(path)}"))
    return found
