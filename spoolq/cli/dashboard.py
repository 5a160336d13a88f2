"""`spoolq dashboard`: what is true of a deployment, in a browser."""

from __future__ import annotations

import socket

import click

from spoolq import config
from spoolq.cli.listening import listen, shown
from spoolq.cli.opening import Given, command_options
from spoolq.cli.output import hint
from spoolq.errors import ConfigError


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="The port; 0: any free one.")
@click.option("--password-file", metavar="FILE", help="Ask for the password in FILE. [SPOOLQ_DASHBOARD_PASSWORD_FILE]")
@click.option("--no-auth", is_flag=True, help="Listen on an address that others can reach, without a password.")
@click.option("--read-only", is_flag=True, help="Show everything, change nothing.")
@click.option("--prefix", metavar="PATH", default="", help="Under which a proxy in front shows it, such as /spoolq.")
@click.option("--allow-host", "names", metavar="NAME", multiple=True, help="A name by which browsers call it. Can be repeated.")
@command_options()
def dashboard(
    given: Given,
    host: str,
    port: int,
    password_file: str | None,
    no_auth: bool,
    read_only: bool,
    prefix: str,
    names: tuple[str, ...],
) -> None:
    """Show in a browser where the jobs are and whether anything is lost; retry, pause, drain and so on from there.

    It needs no Redis: while that is gone it shows this host's spool and the outage. Listens on this host alone, unless --host
    says otherwise: then a password is needed (`dashboard_password`, in the environment or a file), or --no-auth. Any user name
    goes with the password; it stands in the journal beside what was done.

    Ends at TERM or INT.
    """
    q = given.open()
    password = q.settings.dashboard_password if password_file is None else config.secret(password_file, "--password-file")
    try:
        from spoolq.dashboard.assembly import assemble, own_paths
        from spoolq.dashboard.guard import PREFIX, loopback
        from spoolq.dashboard.running import run
    except ModuleNotFoundError as error:
        from spoolq.dashboard import missing

        raise missing(error) from error
    if password is None and not no_auth and not loopback(host):
        raise ConfigError(
            f"--host {host}: others could reach it, so it needs a password (--password-file FILE, or SPOOLQ_DASHBOARD_PASSWORD), "
            "or --no-auth where something in front asks for one"
        )
    prefix = prefix.rstrip("/")
    if not PREFIX.fullmatch(prefix):
        raise click.UsageError(f"--prefix {prefix!r}: a path such as /spoolq is needed")
    if prefix and any(f"{path}/".startswith(f"{prefix}/") for path in own_paths()):
        raise click.UsageError(f"--prefix {prefix}: the dashboard has a page of that path itself; call it /jobs{prefix}, say")
    listener = listen(host, port)
    bound = listener.getsockname()[:2]
    app = assemble(
        q,
        password=password,
        authorize=None,
        read_only=read_only,
        hosts=None if "*" in names else {*names, *_names(host, bound[0])},
        redact=None,
        prefix=prefix,
    )
    listener.listen()  # before the address is told: who comes now waits a moment, and isn't turned away
    hint(f"The dashboard of {q.settings.destination} is at http://{shown(listener)}{prefix}/ (Ctrl-C ends it).")
    if password is None and not loopback(host):
        hint("Whoever reaches that address sees and changes everything: there is no password (--no-auth).")
    run(app, listener, config.notifier(), shown(listener))


def _names(host: str, bound: str) -> set[str]:
    """By which browsers may call it: a page of elsewhere whose name was made to lead here calls it by that name."""
    own = {"localhost", "127.0.0.1", "::1", host.strip("[]").lower(), bound}
    return own | ({socket.gethostname().lower(), socket.getfqdn().lower()} if bound in ("0.0.0.0", "::") else set())  # noqa: S104
