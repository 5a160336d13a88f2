"""Each finding on Redis, provoked on real servers that are set up wrong, and cleared by its remedy."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from spoolq.errors import StoreUnavailable
from spoolq.store.looking import ServerFacts
from tests.drivers import old_server, redis_py
from tests.proxy import Proxy
from tests.servers import NOWHERE, Binary, Server
from tests.unit.doctor.conftest import Make
from tests.unit.doctor.hands import finding, findings, level
from tests.waiting import eventually

ROOT = Path(__file__).parents[3]
Start = Callable[..., Server]


def obey(server: Server, remedy: str) -> None:
    """Do what the remedy says to Redis, as a person would: the command, up to the next sign or word."""
    command = remedy.partition(",")[0].split()
    with server.client() as control:
        control.execute_command(*command)


def as_user(server: Server, *rules: str) -> str:
    """The URL of a user with these rules."""
    with server.client() as control:
        control.execute_command("ACL", "SETUSER", "u", "reset", "on", ">secret", "&*", *rules)
    return server.url.replace("://", "://u:secret@")


def test_redis_that_is_away(fresh_server: Server, make: Make) -> None:
    q = make(fresh_server.url)
    assert level(q, "redis") == "ok"
    fresh_server.kill()
    found = finding(q, "redis")
    assert (found.level, found.remedy) == ("warning", "start Redis, or mend the address")
    assert "refused" in found.what
    assert level(q, "eviction") == "unknown"
    fresh_server.start()
    assert level(q, "redis") == "ok"


def test_redis_that_is_full_and_one_that_refuses_the_login(fresh_server: Server, make: Make) -> None:
    q = make(fresh_server.url)
    with fresh_server.full():
        found = finding(q, "redis")
        assert (found.level, "oom" in found.what) == ("warning", True)
        assert level(q, "memory") == "warning"  # it answers all the same
    assert level(q, "redis") == "ok"
    wrong = make(as_user(fresh_server, "+@all", "~*").replace("secret", "wrong"))
    found = finding(wrong, "redis")
    assert found.level == "problem"
    assert "wrong@" not in found.what


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        (("+@all", "-rpop", "-hset", "~*"), ("hset, rpop",)),
        (("+@all", "~resque:spoolq:*", "~resque:queue*"), ("resque:failed", " more")),
        (("+@all", "~other:*"), ("resque:*",)),
        (("+@all", "-evalsha", "~*"), ("evalsha",)),
    ],
    ids=["commands", "keys", "no key", "scripts"],
)
def test_a_login_without_the_permissions(rules: Any, named: Any, fresh_server: Server, make: Make) -> None:
    q = make(as_user(fresh_server, *rules))
    found = finding(q, "permissions")
    assert found.level == "problem"
    assert found.what.startswith("Redis's user u is denied ")
    assert all(name in found.what for name in named)
    assert found.remedy.startswith("ACL SETUSER u ")
    assert "secret" not in found.what + found.remedy
    obey(fresh_server, found.remedy)
    assert level(make(q.settings.url), "permissions") == "ok"
    assert level(make(q.settings.url), "redis") == "ok"


def test_a_login_that_may_not_ask_is_a_note(fresh_server: Server, make: Make) -> None:
    q = make(as_user(fresh_server, "+@all", "-info", "-config", "~*"))
    found = finding(q, "permissions")
    assert (found.level, "CONFIG, INFO" in found.what) == ("note", True)
    assert level(q, "eviction") == "unknown"
    if fresh_server.binary.version >= "7":  # 6.2 knows no single subcommand to be added to none
        obey(fresh_server, found.remedy)
        assert level(make(q.settings.url), "permissions") == "ok"


def test_a_confirmation_that_the_login_may_not_have(fresh_server: Server, make: Make) -> None:
    q = make(as_user(fresh_server, "+@all", "-wait", "~*"), confirm="replica")
    found = finding(q, "permissions")
    assert (found.level, "WAIT" in found.what) == ("problem", True)
    obey(fresh_server, found.remedy)
    assert level(make(q.settings.url, confirm="replica"), "permissions") == "ok"


def test_a_server_that_throws_keys_away(fresh_server: Server, make: Make) -> None:
    q = make(fresh_server.url)
    with fresh_server.client() as control:
        used = control.info("memory")["used_memory"]
        control.config_set("maxmemory", used + (2 << 20))
        control.config_set("maxmemory-policy", "allkeys-lru")
        assert finding(q, "eviction").level == "problem"
        for number in range(60):
            control.set(f"k{number}", "x" * 100_000)
        found = finding(q, "eviction")
        assert "keys have gone so since it started" in found.what
    obey(fresh_server, found.remedy)
    assert level(q, "eviction") == "ok"


def test_a_server_that_persists_nothing(fresh_server: Server, make: Make) -> None:
    q = make(fresh_server.url)
    found = finding(q, "persistence")
    assert found.level == "warning"
    obey(fresh_server, found.remedy)
    assert level(q, "persistence") == "note"  # everysec
    with fresh_server.client() as control:
        control.config_set("appendfsync", "no")
        found = finding(q, "persistence")
        assert found.level == "warning"
        obey(fresh_server, found.remedy)
        control.config_set("appendfsync", "always")
    assert level(q, "persistence") == "ok"


def test_a_confirmation_by_a_file_that_is_not_there(fresh_server: Server, make: Make) -> None:
    q = make(fresh_server.url, confirm="aof")
    assert [one.level for one in findings(q, "persistence")] == ["problem", "warning"]
    obey(fresh_server, findings(q, "persistence")[0].remedy)
    assert level(q, "persistence") == "note"


def test_a_save_that_failed(fresh_server: Server, make: Make) -> None:
    q = make(fresh_server.url)
    assert level(q, "saving") == "ok"
    in_the_way = fresh_server.dir / "dump.rdb"
    in_the_way.mkdir()
    with fresh_server.client() as control:
        control.bgsave()
        eventually(lambda: control.info("persistence")["rdb_last_bgsave_status"] == "err")
        found = finding(q, "saving")
        assert (found.level, "rdb_last_bgsave_status" in found.what) == ("problem", True)
        in_the_way.rmdir()
        control.bgsave()
        eventually(lambda: control.info("persistence")["rdb_last_bgsave_status"] == "ok")
    assert level(q, "saving") == "ok"


def test_a_server_that_is_nearly_full(fresh_server: Server, make: Make) -> None:
    q = make(fresh_server.url)
    with fresh_server.client() as control:
        used = control.info("memory")["used_memory"]
        control.config_set("maxmemory", int(used * 1.1))
        assert level(q, "memory") == "warning"
        control.config_set("maxmemory", used * 4)
        assert level(q, "memory") == "ok"


def test_a_server_without_a_limit_that_fills_its_machine(make: Make) -> None:
    q = make("redis://127.0.0.1:1/0")
    full = ServerFacts(limit=0, used=90, host_memory=100)
    found = finding(q, "memory", known={"server": full})
    assert (found.level, "no maxmemory" in found.what) == ("warning", True)
    assert level(q, "memory", known={"server": full._replace(used=70)}) == "ok"


def test_a_replica_also_one_that_lost_its_master(start_server: Start, make: Make) -> None:
    master, replica = start_server(), start_server()
    q = make(replica.url)
    with replica.client() as control:
        control.execute_command("REPLICAOF", "127.0.0.1", master.port)
        eventually(lambda: control.info("replication")["master_link_status"] == "up")
        found = finding(q, "role")
        assert (found.level, "lost its master" in found.what) == ("problem", False)
        master.kill()
        eventually(lambda: control.info("replication")["master_link_status"] == "down")
        assert "has lost its master" in finding(q, "role").what
        control.execute_command("REPLICAOF", "NO", "ONE")
    assert level(q, "role") == "ok"


def test_too_few_replicas(fresh_server: Server, make: Make) -> None:
    q = make(fresh_server.url)
    with fresh_server.client() as control:
        control.config_set("min-replicas-to-write", 1)
    found = finding(q, "replicas")
    assert (found.level, "takes no writes" in found.what) == ("problem", True)
    assert "noreplicas" in finding(q, "redis").what
    obey(fresh_server, found.remedy.partition("or ")[2])
    assert level(q, "replicas") == "ok"
    assert level(make(fresh_server.url, confirm="replica"), "replicas") == "problem"


def test_clocks_that_differ(fresh_server: Server, make: Make) -> None:
    import time

    q = make(fresh_server.url)
    assert level(q, "clock") == "ok"
    ahead = finding(q, "clock", wall=lambda: time.time() - 120)
    assert (ahead.level, "2m ahead of this host's" in ahead.what) == ("warning", True)
    assert "30s behind" in finding(q, "clock", wall=lambda: time.time() + 30).what


def doctor(only: str, server: Server, spool: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The whole command, in a process with that environment."""
    command = [sys.executable, "-m", "spoolq", "doctor", "--only", only, "--url", server.url, "--spool", str(spool)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_a_host_whose_clock_was_set_wrong(fresh_server: Server, tmp_path: Path) -> None:
    """Not told to the check: the whole command runs under that clock."""
    (tmp_path / "off").write_text("-120")
    path = os.pathsep.join([str(ROOT / "tests" / "torture" / "clock"), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path, "SPOOLQ_TORTURE_CLOCK": str(tmp_path / "off")}
    said = doctor("clock", fresh_server, tmp_path / "s.db", environment)
    assert (said.returncode, "warning: clock: Redis's clock is 2m ahead of this host's" in said.stdout) == (1, True), said


def test_a_server_that_answers_slowly(fresh_server: Server, make: Make) -> None:
    with Proxy(fresh_server.port) as proxy:
        q = make(proxy.url, deadline=1.0)
        assert level(q, "latency", known={"wait": 0.001}) == "ok"
        assert level(q, "redis") == "ok"
        proxy.rule(b"TIME", "late", times=-1, delay=0.25)
        found = finding(q, "latency")
        assert (found.level, "enqueue waits 1000 ms" in found.what) == ("warning", True)
        found = finding(make(proxy.url, deadline=0.45), "latency")
        assert (found.level, "so that jobs go to the spool" in found.what) == ("problem", True)


def test_a_server_that_is_too_old(request: pytest.FixtureRequest, make: Make) -> None:
    if request.config.getoption("--no-real-redis"):
        pytest.skip("--no-real-redis")
    old = Binary.probe(old_server())
    assert old is not None
    with Server(old) as server:
        q = make(server.url)
        found = finding(q, "version")
        assert (found.level, f"this is Redis {old.version}, and spoolq needs Redis 6.2" in found.what) == ("problem", True)
        with pytest.raises(StoreUnavailable) as refused:
            q.primary.claim(q.worker_info(("mail",), 1), 1, ["mail"], 10)
        assert (refused.value.reason, "Redis 6.2 or newer" in str(refused.value)) == ("unsupported", True)


def test_a_server_without_what_the_settings_need(fresh_server: Server, make: Make) -> None:
    assert level(make(fresh_server.url), "version") == "ok"
    confirming = finding(make(fresh_server.url, confirm="aof"), "version")
    assert confirming.level == ("problem" if fresh_server.binary.id == "redis-6.2" else "ok")


@pytest.mark.parametrize(
    ("known", "expected"),
    [({"redis": "5.0.8"}, "ok"), ({"redis": "4.6.0", "hiredis": "3.0"}, "problem"), ({}, "problem")],
    ids=str,
)
def test_a_library_that_is_too_old(known: dict[str, str], expected: str, make: Make) -> None:
    q = make(NOWHERE)
    assert level(q, "client", known={"client": known}) == expected
    assert level(q, "client") == "ok"


def test_a_library_that_is_too_old_and_is_the_one_that_is_loaded(fresh_server: Server, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(redis_py("4.6.0")), str(ROOT)])}
    said = doctor("client", fresh_server, tmp_path / "s.db", environment)
    assert said.stdout.startswith("problem: client: redis-py 4.6.0 is too old, spoolq needs 5.0 or newer"), said
    assert said.returncode == 1


def test_a_node_of_a_cluster(start_server: Start, make: Make, binary: Binary) -> None:
    server = start_server(cluster_enabled=True)
    q = make(server.url)
    assert finding(q, "cluster").level == "problem"  # it has no slots yet
    with server.client() as control:
        for start in range(0, 16384, 2048):
            control.execute_command("CLUSTER", "ADDSLOTS", *range(start, start + 2048))
        eventually(lambda: "cluster_state:ok" in str(control.execute_command("CLUSTER", "INFO")))
    found = finding(q, "cluster")
    assert (found.level, "{resque}" in found.remedy) == ("problem", True)
    assert level(make(server.url, namespace="{resque}"), "cluster") == "ok"


def test_a_server_whose_connections_run_out(start_server: Start, make: Make) -> None:
    server = start_server(maxclients=30)
    q = make(server.url)
    assert level(q, "connections") == "ok"
    with ExitStack() as held:
        for _ in range(26):
            held.enter_context(server.client()).ping()
        found = finding(q, "connections")
        assert (found.level, "of 30 connections" in found.what) == ("warning", True)
        with server.client() as control:
            control.config_set("maxclients", 300)
        assert level(q, "connections") == "ok"
