"""An operator who looks at a spool as root must not shut out the application that it belongs to."""

import os
from pathlib import Path

import pytest

from spoolq.job import Message
from spoolq.store.sqlite import SQLiteStore

NOBODY = 65534


@pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="needs root")
def test_what_root_makes_beside_a_spool_belongs_to_the_spools_owner(tmp_path: Path):
    path = tmp_path / "spool.db"
    store = SQLiteStore(path, role="spool", min_free=0, timeout=20.0)
    store.spool([Message("a", "q", b"{}")])
    store.close()
    for file in tmp_path.iterdir():
        if file == path:
            os.chown(file, NOBODY, NOBODY)
        else:
            file.unlink()
    looking = SQLiteStore(path, role="spool", create=False, min_free=0, timeout=20.0)
    assert looking.waiting() == 1
    looking.spool([Message("b", "q", b"{}")])
    owners = {file.name: file.stat().st_uid for file in tmp_path.iterdir()}
    looking.close()
    assert set(owners.values()) == {NOBODY}, owners
    assert {"spool.db-lock", "spool.db-wake"} <= owners.keys()
