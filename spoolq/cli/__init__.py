"""The command line. Each command lives in a file of its own and is loaded only when it is called."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from typing import Any

import click

import spoolq

COMMANDS = {
    "demo": ("demo", "demo", "The whole story in a minute: enqueue, outage, spool, recovery, drain, work."),
    "enqueue": ("enqueue", "enqueue", "Launch a job by the name of its task."),
    "worker": ("worker", "worker", "Run the jobs of an application."),
    "pool": ("pool", "pool", "How large each pool of worker processes is, and may be."),
    "drain": ("drain", "drain", "Move this host's spooled jobs into Redis."),
    "status": ("status", "status", "Where the jobs are, and whether anything is lost."),
    "health": ("status", "health", "One line for a monitor: exit 0 well, 1 degraded, 2 critical, 3 unknown."),
    "accounts": ("accounts", "accounts", "Does it balance? What came, went, is there, and is missing."),
    "probe": ("probe", "probe", "Liveness and readiness for an orchestrator: exit 0 yes, 1 no."),
    "doctor": ("doctor", "doctor", "Look for what goes wrong: Redis, spool, workers, host. Each with its remedy."),
    "failed": ("failed", "failed", "List, show, retry, remove, move and prune failed jobs."),
    "jobs": ("jobs", "jobs", "Find, show, move, delete and cancel jobs, by id or by what they are."),
    "workers": ("workers", "workers", "List the workers of all hosts; have one take no more jobs, go on, or end."),
    "queues": ("queues", "queues", "List, pause, purge and move queues."),
    "schedule": ("schedule", "schedule", "List, run, pause and resume periodic jobs."),
    "locks": ("locks", "locks", "List and remove the locks of unique jobs."),
    "spool": ("spool", "spool", "This host's spool: facts, check, repair, quarantine, moving it elsewhere."),
    "dashboard": ("dashboard", "dashboard", "What is true here, in a browser, also while Redis is gone."),
    "events": ("events", "events", "What befell this host: outages, drains, faults, what operators did."),
    "outages": ("outages", "outages", "The times in which jobs of this host went past Redis."),
    "exporter": ("exporter", "exporter", "Metrics for Prometheus, and probes."),
    "config": ("config_cmd", "config", "Show and check the settings."),
    "systemd": ("systemd", "systemd", "Print the unit with which systemd runs a command."),
    "completion": ("completion", "completion", "Print the completion script of a shell."),
}


class Commands(click.Group):
    """A group that knows its commands by name and imports one when it is asked for, and the one place where errors become
    exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"spoolq.cli.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])

    def main(self, *args: Any, **kwargs: Any) -> Any:
        _open_closed_streams()
        try:
            return super().main(*args, **kwargs)
        finally:
            _let_go_of_the_log()

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        from spoolq.cli.faults import exits

        with exits():  # --help and --version print while the arguments are read
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        from spoolq.cli.faults import exits

        with exits():
            return super().invoke(ctx)


def _open_closed_streams() -> None:
    """Who starts a command may have closed some (`2>&-`). Left so, the next file or connection would get such a number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))


def _let_go_of_the_log() -> None:
    """What could not be logged (its disk is full) is no failure of the command: Python would end with 120, whatever was done."""
    try:
        sys.stderr.flush()
    except OSError:
        with contextlib.suppress(OSError), open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stderr.fileno())


@click.command("spoolq", cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(spoolq.__version__, prog_name="spoolq")
@click.pass_context
def main(ctx: click.Context) -> None:
    """A job queue whose producers survive Redis: jobs go to Redis, and to a spool on this disk when Redis is gone.

    Data goes to standard output, log and progress to standard error. Exit codes: 0 done, 1 a problem was found, 2 wrong
    usage, 69 Redis can't be reached and is needed, 70 a worker must be started anew, 73 the spool can't be made, read or
    written, 75 try again later, 78 bad configuration. Those of `health` are its own.
    """
    from spoolq.config import colour

    if not colour():
        ctx.color = False
