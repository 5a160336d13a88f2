"""A deployment in which every page has something to show, and much of it by hostile names."""

from __future__ import annotations

import json
import re
from contextlib import closing

from playwright.sync_api import Page

from tests.browser.house import House
from tests.waiting import eventually

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "\"'><script>alert(2)</script>",
    "{{ 7*7 }}\u202egnp.exe\u2066",
    "javascript:alert(3)",
    "x" * 300,
)
QUEUES = tuple(re.sub(r"[ :,*!\u202e\u2066]", "/", each)[:100] for each in HOSTILE)  # what spoolq takes for a queue's name
LOST = "/job?id=nothing"  # a job that isn't there
SCHEDULES = """
from shop import q
from tests.browser.furnished import QUEUES

for each in QUEUES:
    q.periodic("30 2 * * *", name=each)(q.task(name=each, queue=each)(lambda: None))
"""


def furnish(house: House, address: str) -> None:
    """Jobs that wait, are scheduled, are tried again, failed and run; schedules, a worker, an action in the journal."""
    house.worker("--queues", "work", "--threads", 4)
    house.put("hold", ("never",), queue="work")
    for each, queue in zip(HOSTILE, QUEUES, strict=True):
        house.put(each, (each,), queue=queue, subject=each)
        house.put(each, (each,), queue=queue, delay=3600)
        house.put("broken", ("never", each), queue="work")
        house.put("patient", (each,), queue="work")
    with closing(house.server.client()) as others:  # who minds no rules
        for each in HOSTILE:
            others.sadd("resque:queues", each)
            others.rpush(f"resque:queue:{each}", json.dumps({"class": each, "args": [each]}))
    house.put("send", *[(f"{n}@example.com",) for n in range(60)], queue="mail")
    eventually(lambda: len(house.ask("/retries.json", address)["jobs"]) == len(HOSTILE), what="the retries")
    eventually(lambda: len(house.ask("/failures.json", address)["failures"]) == len(HOSTILE), what="the failures")


def paths(page: Page, address: str) -> list[str]:
    """Every page: those of the navigation, and of each kind that lists link to one, ordinary and hostile."""
    page.goto(address + "/")
    found = {_path(link, address) for link in page.get_by_role("navigation", name="Views").get_by_role("link").all()}
    for where, prefix in (("/queues", "/queue?"), ("/failures", "/job?"), ("/retries", "/job?"), ("/scheduled", "/job?")):
        page.goto(address + where)
        links = [_path(link, address) for link in page.get_by_role("main").get_by_role("link").all()]
        found |= set([link for link in links if link.startswith(prefix)][:2])
    shown = [f"{path}&show=arguments" for path in sorted(found) if path.startswith("/job?")][:2]
    return [*sorted(found), *shown, "/failures?class=ValueError", "/events?kind=action", "/queue?name=nowhere", LOST]


def _path(link, address: str) -> str:  # type: ignore[no-untyped-def]
    return str(link.evaluate("(link) => link.href")).removeprefix(address)
