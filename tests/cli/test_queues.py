"""`spoolq queues`."""

from __future__ import annotations

from pathlib import Path

import pytest

from spoolq.app import SpoolQ
from tests.cli.conftest import Run
from tests.cli.hands import fill, spooled
from tests.servers import Server

pytestmark = pytest.mark.one_server

URL = "sqlite:///jobs.db"


def ready(run: Run, url: str = URL) -> dict[str, int]:
    return {f"{q['in']} {q['queue']}": q["ready"] for q in run("queues", "list", "--json", "--url", url).json["queues"]}


def test_list(run: Run) -> None:
    fill(URL, 3)
    fill(URL, 1, "bulk", delay=3600)
    said = run("queues", "list", "--url", URL)
    rows = [line.split() for line in said.out.splitlines()]
    assert rows[0] == ["QUEUE", "IN", "READY", "SCHEDULED", "RUNNING", "OLDEST"]
    assert [row[:5] for row in rows[1:]] == [["bulk", "sqlite", "0", "1", "0"], ["mail", "sqlite", "3", "0", "0"]]


def test_limits_of_the_settings_are_shown_where_there_are_any(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(URL, 1)
    fill(URL, 1, "bulk")
    monkeypatch.setenv("SPOOLQ_CONCURRENCY", "mail=3")
    monkeypatch.setenv("SPOOLQ_RATE_LIMITS", "mail=100/m")
    for command in (("queues", "list"), ("status",)):
        rows = [line.split() for line in run(*command, "--url", URL).out.splitlines()]
        [head, bulk, mail] = rows[next(at for at, row in enumerate(rows) if row[:1] == ["QUEUE"]) :][:3]
        assert head[-1] == "LIMIT"
        assert mail[-5:] == ["3", "at", "a", "time,", "100/m"]
        assert bulk[-1] == "s"  # of its age


def test_an_absent_queue_file_is_said_to_be_absent(run: Run) -> None:
    said = run("queues", "list", "--url", URL)
    assert (said.code, said.out) == (1, "")
    assert "no queue at" in said.err


def test_purge_asks_and_names_the_count(run: Run) -> None:
    fill(URL, 3)
    said = run("queues", "purge", "mail", "--url", URL, input="n\n")
    assert said.code == 1
    assert "Delete 3 ready jobs of mail (3 in the queue" in said.err
    assert ready(run) == {"sqlite mail": 3}
    assert run("queues", "purge", "mail", "--url", URL, input="y\n").code == 1, "its name is asked for"
    assert ready(run) == {"sqlite mail": 3}
    said = run("queues", "purge", "mail", "--url", URL, input="mail\n")
    assert (said.code, said.out) == (0, "Deleted 3 jobs of mail.\n")
    assert ready(run).get("sqlite mail", 0) == 0


def test_purge_without_anybody_to_ask_deletes_nothing(run: Run) -> None:
    fill(URL, 3)
    said = run("queues", "purge", "mail", "--url", URL, input="")
    assert said.code == 2
    assert "nobody is there to answer, so nothing was done; --yes goes ahead without asking" in said.err
    assert ready(run) == {"sqlite mail": 3}


def test_purge_dry_run(run: Run) -> None:
    fill(URL, 3)
    document = run("queues", "purge", "mail", "--url", URL, "--dry-run", "--json").json
    assert document == {"schema": 1, "queue": "mail", "dry_run": True, "would_purge": 3, "purged": 0}
    assert ready(run) == {"sqlite mail": 3}


def test_an_unknown_queue_is_named_with_those_that_there_are(run: Run) -> None:
    fill(URL, 1)
    said = run("queues", "purge", "mial", "--yes", "--url", URL)
    assert (said.code, said.out) == (1, "")
    assert said.err == "spoolq: no queue named 'mial'; there are: mail\n"


def test_without_redis_the_fault_says_what_is_safe(spoolq: Run, nowhere: str) -> None:
    fill(nowhere, 3)
    said = spoolq("queues", "list", "--url", nowhere)
    assert said.code == 69
    assert said.out.split("\n")[1].split()[:3] == ["mail", "spool", "3"]  # what can be seen is shown
    first, second = said.err.splitlines()
    assert "refused" in first
    assert second.startswith("3 jobs are safe in the spool ")
    assert "spoolq worker" in second
    assert second.endswith("`--in spool` asks this host's spool alone.")


def test_the_spool_can_be_looked_at_alone(run: Run, nowhere: str) -> None:
    fill(nowhere, 3)
    (queue,) = run("queues", "list", "--in", "spool", "--json", "--url", nowhere).json["queues"]
    assert (queue["in"], queue["queue"], queue["ready"]) == ("spool", "mail", 3)


def test_both_stores_are_listed_and_purged(run: Run, server: Server, tmp_path: Path) -> None:
    spool = tmp_path / "spool.db"
    options = ("--spool", str(spool), "--url", server.url)
    fill(server.url, 2)
    with SpoolQ(server.url, spool=spool, spool_min_free=0) as q:
        assert q.spool is not None
        q.spool.spool([q.message(q.remote("send", "mail").job(number)) for number in range(3)])
    listed = run("queues", "list", "--json", *options).json["queues"]
    assert {queue["in"]: (queue["queue"], queue["ready"]) for queue in listed} == {"redis": ("mail", 2), "spool": ("mail", 3)}
    said = run("queues", "purge", "mail", "--yes", *options)
    assert said.out == "Deleted 5 jobs of mail.\n"
    assert sum(queue["ready"] for queue in run("queues", "list", "--json", *options).json["queues"]) == 0


def test_an_absent_spool_is_said_to_be_absent(run: Run, server: Server) -> None:
    said = run("queues", "list", "--url", server.url)
    assert said.code == 0
    assert "no spool at" in said.err
    assert run("queues", "list", "--in", "spool", "--url", server.url).code == 1


def test_a_purge_of_the_spool_leaves_nothing_behind(run: Run, nowhere: str) -> None:
    fill(nowhere, 3)
    assert run("queues", "purge", "mail", "--in", "spool", "--yes", "--url", nowhere).out == "Deleted 3 jobs of mail.\n"
    assert spooled(nowhere) == 0


# pausing


def test_pause_and_resume(run: Run) -> None:
    fill(URL, 3)
    said = run("queues", "pause", "mail", "later", "--url", URL)
    assert (said.code, said.err) == (0, "")
    assert [line.split(" in ")[0] for line in said.out.splitlines()] == ["Paused mail", "Paused later"]
    said = run("queues", "list", "--url", URL)
    rows = [line.split() for line in said.out.splitlines()]
    assert rows[0][-1] == "PAUSED"
    assert [(row[0], row[2], row[-4:-2]) for row in rows[1:]] == [("later", "0", ["-", "for"]), ("mail", "3", ["s", "for"])]
    assert "In sqlite paused: later, mail. `spoolq queues resume later mail` ends that." in said.err
    document = run("queues", "list", "--json", "--url", URL).json
    assert [(queue["queue"], queue["paused"]) for queue in document["queues"]] == [("later", True), ("mail", True)]
    assert document["paused"]["sqlite"].keys() == {"later", "mail"}
    assert "mail is paused since 20" in " ".join(run("status", "--url", URL).out.split())
    said = run("queues", "pause", "mail", "--url", URL)
    assert (said.code, said.out) == (0, "")
    assert said.err.startswith("mail was paused already in ")
    (done,) = run("queues", "resume", "mail", "--json", "--url", URL).json["queues"]
    assert done == {"in": "sqlite", "queue": "mail", "paused": False, "changed": True}
    assert run("queues", "list", "--json", "--url", URL).json["paused"]["sqlite"].keys() == {"later"}


def test_all_queues_are_paused_by_one_word(run: Run) -> None:
    fill(URL, 3)
    assert run("queues", "pause", "--all", "--url", URL).out.startswith("Paused all queues in ")
    (queue,) = run("queues", "list", "--json", "--url", URL).json["queues"]
    assert queue["paused"] is True
    assert "all queues are paused since 20" in " ".join(run("status", "--url", URL).out.split())
    said = run("queues", "resume", "mail", "--url", URL)
    assert said.err.startswith("mail was not paused in ")
    assert "Still paused in" in said.err
    assert said.err.endswith(": all queues. `spoolq queues resume --all` ends that.\n")
    run("queues", "pause", "bulk", "mail", "--url", URL)
    assert (
        "`spoolq queues resume --all` and `spoolq queues resume bulk mail` ends that" in run("queues", "list", "--url", URL).err
    )
    said = run("queues", "resume", "--all", "--url", URL)
    assert said.out.startswith("Resumed all queues in ")
    assert said.err.endswith(": bulk, mail. `spoolq queues resume bulk mail` ends that.\n")
    assert run("queues", "resume", "--all", "--url", URL).err.startswith("All queues were not paused in ")


def test_a_pause_needs_names_that_queues_can_have(run: Run) -> None:
    fill(URL, 1)
    for words in ([], ["mail", "--all"], ["bulk_*"], ["mail,bulk"], [""]):
        said = run("queues", "pause", *words, "--url", URL)
        assert said.code == 2, words
        assert "--all" in said.err or "one queue's name is meant" in said.err
    assert run("queues", "list", "--json", "--url", URL).json["paused"] == {"sqlite": {}}


def test_a_pause_without_redis_holds_here_and_says_so(spoolq: Run, nowhere: str) -> None:
    fill(nowhere, 3)
    said = spoolq("queues", "pause", "mail", "--url", nowhere)
    assert said.code == 69
    assert said.out.startswith("Paused mail in the spool ")
    assert "refused" in said.err
