"""`spoolq systemd print`: a unit that runs a command as it would be run here."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spoolq import config
from spoolq.cli.opening import Given, load
from spoolq.cli.output import hint
from spoolq.cli.systemd_unit import DESCRIPTIONS, Kind, Unit
from spoolq.errors import ConfigError

if TYPE_CHECKING:
    from spoolq.config import Origins, Settings

STATE = Path("/var/lib/spoolq")
"""Where systemd lets the default spool be (StateDirectory=)."""

_ENDING = 45  # seconds beyond the grace: a pool kills what is left 20 s after it, then its housekeeper says good-bye


@click.group()
def systemd() -> None:
    """Run spoolq's services under systemd."""


@systemd.command("print", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "--user", metavar="NAME", help="Whom it runs as; the producers' user, since the spool is for one user alone. [this one]"
)
@click.option(
    "--environment-file", metavar="FILE", default="/etc/spoolq/spoolq.env", show_default=True, help="With settings and secrets."
)
@click.argument("command", type=click.Choice(list(DESCRIPTIONS)))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def print_(user: str | None, environment_file: str, command: Kind, arguments: tuple[str, ...]) -> None:
    """Print the unit of `spoolq COMMAND ARGUMENTS`.

    It is run from this directory, with this environment's Python.

    \b
    spoolq systemd print worker shop.jobs:q --processes 2:8 \\
        | sudo tee /etc/systemd/system/spoolq-worker.service

    The arguments are the command's own, and are checked as it would. It is ready when its spool is open, says in `systemctl
    status` how it is, and is started anew when its main loop hangs.
    """
    values = _checked(command, arguments)
    settings, origins = _settings(values)
    _no_secrets(settings, origins, values)
    if command == "drain" and settings.sqlite_path is not None:
        raise ConfigError(f"{settings.url} is an SQLite queue: it has no spool, and nothing to drain")
    if not Path(environment_file).is_absolute():
        raise click.UsageError(f"--environment-file {environment_file}: an absolute path is needed")
    notes, writes = _spool(settings, origins)
    unit = Unit(
        command,
        [*_program(), command, *arguments],
        Path.cwd(),
        user or _user(),
        environment_file,
        stop=round((values.get("grace") or settings.grace) + _ENDING) if command == "worker" else _ENDING,
        uses=[Path(sys.prefix), Path(sys.executable), *_socket(settings)],
        writes=[*writes, *_other_files(settings)],
        notes=notes,
    )
    try:
        click.echo(unit.text(), nl=False)
    except ValueError as error:
        raise click.UsageError(f"{str(error)!r} can't stand in a unit") from None
    if shell := sorted({name for name in origins.of.values() if name.startswith(("SPOOLQ_", "REDIS_URL"))}):
        hint(f"spoolq: set in this shell, and to be put into {environment_file}: {', '.join(shell)}")
    if notes:
        hint(f"spoolq: {' '.join(notes)}")


def _checked(command: Kind, arguments: tuple[str, ...]) -> dict[str, Any]:
    """The arguments as the command itself reads them. Raises click's usage errors."""
    from spoolq.cli import main

    context = click.get_current_context()
    found = main.get_command(context, command)
    if found is None:
        raise click.UsageError(f"this spoolq has no command {command}")
    if {"-h", "--help"} & set(arguments):
        raise click.UsageError(f"`spoolq {command} --help` tells its options")
    made = found.make_context(command, list(arguments), parent=context.parent and context.parent.parent)
    return made.params


def _settings(values: dict[str, Any]) -> tuple[Settings, Origins]:
    """Those that hold for it here: of the application too, where that can be loaded by who prints this."""
    given = Given(*(values.get(name) for name in ("url", "spool", "namespace", "config", "app")))
    if given.app is not None:
        try:
            q = load(given.app, given)
        except ConfigError as error:
            hint(f"spoolq: its own settings aren't known here, and the unit goes by the environment's: {error}")
        else:
            return q.settings, q.origins
    return config.load(given.config, **given.arguments)


def _no_secrets(settings: Settings, origins: Origins, values: dict[str, Any]) -> None:
    if values.get("url") and config.mask(settings.url) != settings.url:
        raise click.UsageError("a unit is readable for everybody: put SPOOLQ_URL, with its password, into the environment file")
    if values.get("password"):
        raise click.UsageError("a unit is readable for everybody: give the password by a file or the environment")


def _program() -> list[str]:
    """How this very command was started, by absolute paths."""
    script = Path(sys.argv[0])
    if script.name == "spoolq" and os.access(script, os.X_OK):
        return [str(script.absolute())]
    return [sys.executable, "-m", "spoolq"]


def _user() -> str:
    return "spoolq" if os.geteuid() == 0 else getpass.getuser()


def _spool(settings: Settings, origins: Origins) -> tuple[list[str], list[Path]]:
    """What is to be known of the spool's place, and the directory that is written."""
    if settings.sqlite_path is not None:
        return [], [settings.sqlite_path.absolute().parent]
    if origins["spool"] != "default":
        return [], [settings.spool_path.absolute().parent]
    place = config.default_spool(settings.destination, {"STATE_DIRECTORY": str(STATE)})
    return [f"The spool of {settings.destination}; producers on this host, of the same user, need", f"SPOOLQ_SPOOL={place}"], []


def _other_files(settings: Settings) -> list[Path]:
    return [Path(place) for place in settings.failure_log if place.startswith("/")]


def _socket(settings: Settings) -> list[Path]:
    scheme, _, rest = settings.url.partition("://")
    return [Path(f"/{rest.partition('?')[0].rpartition('@')[2].lstrip('/')}")] if scheme == "unix" else []
