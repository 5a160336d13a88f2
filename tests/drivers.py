"""The oldest client library that spoolq allows, in a folder of its own beside the newest that is installed."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import tempfile
from pathlib import Path

OLDEST = "5.0.8"


def redis_py(version: str) -> Path:
    """A folder with redis-py of that version alone, kept in the environment between runs."""
    home = Path(sys.prefix if sys.prefix != sys.base_prefix else tempfile.gettempdir())
    folder = home / f"spoolq-redis-{version}"
    with (home / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "redis").exists():
            command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
            subprocess.run([*command, "--target", str(folder), f"redis=={version}"], check=True, timeout=100)
    return folder
