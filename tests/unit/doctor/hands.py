"""One check at a time, as it is found."""

from __future__ import annotations

from typing import Any

from spoolq.app import SpoolQ
from spoolq.doctor import Finding, check
from spoolq.doctor.look import Look
from spoolq.store.base import Spool


def findings(q: SpoolQ, name: str, **options: Any) -> list[Finding]:
    """What the check of that name finds, looked at anew."""
    found = check(q, only={name}, look=Look(q, **{"limit": 60.0, **options}))  # the machine may be busy
    assert {one.name for one in found} == {name}
    for one in found:
        assert one.what
        assert one.remedy or one.level == "ok"
    return found


def finding(q: SpoolQ, name: str, **options: Any) -> Finding:
    """The one finding of that check."""
    [one] = findings(q, name, **options)
    return one


def level(q: SpoolQ, name: str, **options: Any) -> str:
    """How bad that check finds it."""
    return finding(q, name, **options).level


def spool_of(q: SpoolQ) -> Spool:
    assert q.spool is not None
    return q.spool
