"""The browser that this machine has: found, never fetched, and started so that it speaks to this machine alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "SPOOLQ_CHROMIUM"
NONE_FOUND = f"no chromium found: apt-get install chromium, or name one in {VARIABLE}; to go without: --no-browser"
_USUAL = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",  # CI is root in a container
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # whatever asks for another host finds none
]


def find_chromium(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The one that is named, Debian's, or that on PATH; None where there is none."""
    if named := environ.get(VARIABLE):
        return Path(named) if os.access(named, os.X_OK) else None
    found = next((one for one in (_USUAL,) if os.access(one, os.X_OK)), None) or shutil.which(
        "chromium", path=environ.get("PATH")
    )
    return None if found is None else Path(found)
