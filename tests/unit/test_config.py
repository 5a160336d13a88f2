"""Settings: what is read from where, which wins, and what a mistake is answered with."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoolq import config
from spoolq.config import Settings, default_spool, destination, load, mask
from spoolq.errors import ConfigError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_defaults_are_those_of_the_documentation() -> None:
    settings, origins = load(env={"HOME": "/home/web"})
    assert settings.url == "redis://127.0.0.1:6379/0"
    assert (settings.namespace, settings.deadline, settings.disk_limit) == ("resque", 0.25, 2.0)
    assert (settings.wire, settings.delayed, settings.lease, settings.grace) == ("python", "spoolq", 30, 25)
    assert (settings.max_payload, settings.spool_max_bytes, settings.spool_min_free) == (2**20, 2**30, 256 * 2**20)
    assert (settings.spool_max_rows, settings.drain_rate, settings.drain_batch) == (None, None, 1000)
    assert (settings.horizon, settings.retries) == (7 * 86400, 3)
    assert str(settings.spool).startswith("/home/web/.local/state/spoolq/spool-")
    assert set(origins.of.values()) == {"default"}
    assert set(origins.of) == set(config.KINDS)


def test_the_last_of_file_environment_and_argument_wins() -> None:
    Path("spoolq.toml").write_text('deadline = "1s"\nlease = 60\nretries = 9\n')
    settings, origins = load(env={"HOME": "/h", "SPOOLQ_LEASE": "90s", "SPOOLQ_RETRIES": "8"}, retries=7)
    assert (settings.deadline, settings.lease, settings.retries) == (1.0, 90.0, 7)
    assert (origins["deadline"], origins["lease"], origins["retries"]) == ("spoolq.toml", "SPOOLQ_LEASE", "argument")
    assert origins.file == Path("spoolq.toml")


def test_the_file_is_the_first_found() -> None:
    for name, retries in (("spoolq.toml", 1), ("other.toml", 2), ("third.toml", 3)):
        Path(name).write_text(f"retries = {retries}\n")
    env = {"HOME": "/h", "SPOOLQ_CONFIG": "other.toml"}
    assert load("third.toml", env)[0].retries == 3
    assert load(None, env)[0].retries == 2
    assert load(None, {"HOME": "/h"})[0].retries == 1


@pytest.mark.parametrize(("argument", "env"), [("gone.toml", {}), (None, {"SPOOLQ_CONFIG": "gone.toml"})])
def test_a_named_file_that_is_absent_is_an_error_and_not_a_default(argument: str | None, env: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"no configuration file at gone\.toml \(from (--config|SPOOLQ_CONFIG)\)"):
        load(argument, env)


def test_a_file_that_is_not_toml_says_where() -> None:
    Path("spoolq.toml").write_text("url = redis://nowhere\n")
    with pytest.raises(ConfigError, match=r"spoolq\.toml isn't TOML: .*line 1"):
        load(env={})


def test_redis_url_is_honoured_only_without_spoolq_url() -> None:
    env = {"HOME": "/h", "REDIS_URL": "redis://a:1/0"}
    assert load(env=env)[0].url == "redis://a:1/0"
    assert load(env=env)[1]["url"] == "REDIS_URL"
    assert load(env=env | {"SPOOLQ_URL": "redis://b:2/0"})[0].url == "redis://b:2/0"


def test_a_variable_set_to_nothing_is_not_set() -> None:
    assert load(env={"HOME": "/h", "SPOOLQ_URL": "", "REDIS_URL": "redis://a:1/0"})[0].url == "redis://a:1/0"


def test_an_unknown_variable_warns_with_the_nearest_name(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "spoolq"):
        _, origins = load(env={"HOME": "/h", "SPOOLQ_DEADLIN": "1s", "SPOOLQ_ZZZZ": "1", "OTHER": "1"})
    assert origins.warnings == (
        "unknown variable SPOOLQ_DEADLIN, did you mean SPOOLQ_DEADLINE?",
        "unknown variable SPOOLQ_ZZZZ; it is ignored",
    )
    assert [record.message for record in caplog.records] == list(origins.warnings)


def test_a_setting_of_a_later_version_is_unknown() -> None:
    warnings = load(env={"HOME": "/h", "SPOOLQ_RESERVE": "1MiB"})[1].warnings
    assert len(warnings) == 1


def test_an_unknown_key_warns_with_the_nearest_name() -> None:
    Path("spoolq.toml").write_text("dedline = 1\n")
    assert load(env={"HOME": "/h"})[1].warnings == ("spoolq.toml: unknown setting 'dedline', did you mean deadline?",)


def test_an_unknown_argument_is_an_error() -> None:
    with pytest.raises(ConfigError, match="unknown setting 'dead_line', did you mean deadline"):
        load(env={}, dead_line=1)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30),
        ("30s", 30),
        ("5m", 300),
        ("2500ms", 2.5),
        ("1.5", 1.5),
        ("1h30m", 5400),
        ("7d", 604800),
        (" 1 m ", 60),
        (1, 1),
        (1.5, 1.5),
        (timedelta(minutes=2), 120),
    ],
)
def test_durations(text: object, seconds: float) -> None:
    assert Settings(horizon=text).horizon == seconds  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "count"),
    [("512MiB", 512 * 2**20), ("1GB", 10**9), ("64k", 65536), ("1 GiB", 2**30), ("2.5MiB", 5 * 2**19), ("4096", 4096), (99, 99)],
)
def test_sizes(text: object, count: int) -> None:
    assert Settings(max_payload="1k", spool_min_free=text).spool_min_free == count  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("deadline", "5 parsecs", "a duration such as 30, 30s, 5m or 250ms, from 1ms to 60s"),
        ("deadline", 0, "from 1ms to 60s"),
        ("deadline", "250", "from 1ms to 60s"),  # meant as milliseconds
        ("deadline", float("nan"), "a duration"),
        ("deadline", True, "a duration"),
        ("deadline", None, "a duration"),
        ("spool_max_bytes", "1 elephant", "a size such as 512MiB"),
        ("spool_max_bytes", -1, "a size such as 512MiB"),
        ("spool_max_rows", "many", "a whole number from 1 to .*, or none"),
        ("max_payload", "1.5", "a size"),
        ("retries", "-1", "a whole number from 0"),
        ("retries", 1.5, "a whole number from 0"),
        ("wire", "pickle", "python or resque"),
        ("delayed", "redis", "spoolq or resque"),
        ("drain_rate", "0", "rows a second, more than 0, or none"),
        ("drain_batch", 0, "a whole number from 1 to 10,000"),
        ("drain_batch", "1e999", "a whole number"),
        ("max_prefetch", -1, "a whole number from 0 to 1,000"),
        ("max_prefetch", "1001", "a whole number from 0 to 1,000"),
        ("max_prefetch", "all", "a whole number from 0 to 1,000"),
        ("namespace", "", "1 to 100 printable"),
        ("namespace", "a b", "no space"),
        ("spool", "", "the path of a file"),
        ("spool", 3, "the path of a file"),
        ("spool", "sqlite:///spool.db", "the path of a file, not a URL"),
    ],
)
def test_a_wrong_value_names_setting_value_and_what_is_expected(name: str, value: object, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected) as caught:
        Settings(**{name: value})  # type: ignore[arg-type]
    assert str(caught.value).startswith(f"{name} = {value!r}: ")


def test_a_wrong_value_names_its_origin() -> None:
    with pytest.raises(ConfigError, match=r"lease = 'long' \(from SPOOLQ_LEASE\): expected a duration"):
        load(env={"SPOOLQ_LEASE": "long"})
    Path("spoolq.toml").write_text("wire = 7\n")
    with pytest.raises(ConfigError, match=r"wire = 7 \(from spoolq\.toml\): expected python or resque"):
        load(env={})
    Path("spoolq.toml").unlink()
    with pytest.raises(ConfigError, match=r"unknown scheme 'amqp'.*\(from REDIS_URL\)"):
        load(env={"REDIS_URL": "amqp://h"})


def test_words_for_no_limit() -> None:
    settings = Settings(spool_max_rows="none", drain_rate="none")  # type: ignore[arg-type]
    assert (settings.spool_max_rows, settings.drain_rate) == (None, None)


@pytest.mark.parametrize("url", ["amqp://host", "localhost:6379", "", "http://h", "mysql://u:secret@h/db", "redis:/h"])
def test_an_unknown_scheme_lists_the_known_ones(url: str) -> None:
    with pytest.raises(ConfigError, match=r"redis://.*rediss://.*unix://.*sqlite:///") as caught:
        Settings(url=url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("redis://h:port/0", "port isn't a number"),
        ("redis://h:99999/0", "port isn't a number"),
        ("redis://h/zero", "database isn't a number"),
        ("redis://:se/cret@h", "port isn't a number"),
        ("unix://run/redis.sock", "three slashes"),
        ("unix://", "three slashes"),
        ("sqlite://jobs.db", "sqlite:///relative.db or sqlite:////absolute"),
        ("sqlite:///", "a file"),
        ("sqlite:///jobs.db?mode=ro", "without options"),
        ("sqlite:///:memory:", "gone with its process"),
    ],
)
def test_a_url_that_can_not_be_used_says_why(url: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        Settings(url=url)
    assert "cret" not in str(caught.value)


def test_a_relative_sqlite_file_stays_where_it_was_when_the_program_changes_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(url="sqlite:///jobs.db")
    monkeypatch.chdir("/")
    assert settings.sqlite_path == tmp_path / "jobs.db"
    assert settings.destination == f"sqlite:///{tmp_path}/jobs.db"
    assert Settings(url="sqlite:////srv/jobs.db").sqlite_path == Path("/srv/jobs.db")
    assert Settings(url="redis://h").sqlite_path is None


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0#resque"),
        ("redis://localhost", "redis://127.0.0.1:6379/0#resque"),
        ("redis://", "redis://127.0.0.1:6379/0#resque"),
        ("redis://user:secret@Example.COM.:7000/3?socket_timeout=1", "redis://example.com:7000/3#resque"),
        ("rediss://example.com?db=2", "redis://example.com:6379/2#resque"),
        ("redis://[2001:DB8::1]:6379/0", "redis://[2001:db8::1]:6379/0#resque"),
        ("unix:///run/redis.sock?db=1&password=secret", "unix:///run/redis.sock?db=1#resque"),
        ("unix://user:secret@/run/redis.sock", "unix:///run/redis.sock?db=0#resque"),
    ],
)
def test_a_destination_is_one_name_without_secrets(url: str, name: str) -> None:
    assert destination(url, "resque") == name


def test_a_namespace_may_be_a_hash_tag_as_a_cluster_needs_it() -> None:
    assert load(namespace="{resque}")[0].namespace == "{resque}"


def test_the_namespace_is_part_of_the_destination() -> None:
    assert destination("redis://h", "a") != destination("redis://h", "b")


def test_the_default_spool_is_one_per_destination_in_the_state_directory() -> None:
    one, two = (destination("redis://h", namespace) for namespace in ("a", "b"))
    spool = default_spool(one, {"STATE_DIRECTORY": "/var/lib/web:/var/lib/other", "XDG_STATE_HOME": "/x", "HOME": "/h"})
    assert spool.parent == Path("/var/lib/web")
    assert default_spool(one, {"XDG_STATE_HOME": "/x", "HOME": "/h"}).parent == Path("/x/spoolq")
    assert default_spool(one, {"XDG_STATE_HOME": "relative", "HOME": "/h"}).parent == Path("/h/.local/state/spoolq")
    assert spool.name != default_spool(two, {"HOME": "/h"}).name
    stem, digits = spool.stem.split("-")
    assert (stem, len(digits), spool.suffix) == ("spool", 8, ".db")
    assert int(digits, 16) >= 0


def test_a_given_spool_is_absolute_and_an_sqlite_queue_has_none(tmp_path: Path) -> None:
    assert load(env={"SPOOLQ_SPOOL": "my.db"})[0].spool == tmp_path / "my.db"
    assert load(env={"SPOOLQ_SPOOL": "~/my.db"})[0].spool_path == Path("~/my.db").expanduser()
    assert load(env={"HOME": "/h"}, url="sqlite:///jobs.db")[0].spool is None


@pytest.mark.parametrize("user", ["", "web"])
@pytest.mark.parametrize("place", ["h:6379/0", "/run/redis.sock"])
def test_a_password_by_file_goes_into_the_url_and_is_never_shown(tmp_path: Path, user: str, place: str) -> None:
    secret = "p@ss/w:rd?%&"
    (tmp_path / "secret").write_text(f"{secret}\n")
    scheme = "unix" if place.startswith("/") else "redis"
    url = f"{scheme}://{user}{'@' if user else ''}{place}"
    settings, _ = load(env={"HOME": "/h", config.PASSWORD_FILE: str(tmp_path / "secret")}, url=url)
    parts = urlsplit(settings.url)
    assert parts.password == quote(secret, safe="")
    assert (parts.username or "", settings.destination) == (user, destination(url, "resque"))
    for shown in (repr(settings), str(settings.shown()), settings.destination, mask(settings.url)):
        assert "p%40ss" not in shown
        assert "p@ss" not in shown


def test_a_password_file_may_be_named_in_the_configuration_file() -> None:
    Path("secret").write_text("hush")
    Path("spoolq.toml").write_text('redis_password_file = "secret"\n')
    settings, origins = load(env={"HOME": "/h"})
    assert settings.url == "redis://:hush@127.0.0.1:6379/0"
    assert origins.warnings == ()


def test_a_password_in_the_url_is_kept_and_sqlite_needs_none(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("other")
    env = {"HOME": "/h", config.PASSWORD_FILE: str(tmp_path / "secret")}
    assert load(env=env, url="redis://:mine@h/0")[0].url == "redis://:mine@h/0"
    assert load(env=env, url="sqlite:////srv/jobs.db")[0].url == "sqlite:////srv/jobs.db"


@pytest.mark.parametrize(("content", "why"), [(None, "can't be read: No such file"), ("\n", "is empty")])
def test_a_password_file_without_a_password_is_an_error(tmp_path: Path, content: str | None, why: str) -> None:
    if content is not None:
        (tmp_path / "secret").write_text(content)
    with pytest.raises(ConfigError, match=rf"{tmp_path}/secret \(from SPOOLQ_REDIS_PASSWORD_FILE\) {why}"):
        load(env={config.PASSWORD_FILE: str(tmp_path / "secret")})


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("redis://web@h", "redis://web@h"),
        ("redis://web:secret@h", "redis://web:***@h"),
        ("redis://:sec@re/t?@h/0", "redis://:***@h/0"),
        ("unix:///run/r.sock?password=secret&db=1", "unix:///run/r.sock?password=***&db=1"),
        ("rediss://h?ssl_password=secret", "rediss://h?ssl_password=***"),
        ("redis://h?pasword=secret&db=1", "redis://h?pasword=***&db=1"),
        ("redis://h?pass%77ord=secret", "redis://h?pass%77ord=***"),
        ("redis://h?sentinel_auth=secret&protocol=3", "redis://h?sentinel_auth=***&protocol=3"),
        ("redis://h?username=web&credential=secret#more", "redis://h?username=web&credential=***"),
        ("redis://h?db=1?password=secret", "redis://h?db=1?password=***"),
        ("redis://h?password=a?secret", "redis://h?password=***"),
        ("redis://h?secret", "redis://h?***"),
        ("redis://h?db=1&secret", "redis://h?db=1&***"),
        ("redis://h?", "redis://h?"),
        ("redis://h?%64b=1&client_name=x&ssl_ca_certs=/ca.pem&", "redis://h?%64b=1&client_name=x&ssl_ca_certs=/ca.pem&"),
        ("redis:h;password=secret", "redis:h;password=***"),
        ("unix:///run/a&b;c.sock", "unix:///run/a&b;c.sock"),
        ("redis:/web:secret@h", "***@h"),
        ("web:secret@h:6379", "***@h:6379"),
        ("localhost:6379?password=secret", "localhost:6379?password=***"),
        ("localhost:6379", "localhost:6379"),
        ("sqlite:////srv/a:b@c/jobs.db", "sqlite:////srv/a:b@c/jobs.db"),
    ],
)
def test_mask(url: str, shown: str) -> None:
    assert mask(url) == shown


@given(st.text(min_size=12, alphabet=st.characters(codec="utf-8", exclude_characters="*")))
def test_no_password_survives_masking_however_it_is_written(secret: str) -> None:
    for text in (secret, quote(secret, safe="")):
        assert text not in mask(f"redis://user:{text}@host:6379/0")


@pytest.mark.parametrize("secret", ["hunt\uff0fer2", "hunt[er2", "hunt]er2"])
@pytest.mark.parametrize("file", [False, True])
def test_a_url_that_can_not_be_read_is_refused_without_a_part_of_its_password(secret: str, file: bool, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("another")
    environ = {"SPOOLQ_REDIS_PASSWORD_FILE": str(tmp_path / "secret")} if file else {}
    with pytest.raises(ConfigError, match="it can't be read as a URL") as caught:
        load(None, environ, url=f"redis://:{secret}@host/0")
    assert "hunt" not in str(caught.value)
    assert "er2" not in str(caught.value)


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Settings().url = "redis://elsewhere"  # type: ignore[misc]
