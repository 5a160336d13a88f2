"""What the dashboard's tests have in common: a browser without a network, and a page's own words."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from starlette.testclient import TestClient

from spoolq import SpoolQ
from spoolq.dashboard import create_app

OWN = {"Origin": "http://testserver"}
"""What a browser sends with a form of the dashboard's own."""


def browser(q: SpoolQ, **options: Any) -> TestClient:
    """A client of this application's dashboard; anybody may come in unless the options say otherwise."""
    if not options.keys() & {"password", "authorize", "no_auth"}:
        options["no_auth"] = True
    return TestClient(create_app(q, **options))


def words(html: str) -> str:
    """A page's text as a person reads it, tags and superfluous spaces left out."""
    body = re.sub(r"<(script|style)\b.*?</\1>", " ", html, flags=re.S)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", body))).strip()
