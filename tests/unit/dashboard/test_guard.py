"""What stands in front of the pages: names, origins, headers, prefixes."""

from __future__ import annotations

import re

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from spoolq import SpoolQ
from spoolq.dashboard import create_app
from spoolq.dashboard.assembly import assemble
from spoolq.dashboard.guard import POLICY, hostname, loopback
from tests.unit.dashboard.hands import OWN, browser


def test_every_answer_has_the_policy_and_is_kept_by_nobody(q: SpoolQ) -> None:
    client = browser(q, hosts={"testserver"})
    answers = [
        client.get("/"),
        client.get("/spool.json"),
        client.get("/nothing"),
        client.get("/livez"),
        client.post("/spool/probe"),
        client.post("/spool/probe", headers=OWN, follow_redirects=False),
        client.get("/", headers={"Host": "evil.example"}),
        browser(q, password="tiger").get("/"),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 404, 200, 403, 303, 421, 401]
    for answer in answers:
        headers = answer.headers
        assert headers["content-security-policy"] == POLICY
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "same-origin")
        assert headers["cache-control"] == "no-store"
        assert headers["x-frame-options"] == "DENY"
    static = client.get("/static/style.css").headers
    assert (static["content-security-policy"], static["cache-control"]) == (POLICY, "no-cache")


def test_the_policy_lets_nothing_in_from_elsewhere_and_nothing_inline() -> None:
    parts = dict(part.strip().split(" ", 1) for part in POLICY.split(";"))
    assert parts == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({}, False),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": ""}, False),
        ({"Origin": "http://testserver"}, True),
        ({"Origin": "http://TESTSERVER"}, True),
        ({"Origin": "https://testserver"}, True),  # a proxy in front speaks TLS
        ({"Origin": "http://testserver:81"}, False),
        ({"Origin": "http://testserver.evil.example"}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "http://testserver@evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Origin": "http://[testserver"}, False),
        ({"Referer": "http://testserver/"}, False),
    ],
)
def test_a_change_comes_from_the_dashboards_own_pages(q: SpoolQ, headers: dict[str, str], passes: bool) -> None:
    answer = browser(q).post("/spool/probe", headers=headers, follow_redirects=False)
    assert answer.status_code == (303 if passes else 403)
    if not passes:
        assert "Nothing was changed" in answer.text


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "POST"])
def test_every_method_that_changes_is_guarded(q: SpoolQ, method: str) -> None:
    client = browser(q)
    assert client.request(method, "/spool/probe").status_code == 403
    assert client.request(method, "/spool", headers=OWN).status_code == 405


def test_a_change_is_never_made_by_get(q: SpoolQ) -> None:
    client = browser(q)
    for path in ("/spool/probe", "/spool/drain", "/spool/pause", "/spool/export", "/pause"):
        assert client.get(path, headers=OWN).status_code == 405


@pytest.mark.parametrize(
    ("host", "passes"),
    [
        ("localhost", True),
        ("LOCALHOST:8765", True),
        ("127.0.0.1:8765", True),
        ("[::1]:8765", True),
        ("localhost.", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost:8765:1", False),
        ("localhost/evil", False),
        ("evil.example#localhost", False),
        ("10.0.0.1", False),
        ("", False),
    ],
)
def test_only_known_names_are_answered(q: SpoolQ, host: str, passes: bool) -> None:
    """A page from elsewhere whose name was made to lead to 127.0.0.1 calls the dashboard by that name."""
    client = browser(q, hosts={"localhost", "127.0.0.1", "::1"})
    answer = client.get("/livez", headers={"Host": host})
    assert answer.status_code == (200 if passes else 421)
    assert passes or "--allow-host" in answer.text


def test_who_listens_everywhere_is_known_by_any_address_and_by_no_name(q: SpoolQ) -> None:
    client = browser(q, hosts={"0.0.0.0", "box"})
    statuses = {host: client.get("/livez", headers={"Host": host}).status_code for host in ("10.0.0.1:8765", "[fd00::1]", "box")}
    assert set(statuses.values()) == {200}
    assert client.get("/livez", headers={"Host": "evil.example"}).status_code == 421


@pytest.mark.parametrize(
    ("header", "name"), [("[::1]", "::1"), ("[::1", ""), ("a b", ""), ("a:b", ""), ("EXAMPLE.com:80", "example.com"), ("é", "")]
)
def test_a_host_header_is_read_strictly(header: str, name: str) -> None:
    assert hostname(header) == name


def test_loopback_is_what_nobody_else_reaches() -> None:
    assert [loopback(host) for host in ("127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost")] == [True] * 5
    assert [loopback(host) for host in ("0.0.0.0", "::", "10.0.0.1", "box", "")] == [False] * 5


def links(html: str) -> set[str]:
    return {
        found for found in re.findall(r'(?:href|src|action|data-live|data-here)="([^"]*)"', html) if not found.startswith("#")
    }


def test_mounted_all_links_lie_below_the_mount(q: SpoolQ) -> None:
    outer = TestClient(Starlette(routes=[Mount("/admin/jobs", create_app(q, no_auth=True))]))
    page = outer.get("/admin/jobs/")
    assert page.status_code == 200
    assert links(page.text)
    assert all(link.startswith("/admin/jobs/") for link in links(page.text)), links(page.text)
    for link in re.findall(r'(?:href|src)="(/[^"]*)"', page.text):
        assert outer.get(link).status_code == 200, link
    changed = outer.post("/admin/jobs/spool/probe", headers=OWN, follow_redirects=False)
    assert changed.headers["location"].startswith("/admin/jobs/spool?note=")
    assert outer.get("/admin/jobs/spool.json").json()["schema"] == 1
    assert outer.get("/spool").status_code == 404


def test_mounted_in_fastapi_style_with_a_root_path_of_its_own(q: SpoolQ) -> None:
    """What a proxy took away is in the outer application's `root_path`."""
    outer = TestClient(Starlette(routes=[Mount("/jobs", create_app(q, no_auth=True))]), root_path="/behind")
    page = outer.get("/behind/jobs/")
    assert page.status_code == 200
    assert all(link.startswith("/behind/jobs/") for link in links(page.text)), links(page.text)


@pytest.mark.parametrize("path", ["/spool", "/box/spool"])
def test_a_prefix_holds_whether_the_proxy_takes_it_away_or_not(q: SpoolQ, path: str) -> None:
    options = {"password": None, "authorize": None, "read_only": False, "hosts": None, "redact": None}
    client = TestClient(assemble(q, prefix="/box", **options))
    page = client.get(path)
    assert page.status_code == 200
    assert all(link.startswith("/box/") for link in links(page.text)), links(page.text)


def test_a_prefix_from_a_header_is_nobodys_to_give(q: SpoolQ) -> None:
    plain = browser(q).get("/")
    lured = browser(q).get("/", headers={"X-Forwarded-Prefix": "//evil.example", "X-Forwarded-Host": "evil.example"})
    assert links(lured.text) == links(plain.text)
    assert "evil.example" not in lured.text


@pytest.mark.parametrize("root", ["//evil.example", "/a//b", "/a/..", "/<script>", '/"x', "javascript:"])
def test_a_prefix_that_could_lead_elsewhere_is_refused(q: SpoolQ, root: str) -> None:
    answer = TestClient(create_app(q, no_auth=True), root_path=root).get(f"{root}/")
    assert (answer.status_code, answer.text) == (404, "There is nothing here.\n")


def test_where_an_action_leads_is_the_dashboards_own(q: SpoolQ) -> None:
    """A path of two slashes names another host: nothing that was sent decides where it goes."""
    answer = browser(q).post(
        "/spool/probe?back=//evil.example", data={"back": "//evil.example"}, headers=OWN, follow_redirects=False
    )
    assert answer.headers["location"].startswith("/spool?note=")


def test_what_fails_outside_of_a_page_has_the_policy_too_and_tells_nothing(q: SpoolQ) -> None:
    def authorize(visitor: object, action: str) -> bool:
        raise KeyError("s3cr3t")

    client = TestClient(create_app(q, authorize=authorize), raise_server_exceptions=False)
    for path in ("/", "/spool.json", "/live", "/metrics"):
        answer = client.get(path)
        assert answer.status_code == 500
        assert "s3cr3t" not in answer.text
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["cache-control"] == "no-store"


def test_a_slash_too_many_leads_to_the_page_by_its_path_alone(q: SpoolQ) -> None:
    """The proxy in front may speak TLS: an address with `http:` would have the password sent in the clear."""
    answer = browser(q).get("/spool/?name=a", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "/spool?name=a")
