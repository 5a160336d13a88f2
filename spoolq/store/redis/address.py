"""Where Redis is: a URL checked without asking anybody, and the form of it that may be shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit

from spoolq.errors import ConfigError

SCHEMES = ("redis", "rediss", "unix")
_SHOWN = ("db",)  # what of a URL's query is no secret and says which server is meant


@dataclass(frozen=True, slots=True)
class Address:
    """A Redis URL. `url` may hold a password and appears in no message and no repr; `label` is what people read."""

    url: str = field(repr=False)
    label: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """Check `redis://…`, `rediss://…` or `unix://…`. Raises ConfigError, without showing a password."""
        scheme = url.partition("://")[0]
        if "://" not in url or scheme not in SCHEMES:
            raise ConfigError(
                f"no Redis URL: scheme {scheme[:20]!r} is unknown; write redis://HOST:PORT/DB, rediss://… or unix:///PATH"
                if "://" in url
                else "no Redis URL: it has no scheme; write redis://HOST:PORT/DB, rediss://… or unix:///PATH"
            )
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ConfigError(f"the {scheme}:// URL can't be read; check its host and port") from error
        query = dict(parse_qsl(parts.query))
        shown = {name: query[name] for name in _SHOWN if name in query}
        if not shown.get("db", "0").isdigit():
            raise ConfigError(f"the {scheme}:// URL names database {shown['db']!r}; a database is a number")
        if scheme == "unix":
            if not parts.path:
                raise ConfigError("the unix:// URL has no path; write unix:///run/redis.sock")
            label = f"unix://{parts.path}"
        else:
            number = parts.path.strip("/")
            if number and not number.isdigit():
                raise ConfigError(f"the {scheme}:// URL names database {number!r}; a database is a number")
            label = f"{scheme}://{_host(parts.hostname or 'localhost')}:{port or 6379}/{number or shown.pop('db', '0')}"
        return cls(url, label + (f"?{urlencode(shown)}" if shown else ""))


def _host(name: str) -> str:
    return f"[{name}]" if ":" in name else name
