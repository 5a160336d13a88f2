"""A host's spool as `spoolq status` shows it, from real drainers and workers."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from tests.cli.conftest import Run, finish, start
from tests.cli.hands import fill
from tests.servers import Server
from tests.waiting import eventually


def told(run: Run, url: str) -> Any:
    """What is shown once the host is known and somebody drains there, nothing before."""
    shown = run("status", "--json", "--url", url).json
    return shown if shown["hosts"] and shown["spool"]["attended"] else None


def test_a_drainer_and_a_worker_tell_of_their_host(run: Run, server: Server) -> None:
    for command in (("drain",), ("worker", "shop:q")):
        process = start(*command, "--url", server.url)
        try:
            # it may tell of the spool before it drains it, and who looks at its lock keeps it from that until its next turn
            shown = eventually(lambda: told(run, server.url))
            assert [(host["rows"], host["cause"], host["silent"] < 30) for host in shown["hosts"]] == [(0, "", True)]
            assert shown["outage"] is None
            assert shown["do"] == "There is nothing to do"
            assert "drained by somebody here" in run("status", "--url", server.url).out
        finally:
            process.send_signal(signal.SIGTERM)
            assert finish(process).code == 0
        assert not run("status", "--json", "--url", server.url).json["spool"]["attended"]
        server.client().flushall()


def test_an_outage_is_in_the_facts_and_its_spool_is_drained_by_nobody(run: Run, nowhere: str) -> None:
    fill(nowhere, 2)
    shown = run("status", "--json", "--url", nowhere).json
    assert (shown["outage"]["spooled"], shown["outage"]["open"], shown["spool"]["attended"]) == (2, True, False)
    assert shown["do"] == "Start Redis, then run `spoolq drain`"
    assert Path(shown["spool"]["path"]).exists()
