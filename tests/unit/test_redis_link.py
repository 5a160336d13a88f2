"""The warm connections and the thread that makes them."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from spoolq.errors import StoreUnavailable
from spoolq.job import Message
from spoolq.store.redis import RedisStore
from spoolq.store.redis.clock import RedisClock
from spoolq.store.redis.link import WARM, Link
from spoolq.store.redis.resp import ReplyError
from tests.faults.app import at_once
from tests.proxy import Proxy
from tests.servers import NOWHERE, Server
from tests.waiting import eventually

SLACK = 1.0
Opened = Callable[[str], Link]


@pytest.fixture
def opened() -> Iterator[Opened]:
    links: list[Link] = []

    def one(url: str) -> Link:
        links.append(Link(url, url, RedisClock(), budget=40.0, load=("put",)))
        return links[-1]

    yield one
    for link in links:
        link.close()


def soon(seconds: float = 40.0) -> float:
    return time.monotonic() + seconds


def test_it_speaks_over_tcp_and_unix_sockets(server: Server, opened: Opened) -> None:
    for url in (server.url, f"unix://{server.socket}"):
        link = opened(url)
        assert link.call((b"PING",), soon()) == b"PONG"
        assert abs(link.clock.now() - time.time()) < 10


def test_the_database_of_the_url_is_used(server: Server, opened: Opened) -> None:
    opened(server.url.replace("/0", "/3")).call((b"SET", b"x", b"1"), soon())
    assert opened(server.url.replace("/0", "/3")).call((b"GET", b"x"), soon()) == b"1"
    assert opened(server.url).call((b"GET", b"x"), soon()) is None


@pytest.mark.parametrize(("option", "version"), [("", 2), ("?protocol=2", 2), ("?protocol=3", 3)])
def test_the_protocol_of_the_url_is_spoken(server: Server, opened: Opened, option: str, version: int) -> None:
    link = opened(server.url + option)
    assert link.call((b"HSET", b"h", b"field", b"value"), soon()) == 1
    assert link.call((b"HGETALL", b"h"), soon()) == [b"field", b"value"]
    hello = link.call((b"HELLO",), soon())
    assert hello[hello.index(b"proto") + 1] == version


def test_a_protocol_that_there_is_not_is_a_wrong_option(server: Server, opened: Opened) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        opened(server.url + "?protocol=4").call((b"PING",), soon())
    assert (caught.value.reason, caught.value.maybe_applied) == ("config", False)


def test_an_error_reply_is_returned(server: Server, opened: Opened) -> None:
    link = opened(server.url)
    assert isinstance(link.call((b"HGET", b"x"), soon()), ReplyError)
    assert link.call((b"PING",), soon()) == b"PONG"


def test_threads_share_a_few_connections(server: Server, opened: Opened) -> None:
    link = opened(server.url)
    answers: list[Any] = []

    def ask() -> None:
        answers.extend(link.call((b"ECHO", b"%d" % n), soon()) for n in range(50))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == sorted([b"%d" % n for n in range(50)] * 8)
    assert len(link._idle) <= WARM


def test_refused_is_said_at_once_and_again(opened: Opened) -> None:
    link = opened(NOWHERE)
    for _ in range(2):
        with at_once(SLACK), pytest.raises(StoreUnavailable) as caught:
            link.call((b"PING",), soon())
        assert (caught.value.reason, caught.value.maybe_applied) == ("refused", False)


def test_a_missing_socket_is_refused(opened: Opened, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="refused"):
        opened(f"unix://{tmp_path}/none").call((b"PING",), soon())


def test_a_name_that_does_not_exist(opened: Opened) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        opened("redis://no-such-host.invalid:6379/0").call((b"PING",), soon(40))
    assert (caught.value.reason, caught.value.maybe_applied) == ("dns", False)


def test_a_resolver_that_hangs_holds_no_caller_and_one_thread(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    release, asked = threading.Event(), []
    eventually(lambda: all(thread.name != "spoolq-connect" for thread in threading.enumerate()), what="no other test's thread")

    def hang(*args: Any, **kwargs: Any) -> Any:
        asked.append(args)
        release.wait(30)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    link = opened("redis://redis.example:6379/0")
    try:
        for _ in range(3):
            with at_once(0.1 + SLACK), pytest.raises(StoreUnavailable) as caught:
                link.call((b"PING",), soon(0.1))
            assert (caught.value.reason, caught.value.maybe_applied) == ("connect_timeout", False)
        assert len(asked) == 1
        assert sum(thread.name == "spoolq-connect" for thread in threading.enumerate()) == 1
    finally:
        release.set()
    eventually(lambda: all(thread.name != "spoolq-connect" for thread in threading.enumerate()))


def test_a_connection_that_comes_late_is_warm_for_the_next(server: Server, opened: Opened) -> None:
    server.stop()
    link = opened(server.url)
    try:
        with pytest.raises(StoreUnavailable, match="connect_timeout"):
            link.call((b"PING",), time.monotonic() + 0.05)
    finally:
        server.cont()
    eventually(lambda: len(link._idle) == 1)
    assert link.call((b"PING",), soon()) == b"PONG"


def test_no_handshake_outlasts_a_caller(server: Server, opened: Opened) -> None:
    with Proxy(server.port) as proxy:
        proxy.behave("silent")
        with at_once(0.1 + SLACK), pytest.raises(StoreUnavailable, match="connect_timeout"):
            opened(proxy.url).call((b"PING",), soon(0.1))


def test_connections_that_died_while_idle_cost_nothing(server: Server, opened: Opened) -> None:
    """Nothing was sent on them: the request goes out on a new one, and there is no doubt."""
    with Proxy(server.port) as proxy:
        link = opened(proxy.url)
        assert link.call((b"INCR", b"n"), soon()) == 1
        proxy.reset_all()
        eventually(lambda: link._idle[0]._poll.poll(0))
        assert link.call((b"INCR", b"n"), soon()) == 2


def test_a_wrong_password_is_not_shown(fresh_server: Server, opened: Opened) -> None:
    with fresh_server.client() as control:
        control.config_set("requirepass", "right")
    store = RedisStore(fresh_server.url.replace("redis://", "redis://:wr0ng-secret@"))
    try:
        with pytest.raises(StoreUnavailable) as caught:
            store.ready(40.0)
        assert caught.value.reason == "auth"
        shown = f"{caught.value} {caught.value.__cause__} {store!r} {store.address} {store.failures!r}"
        assert "wr0ng" not in shown
    finally:
        store.close()
    right = opened(fresh_server.url.replace("redis://", "redis://:right@"))
    assert right.call((b"PING",), soon()) == b"PONG"


def test_a_missing_password_is_auth(fresh_server: Server, opened: Opened) -> None:
    with fresh_server.client() as control:
        control.config_set("requirepass", "right")
    with pytest.raises(StoreUnavailable) as caught:
        opened(fresh_server.url).call((b"PING",), soon())
    assert caught.value.reason == "auth"


def test_too_many_clients(start_server: Callable[..., Server], opened: Opened) -> None:
    crowded = start_server()
    with crowded.client() as control:
        control.config_set("maxclients", 1)
        with pytest.raises(StoreUnavailable) as caught:
            opened(crowded.url).call((b"PING",), soon())
    assert caught.value.reason in ("maxclients", "cut")  # the server may close before its error is read
    assert not caught.value.maybe_applied


def test_what_is_closed_says_so(server: Server, opened: Opened) -> None:
    link = opened(server.url)
    link.call((b"PING",), soon())
    link.close()
    link.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        link.call((b"PING",), soon())


def test_a_process_that_can_have_no_more_threads_is_told_so_and_connects_once_it_can(
    server: Server, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = opened(server.url)
    with monkeypatch.context() as limits:
        limits.setattr(threading.Thread, "start", _no_thread)
        with pytest.raises(StoreUnavailable, match="out of file descriptors, threads or memory") as refused:
            link.call((b"PING",), soon())
        assert not refused.value.maybe_applied
    assert link.call((b"PING",), soon()) == b"PONG"


def _no_thread(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_an_interrupted_call_leaves_no_reply_behind(server: Server, opened: Opened) -> None:
    """KeyboardInterrupt in the middle of a call: its connection is not used again."""
    link = opened(server.url)
    assert link.call((b"ECHO", b"warm"), soon()) == b"warm"

    def interrupted() -> bytes:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        link.request(interrupted, soon())
    assert link.call((b"ECHO", b"mine"), soon()) == b"mine"


def test_a_child_has_connections_of_its_own(server: Server) -> None:
    """What the parent had is neither used nor ended by the child, and the child frees none of the parent's ids."""
    store = RedisStore(server.url, deadline=20.0, timeout=20.0)
    store.put([Message("parent", "q", b"{}")])
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:  # no assertion in here: the child must not become a second pytest
        try:
            new = store.put([Message("child", "q", b"{}")])
            known = store.put([Message("parent", "q", b"{}")])
            store.close()
            os.write(write, b"yes" if (new, known) == ([True], [False]) else b"no")
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    try:
        assert os.read(read, 10) == b"yes"
    finally:
        os.close(read)
        os.close(write)
    assert store.put([Message("again", "q", b"{}")]) == [True]
    store.close()
    with server.client() as control:
        assert control.llen("resque:queue:q") == 3
        assert control.zcard("resque:spoolq:markers") == 0


def test_a_fork_while_a_connection_is_made(server: Server) -> None:
    """The connector's thread doesn't come along, nor may its lock stay held."""
    server.stop()
    store = RedisStore(server.url, timeout=40.0)
    with pytest.raises(StoreUnavailable):
        store.put([Message("a", "q", b"{}")], timeout=0.05)
    pid = os.fork()
    if pid == 0:
        try:
            done = store.put([Message("b", "q", b"{}")], timeout=40.0) == [True]
        except BaseException:
            done = False
        os._exit(0 if done else 1)
    server.cont()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    store.close()
