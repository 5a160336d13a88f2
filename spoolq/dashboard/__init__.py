"""The dashboard: what is true of a deployment, in a browser, also while Redis is gone. `create_app` makes an ASGI application
of it; `spoolq dashboard` serves that.

Its packages are an extra, and loaded when an application is made.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from spoolq.errors import ConfigError

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from spoolq.app import SpoolQ
    from spoolq.dashboard.access import Visitor

__all__ = ["create_app", "missing"]


def missing(error: ModuleNotFoundError) -> Exception:
    """What to say of a package that isn't installed: one line, where it is the extra's; else the error itself."""
    ours = (error.name or "").split(".")[0] == "spoolq"
    return error if ours else ConfigError(f"the dashboard needs: pip install 'spoolq[dashboard]' ({error.name} is missing)")


def create_app(
    q: SpoolQ,
    *,
    password: str | None = None,
    no_auth: bool = False,
    authorize: Callable[[Visitor, str], bool] | None = None,
    read_only: bool = False,
    hosts: Collection[str] | None = None,
    redact: Callable[[str, Any], Any] | None = None,
) -> Starlette:
    """The dashboard of this application's stores, to be served at the root or mounted under a path of another ASGI application.

    password    asked for by HTTP's Basic authentication, any user name with it. None: who may come in is decided by
                `authorize`, or, said with `no_auth`, by who put this behind a door of their own
    authorize   called as authorize(visitor, action) in a thread before each page (action `view`) and each change (its name, such
                as `spool.probe`): False refuses it
    read_only   refuses every change
    hosts       the names (of the header `Host`, without port) by which it may be called; None: any, for who mounts it
    redact      called as redact(task, arguments) before arguments are shown, returns what to show instead

    Raises ConfigError where a package is missing, where nothing says who may see it, and for a hook that is a coroutine.
    """
    try:
        from spoolq.dashboard.assembly import assemble
    except ModuleNotFoundError as error:
        raise missing(error) from error
    if password is None and authorize is None and not no_auth:
        raise ConfigError("say who may see the dashboard: password=, authorize=, or no_auth=True where another door is in front")
    if password is not None and not password:
        raise ConfigError("the dashboard's password is empty")
    for name, hook in (("authorize", authorize), ("redact", redact)):
        if iscoroutinefunction(hook):
            raise ConfigError(f"{name}= is called in a thread: a plain function is needed, no `async def`")
    return assemble(q, password=password, authorize=authorize, read_only=read_only, hosts=hosts, redact=redact)
