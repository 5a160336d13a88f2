"""What Redis says of what it has persisted, from a transport that answers as told. Real servers are in tests/contract and
tests/faults."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, cast

import pytest

from spoolq.errors import StoreFull, StoreUnavailable
from spoolq.store.base import Life
from spoolq.store.redis.clock import RedisClock
from spoolq.store.redis.keeping import Keeper
from spoolq.store.redis.names import Names
from spoolq.store.redis.resp import ReplyError

INFO = b"# Server\r\nrun_id:abc\r\n# Replication\r\nrole:master\r\nmaster_replid:def\r\nmaster_repl_offset:42\r\n"
NO_AOF = ReplyError("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.")
FULL = ReplyError("OOM command not allowed when used memory > 'maxmemory'.")


class Link:
    """Answers each call with what it was given."""

    def __init__(self, *answers: Any) -> None:
        self.clock = RedisClock()
        self.answers = list(answers)
        self.said: list[Sequence[bytes]] = []

    def open(self, deadline: float) -> None:
        pass

    def call(self, args: Sequence[bytes], deadline: float, valid: Any = None, *, patient: bool = False) -> Any:
        self.said.append(args)
        answer = self.answers.pop(0)
        if isinstance(answer, StoreUnavailable):
            raise answer
        return answer

    def talk(self, commands: Sequence[Sequence[bytes]], deadline: float) -> list[Any]:
        return [self.call(command, deadline) for command in commands]


def keeper(link: Link) -> Keeper:
    return Keeper(cast(Any, link), Names("resque"), "redis://h")


@pytest.mark.parametrize(
    ("answer", "life"),
    [
        (INFO, Life("abc", "def", 42)),
        (b"# Server\r\nrun_id:abc\r\n", Life()),
        (ReplyError("NOPERM this user has no permissions to run the 'info' command"), Life()),
        (StoreUnavailable("no such command", reason="unsupported"), Life()),
    ],
)
def test_a_life_is_read_from_info_where_there_is_one(answer: Any, life: Life) -> None:
    assert keeper(Link(answer)).life(time.monotonic() + 1) == life


def test_a_server_that_is_away_has_no_life() -> None:
    with pytest.raises(StoreUnavailable):
        keeper(Link(StoreUnavailable("away", reason="refused"))).life(0.0)


@pytest.mark.parametrize(
    ("replica", "reply", "said"),
    [
        (False, [1, 0], True),
        (False, [0, 1], False),
        (False, NO_AOF, None),
        (False, ReplyError("ERR unknown command 'WAITAOF'"), None),
        (True, 1, True),
        (True, 2, True),
        (True, 0, False),
    ],
)
def test_the_count_that_comes_back_is_compared(replica: bool, reply: Any, said: bool | None) -> None:
    link = Link(b"OK", reply)
    assert keeper(link).persisted(replica, time.monotonic() + 1) is said
    command, number, *rest = link.said[1]
    assert (command, number, len(rest)) == ((b"WAIT", b"1", 1) if replica else (b"WAITAOF", b"1", 2))
    assert 1 <= int(rest[-1]) < 1000


def test_ids_that_are_gone_were_not_persisted() -> None:
    """The server came back empty between the put and the question: what it persisted is nothing of ours."""
    link = Link(b"OK", [1, 0], [b"1", None])
    assert keeper(link).persisted(False, time.monotonic() + 1, ["a", "b"]) is False
    assert link.said[2] == (b"ZMSCORE", b"resque:spoolq:markers", b"a", b"b")
    assert keeper(Link(b"OK", [1, 0], [b"1", b"2"])).persisted(False, time.monotonic() + 1, ["a", "b"]) is True


def test_a_full_server_is_told_as_one() -> None:
    with pytest.raises(StoreFull):
        keeper(Link(FULL, [1, 0])).persisted(False, time.monotonic() + 1)
