"""`spoolq config`."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from spoolq.config import KINDS
from tests.cli.conftest import Run
from tests.servers import Server


def test_show_names_each_value_and_where_it_came_from(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("spoolq.toml").write_text('lease = "1m"\n')
    monkeypatch.setenv("SPOOLQ_URL", "redis://web:hush@h:1/0")
    said = run("config", "show", "--namespace", "shop")
    rows = {line.split()[0]: line.split()[1:] for line in said.out.splitlines()[1:]}
    assert list(rows) == list(KINDS)
    assert rows["lease"] == ["1m", "spoolq.toml"]
    assert rows["url"] == ["redis://web:***@h:1/0", "SPOOLQ_URL"]
    assert rows["namespace"] == ["shop", "argument"]
    assert rows["keep"] == ["1m", "default"]
    assert (rows["scale_target"], rows["scale_delay"]) == (["10s", "default"], ["10ms", "default"])
    assert rows["horizon"] == ["7d", "default"]
    assert "hush" not in said.out + said.err
    assert said.err == "Read from spoolq.toml.\n"


def test_show_as_json(run: Run) -> None:
    shown = run("config", "show", "--json", "--url", "redis://:hush@h/0").json
    assert shown["settings"]["url"] == {"value": "redis://:***@h/0", "origin": "argument"}
    assert shown["destination"] == "redis://h:6379/0#resque"
    assert shown["settings"]["deadline"] == {"value": 20.0, "origin": "SPOOLQ_DEADLINE"}
    assert shown["settings"]["grace"] == {"value": 25, "origin": "default"}
    assert set(shown["settings"]) == set(KINDS)


def test_a_password_file_is_used_and_never_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("secret").write_text("hush")
    monkeypatch.setenv("SPOOLQ_REDIS_PASSWORD_FILE", "secret")
    for args in (("config", "show"), ("config", "show", "--json"), ("config", "check")):
        said = run(*args)
        assert said.code == 0
        assert "hush" not in said.out + said.err


def test_check_is_content(run: Run, server: Server) -> None:
    said = run("config", "check", "--url", server.url)
    assert (said.code, said.out) == (0, "ok: every setting can be used\n")
    assert run("config", "check", "--json", "--url", server.url).json == {"schema": 1, "ok": True, "findings": []}
    assert not Path("home").exists(), "looking made a file"


def test_check_says_when_redis_could_not_be_asked(run: Run, nowhere: str) -> None:
    said = run("config", "check", "--url", nowhere)
    assert said.code == 0
    assert said.out.startswith("note: Redis takes no jobs now, so its login and the URL's options may not have been tried. ")
    assert said.out.endswith("ok: every setting can be used\n")


def test_check_finds_what_is_odd(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOOLQ_RETRYS", "1")
    assert run("config", "check").code == 1
    said = run("config", "check", "--spool", "missing/spool.db")
    assert said.code == 78
    assert said.out.splitlines()[0] == "warning: unknown variable SPOOLQ_RETRYS, did you mean SPOOLQ_RETRIES?"
    assert "missing; make it, for the user who enqueues" in said.out.splitlines()[1]
    assert said.err == ""


def test_check_asks_redis_about_its_url(run: Run, server: Server, nowhere: str) -> None:
    assert run("config", "check", "--url", nowhere).code == 0  # away is no fault of a setting
    assert run("config", "check", "--url", server.url).code == 0
    said = run("config", "check", "--url", f"{server.url}?socket_timeot=3")
    assert said.code == 78
    assert "socket_timeot" in said.out
    assert "an option of the URL is wrong" in said.out


def test_check_finds_what_is_wrong(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOOLQ_RETRIES", "x")
    said = run("config", "check", "--json")
    assert said.code == 78
    assert said.json["findings"][0]["level"] == "error"


def test_check_looks_at_the_spools_file(run: Run, server: Server) -> None:
    def finding(spool: str) -> str:
        said = run("config", "check", "--spool", spool, "--url", server.url)
        assert said.code == 78
        return said.out

    Path("folder").mkdir()
    Path("text.db").write_text("hello, I am no database " * 10)
    with sqlite3.connect("other.db") as other:
        other.execute("CREATE TABLE mine (a)")
    assert run("enqueue", "send", "--spool", "theirs.db", "--url", "redis://127.0.0.1:1/0").code == 0
    assert "folder is a directory: name a file in it" in finding("folder")
    assert "text.db is not a SQLite database" in finding("text.db")
    assert "other.db is a SQLite database of something else" in finding("other.db")
    assert "theirs.db holds jobs for redis://127.0.0.1:1/0#resque, not for " in finding("theirs.db")
