"""The SQLite store. Importing this package loads a SQLite library; nothing else in spoolq does."""

from __future__ import annotations

from spoolq.store.sqlite.store import SQLiteStore

__all__ = ["SQLiteStore"]
