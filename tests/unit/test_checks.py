"""Each finding, from the facts that call for it; and that real servers tell those facts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import pytest

from spoolq import checks
from spoolq.errors import StoreUnavailable
from spoolq.store.looking import ServerFacts
from spoolq.store.redis import RedisStore, outcomes
from tests.servers import Server
from tests.unit.test_verdict import INFO

SAFE = ServerFacts(
    policy="noeviction", used=10, limit=100, appendonly=True, appendfsync="always", save="", role="master", unasked=""
)


def of_server(store: RedisStore, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged of its server: a thread that another test left may log something too."""
    return [said for said in caplog.messages if store.address in said]


def found(facts: ServerFacts) -> list[tuple[str, str]]:
    return [(one.level, one.name) for one in checks.server(facts)]


def test_a_server_that_keeps_everything_is_no_finding():
    assert found(SAFE) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"policy": "allkeys-lru"}, ("problem", "eviction")),
        ({"policy": "allkeys-random", "limit": 0}, ("warning", "eviction")),
        ({"policy": "volatile-ttl"}, ("warning", "eviction")),
        ({"appendfsync": "everysec"}, ("note", "persistence")),
        ({"appendfsync": "no"}, ("warning", "persistence")),
        ({"appendonly": False}, ("warning", "persistence")),
        ({"appendonly": False, "save": "3600 1"}, ("warning", "persistence")),
        ({"appendonly": False, "save": None}, ("warning", "persistence")),
        ({"used": 80}, ("warning", "memory")),
        ({"role": "slave"}, ("problem", "role")),
    ],
    ids=str,
)
def test_a_server_that_may_lose_jobs_is_one_with_a_remedy(changes, expected):
    assert found(SAFE._replace(**changes)) == [expected]
    [finding] = checks.server(SAFE._replace(**changes))
    assert finding.what
    assert finding.remedy


@pytest.mark.parametrize("changes", [{"limit": 0, "used": 80}, {"limit": None}, {"used": None}], ids=str)
def test_without_a_limit_or_a_measure_nothing_is_said_of_memory(changes):
    assert found(SAFE._replace(**changes)) == []


@pytest.mark.parametrize(
    ("changes", "name", "what"),
    [
        ({"policy": None}, "eviction", "maxmemory-policy"),
        ({"appendonly": None}, "persistence", "whether it persists"),
        ({"appendfsync": None}, "persistence", "appendfsync"),
    ],
    ids=str,
)
def test_what_the_server_would_not_say_is_said(changes, name, what):
    [finding] = checks.server(SAFE._replace(unasked="CONFIG GET appendfsync: noperm", **changes))
    assert (finding.level, finding.name) == ("unknown", name)
    assert f"Redis could not be asked for {what}" in finding.what or f"Redis could not be asked for its {what}" in finding.what
    assert "noperm" in finding.what


def test_a_server_that_does_not_take_the_probe():
    def finding(reason: outcomes.Reason) -> tuple[str, str]:
        one = checks.refusal(outcomes.unavailable(reason, "r:1", "said so"))
        assert one.remedy
        return one.level, one.name

    assert finding(outcomes.AUTH) == ("problem", "permissions")
    assert finding(outcomes.NOPERM_KEY) == ("problem", "permissions")
    assert finding(outcomes.OOM) == ("warning", "refuses")
    assert finding(outcomes.TIMEOUT) == ("unknown", "redis")
    assert checks.refusal(StoreUnavailable("words", reason="error")).what == "Redis could not be asked: words"


@pytest.mark.parametrize(
    ("version", "racy"), [("3.37.0", True), ("3.40.1", True), ("3.51.2", True), ("3.51.3", False), ("3.52.0", False)]
)
def test_the_versions_of_sqlite_that_race(version, racy):
    assert (checks.sqlite(version) is not None) is racy


def test_rows_that_nobody_moves():
    old = replace(INFO, rows=3, oldest=3600.0)
    assert checks.waiting(INFO, answers=True) is None
    assert checks.waiting(old, answers=False) is None
    assert checks.waiting(replace(old, drained=9.0), answers=True) is None  # they leave it: that takes its time
    assert "1 h" in (finding := checks.waiting(old, answers=True)).what
    assert "spoolq drain" in finding.remedy
    assert "resume" in checks.waiting(replace(old, drain_paused_at=5.0), answers=True).remedy


def test_outcomes_that_redis_could_not_be_told_are_a_note() -> None:
    assert checks.untold(INFO) is None
    finding = checks.untold(replace(INFO, settlements=3))
    assert finding is not None
    assert (finding.level, "3 jobs" in finding.what, "worker" in finding.remedy) == ("note", True, True)


# real servers


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"appendonly": True, "appendfsync": "always"}, []),
        ({"appendonly": True}, [("note", "persistence")]),
        ({"maxmemory_policy": "allkeys-lru", "maxmemory": "64mb"}, [("problem", "eviction"), ("warning", "persistence")]),
    ],
    ids=["safe", "everysec", "cache"],
)
def test_a_real_server_tells_how_it_is_set_up(options, expected, start_server: Callable[..., Server]):
    store = RedisStore(start_server(**options).url)
    try:
        facts = store.server_facts(5.0)
        assert facts is not None
        assert (facts.unasked, facts.role) == ("", "master")
        assert facts.used
        assert facts.used > 100_000
        assert found(facts) == expected
    finally:
        store.close()


def test_a_user_who_may_not_ask_is_told_so(fresh_server: Server):
    with fresh_server.client() as control:
        control.execute_command("ACL", "SETUSER", "u", "on", ">p", "~*", "&*", "+@all", "-info", "-config")
    store = RedisStore(fresh_server.url.replace("://", "://u:p@"), deadline=20.0, timeout=20.0)
    try:
        facts = store.server_facts(5.0)
        assert facts is not None
        assert "INFO: noperm, CONFIG GET appendfsync: noperm" in facts.unasked
        assert found(facts) == [("unknown", "eviction"), ("unknown", "persistence")]
        assert store.ready(5.0) > 0
    finally:
        store.close()


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_wrong_policy_is_a_warning_at_connect_once_a_process(protocol: int, start_server: Callable[..., Server], caplog):
    server = start_server(maxmemory_policy="volatile-lru")
    caplog.set_level(logging.WARNING)
    for _ in range(2):
        store = RedisStore(f"{server.url}?protocol={protocol}", deadline=20.0, timeout=20.0)
        store.ready(5.0)
        store.close()
    said = of_server(store, caplog)
    assert len(said) == 1
    assert "volatile-lru" in said[0]
    assert "noeviction" in said[0]


def test_noeviction_is_no_warning(fresh_server: Server, caplog):
    store = RedisStore(fresh_server.url, deadline=20.0, timeout=20.0)
    store.ready(5.0)
    store.close()
    assert of_server(store, caplog) == []


@pytest.mark.parametrize("missing", ["queues", "spoolq:*"])
def test_a_probe_sees_that_a_key_of_every_put_is_forbidden(missing: str, fresh_server: Server):
    keys = [f"~resque:{name}" for name in ("queues", "queue:*", "spoolq:*") if name != missing]
    with fresh_server.client() as control:
        control.execute_command("ACL", "SETUSER", "u", "on", ">p", "&*", "+@all", *keys)
    store = RedisStore(fresh_server.url.replace("://", "://u:p@"), deadline=20.0, timeout=20.0)
    try:
        with pytest.raises(StoreUnavailable) as caught:
            store.ready(5.0)
        assert checks.refusal(caught.value).name == "permissions"
    finally:
        store.close()


def test_the_check_names_the_permission_without_which_a_push_can_not_be_taken_back(fresh_server: Server):
    with fresh_server.client() as control:
        control.execute_command("ACL", "SETUSER", "u", "on", ">p", "~*", "&*", "+@all", "-rpop")
    store = RedisStore(fresh_server.url.replace("://", "://u:p@"), deadline=20.0, timeout=20.0)
    try:
        with pytest.raises(StoreUnavailable) as caught:
            store.ready(5.0)
        finding = checks.refusal(caught.value)
        assert (finding.level, finding.name) == ("problem", "permissions")
        assert "+rpop" in finding.remedy
    finally:
        store.close()
