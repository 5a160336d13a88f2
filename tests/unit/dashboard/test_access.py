"""The door: who has the password, and who has tried too often."""

from __future__ import annotations

import base64
import hmac

import pytest

from spoolq import SpoolQ
from spoolq.dashboard import create_app
from spoolq.dashboard.access import FREE, LONGEST, MOST, Door
from spoolq.errors import ConfigError
from tests.clock import Clock
from tests.unit.dashboard.hands import browser


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_the_right_password_lets_in_with_any_user_name() -> None:
    door = Door("tiger")
    assert door.enter("10.0.0.1", basic("ann", "tiger")) == "ann"
    assert door.enter("10.0.0.1", basic("", "tiger")) == ""
    assert door.enter("10.0.0.1", basic("ann", "ti:ger")) is None


@pytest.mark.parametrize(
    "header",
    ["", "Basic", "Basic !!!", "Basic dGlnZXI=", "Bearer tiger", basic("a", ""), basic("a", "Tiger"), "Basic " + "A" * 10_001],
)
def test_nothing_else_does(header: str) -> None:
    assert Door("tiger").enter("10.0.0.1", header) is None


def test_a_password_of_any_characters_works() -> None:
    assert Door("pass:wörd ✓").enter("::1", basic("ann", "pass:wörd ✓")) == "ann"


def test_passwords_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digests of one length, by `hmac.compare_digest`, also where the header is none: what differs is no longer seen."""
    seen: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        seen.append((len(one), len(other)))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    door = Door("tiger")
    for header in ("", "Basic ???", basic("a", "t"), basic("a", "tiger" * 1000)):
        door.enter("10.0.0.1", header)
    assert seen == [(32, 32)] * 4


def test_who_tries_waits_longer_each_time() -> None:
    clock = Clock()
    door = Door("tiger", clock)
    waits = []
    for _ in range(FREE + 8):
        door.enter("10.0.0.1", basic("a", "wrong"))
        waits.append(door.wait("10.0.0.1"))
    assert waits[: FREE - 1] == [0.0] * (FREE - 1)
    assert waits[FREE - 1 : FREE + 3] == [1.0, 2.0, 4.0, 8.0]
    assert max(waits) == LONGEST
    assert door.wait("10.0.0.2") == 0.0  # others aren't kept waiting
    clock.later(LONGEST)
    assert door.wait("10.0.0.1") == 0.0
    assert door.enter("10.0.0.1", basic("a", "tiger")) == "a"
    door.enter("10.0.0.1", basic("a", "wrong"))
    assert door.wait("10.0.0.1") == 0.0  # forgiven


def test_a_network_of_ipv6_is_one_house() -> None:
    door = Door("tiger", Clock())
    for n in range(FREE):
        door.enter(f"2001:db8::{n}", basic("a", "wrong"))
    assert door.wait("2001:db8::ffff") > 0
    assert door.wait("2001:db8:0:1::1") == 0


def test_what_is_remembered_of_tries_is_bounded() -> None:
    door = Door("tiger", Clock())
    for n in range(MOST + 50):
        door.enter(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", basic("a", "wrong"))
    assert len(door._wrong) == MOST


def test_each_page_asks_for_the_password(q: SpoolQ) -> None:
    client = browser(q, password="tiger")
    for path in ("/", "/spool", "/overview.json", "/live", "/static/style.css", "/nothing"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Basic realm="spoolq", charset="UTF-8"'), path
    assert client.get("/", auth=("ann", "tiger")).status_code == 200
    assert client.post("/spool/probe", headers={"Origin": "http://testserver"}).status_code == 401


def test_probes_need_no_password(q: SpoolQ) -> None:
    client = browser(q, password="tiger")
    assert client.get("/livez").status_code == 200
    assert "ready" in client.get("/readyz").json()


def test_many_wrong_passwords_are_slowed(q: SpoolQ, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Door.__init__, "__defaults__", (clock,))  # no time passes: the wait of a second would be over
    client = browser(q, password="tiger")
    for _ in range(FREE):
        assert client.get("/", auth=("ann", "guess")).status_code == 401
    answer = client.get("/", auth=("ann", "tiger"))  # not even looked at
    assert (answer.status_code, int(answer.headers["retry-after"]) >= 1) == (429, True)


def test_an_application_says_who_may_see_it(q: SpoolQ) -> None:
    with pytest.raises(ConfigError, match="say who may see the dashboard"):
        create_app(q)
    with pytest.raises(ConfigError, match="password is empty"):
        create_app(q, password="")


def test_who_gives_wrong_ones_for_days_waits_a_minute_and_no_more() -> None:
    """A scraper with last year's password: the wait is doubled each time, and a float ends at 2 to the 1024th."""
    clock = Clock()
    door = Door("tiger", clock)
    for _ in range(1100):
        assert door.enter("10.0.0.1", basic("ann", "lion")) is None
        clock.later(LONGEST + 1)
    assert door.wait("10.0.0.1") == 0
    assert door.enter("10.0.0.1", basic("ann", "tiger")) == "ann"


def test_an_address_of_ipv4_within_ipv6_is_itself_and_not_all_of_ipv4() -> None:
    door = Door("tiger", Clock())
    for _ in range(FREE):
        door.enter("::ffff:10.0.0.1", basic("ann", "lion"))
    assert door.wait("::ffff:10.0.0.1") > 0
    assert door.wait("::ffff:10.0.0.2") == 0


def test_a_hook_that_only_promises_an_answer_lets_nobody_in(q: SpoolQ) -> None:
    async def nobody(visitor: object, action: str) -> bool:
        return False

    with pytest.raises(ConfigError, match="authorize= is called in a thread"):
        create_app(q, authorize=nobody)  # type: ignore[arg-type]
    with pytest.warns(RuntimeWarning, match="never awaited"):
        assert browser(q, authorize=lambda visitor, action: nobody(visitor, action)).get("/").status_code == 403
