"""Settings: defaults < spoolq.toml < environment < arguments. The only file that reads the environment."""

from __future__ import annotations

import difflib
import hashlib
import logging
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from spoolq import address, quotas
from spoolq.address import destination, mask, with_password
from spoolq.errors import ConfigError
from spoolq.failurelog import target
from spoolq.priorities import EXPECTED, Priorities, priorities
from spoolq.quotas import PerQueue
from spoolq.units import duration, number, size, whole

if TYPE_CHECKING:
    from spoolq.notifying import Notifier

__all__ = ["KINDS", "Origins", "Settings", "default_spool", "destination", "load", "mask"]

log = logging.getLogger("spoolq")

CONFIG_FILE = "SPOOLQ_CONFIG"
PASSWORD_FILE = "SPOOLQ_REDIS_PASSWORD_FILE"  # noqa: S105 (a variable's name)
DASHBOARD_PASSWORD = "dashboard_password"  # noqa: S105 (a setting's)
DASHBOARD_FILE = "SPOOLQ_DASHBOARD_PASSWORD_FILE"
FILES = (PASSWORD_FILE, DASHBOARD_FILE)
HIDDEN = "***"
DEFAULT_URL = "redis://127.0.0.1:6379/0"
IGNORED = "; it is ignored"


class Kind(NamedTuple):
    """How a setting is read: `expected` completes "expected …", `read` returns the value or raises ValueError."""

    expected: str
    read: Callable[[object], Any]


def _span(low: float, high: float, text: str) -> Kind:
    return Kind(f"a duration such as 30, 30s, 5m or 250ms, {text}", _between(duration, low, high))


def _bytes(low: int, high: int, text: str) -> Kind:
    return Kind(f"a size such as 512MiB or 1GiB, {text}", _between(size, low, high))


def _count(low: int, high: int) -> Kind:
    return Kind(f"a whole number from {low:,} to {high:,}", _between(whole, low, high))


def _between(read: Callable[[object], Any], low: float, high: float) -> Callable[[object], Any]:
    def checked(value: object) -> Any:
        found = read(value)
        if not low <= found <= high:
            raise ValueError(value)
        return found

    return checked


def _or_none(kind: Kind, *words: str) -> Kind:
    def read(value: object) -> Any:
        return None if value is None or (isinstance(value, str) and value.strip().lower() in words) else kind.read(value)

    return Kind(f"{kind.expected}, or {words[0]}", read)


def _choice(*words: str) -> Kind:
    def read(value: object) -> str:
        if value not in words:
            raise ValueError(value)
        return str(value)

    return Kind(" or ".join(words), read)


def _namespace(value: object) -> str:
    if not isinstance(value, str) or not value or len(value) > 100 or not value.isprintable() or set(value) & set(" *?[]"):
        raise ValueError(value)
    return value


def _path(value: object) -> Path | None:
    if value is None:
        return None
    if not isinstance(value, (str, os.PathLike)) or str(value) in ("", ":memory:") or "://" in str(value):
        raise ValueError(value)
    return Path(os.path.abspath(Path(os.fspath(value)).expanduser()))


def _password(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{DASHBOARD_PASSWORD}: expected a text in quotes, not empty")  # without what may be a secret
    return value


_RATE = _or_none(Kind("rows a second, more than 0", _between(number, 1e-6, 1e9)), "none")


_SHARE = _or_none(Kind("a share of the processor, more than 0 and up to 1, such as 0.9", _between(number, 1e-3, 1.0)), "none")


_AGE = _span(1, 10_000 * 86_400, "from 1s to 10000d")


def _as(kind: Kind) -> dict[str, Any]:
    return {"kind": kind}


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """Every setting, checked. Durations in seconds, sizes in bytes; texts such as `30s` and `512MiB` are taken too.

    Raises ConfigError that names the setting, its value and what is expected.
    """

    url: str = field(default=DEFAULT_URL, metadata=_as(Kind("a URL", address.checked)))
    spool: Path | None = field(default=None, metadata=_as(Kind("the path of a file, not a URL", _path)))
    namespace: str = field(
        default="resque", metadata=_as(Kind("1 to 100 printable characters, no space and none of * ? [ ]", _namespace))
    )
    deadline: float = field(default=0.25, metadata=_as(_span(0.001, 60, "from 1ms to 60s")))
    disk_limit: float = field(default=2.0, metadata=_as(_span(0.01, 600, "from 10ms to 10m")))
    accept: Literal["primary", "spool"] = field(default="primary", metadata=_as(_choice("primary", "spool")))
    keep: float = field(default=60.0, metadata=_as(_span(1, 86_400, "from 1s to 1d")))
    confirm: Literal["none", "aof", "replica"] = field(default="none", metadata=_as(_choice("none", "aof", "replica")))
    wire: Literal["python", "resque"] = field(default="python", metadata=_as(_choice("python", "resque")))
    delayed: Literal["spoolq", "resque"] = field(default="spoolq", metadata=_as(_choice("spoolq", "resque")))
    ordering: Literal["relaxed", "fifo"] = field(default="relaxed", metadata=_as(_choice("relaxed", "fifo")))
    lease: float = field(default=30.0, metadata=_as(_span(0.1, 86_400, "from 100ms to 1d")))
    grace: float = field(default=25.0, metadata=_as(_span(0, 86_400, "from 0 to 1d")))
    max_prefetch: int = field(default=100, metadata=_as(_count(0, 1000)))  # presence.py has places for so many
    max_payload: int = field(default=1 << 20, metadata=_as(_bytes(64, 1 << 28, "from 64 bytes to 256MiB")))
    spool_max_bytes: int = field(default=1 << 30, metadata=_as(_bytes(1 << 21, 1 << 44, "from 2MiB to 16TiB")))
    spool_max_rows: int | None = field(default=None, metadata=_as(_or_none(_count(1, 10**12), "none")))
    spool_min_free: int = field(default=256 << 20, metadata=_as(_bytes(0, 1 << 50, "0 or more")))
    horizon: float = field(default=7 * 86_400.0, metadata=_as(_span(1, 366 * 86_400, "from 1s to 366d")))
    priorities: Priorities = field(default=Priorities(), metadata=_as(Kind(EXPECTED, priorities)))
    concurrency: PerQueue[int] = field(default=PerQueue(), metadata=_as(Kind(quotas.CONCURRENCY, quotas.concurrency)))
    rate_limits: PerQueue[quotas.Rate] = field(default=PerQueue(), metadata=_as(Kind(quotas.RATES, quotas.rates)))
    retries: int = field(default=3, metadata=_as(_count(0, 10_000)))
    failure_log: tuple[str, ...] = field(default=(), metadata=_as(Kind(target.EXPECTED, target.targets)))
    failure_log_size: int = field(default=64 << 20, metadata=_as(_bytes(1 << 10, 1 << 40, "from 1KiB to 1TiB")))
    failure_log_keep: int = field(default=100, metadata=_as(_count(1, 1_000_000)))
    failure_log_max_age: float | None = field(default=90 * 86_400.0, metadata=_as(_or_none(_AGE, "none")))
    failure_log_outbox: int = field(default=256 << 20, metadata=_as(_bytes(1 << 10, 1 << 44, "from 1KiB to 16TiB")))
    failures_keep: int | None = field(default=None, metadata=_as(_or_none(_count(0, 10**12), "none")))
    failures_max_age: float | None = field(default=None, metadata=_as(_or_none(_AGE, "none")))
    drain_rate: float | None = field(default=None, metadata=_as(_RATE))
    drain_batch: int = field(default=1000, metadata=_as(_count(1, 10_000)))
    scale_policy: Literal["load", "multiworker"] = field(default="load", metadata=_as(_choice("load", "multiworker")))
    scale_target: float = field(default=10.0, metadata=_as(_span(0.1, 86_400, "from 100ms to 1d")))
    scale_idle: float = field(default=60.0, metadata=_as(_span(1, 86_400, "from 1s to 1d")))
    scale_cpu: float | None = field(default=0.9, metadata=_as(_SHARE))
    scale_delay: float = field(default=0.01, metadata=_as(_span(0.001, 60, "from 1ms to 60s")))
    scale_check: float = field(default=0.5, metadata=_as(_span(0.1, 3600, "from 100ms to 1h")))
    dashboard_password: str | None = field(
        default=None, metadata=_as(_or_none(Kind("a text in quotes, not empty", _password), "none"))
    )

    def __post_init__(self) -> None:
        for name, kind in KINDS.items():
            object.__setattr__(self, name, _read(name, kind, getattr(self, name)))

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in self.shown().items())})"

    @property
    def destination(self) -> str:
        """The normalised name of where jobs go, without secrets; recorded in the spool when it is made."""
        return destination(self.url, self.namespace)

    @property
    def keep_for(self) -> float:
        """`keep`, but no longer than half the horizon: Redis must remember an id for as long as its row may be sent again."""
        return min(self.keep, self.horizon / 2)

    @property
    def sqlite_path(self) -> Path | None:
        """The file of an `sqlite:///` URL, None for Redis."""
        return Path(self.url[len("sqlite:///") :]) if self.url.startswith("sqlite:") else None

    @property
    def spool_path(self) -> Path:
        """The spool's file: the one given, else the default of the destination."""
        return self.spool or default_spool(self.destination)

    def shown(self) -> dict[str, Any]:
        """All settings by name, for people: secrets masked."""
        return {name: shown(name, getattr(self, name)) for name in KINDS}


KINDS: Mapping[str, Kind] = MappingProxyType({f.name: f.metadata["kind"] for f in fields(Settings)})
"""How each setting is read, by its name, in the order in which people should see them."""


def shown(name: str, value: Any) -> Any:
    """A setting's value for people: secrets masked."""
    if name == "url":
        return mask(value)
    return HIDDEN if name == DASHBOARD_PASSWORD and value is not None else value


def digits(destination: str) -> str:
    """Eight hex digits that stand for a destination in the names of files."""
    return hashlib.sha256(destination.encode()).hexdigest()[:8]


def runtime_directories(env: Mapping[str, str] | None = None) -> list[str]:
    """Where small files that needn't outlive a boot may go, best first: $RUNTIME_DIRECTORY (systemd's), $XDG_RUNTIME_DIR,
    /run/user/UID, /dev/shm, $TMPDIR, /tmp. Whether one of them is there and can be trusted is for the caller to find out."""
    env = os.environ if env is None else env
    given = (env.get("RUNTIME_DIRECTORY", "").split(":")[0], env.get("XDG_RUNTIME_DIR", ""))
    usual = (f"/run/user/{os.geteuid()}", "/dev/shm", env.get("TMPDIR", ""), "/tmp")  # noqa: S108
    return [path for path in (*given, *usual) if os.path.isabs(path)]


def default_spool(destination: str, env: Mapping[str, str] | None = None) -> Path:
    """The spool of that destination in this account: in $STATE_DIRECTORY (systemd's), else $XDG_STATE_HOME/spoolq, else
    ~/.local/state/spoolq. Two applications with different destinations never share one by accident. Raises ConfigError."""
    env = os.environ if env is None else env
    name = f"spool-{digits(destination)}.db"
    if state := env.get("STATE_DIRECTORY", "").split(":")[0]:
        return Path(state) / name
    state_home = env.get("XDG_STATE_HOME", "")
    if os.path.isabs(state_home):  # the XDG specification: a relative one is ignored
        return Path(state_home) / "spoolq" / name
    try:
        home = Path(env["HOME"]) if env.get("HOME") else Path.home()
    except RuntimeError:
        raise ConfigError("no place for the spool: neither STATE_DIRECTORY nor HOME is set; set SPOOLQ_SPOOL to a file") from None
    return home / ".local" / "state" / "spoolq" / name


@dataclass(frozen=True, slots=True)
class Origins:
    """Where each value came from (`default`, a file's path, a variable's name, `argument`), the file that was read, and what
    was found odd on the way."""

    of: Mapping[str, str]
    file: Path | None = None
    warnings: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> str:
        return self.of[name]


def load(
    config: str | os.PathLike[str] | None = None, env: Mapping[str, str] | None = None, **arguments: Any
) -> tuple[Settings, Origins]:
    """The settings that hold here, and where each came from: defaults < spoolq.toml < `SPOOLQ_…` < arguments.

    config     the file to read; by default `SPOOLQ_CONFIG`, `./spoolq.toml` or `/etc/spoolq/spoolq.toml`, the first found
    env        instead of the environment
    arguments  settings by name; None means not given

    Unknown names are logged as warnings, with the nearest right one. Raises ConfigError for a wrong value, naming its origin.
    """
    env = os.environ if env is None else env
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    warnings: list[str] = []
    file = _find(config, env)
    files: dict[str, tuple[str, str]] = {}  # of secrets, by the variable that names one: the path, and who named it

    def take(name: str, value: Any, origin: str) -> None:
        values[name] = _read(name, KINDS[name], value, origin)
        origins[name] = origin

    for key, value in (_toml(file) if file else {}).items():
        if key in KINDS:
            take(key, value, str(file))
        elif (variable := f"SPOOLQ_{key.upper()}") in FILES:
            files[variable] = str(value), str(file)
        else:
            near = _nearest(key, (*KINDS, *(name.removeprefix("SPOOLQ_").lower() for name in FILES)))
            warnings.append(f"{file}: unknown setting {key!r}{near or IGNORED}")
    if env.get("REDIS_URL") and not env.get("SPOOLQ_URL"):
        take("url", env["REDIS_URL"], "REDIS_URL")
    variables = {f"SPOOLQ_{name.upper()}": name for name in KINDS}
    for variable, value in sorted(env.items()):
        if not variable.startswith("SPOOLQ_") or not value:  # set to nothing is not set: compose files do that
            continue
        if variable in variables:
            take(variables[variable], value, variable)
        elif variable in FILES:
            files[variable] = value, variable
        elif variable != CONFIG_FILE and not variable.startswith("SPOOLQ_TEST_"):  # the test-suite's own
            near = _nearest(variable, (*variables, CONFIG_FILE, *FILES))
            warnings.append(f"unknown variable {variable}{near or IGNORED}")
    for name, value in arguments.items():
        if name not in KINDS:
            near = _nearest(name, tuple(KINDS))
            raise ConfigError(f"unknown setting {name!r}{near or '; the settings are ' + ', '.join(KINDS)}")
        if value is not None:
            take(name, value, "argument")
    if PASSWORD_FILE in files:
        values["url"] = with_password(values.get("url", DEFAULT_URL), secret(*files[PASSWORD_FILE]))
    if DASHBOARD_FILE in files and DASHBOARD_PASSWORD not in values:
        take(DASHBOARD_PASSWORD, secret(*files[DASHBOARD_FILE]), files[DASHBOARD_FILE][1])
    for warning in warnings:
        log.warning("%s", warning)
    settings = Settings(**values)
    if settings.spool is None and settings.sqlite_path is None:
        settings = Settings(**values, spool=default_spool(settings.destination, env))
    return settings, Origins(MappingProxyType({name: origins.get(name, "default") for name in KINDS}), file, tuple(warnings))


def _read(name: str, kind: Kind, value: Any, origin: str = "") -> Any:
    source = f" (from {origin})" if origin and origin != "argument" else ""
    try:
        return kind.read(value)
    except ConfigError as error:
        raise ConfigError(f"{error}{source}") from None
    except (ValueError, OverflowError):
        raise ConfigError(f"{name} = {value!r}{source}: expected {kind.expected}") from None


def _find(config: str | os.PathLike[str] | None, env: Mapping[str, str]) -> Path | None:
    for named, origin in ((config, "--config"), (env.get(CONFIG_FILE), CONFIG_FILE)):
        if named:
            if not Path(named).is_file():
                raise ConfigError(f"no configuration file at {named} (from {origin})")
            return Path(named)
    return next((path for path in (Path("spoolq.toml"), Path("/etc/spoolq/spoolq.toml")) if path.is_file()), None)


def _toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{file} can't be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} isn't TOML: {error}") from None


def _nearest(name: str, known: tuple[str, ...]) -> str:
    own = {each.removeprefix("SPOOLQ_"): each for each in known}  # the prefix would make everything near
    close = difflib.get_close_matches(name.removeprefix("SPOOLQ_"), own, n=1, cutoff=0.6)
    return f", did you mean {own[close[0]]}?" if close else ""


def secret(file: str, origin: str) -> str:
    """What that file holds, without line ends behind it; `origin`: who named the file. Raises ConfigError."""
    try:
        secret = Path(file).expanduser().read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it isn't UTF-8"
        raise ConfigError(f"the password file {file} (from {origin}) can't be read: {why}") from None
    if not secret:
        raise ConfigError(f"the password file {file} (from {origin}) is empty")
    return secret


def colour(env: Mapping[str, str] | None = None) -> bool:
    """Whether output may be coloured: not where NO_COLOR is set to anything (https://no-color.org)."""
    return not (os.environ if env is None else env).get("NO_COLOR")


def notifier() -> Notifier:
    """Whom systemd wants told how this process is (sd_notify(3)); silent where it wants nobody. Taken out of the environment:
    what this process starts is no service."""
    from spoolq.notifying import Notifier

    address = os.environ.pop("NOTIFY_SOCKET", "")
    span, whose = os.environ.pop("WATCHDOG_USEC", ""), os.environ.pop("WATCHDOG_PID", "")
    mine = span.isdecimal() and int(span) > 0 and whose in ("", str(os.getpid()))
    return Notifier(address, int(span) / 1e6 if mine else None)


def use(file: str | os.PathLike[str]) -> None:
    """From now on every object made in this process reads that file, as if `SPOOLQ_CONFIG` named it."""
    os.environ[CONFIG_FILE] = os.fspath(file)
