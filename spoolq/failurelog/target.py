"""Where failures are written beside the store's list, as a setting names it: directories and buckets. Pure."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import unquote, urlsplit

from spoolq.errors import ConfigError

CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL",
    "gs": "GOOGLE_SERVICE_ACCOUNT",
    "az": "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY",
}
"""The schemes of buckets, and the variables from which their client reads who it is."""

EXPECTED = "expected a directory, file:///directory, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix"
_SCHEME = re.compile(r"(file|s3|gs|az):", re.IGNORECASE)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PREFIX = re.compile(r"[A-Za-z0-9._=+-]+(/[A-Za-z0-9._=+-]+)*")


class Target(NamedTuple):
    """One place. `place` is an absolute path, or a bucket's URL without credentials and without a slash at its end."""

    kind: Literal["files", "bucket"]
    place: str

    @property
    def scheme(self) -> str:
        """`s3`, `gs` or `az` of a bucket, empty for files."""
        return self.place.partition("://")[0] if self.kind == "bucket" else ""


def target(text: object, what: str = "failure_log") -> Target:
    """The place that a text names; a relative path is made absolute. Raises ConfigError, which says `what` named it, with secrets
    masked."""
    if not isinstance(text, (str, os.PathLike)) or not str(text).strip():
        raise ConfigError(f"{what}: {text!r} names no place; {EXPECTED}")
    value = os.fspath(text).strip() if isinstance(text, str) else os.fspath(text)
    scheme, found, rest = value.partition("://")
    if not found:
        if mistyped := _SCHEME.match(value):  # s3:/bucket would be a directory of that name
            raise ConfigError(f"{what}: {value}: two slashes are missing after {mistyped[0]}, or write ./{value} for a directory")
        return Target("files", os.path.abspath(Path(value).expanduser()))
    if "@" in rest or "?" in rest or "#" in rest:  # whatever it is, it may be a secret
        raise ConfigError(
            f"{what}: {scheme}://***: no credentials and options in the URL, which logs show; {_environment(scheme)}"
        )
    if scheme == "file":
        return _file(value, what)
    if scheme not in CREDENTIALS:
        raise ConfigError(f"{what}: {value}: unknown scheme {scheme!r}; {EXPECTED}")
    bucket, _, prefix = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        own = f" (an address of a server goes into AWS_ENDPOINT_URL: s3://bucket/{prefix})" if ":" in bucket else ""
        raise ConfigError(f"{what}: {value}: {bucket!r} can't be a bucket's name{own}; {EXPECTED}")
    prefix = prefix.strip("/")
    if prefix and (not _PREFIX.fullmatch(prefix) or {".", ".."} & set(prefix.split("/"))):
        raise ConfigError(f"{what}: {value}: the prefix may have letters, digits and . _ = + - between single slashes")
    return Target("bucket", f"{scheme}://{bucket}/{prefix}".rstrip("/"))


def _file(value: str, what: str) -> Target:
    parts = urlsplit(value)
    path = unquote(parts.path)
    if parts.netloc not in ("", "localhost") or not path.startswith("/") or "\0" in path:
        raise ConfigError(f"{what}: {value}: expected file:///absolute/directory (three slashes)")
    return Target("files", os.path.abspath(path))


def _environment(scheme: str) -> str:
    names = CREDENTIALS.get(scheme)
    return f"they are read from the environment: {names}" if names else EXPECTED


def targets(value: object) -> tuple[str, ...]:
    """Each place named by a setting: one text, several with commas between, or a list. None and `none` are no place. Raises
    ConfigError."""
    if value is None or (isinstance(value, str) and value.strip().lower() in ("", "none")):
        return ()
    several: Iterable[object] = (value,)
    if isinstance(value, str):
        several = value.split(",")
    elif isinstance(value, (list, tuple)):
        several = value
    places = [target(one).place for one in several]
    for place in places:
        if places.count(place) > 1:
            raise ConfigError(f"failure_log: {place} is named twice")
    return tuple(places)
