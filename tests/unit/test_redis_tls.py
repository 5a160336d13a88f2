"""The same connection inside TLS, which Redis's wheels for tests don't speak: a small end of TLS stands before a server."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Iterator

import pytest

from spoolq.errors import StoreUnavailable
from spoolq.job import Message
from spoolq.store.redis import RedisStore
from tests.faults.app import at_once
from tests.servers import Server
from tests.tls import TRUSTED, TlsEnd


@pytest.fixture
def end(server: Server) -> Iterator[TlsEnd]:
    one = TlsEnd(server.port)
    yield one
    one.close()


def opened(port: int, options: str = TRUSTED) -> RedisStore:
    return RedisStore(f"rediss://localhost:{port}/0{options}", deadline=5.0)


def test_puts_and_claims_inside_tls(server: Server, end: TlsEnd) -> None:
    store = opened(end.port)
    big = Message("big", "q", b"x" * (3 << 20))
    for n in range(20):
        assert store.put([Message(f"{n}", "q", b"{}")]) == [True]
    assert store.put([big]) == [True]
    with server.client() as control:
        assert control.llen("resque:queue:q") == 21
        assert control.lindex("resque:queue:q", -1) == big.payload
    from spoolq.store.base import WorkerInfo

    worker = WorkerInfo("k", "h", 1, ("q",))
    small, large = (store.claim(worker, call, ["q"], 50) for call in (1, 2))
    assert (len(small.claims), small.more) == (20, True)  # it wouldn't fit beside them
    assert [claim.payload for claim in large.claims] == [big.payload]
    store.close()


def test_silence_inside_tls_ends_at_the_deadline(end: TlsEnd) -> None:
    store = opened(end.port)
    store.put([Message("warm", "q", b"{}")])
    end.frozen = True
    for payload in (b"{}", b"x" * (16 << 20)):
        end.frozen = False
        store.put([Message(f"warm{len(payload)}", "q", b"{}")])
        end.frozen = True
        with at_once(0.3 + 1.0), pytest.raises(StoreUnavailable) as caught:
            store.put([Message(f"a{len(payload)}", "q", payload)], timeout=0.3)
        assert (caught.value.reason, caught.value.maybe_applied) == ("timeout", True)
    store.close()


def test_a_certificate_that_is_not_trusted(end: TlsEnd) -> None:
    store = opened(end.port, options="")
    with pytest.raises(StoreUnavailable) as caught:
        store.put([Message("a", "q", b"{}")])
    assert (caught.value.reason, caught.value.maybe_applied) == ("tls", False)
    store.close()


def test_a_server_without_tls(server: Server) -> None:
    store = RedisStore(f"rediss://localhost:{server.port}/0{TRUSTED}", deadline=0.5, timeout=1.0)
    with pytest.raises(StoreUnavailable) as caught:
        store.put([Message("a", "q", b"{}")])
    assert caught.value.reason in ("tls", "cut", "connect_timeout")
    assert not caught.value.maybe_applied
    store.close()


def test_a_child_does_not_end_the_parents_session(server: Server) -> None:
    # a child forked while another thread is inside OpenSSL may find locks held for ever: so the end is no thread of ours
    with subprocess.Popen(
        [sys.executable, "-m", "tests.tls", str(server.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as apart:
        assert apart.stdout is not None
        store = opened(int(apart.stdout.readline()))
        store.put([Message("a", "q", b"{}")])
        (channel,) = store._transport._idle  # type: ignore[attr-defined]
        pid = os.fork()
        if pid == 0:
            try:
                done = store.put([Message("b", "q", b"{}")]) == [True]
                store.close()
            except BaseException:
                traceback.print_exc()
                done = False
            os._exit(0 if done else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert store.put([Message("c", "q", b"{}")]) == [True]
        assert list(store._transport._idle) == [channel]  # type: ignore[attr-defined]
        store.close()
