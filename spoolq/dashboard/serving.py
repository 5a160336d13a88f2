"""From a request to a view and back: in a thread, within a bounded time, as a page or as JSON, and what every change goes
through."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

import anyio
import anyio.to_thread
from markupsafe import Markup
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from spoolq.dashboard.asking import Action, Answer, Ask, Confirm, Download, NotThere, Refused, View, link
from spoolq.dashboard.guard import route_path
from spoolq.dashboard.pages import Links, environment, plain
from spoolq.errors import SpoolqError, StoreUnavailable

if TYPE_CHECKING:
    from spoolq.dashboard.desk import Desk

log = logging.getLogger("spoolq.dashboard")

LONGEST = 3.0  # seconds that a page waits for its view
CHANGING = 15.0  # and for an action, which may have many rows to move
THREADS = 16  # of one application at the same time: who waits for a store that doesn't answer is one of them
BODY = 1 << 20  # bytes of a form
FIELDS = 2000

LATE = "The stores did not answer in time. What is in them is untouched by this; try again."
GOES_ON = (
    "That takes longer than a page can wait. It goes on by itself, each step of it whole; look again in a while, at the numbers "
    "or in the journal (`spoolq events`), before you ask for it once more."
)
PARTLY = "What was done before that stays done: look at the numbers before you ask for it once more."


class Serving:
    """The routes of these views and actions."""

    def __init__(self, desk: Desk, views: Sequence[View], actions: Sequence[Action]) -> None:
        self.desk, self.views, self.actions = desk, views, actions
        self._nav = [view for view in views if view.label]
        self._templates = environment()
        self._threads: anyio.CapacityLimiter | None = None

    def routes(self) -> list[Route]:
        """One for each, and for each view its twin in JSON (`.json`)."""
        found = [Route(action.path, self._change(action), methods=["POST"], name=action.name) for action in self.actions]
        for view in self.views:
            found.append(Route(view.path, self._page(view), methods=["GET"], name=view.name))
            twin = f"{view.path.rstrip('/') or '/overview'}.json"
            found.append(Route(twin, self._page(view, as_json=True), methods=["GET"]))
        return found

    def _page(self, view: View, as_json: bool = False) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            return await self._answer(request, lambda: self._view(request, view, as_json or wants_json(request)), LONGEST, LATE)

        return endpoint

    def _view(self, request: Request, view: View, as_json: bool) -> Response:
        if not self.desk.may(request.scope["spoolq.visitor"], "view"):
            return self.problem(request, 403, "You may not see this.")
        ask = self._ask(request)
        answer = view.show(ask)
        if as_json:
            return document(answer.document, answer.status)
        return self._render(ask, request, answer, view.name)

    def _change(self, action: Action) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            if (form := await _form(request)) is None:
                return self.problem(request, 413, "That is too much for a form, or it did not come in time. Nothing was changed.")
            return await self._answer(request, lambda: self._do(request, action, form), CHANGING, GOES_ON)

        return endpoint

    def _do(self, request: Request, action: Action, form: dict[str, str]) -> Response:
        visitor = request.scope["spoolq.visitor"]
        if self.desk.read_only:
            return self.problem(request, 403, "This dashboard is read-only. Nothing was changed.")
        if not (self.desk.may(visitor, "view") and self.desk.may(visitor, action.name)):
            return self.problem(request, 403, "You may not do this. Nothing was changed.")
        ask = self._ask(request, form)
        if action.confirm is not None and (asked := action.confirm(ask)) is not None:
            typed = (asked.typed, plain(asked.typed))  # what can't be typed is typed as it is shown
            said = form.get("typed", "") in typed if asked.typed else form.get("confirmed") == "yes"
            if not said:
                return self._confirm(ask, request, action, asked)
        try:
            done = action.do(ask)
        except (NotThere, Refused):
            raise
        except Exception as error:
            self.desk.broke(visitor, action.name, error, form)
            return self._broken_off(request, action, error)
        if isinstance(done, Download):
            self.desk.record(visitor, action.name, f"{done.name} was downloaded")
            headers = {"Content-Disposition": f'attachment; filename="{done.name}"'}
            return StreamingResponse(done.parts, media_type=done.kind, headers=headers)
        key = self.desk.changed(visitor, action.name, done.text, done.detail)
        if wants_json(request):
            return document({"done": done.text, "changed": done.changed, **done.detail})
        path, _, query = done.back.partition("?")
        return RedirectResponse(Links(request.scope.get("root_path", ""))(path, note=key) + (query and f"&{query}"), 303)

    def _broken_off(self, request: Request, action: Action, error: Exception) -> Response:
        why = str(error)
        if not isinstance(error, SpoolqError):
            log.error("the action %s failed", action.name, exc_info=error)
            why = "This failed; the log of the dashboard says why"
        return self.problem(request, 503 if isinstance(error, StoreUnavailable) else 500, f"{why.rstrip('.')}. {PARTLY}")

    def _confirm(self, ask: Ask, request: Request, action: Action, asked: Confirm) -> Response:
        wrong = bool(asked.typed) and "typed" in ask.form
        if wants_json(request):
            needs = {"typed": asked.typed} if asked.typed else {"confirmed": "yes"}
            counted = {} if asked.these is None else {"these": asked.these}
            return document({"question": asked.question, "needs": {**needs, **counted}}, 409)
        kept = without(ask.form, "typed", "confirmed", "these")
        these = None if asked.these is None else Markup(asked.these)  # noqa: S704 (hexadecimal digits, and more than a page shows)
        shows = {"asked": asked, "action": action, "kept": kept, "these": these, "wrong": wrong, "back": ask.back("/")}
        return self._render(ask, request, Answer("confirm.html", asked.button, shows, {}, 422 if wrong else 200), "")

    async def _answer(self, request: Request, work: Callable[[], Response], longest: float, late: str) -> Response:
        if self._threads is None:
            self._threads = anyio.CapacityLimiter(THREADS)
        try:
            with anyio.fail_after(longest):
                return await anyio.to_thread.run_sync(self._caught(request, work), abandon_on_cancel=True, limiter=self._threads)
        except TimeoutError:
            return self.problem(request, 503, late)

    def _caught(self, request: Request, work: Callable[[], Response]) -> Callable[[], Response]:
        def run() -> Response:
            try:
                return work()
            except NotThere as error:
                return self.problem(request, 404, str(error))
            except Refused as error:
                return self.problem(request, 422, str(error))
            except StoreUnavailable as error:
                return self.problem(request, 503, str(error))
            except SpoolqError as error:
                return self.problem(request, 500, str(error))
            except Exception:
                log.exception("the page %s failed", request.scope["path"])
                return self.problem(
                    request, 500, "This page failed; the log of the dashboard says why. No job is touched by that."
                )

        return run

    def _ask(self, request: Request, form: dict[str, str] | None = None) -> Ask:
        query = dict(request.query_params)
        return Ask(self.desk, self.desk.facts(), request.scope["spoolq.visitor"], request.url.path, query, form or {})

    def _render(self, ask: Ask, request: Request, answer: Answer, name: str) -> Response:
        root = request.scope.get("root_path", "")
        url, path, query = Links(root), route_path(request.scope) or "/", without(ask.query, "note")
        html = self._templates.get_template(answer.template).render(
            **answer.shows,
            title=answer.title,
            page=name,
            url=url,
            here=url(path, **query),
            back_here=link(path, **query),
            twin=url(f"{path.rstrip('/') or '/overview'}.json", **query),
            paths={view.path for view in self.views},
            nav=self._nav,
            verdict=self.desk.judge(ask.facts),
            facts=ask.facts,
            visitor=ask.visitor,
            read_only=self.desk.read_only,
            note=self.desk.note(ask.query.get("note", "")),
        )
        return HTMLResponse(html, answer.status)

    def problem(self, request: Request, status: int, text: str) -> Response:
        """A page, or a document, that says what is wrong."""
        if wants_json(request):
            return document({"error": text}, status)
        html = self._templates.get_template("problem.html").render(
            title="Not there" if status == 404 else "That did not work",
            text=text,
            page="",
            nav=self._nav,
            url=Links(request.scope.get("root_path", "")),
        )
        return HTMLResponse(html, status)


async def _form(request: Request) -> dict[str, str] | None:
    """The fields of a form, the last of each name; None where it is too large, which is seen before all of it is read, where it
    doesn't come to its end in time, and where who sent it has hung up."""
    body = b""
    try:
        with anyio.fail_after(CHANGING):
            async for part in request.stream():
                body += part
                if len(body) > BODY:
                    return None
    except (TimeoutError, ClientDisconnect):
        return None
    try:
        fields = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=FIELDS)
        return dict(_field(*one) for one in fields)
    except ValueError:
        return None


def _field(name: str, value: str) -> tuple[str, str]:
    """As `pages.hidden` wrote it."""
    return (name[1:], unquote(value, errors="surrogatepass")) if name.startswith("~") else (name, value)


def wants_json(request: Request) -> bool:
    """By its address, or because JSON is what it accepts and a page isn't."""
    accept = request.headers.get("accept", "")
    return request.scope["path"].endswith(".json") or ("application/json" in accept and "text/html" not in accept)


def document(body: Any, status: int = 200) -> Response:
    """JSON, with the number of its schema in front."""
    whole = {"schema": 1, **body}
    try:
        text = json.dumps(whole, default=str, allow_nan=False)
    except ValueError:  # a number of foreign origin that JSON has no word for: then it is null
        text = json.dumps(json.loads(json.dumps(whole, default=str), parse_constant=lambda _: None))
    return Response(text, status, media_type="application/json")


def without(query: Any, *names: str) -> dict[str, str]:
    """A query without these."""
    return {name: value for name, value in query.items() if name not in names}
