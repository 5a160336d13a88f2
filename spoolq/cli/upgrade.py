"""A file of an older version brought to this one's schema: by workers and drainers as they start, and by `spool upgrade`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spoolq import stores, units
from spoolq.cli.faults import Fault, asking_spool
from spoolq.cli.opening import Given, command_options, json_option, no_spool
from spoolq.cli.output import emit
from spoolq.errors import ConfigError, StoreUnavailable
from spoolq.places import there

if TYPE_CHECKING:
    from spoolq.app import SpoolQ

log = logging.getLogger("spoolq.upgrade")


def bring_up(q: SpoolQ) -> None:
    """Bring this host's file to this version's schema, if that can be done now. This version also uses the older one, so what
    stands in the way is told, and no reason not to work; what is no spool is for who opens it to say."""
    path = _path(q)
    try:
        if not path.exists():
            return
        found = stores.peek(path)
        if not found.ours or found.schema >= found.newest:
            return
        before, now = stores.upgrade(path)
    except ConfigError:
        return
    except (OSError, StoreUnavailable) as error:
        log.warning("%s: its schema can't be brought to this version's now: %s", path, error)
    else:
        if before < now:
            log.info("%s: its schema is %d now, and was %d; older processes go on with it", path, now, before)


@click.command("upgrade")
@click.option("--limit", metavar="SPAN", default="1s", show_default=True, help="How long producers may be kept waiting.")
@click.option("--dry-run", is_flag=True, help="Only say which schema it has.")
@json_option
@command_options()
def upgrade(given: Given, limit: str, dry_run: bool, as_json: bool) -> None:
    """Bring the file to this version's schema.

    Workers and drainers do so as they start. Jobs stay where they are, and older processes that use the file go on. What takes
    longer than --limit is undone. Exit 1 when there is no file, 73 when it was left as it was.
    """
    q = given.open()
    try:
        seconds = units.duration(limit)
    except ValueError:
        raise click.BadParameter(f"{limit!r}: expected a duration such as 1s or 10m", param_hint="--limit") from None
    path = _path(q)
    if not there(path):
        raise Fault(no_spool(q) if q.settings.sqlite_path is None else f"no queue at {path}")
    with asking_spool():
        found = stores.peek(path)
        before, now = (found.schema, max(found.schema, found.newest)) if dry_run else stores.upgrade(path, seconds)
    if as_json:
        emit({"path": str(path), "from": before, "to": now, "dry_run": dry_run})
    elif before == now:
        click.echo(f"{path} has schema {now}: nothing to do.")
    else:
        click.echo(f"{path} {'would go' if dry_run else 'went'} from schema {before} to {now}.")


def _path(q: SpoolQ) -> Path:
    return q.settings.sqlite_path or q.settings.spool_path
