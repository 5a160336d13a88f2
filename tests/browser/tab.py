"""A page as a visitor has it open, and all that a browser complains of meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Request, Response, expect

WITHIN = 30_000.0  # milliseconds; the machine may be busy
_TELL = (
    "document.addEventListener('securitypolicyviolation', (e) => violated(`${e.violatedDirective} ${e.blockedURI} ${e.sample}`))"
)


class Tab:
    """One page in a context of its own. `faults` are what no page of the dashboard may do: errors on the console, exceptions,
    violations of its policy, dialogs, requests to elsewhere, answers of 400 and more that no test asked for."""

    def __init__(self, browser: Browser, address: str, **options: Any) -> None:
        self.address = address
        self.origin = "{0.scheme}://{0.netloc}".format(urlsplit(address))
        self.faults: list[str] = []
        self.documents: list[str] = []
        """The addresses that were navigated to."""
        self._expected: set[int] = set()
        self.context: BrowserContext = browser.new_context(**{"reduced_motion": "reduce", **options})
        self.context.set_default_timeout(WITHIN)
        self.page: Page = self.context.new_page()
        if options.get("java_script_enabled", True):
            self.context.expose_function("violated", lambda what: self.faults.append(f"policy: {what}"))
            self.context.add_init_script(_TELL)
        self.context.on("request", self._asked)
        self.context.on("response", self._answered)
        self.context.on("requestfailed", self._failed)
        self.context.on("console", self._said)
        self.page.on("pageerror", lambda error: self.faults.append(f"exception: {error}"))
        self.page.on("dialog", self._dialog)

    def open(self, path: str = "/") -> Page:
        """Go to that path below the dashboard's address."""
        self.page.goto(self.address + path)
        return self.page

    def heading(self, words: str) -> Locator:
        return self.page.get_by_role("heading", level=1, name=words)

    @property
    def health(self) -> Locator:
        """The sentence on top of each page."""
        return self.page.locator("#health")

    def number(self, word: str) -> Locator:
        """The figure that stands under that word in a list of numbers."""
        return (
            self.page.locator("dl > div")
            .filter(has=self.page.get_by_role("term").filter(has_text=word))
            .get_by_role("definition")
        )

    def row(self, name: str) -> Locator:
        """The row of a table that is headed by that name."""
        return self.page.get_by_role("row").filter(has=self.page.get_by_role("rowheader", name=name, exact=True))

    def press(self, name: str, within: Locator | None = None) -> None:
        """The button of that name, exactly."""
        (within or self.page).get_by_role("button", name=name, exact=True).click()

    def told(self, words: str) -> None:
        """The note of the page after an action says that."""
        expect(self.page.get_by_role("main").get_by_role("status")).to_contain_text(words)

    @contextmanager
    def refusing(self, *statuses: int) -> Iterator[None]:
        """Meanwhile the dashboard may answer with these."""
        self._expected |= set(statuses)
        yield
        self._expected -= set(statuses)

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Meanwhile the page must stay: it changes without being loaded anew."""
        mark = self.page.evaluate("() => (window.stayed = Math.random())")
        count = len(self.documents)
        yield
        assert self.page.evaluate("() => window.stayed") == mark, "the page was loaded anew"
        assert len(self.documents) == count, self.documents[count:]

    def clean(self) -> None:
        """Nothing was complained of so far."""
        assert self.faults == [], self.faults

    def close(self) -> None:
        self.context.close()

    def _asked(self, request: Request) -> None:
        if request.is_navigation_request():
            self.documents.append(request.url)
        if not request.url.startswith((self.origin + "/", "data:")):
            self.faults.append(f"asked elsewhere: {request.url}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self._expected:
            self.faults.append(f"{response.status} for {response.request.method} {response.url}")

    def _failed(self, request: Request) -> None:
        why = request.failure or ""
        if "ERR_ABORTED" in why or (401 in self._expected and "ERR_INVALID_AUTH" in why):  # by a navigation; nobody typed one
            return
        self.faults.append(f"failed: {request.url}: {why}")

    def _said(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning") or message.location["url"].startswith("chrome-error:"):  # a page of its own
            return
        if message.text.startswith("Failed to load resource") and any(str(status) in message.text for status in self._expected):
            return
        self.faults.append(f"console {message.type}: {message.text} ({message.location})")

    def _dialog(self, dialog: Any) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()
