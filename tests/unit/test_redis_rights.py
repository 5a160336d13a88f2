"""What a login may not do is named; and the list of what spoolq asks of Redis is the one that its code shows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from spoolq.store.looking import Denied
from spoolq.store.redis import RedisStore
from spoolq.store.redis.rights import DIRECT, KEYS, OPTIONAL, READS, SCRIPTED, WRITES
from tests.servers import Server

PACKAGE = Path(str(files("spoolq.store.redis")))
LUA = "\n".join(
    re.sub(r"--[^\n]*", "", path.read_text()) for path in PACKAGE.joinpath("scripts").glob("*.lua") if path.stem != "rights"
)
PYTHON = "\n".join(path.read_text() for path in PACKAGE.glob("*.py") if path.stem != "rights")
AS_USER: Callable[[Server], str] = lambda server: server.url.replace("://", "://u:p@")  # noqa: E731


def test_every_command_of_the_code_is_asked_for():
    scripted = set(re.findall(r"(?:call|pcall|display|back)\('([A-Z]+)'", LUA))
    direct = set(re.findall(r"\(b\"([A-Z]{3,})\"[,)]", PYTHON)) | set(re.findall(r"_scan\(b\"([A-Z]+)\"", PYTHON))
    known = {*SCRIPTED, *DIRECT, *OPTIONAL}
    assert scripted > {"RPUSH", "ZADD"}
    assert direct > {"TIME", "BLPOP"}
    assert (scripted | direct) - {"ACL"} <= known
    assert set(SCRIPTED) <= scripted | direct
    assert {*READS, *WRITES} <= set(SCRIPTED)


def test_every_key_of_the_scripts_is_asked_for():
    named = set(re.findall(r"P \.\. '([^']+)'", LUA))
    assert len(named) > 8
    for key in named:
        assert any(key == one or key.startswith(one.rstrip("*")) for one in KEYS), key


@pytest.fixture
def denied(fresh_server: Server) -> Iterator[Callable[..., Denied]]:
    """What the user `u` with these rules is denied; afterwards nothing is left in Redis."""
    opened: list[RedisStore] = []

    def ask(*rules: str) -> Denied:
        with fresh_server.client() as control:
            control.execute_command("ACL", "SETUSER", "u", "reset", "on", ">p", "&*", *rules)
            store = RedisStore(AS_USER(fresh_server), deadline=20.0, timeout=20.0)
            opened.append(store)
            found = store.denied(5.0)
            assert found is not None
            assert control.keys("*") == []
            return found

    yield ask
    for store in opened:
        store.close()


@pytest.mark.parametrize(
    ("rules", "commands", "optional", "keys"),
    [
        (("+@all", "~*"), (), (), ()),
        (("+@all", "~resque:*"), (), (), ()),
        (("+@all", "-rpop", "-hset", "-info", "~*"), ("hset", "rpop"), ("info",), ()),
        (("+@all", "-blpop", "-config", "~*"), ("blpop",), ("config",), ()),
        (("+@all", "-evalsha", "~*"), ("evalsha",), (), ()),
        (("+@all", "-time", "~*"), ("time",), (), ()),
        (("+@all", "~resque:queues"), (), (), ("resque:*",)),
        (
            ("+@all", *(f"~resque:{key}" for key in KEYS if key not in ("failed", "stat:*"))),
            (),
            (),
            ("resque:failed", "resque:stat:*"),
        ),
    ],
    ids=str,
)
def test_what_is_denied_is_named_and_nothing_is_left_behind(denied, rules, commands, optional, keys):
    assert denied(*rules)[1:] == (commands, optional, keys)


def test_a_key_that_may_only_be_read_is_denied(denied, binary):
    if binary.kind == "redis" and binary.version < "7":
        rules = ("+@all", "~resque:spoolq:*", *(f"~resque:{key}" for key in KEYS if key != "queue:*"))
    else:
        rules = ("+@all", "%R~resque:queue:*", *(f"~resque:{key}" for key in KEYS if key != "queue:*"))
    assert denied(*rules).keys == ("resque:queue:*",)


def test_the_user_is_named(denied):
    assert denied("+@all", "-hset", "~*").user == "u"
    assert denied("+@all", "-hset", "-acl", "~*").user == ""


def test_another_workers_list_is_told_apart(fresh_server: Server):
    store = RedisStore(fresh_server.url, deadline=20.0, timeout=20.0)
    try:
        with fresh_server.client() as control:
            control.sadd("resque:workers", "ruby:1:mail", "node:2:mail", "gone:3:mail", "odd:4:mail")
            control.hset("resque:workers:heartbeat", "ruby:1:mail", "2026-11-26T10:00:00+00:00")
            control.set("resque:worker:ping:node:2:mail", '{"time": 1795687200, "name": "node:2:mail"}')
            control.set("resque:worker:ping:odd:4:mail", "[")
        found = {one.id: one.heard for one in store.strangers(10)}
        assert found == {"ruby:1:mail": 1795687200.0, "node:2:mail": 1795687200.0, "gone:3:mail": None, "odd:4:mail": None}
        assert len(store.strangers(2)) == 2
    finally:
        store.close()
