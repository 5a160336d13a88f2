"""The tests' own tools work: every server found starts, dies, freezes and comes back; the proxy does what its table says."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.proxy import Action, Proxy
from tests.servers import Binary, Server, find_servers
from tests.waiting import eventually

PATIENT = 20.0
"""Seconds for an answer that comes, on a busy machine."""


def connected(port: int, timeout: float = PATIENT) -> redis.Redis:
    return redis.Redis(port=port, socket_timeout=timeout, socket_connect_timeout=timeout, retry=Retry(NoBackoff(), 0))


def test_a_server_starts_and_is_empty(server: Server, binary: Binary) -> None:
    with server.client() as control:
        assert control.ping()
        assert control.dbsize() == 0
        info = control.info("server")
    assert info.get("valkey_version", info["redis_version"]) == binary.version


def test_a_killed_server_comes_back_with_what_it_synced(start_server: Callable[..., Server]) -> None:
    server = start_server(appendonly=True, appendfsync="always")
    with server.client() as control:
        control.rpush("q", *range(100))
        server.kill()
        with pytest.raises(redis.ConnectionError):
            control.ping()
        server.restart()
        assert control.llen("q") == 100


def test_a_killed_server_that_persists_nothing_comes_back_empty(fresh_server: Server) -> None:
    with fresh_server.client() as control:
        control.set("a", 1)
        fresh_server.restart()
        assert control.dbsize() == 0


def test_a_stopped_server_executes_what_was_sent_once_it_goes_on(fresh_server: Server) -> None:
    with connected(fresh_server.port, 2.0) as client, fresh_server.client() as control:
        client.ping()
        fresh_server.stop()
        with pytest.raises(redis.TimeoutError):
            client.rpush("q", "zombie")
        fresh_server.cont()
        eventually(lambda: control.llen("q") == 1)


def test_a_full_server_refuses_writes_and_heals(fresh_server: Server) -> None:
    with fresh_server.client() as control:
        control.rpush("q", "a")
        with fresh_server.full():
            with pytest.raises(redis.ResponseError, match=r"OOM|maxmemory"):
                control.rpush("q", "b")
            assert control.lpop("q") == b"a"
        assert control.rpush("q", "b") == 1


def test_closing_leaves_no_process_and_no_directory(binary: Binary) -> None:
    with Server(binary) as server:
        pid, folder = server.pid, server.dir
        server.stop()
    assert not folder.exists()
    assert not Path(f"/proc/{pid}").exists() or subprocess.run(["kill", "-0", str(pid)], check=False).returncode


def test_a_server_named_in_the_environment_that_does_not_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="does not run"):
        find_servers({"SPOOLQ_TEST_REDIS_SERVER": str(tmp_path / "absent")})


@pytest.mark.parametrize(
    ("action", "entries", "error"),
    [
        ("cut_before", 0, redis.ConnectionError),
        ("cut_inside", 0, redis.ConnectionError),
        ("cut_reply", 1, redis.ConnectionError),
        ("fin_reply", 1, redis.ConnectionError),
        ("part_reply", 1, redis.ConnectionError),
        ("swallow", 1, redis.TimeoutError),
        ("late", 1, redis.TimeoutError),
        ("late_request", 1, redis.TimeoutError),
        ("dribble", 1, None),
        ("garbage", 1, redis.RedisError),
        ("wrong_type", 1, None),
    ],
)
def test_the_proxy_does_what_its_table_says(server: Server, action: Action, entries: int, error: type[Exception] | None) -> None:
    timeout = 2.0 if error is redis.TimeoutError else PATIENT
    with Proxy(server.port) as proxy, connected(proxy.port, timeout) as client, server.client() as control:
        assert client.ping()
        rule = proxy.rule(b"RPUSH", action, delay=0.2 if action == "dribble" else 60.0)
        if error is None:
            client.rpush("q", "x")
        else:
            with pytest.raises(error):
                client.rpush("q", "x")
        rule.wait()
        if action == "late_request":
            rule.release()
        eventually(lambda: control.llen("q") == entries)
        client.connection_pool.disconnect()
        assert client.rpush("q", "y") == entries + 1
        assert rule.fired == 1


def test_the_proxy_as_a_whole_refuses_resets_falls_silent_and_heals(server: Server) -> None:
    with Proxy(server.port) as proxy, connected(proxy.port) as client, connected(proxy.port, 0.3) as impatient:
        assert client.ping()
        proxy.refuse()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", proxy.port), PATIENT)
        proxy.heal()
        assert client.ping()
        proxy.behave("silent")
        with pytest.raises(redis.TimeoutError):
            impatient.ping()
        proxy.behave("reset")
        client.connection_pool.disconnect()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        proxy.heal()
        assert client.ping()


def test_a_client_that_retries_doubles_what_it_pushed(server: Server) -> None:
    """Teeth: the set-up that the proxy is there to catch is caught. redis-py 6 and newer does so by default."""
    with Proxy(server.port) as proxy, server.client() as control:
        with redis.Redis(port=proxy.port, retry=Retry(NoBackoff(), 3), retry_on_error=[redis.ConnectionError]) as retrying:
            retrying.ping()
            proxy.rule(b"RPUSH", "cut_reply")
            retrying.rpush("q", "x")
        assert control.llen("q") == 2
