"""What stands between a request and the pages, as ASGI middleware: the headers of every answer, the names by which the dashboard
may be called, the door, and where a change may come from."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

from spoolq.dashboard.access import Door, Visitor

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
OPEN = ("/livez", "/readyz")
"""What orchestrators ask without a password: it tells that this process lives, and whether it can work."""

EVERYWHERE = {"0.0.0.0", "::"}  # noqa: S104 (addresses to listen on that mean all)

PREFIX = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")


class Guard:
    """In front of `app`. `door`: None lets everybody in; `hosts`: None for any name; `prefix` is laid before every path of a
    proxy that has taken it away, and taken as it is of one that hasn't."""

    def __init__(self, app: ASGIApp, *, door: Door | None, hosts: Collection[str] | None, prefix: str = "") -> None:
        self.app, self.door, self.prefix = app, door, prefix
        self.hosts = None if hosts is None else frozenset(host.lower().strip("[]") for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # lifespan; there is no websocket
            await self.app(scope, receive, send)
            return
        if self.prefix:
            scope = under(scope, self.prefix)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
                if "://" in (location := headers.get("location", "")):  # the router's: it can't know of a proxy that speaks TLS
                    headers["location"] = urlsplit(location)._replace(scheme="", netloc="").geturl()
            await send(message)

        refusal = self._refusal(scope)
        await (self.app if refusal is None else refusal)(scope, receive, sending)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        """What to answer instead of asking the application, None where there is nothing against it."""
        headers = Headers(scope=scope)
        if not PREFIX.fullmatch(scope.get("root_path", "").rstrip("/")):
            return _no(404, "There is nothing here.")
        if not self._known(hostname(headers.get("host", ""))):
            return _no(
                421,
                "The dashboard isn't known by this name. Call it by the address that it printed at its start, or name this one "
                "there: --allow-host NAME.",
            )
        scope["spoolq.visitor"] = Visitor("", address(scope))
        if (refusal := self._at_the_door(scope, headers)) is not None:
            return refusal
        if scope["method"] not in ("GET", "HEAD") and not same_origin(headers):
            return _no(403, "This change came from another page than the dashboard's own. Nothing was changed.")
        return None

    def _known(self, host: str) -> bool:
        """Whether it may be called by that name. Who listens everywhere may be called by any address: a page from elsewhere
        that wants to be taken for the dashboard's own needs a name that it can have lead here."""
        if self.hosts is None or host in self.hosts:
            return True
        return not self.hosts.isdisjoint(EVERYWHERE) and _is_address(host)

    def _at_the_door(self, scope: Scope, headers: Headers) -> PlainTextResponse | None:
        if self.door is None or route_path(scope) in OPEN:
            return None
        where, given = address(scope), headers.get("authorization", "")
        if given and (left := self.door.wait(where)):
            return _no(429, "Too many wrong passwords. Wait a little.", {"Retry-After": str(int(left) + 1)})
        user = self.door.enter(where, given)
        if user is None:
            return _no(401, "The password is needed.", {"WWW-Authenticate": 'Basic realm="spoolq", charset="UTF-8"'})
        scope["spoolq.visitor"] = Visitor(user, where)
        return None


def _no(status: int, text: str, headers: dict[str, str] | None = None) -> PlainTextResponse:
    return PlainTextResponse(f"{text}\n", status, headers)


def under(scope: Scope, prefix: str) -> Scope:
    """The scope as if its application were mounted at `prefix`, whether the path still has that in front or not."""
    path = scope["path"]
    full = path if path == prefix or path.startswith(f"{prefix}/") else prefix + path
    return {**scope, "root_path": prefix, "path": full, "raw_path": quote(full).encode()}


def route_path(scope: Scope) -> str:
    """The path behind the prefix."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path[len(root) :] if root and path.startswith(root) else path


def address(scope: Scope) -> str:
    """Where the connection comes from."""
    client = scope.get("client")
    return str(client[0]) if client else "a socket"


def hostname(header: str) -> str:
    """Of a `Host` header: without port, in small letters; empty for what is none. An address keeps no brackets."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::\d{1,5})?", header)
    return "" if match is None else (match[1] or match[2]).lower().rstrip(".")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def loopback(host: str) -> bool:
    """Whether nobody from elsewhere can connect to that address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def same_origin(headers: Headers) -> bool:
    """Whether a change was asked for by a page of this very origin. Browsers say so in `Sec-Fetch-Site`; older ones, and those
    that speak plain HTTP to another host, in `Origin`. A program that isn't a browser sets one of them itself."""
    if (site := headers.get("sec-fetch-site")) is not None:
        return site == "same-origin"
    try:
        origin = urlsplit(headers.get("origin", ""))
    except ValueError:  # a bracket that nothing closes
        return False
    return origin.scheme in ("http", "https") and bool(origin.netloc) and origin.netloc.lower() == headers.get("host", "").lower()
