"""The Lua files: known by their sha1, of one form, and without what old servers refuse."""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files

import pytest

from spoolq.store.redis.scripts import NEEDS_LIB, script
from spoolq.store.tally import OURS

NAMES = sorted(path.name[:-4] for path in files("spoolq.store.redis").joinpath("scripts").iterdir() if path.name.endswith(".lua"))


def code(name: str) -> str:
    return re.sub(r"--[^\n]*", "", script(name).text.decode())


@pytest.mark.parametrize("name", NAMES)
def test_a_script_is_known_by_its_sha1(name: str) -> None:
    assert script(name).sha.decode() == hashlib.sha1(script(name).text).hexdigest()


@pytest.mark.parametrize("name", NAMES)
def test_no_flags_that_redis_6_refuses(name: str) -> None:
    assert not script(name).text.startswith(b"#!")


@pytest.mark.parametrize("name", NAMES)
def test_the_library_comes_first_where_it_is_named(name: str) -> None:
    text = script(name).text
    assert name in ("lib", "put") or NEEDS_LIB in text
    assert (b"local function atomically" in text) == (name != "put")


@pytest.mark.parametrize("name", NAMES)
def test_only_the_queue_of_a_foreign_delayed_job_is_ever_decoded(name: str) -> None:
    own = files("spoolq.store.redis").joinpath("scripts", f"{name}.lua").read_text()
    assert own.count("cjson") == (1 if name == "promote" else 0)
    assert "cjson.encode" not in own


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("lib", "put", "put_many")])
def test_all_but_put_begin_with_a_removal(name: str) -> None:
    """Or a full Redis would refuse them."""
    own = re.sub(r"--[^\n]*", "", files("spoolq.store.redis").joinpath("scripts", f"{name}.lua").read_text())
    writes = re.search(r"works_when_full|settle\(|'(DEL|LREM|UNLINK|SADD|RPUSH|HSET|ZADD|SET|LPUSH)'", own)
    assert writes is None or writes.group() in ("works_when_full", "settle(", "'DEL'", "'LREM'", "'UNLINK'")


def test_what_is_ours_is_told_in_the_same_way_everywhere() -> None:
    assert all(f"'{OURS.decode()}'" in code(name) for name in ("lib", "put"))


def test_put_removes_last() -> None:
    text = code("put")
    assert text.index("'RPUSH'") < text.index("'ZADD'") < text.rindex("'ZREM'")
    assert "atomically" not in text
