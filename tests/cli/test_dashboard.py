"""`spoolq dashboard`: where it listens, to whom it answers, and how it ends."""

from __future__ import annotations

import base64
import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import Run, finish, listening
from tests.waiting import eventually

URL = "sqlite:///jobs.db"


@contextmanager
def showing(*args: object, url: str = URL, **env: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """One on a free port, and where it answers."""
    with listening("dashboard", "--url", url, *args, **env) as (process, address):
        yield process, address


def ask(address: str, path: str = "/", *, method: str = "GET", **headers: str) -> tuple[int, str]:
    """What it answers. A page that says that it is late, since the machine is busy, is asked for again, as it says."""
    request = urllib.request.Request(
        address + path, method=method, headers={name.replace("_", "-"): v for name, v in headers.items()}
    )
    found = eventually(lambda: None if (answer := _asked(request))[0] == 503 else answer, what=f"an answer for {path}")
    assert found is not None
    return found


def _asked(request: urllib.request.Request) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_it_answers_until_it_is_told_to_end(number: int) -> None:
    with showing() as (process, address):
        assert address.startswith("http://127.0.0.1:")
        status, page = ask(address)
        assert (status, "</html>" in page) == (200, True)
        assert json.loads(ask(address, "/spool.json")[1])["schema"] == 1
        process.send_signal(number)
        said = finish(process, 25)
        assert "Traceback" not in said.err
        assert said.code == 0


def test_an_open_stream_doesnt_hold_its_end(tmp_path: Path) -> None:
    with showing() as (process, address):
        port = int(address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=60) as stream:
            stream.sendall(b"GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            seen = b""
            while b"event: sample" not in seen:
                seen += stream.recv(65536)
            process.send_signal(signal.SIGTERM)
            finish(process, 25)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "box"])
def test_an_address_that_others_reach_needs_a_password(run: Run, host: str) -> None:
    said = run("dashboard", "--port", 0, "--url", URL, "--host", host)
    assert said.code == 78
    assert f"--host {host}: others could reach it, so it needs a password" in said.err
    assert "--no-auth" in said.err


def test_with_no_auth_said_aloud_it_listens_and_says_what_that_means() -> None:
    with showing("--host", "0.0.0.0", "--no-auth") as (process, address):
        assert process.stderr is not None
        assert "there is no password (--no-auth)" in process.stderr.readline()
        port = address.rpartition(":")[2]
        assert ask(f"http://127.0.0.1:{port}")[0] == 200
        assert ask(f"http://127.0.0.1:{port}", Host="evil.example")[0] == 421


def login(password: str) -> str:
    return "Basic " + base64.b64encode(f"ann:{password}".encode()).decode()


@pytest.mark.parametrize("way", ["option", "variable", "file", "toml", "toml-file"])
def test_the_password_comes_from_a_file_or_a_setting(tmp_path: Path, way: str) -> None:
    (tmp_path / "secret").write_text("tiger\n")
    args: list[object] = []
    env: dict[str, str] = {}
    match way:
        case "option":
            args = ["--password-file", "secret"]
        case "variable":
            env = {"SPOOLQ_DASHBOARD_PASSWORD": "tiger"}
        case "file":
            env = {"SPOOLQ_DASHBOARD_PASSWORD_FILE": "secret"}
        case "toml":
            (tmp_path / "spoolq.toml").write_text('dashboard_password = "tiger"\n')
        case "toml-file":
            (tmp_path / "spoolq.toml").write_text('dashboard_password_file = "secret"\n')
    with showing(*args, "--host", "0.0.0.0", **env) as (_, address):
        here = f"http://127.0.0.1:{address.rpartition(':')[2]}"
        assert ask(here)[0] == 401
        assert ask(here, Authorization=login("wrong"))[0] == 401
        assert ask(here, Authorization=login("tiger"))[0] == 200


def test_there_is_no_option_for_the_password_itself(run: Run) -> None:
    """What stands on a command line is anybody's to read."""
    assert "--password " not in run("dashboard", "--help").out
    assert run("dashboard", "--password", "tiger").code == 2


def test_a_wrong_password_setting_isnt_shown(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "spoolq.toml").write_text("dashboard_password = 31337\n")
    said = run("dashboard", "--port", 0)
    assert (said.code, "31337" in said.err) == (78, False)
    monkeypatch.setenv("SPOOLQ_DASHBOARD_PASSWORD", "tiger")
    (tmp_path / "spoolq.toml").unlink()
    shown = run("config", "show", "--json").json["settings"]["dashboard_password"]
    assert shown == {"value": "***", "origin": "SPOOLQ_DASHBOARD_PASSWORD"}


def test_a_password_file_that_cant_be_read_is_said(run: Run, tmp_path: Path) -> None:
    said = run("dashboard", "--port", 0, "--password-file", "nowhere")
    assert (said.code, "the password file nowhere (from --password-file) can't be read" in said.err) == (78, True)
    (tmp_path / "empty").write_text("\n")
    assert "is empty" in run("dashboard", "--port", 0, "--password-file", "empty").err


def test_read_only_changes_nothing() -> None:
    with showing("--read-only") as (_, address):
        status, text = ask(address, "/pause", method="POST", Origin=address)
        assert (status, "read-only" in text) == (403, True)


def test_under_a_prefix_and_by_another_name() -> None:
    with showing("--prefix", "/jobs/", "--allow-host", "ops.example") as (_, address):
        assert address.endswith("/jobs")
        here = address.removesuffix("/jobs")
        for path in ("/jobs/", "/"):
            status, page = ask(here, path, Host="ops.example")
            assert (status, 'href="/jobs/spool"' in page) == (200, True)
        assert ask(here, "/", Host="other.example")[0] == 421


@pytest.mark.parametrize("prefix", ["/spool", "/queues/", "/live", "/static"])
def test_a_prefix_that_is_a_page_of_its_own_is_refused(run: Run, prefix: str) -> None:
    """`/spool` behind a proxy that has taken `/spool` away is the spool's page, behind another the overview."""
    said = run("dashboard", "--port", 0, "--url", URL, "--prefix", prefix)
    assert said.code == 2
    assert "has a page of that path itself" in said.err


@pytest.mark.parametrize("prefix", ["//evil.example", "/a b", "javascript:", "/a/../b"])
def test_a_prefix_that_is_no_path_is_refused(run: Run, prefix: str) -> None:
    said = run("dashboard", "--port", 0, "--url", URL, "--prefix", prefix)
    assert (said.code, "a path such as /spoolq is needed" in said.err) == (2, True)


def test_an_address_that_cant_be_had_is_said(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = run("dashboard", "--port", taken.getsockname()[1], "--url", URL)
    assert (said.code, "name another with --port" in said.err) == (1, True)


def test_without_its_packages_it_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "starlette.py").write_text("raise ModuleNotFoundError(\"No module named 'starlette'\", name='starlette')\n")
    program = "import sys; sys.path.insert(0, sys.argv.pop(1)); sys.argv[0] = 'spoolq'; from spoolq.cli import main; main()"
    ran = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), "dashboard", "--port", "0", "--url", URL],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 78
    assert ran.stderr.strip().splitlines()[-1].startswith("spoolq: the dashboard needs: pip install 'spoolq[dashboard]'")


def test_its_log_shows_no_address_that_was_asked_for(tmp_path: Path) -> None:
    """A filter may be a customer's name."""
    with showing() as (process, address):
        ask(address, "/retries?q=s3cr3t")
        ask(address, "/nothing?token=s3cr3t")
        process.send_signal(signal.SIGTERM)
        said = finish(process, 25)
    assert "s3cr3t" not in said.err + said.out


def test_a_service_manager_is_told(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(60.0)
        with showing(NOTIFY_SOCKET=address, WATCHDOG_USEC="600000") as (process, _):
            said = [manager.recv(4096).decode() for _ in range(3)]
            process.send_signal(signal.SIGTERM)
            eventually(lambda: said.append(manager.recv(4096).decode()) or "STOPPING=1" in said[-1])
    assert "READY=1" in said[0] or "READY=1" in said[1]
    assert any("WATCHDOG=1" in one for one in said)
