"""`spoolq doctor` as a person or a monitor calls it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from spoolq.doctor import CHECKS
from tests.cli.conftest import Run
from tests.cli.hands import fill
from tests.servers import Server

START = Callable[..., Server]


@pytest.fixture
def well(start_server: START) -> str:
    """The URL of a server that is set up as it should be."""
    return start_server(appendonly=True, appendfsync="always").url


def test_a_good_set_up(run: Run, well: str) -> None:
    said = run("doctor", "--url", well, "--only", "server")
    assert (said.code, said.err) == (0, "")
    count = len([one for one in CHECKS if one.subject == "server"])
    assert said.out == f"Nothing found; {count} of {count} checks are well.\n"


def test_a_bad_one_is_told_worst_first_each_with_its_remedy(run: Run, start_server: START) -> None:
    server = start_server(maxmemory_policy="allkeys-lru", maxmemory="64mb")
    said = run("doctor", "--url", server.url, "--only", "server")
    assert said.code == 1
    lines = said.out.splitlines()
    assert lines[:4] == [
        "problem: eviction: Redis throws whole queues away when it is full (allkeys-lru)",
        "  why: a queue is one key: it would be thrown away whole",
        "  do:  CONFIG SET maxmemory-policy noeviction, and the same in redis.conf",
        "",
    ]
    assert lines[4].startswith("warning: persistence: ")
    assert re.fullmatch(r"1 problem, 1 warning; \d+ of \d+ checks are well\.", lines[-1])
    assert max(map(len, lines)) <= 80


def test_redis_that_is_away_is_a_finding_and_one_cause_is_said_once(run: Run, nowhere: str) -> None:
    said = run("doctor", "--url", nowhere)
    assert said.code == 1
    assert "warning: redis: Redis at " in said.out
    assert said.out.count("Redis could not be asked") == 1
    assert "unknown: permissions, eviction, persistence" in said.out
    assert " could not be looked at." in said.out.splitlines()[-1]
    assert max(map(len, said.out.splitlines())) <= 80


def test_json(run: Run, nowhere: str) -> None:
    document = run("doctor", "--url", nowhere, "--json").json
    assert set(document) == {"schema", "ok", "findings"}
    assert document["ok"] is False
    assert {one["name"] for one in document["findings"]} == {one.name for one in CHECKS}
    for one in document["findings"]:
        assert set(one) == {"name", "level", "what", "remedy", "why"}
    good = run("doctor", "--url", nowhere, "--json", "--only", "lease")
    assert (good.code, good.json["ok"], [one["level"] for one in good.json["findings"]]) == (0, True, ["ok"])


def test_the_checks_are_listed_and_none_is_made(run: Run, nowhere: str) -> None:
    said = run("doctor", "--url", nowhere, "--list")
    assert (said.code, len(said.out.splitlines())) == (0, len(CHECKS) + 1)
    assert [one["name"] for one in run("doctor", "--list", "--json").json["checks"]] == [one.name for one in CHECKS]


def test_a_name_that_is_none(run: Run) -> None:
    said = run("doctor", "--only", "nothing")
    assert (said.code, "there is no check 'nothing'" in said.err) == (2, True)


@pytest.mark.parametrize("named", [["shop:q"], ["--app", "shop:q"]])
def test_an_application_makes_its_tasks_known(run: Run, well: str, named: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    fill(well, 1)
    run("enqueue", "lost", "--queue", "mail", "--url", well)
    monkeypatch.setenv("SHOP_URL", well)
    said = run("doctor", *named, "--only", "tasks")
    assert said.code == 1
    assert said.out.startswith("problem: tasks: no task of shop:q has these names: lost in mail\n")


def test_settings_that_cant_be_used_are_a_finding(run: Run, tmp_path: Path) -> None:
    said = run("doctor", "--url", "nonsense://")
    assert (said.code, said.out.startswith("problem: settings: ")) == (1, True)
    (tmp_path / "spoolq.toml").write_text("deadline = -1\n")
    assert run("doctor", "--json").json["findings"][0]["level"] == "problem"


def test_an_app_that_cant_be_loaded_is_said_to_be_that(run: Run, nowhere: str) -> None:
    [found] = run("doctor", "WRONG:q", "--url", nowhere, "--json").json["findings"]
    assert (found["name"], found["level"]) == ("settings", "problem")
    assert "no module 'WRONG'" in found["what"]
    assert "an APP that can't be loaded" in found["why"]
    assert "misspelt" not in found["why"]


HOSTILE = "mail\x1b[2J\x07 $(reboot);'`id`"


def test_a_foreign_name_is_neither_obeyed_by_the_terminal_nor_by_the_shell_it_is_pasted_into(
    run: Run, start_server: START
) -> None:
    server = start_server()
    long = "long" * 500_000
    with server.client() as control:
        control.sadd("resque:queues", HOSTILE, long)
        for queue in (HOSTILE, long):
            control.rpush(f"resque:queue:{queue}", "{}")
    said = run("doctor", "--url", server.url, "--only", "queues")
    assert said.code == 1
    assert "\x1b" not in said.out
    assert len(said.out) < 2000
    [finding] = run("doctor", "--url", server.url, "--only", "queues", "--json").json["findings"]
    command = shlex.split(finding["remedy"].strip("`"))
    assert command == ["spoolq", "worker", "APP", "--queues", HOSTILE]


def test_an_sqlite_queue(run: Run, tmp_path: Path) -> None:
    said = run("doctor", "--url", f"sqlite:///{tmp_path}/queue.db", "--json").json
    assert "redis" not in {one["name"] for one in said["findings"]}
    assert not (tmp_path / "queue.db").exists()
