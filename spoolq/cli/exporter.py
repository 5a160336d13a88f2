"""`spoolq exporter`: metrics for Prometheus, and probes."""

from __future__ import annotations

import signal

import click

from spoolq import config, logfiles
from spoolq.cli.listening import listen, shown
from spoolq.cli.opening import Given, command_options
from spoolq.cli.output import hint
from spoolq.mailbox import Mailbox

_GRACE = 3.0  # seconds for answers that are under way at the end
_ENDS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=9765, show_default=True, help="The port; 0: any free one.")
@command_options()
def exporter(given: Given, host: str, port: int) -> None:
    """Answer Prometheus: /metrics of both stores, and of what all processes have counted; /livez and /readyz for an orchestrator.

    It needs no Redis: while that is gone it answers in a few seconds at most, with what is known. One for each host that has a
    spool. Whoever reaches the address sees names of queues and tasks, and no arguments; it asks for no password, so it listens
    on this host alone, unless --host says otherwise.

    Ends at TERM or INT.
    """
    from spoolq.metrics.serving import Server, application

    q = given.open()
    app = application(q)
    listener = listen(host, port)
    notifier, said = config.notifier(), Mailbox[int]()
    server = Server(listener, app)
    old = {number: signal.signal(number, lambda number, _: said.put(number)) for number in (*_ENDS, signal.SIGHUP)}
    try:
        server.start()
        hint(f"Metrics of {q.settings.destination} are at http://{shown(listener)}/metrics (Ctrl-C ends it).")
        notifier.ready(f"answers at {shown(listener)}")
        while server.running:
            notifier.beat()
            number = said.take(min(1.0, notifier.pause))
            if number is None:
                continue
            if number in _ENDS:
                break
            logfiles.reopen()
            notifier.reloaded()
    finally:
        notifier.stopping()
        server.end(_GRACE)
        for number, handler in old.items():
            signal.signal(number, handler)
