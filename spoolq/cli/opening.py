"""The options that every command has, and the application object made from them."""

from __future__ import annotations

import functools
import importlib
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import click

from spoolq import config
from spoolq.cli import logs
from spoolq.cli.faults import Fault
from spoolq.errors import ConfigError
from spoolq.places import there

if TYPE_CHECKING:
    from spoolq.app import SpoolQ
    from spoolq.store.base import Spool

_OPENED = "spoolq.cli.opening.q"


@dataclass(frozen=True, slots=True)
class Given:
    """What the command line said about where things are."""

    url: str | None = None
    spool: str | None = None
    namespace: str | None = None
    config: str | None = None
    app: str | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """The settings among it."""
        settings = {"url": self.url, "spool": self.spool, "namespace": self.namespace}
        return {name: value for name, value in settings.items() if value is not None}

    def over(self, other: Given | None) -> Given:
        """With what isn't given here taken from `other`: what a group of commands was given in front of the sub-command."""
        return self if other is None else Given(**{f.name: getattr(self, f.name) or getattr(other, f.name) for f in fields(self)})

    def open(self) -> SpoolQ:
        """The application object, closed when the command ends. Connects to nothing. Raises ConfigError."""
        from spoolq.app import SpoolQ

        q = SpoolQ(config_file=self.config, **self.arguments) if self.app is None else load(self.app, self)
        context = click.get_current_context()
        context.call_on_close(q.close)
        context.meta[_OPENED] = q
        return q


def opened() -> SpoolQ | None:
    """The application object that this command has opened, None before that."""
    q: SpoolQ | None = click.get_current_context().meta.get(_OPENED)
    return q


def command_options(*, app: bool = True, level: str = "WARNING") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the common options; it gets a `Given` as its first argument. `level`: what it logs by default."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(**values: Any) -> Any:
            logs.begin(level, values.pop("quiet"), values.pop("verbose"), values.pop("log_format"))
            names = ("url", "spool", "namespace", "config", "app")
            return function(Given(**{name: values.pop(name) for name in names}), **values)

        options = [
            click.option("--url", metavar="URL", help="redis://, rediss://, unix:// or sqlite:///. [SPOOLQ_URL]"),
            click.option("--spool", metavar="FILE", help="The spool's file. [SPOOLQ_SPOOL]"),
            click.option("--namespace", metavar="NAME", help="Prefix of all keys in Redis. [SPOOLQ_NAMESPACE]"),
            click.option("--config", metavar="FILE", help="Instead of the first spoolq.toml found. [SPOOLQ_CONFIG]"),
            click.option("-q", "--quiet", is_flag=True, help="Log errors only."),
            click.option("-v", "--verbose", is_flag=True, help="Log everything."),
            click.option("--log-format", type=click.Choice(["text", "json"]), default="text", help="Form of the log."),
        ]
        if app:
            options.insert(0, click.option("--app", metavar="APP", help="Settings and tasks of module:attribute."))
        for option in reversed(options):
            run = option(run)
        return run

    return decorate


json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")


def load(app: str, given: Given) -> SpoolQ:
    """The SpoolQ object at `module:attribute`, with what the command line says laid over it. Raises ConfigError: which module
    can't be imported and why, or which SpoolQ objects it has instead."""
    from spoolq.app import SpoolQ

    name, _, attribute = app.partition(":")
    if not name or any(not part.isidentifier() for part in name.split(".")):
        raise ConfigError(f"APP {app!r}: expected module:attribute, such as shop.jobs:q")
    if name.endswith(".py"):
        raise ConfigError(f"APP {app!r}: name the module, not its file: {app.replace('.py', '', 1)}")
    if given.config is not None:
        config.use(given.config)  # the module makes its own object and reads its own settings
    module = _imported(name, app)
    known = [key for key, value in vars(module).items() if isinstance(value, SpoolQ)]
    if not attribute and len(known) == 1:
        attribute = known[0]
    found: Any = module
    for part in attribute.split(".") if attribute else ():
        found = getattr(found, part, None)
    if not attribute or not isinstance(found, SpoolQ):
        has = f"it has {', '.join(f'{name}:{key}' for key in known)}" if known else f"{module.__file__} has no SpoolQ object"
        what = "names no attribute" if not attribute else "is no SpoolQ object" if found is not None else "has no such attribute"
        raise ConfigError(f"APP {app!r} {what}; {has}")
    if given.arguments:
        _lay_over(found, given.arguments)
    return found


def _imported(name: str, app: str) -> Any:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise ConfigError(f"APP {app!r}: no module {error.name!r} in {here} or on Python's path") from error
        raise ConfigError(f"APP {app!r}: {name} can't be imported: {error}{_place(error)}") from error
    except (Exception, SystemExit) as error:
        raise ConfigError(f"APP {app!r}: {name} can't be imported: {type(error).__name__}: {error}{_place(error)}") from error


def _place(error: BaseException) -> str:
    """Where in the user's files it happened: the last frame that isn't the import machinery's or spoolq's own."""
    own = os.path.dirname(config.__file__) + os.sep
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
    frames = [f for f in frames if not f.filename.startswith(own)] or [f for f in frames if f.filename != __file__]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def _lay_over(q: SpoolQ, arguments: dict[str, Any]) -> None:
    own = {name: getattr(q.settings, name) for name, origin in q.origins.of.items() if origin != "default"}
    q.close()
    q.settings, q.origins = config.load(q.origins.file, **{**own, **arguments})


def no_spool(q: SpoolQ) -> str:
    """What to say of a spool that isn't there."""
    return f"no spool at {q.settings.spool_path}: nothing was ever spooled there, or this isn't the path that the producers use"


def spool_of(q: SpoolQ) -> Spool:
    """The spool, made when it isn't there. Raises ConfigError where the primary is an SQLite file."""
    spool = q.spool
    if spool is None:
        raise ConfigError(f"{q.settings.url} is an SQLite queue: it has no spool")
    return spool


def existing_spool(q: SpoolQ) -> Spool:
    """The spool, when its file is there: looking must not make one. Raises Fault."""
    if q.settings.sqlite_path is None and not there(q.settings.spool_path):
        raise Fault(no_spool(q))
    return spool_of(q)


def must_exist(q: SpoolQ) -> None:
    """Raise Fault when the primary is an SQLite file that isn't there: looking must not make one."""
    path = q.settings.sqlite_path
    if path is not None and not there(path):
        raise Fault(f"no queue at {path}: nothing was ever enqueued there, or this isn't the path that the producers use")
