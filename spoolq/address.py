"""The URL of a primary: checked, masked for people, and its one normalised name."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote_plus, urlsplit

from spoolq.errors import ConfigError

SCHEMES = ("redis", "rediss", "unix", "sqlite")
_OPTION = re.compile(r"([?&;])([^=&;?]*)(?:=([^&;]*))?")
_HARMLESS = re.compile(
    r"""client_name | db | decode_responses | encoding(_errors)? | health_check_interval | host | lib_(name|version)
    | max_connections | path | port | protocol | retry_on_(error|timeout)
    | socket_(connect_timeout|keepalive|read_size|timeout|type)
    | ssl_(ca_certs|ca_path|cert_reqs|certfile|check_hostname|ciphers|keyfile|min_version) | timeout | username""",
    re.VERBOSE | re.IGNORECASE,
)
"""Options of redis-py whose values are for people to see. Any other may hold a secret, under whatever name it is misspelt."""


def checked(value: object) -> str:
    """The URL, if spoolq can use it; a relative `sqlite:///` path is made absolute. Raises ConfigError, secrets masked."""
    if not isinstance(value, str):
        raise ConfigError(f"url = {value!r}: expected a text such as redis://127.0.0.1:6379/0 or sqlite:///jobs.db")
    scheme = value.partition(":")[0].lower() if "://" in value else ""
    if scheme not in SCHEMES:
        named = f"unknown scheme {scheme!r}" if scheme else "no scheme"
        raise ConfigError(
            f"url = {mask(value)!r}: {named}; expected redis://host:6379/0, rediss://host:6379/0 (TLS), "
            "unix:///path/to/redis.sock, or sqlite:///jobs.db (four slashes for an absolute path)"
        )
    if scheme == "sqlite":
        return _sqlite_url(value)
    try:
        _address(value)
    except ValueError as error:
        raise ConfigError(
            f"url = {mask(value)!r}: {error}; expected redis://[user:password@]host:port/db, the password percent-encoded"
        ) from None
    return value


def _sqlite_url(value: str) -> str:
    path = value[len("sqlite://") :]
    if not path.startswith("/") or len(path) < 2 or path.endswith("/") or "?" in path:
        raise ConfigError(
            f"url = {value!r}: expected sqlite:///relative.db or sqlite:////absolute/path.db, a file, without options"
        )
    if path == "/:memory:":
        raise ConfigError(f"url = {value!r}: a queue in memory would be gone with its process; expected a file")
    # Made absolute now: a program that changes its directory later must not find another, empty queue.
    return f"sqlite:///{os.path.abspath(Path(path[1:]).expanduser())}"


class _Address(NamedTuple):
    host: str
    port: int
    db: int
    path: str


def _address(url: str) -> _Address:
    """Where a redis, rediss or unix URL points. Raises ValueError with what is wrong."""
    try:
        parts = urlsplit(url)
    except ValueError:  # its text quotes what is before the host: a part of the password
        raise ValueError("it can't be read as a URL") from None
    options = dict(parse_qsl(parts.query))
    unix = parts.scheme.lower() == "unix"
    if unix and (not parts.path.strip("/") or parts.netloc.rpartition("@")[2]):
        raise ValueError("no absolute path of a socket (three slashes: unix:///run/redis.sock)")
    try:
        port = parts.port
    except ValueError:
        raise ValueError("the port isn't a number from 0 to 65535") from None
    db = options.get("db", "" if unix else parts.path.strip("/")) or "0"
    if not db.isdecimal():
        raise ValueError("the database isn't a number")
    return _Address((parts.hostname or "localhost").rstrip("."), port or 6379, int(db), parts.path if unix else "")


def destination(url: str, namespace: str) -> str:
    """The one name of where jobs go, whoever asks: the URL without secrets and options, normalised, and the namespace.

    `redis://127.0.0.1:6379/0#resque`. TLS or not is the same server, and so is `localhost`. Raises ConfigError.
    """
    url = checked(url)
    if url.startswith("sqlite:"):
        return url
    where = _address(url)
    if where.path:
        return f"unix://{where.path}?db={where.db}#{namespace}"
    host = "127.0.0.1" if where.host == "localhost" else f"[{where.host}]" if ":" in where.host else where.host
    return f"redis://{host}:{where.port}/{where.db}#{namespace}"


def mask(url: str) -> str:
    """The URL for people: passwords as `***`, also where it can't be parsed."""
    scheme, found, rest = url.partition("://")
    if not found:  # no URL of ours, and a secret in it all the same, as in redis:/user:secret@host
        before, at, place = url.rpartition("@")
        return _mask_options(f"***@{place}" if at and ":" in before else url)
    if scheme.lower() == "sqlite":
        return url
    user, at, place = rest.rpartition("@")  # the last one: a password with an unescaped "/", "?" or "@" is masked whole
    if at and (":" in user or "/" in user):
        rest = f"{user.partition(':')[0] if ':' in user else ''}:***@{place}"
    return f"{scheme}://{_mask_options(rest)}"


def _mask_options(text: str) -> str:
    options = len(text.partition("?")[0])  # before them a bare part is one of a path

    def masked(found: re.Match[str]) -> str:
        mark, name, value = found.groups()
        if value is None and (not name or found.start() < options):
            return found[0]
        if not _HARMLESS.fullmatch(unquote_plus(name).strip()):
            return mark + ("***" if value is None else f"{name}=***")
        return mark + name + ("" if value is None else f"={_OPTION.sub(masked, value)}")

    return _OPTION.sub(masked, text)


def with_password(url: str, secret: str) -> str:
    """The URL with this password, unless it has one already or needs none, or can't be read: that is for `checked` to say."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    if parts.scheme == "sqlite" or parts.password is not None or "password" in dict(parse_qsl(parts.query)):
        return url
    place = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{parts.username or ''}:{quote(secret, safe='')}@{place}").geturl()
