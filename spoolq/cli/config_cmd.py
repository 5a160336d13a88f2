"""`spoolq config`: the settings that hold here, and where each came from."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from spoolq.cli.faults import BAD_CONFIG, PROBLEM
from spoolq.cli.opening import Given, command_options, json_option, load
from spoolq.cli.output import emit, hint, table
from spoolq.config import KINDS, Origins, Settings
from spoolq.config import load as load_settings
from spoolq.errors import ConfigError, SpoolqError, StoreUnavailable
from spoolq.places import folder, there, unwritable
from spoolq.settings_words import plain, words

if TYPE_CHECKING:
    from spoolq.app import SpoolQ


@click.group()
def config() -> None:
    """Show and check the settings."""


@config.command()
@json_option
@command_options()
def show(given: Given, as_json: bool) -> None:
    """Each setting, its value (passwords masked) and where it came from."""
    settings, origins = _settings(given)
    shown = settings.shown()
    if as_json:
        facts = {name: {"value": plain(shown[name]), "origin": origins[name]} for name in KINDS}
        emit({"file": plain(origins.file), "destination": settings.destination, "settings": facts, "warnings": origins.warnings})
        return
    rows = [(name, words(name, shown[name]), origins[name]) for name in KINDS]
    table(("SETTING", "VALUE", "FROM"), rows)
    hint(f"Read from {origins.file}." if origins.file else "No spoolq.toml was found.")


@config.command()
@json_option
@command_options(level="ERROR")
def check(given: Given, as_json: bool) -> None:
    """Whether the settings can be used. Redis's login and the options of its URL, the file of the spool or queue, and the places
    of failure_log are tried too. That Redis or a bucket can't be reached is no fault of a setting, and is said.

    Exit 0 yes, 1 something is odd, 78 no.
    """
    try:
        q = given.open()
    except ConfigError as error:
        _finish([("error", str(error))], as_json)
    findings = [("warning", warning) for warning in q.origins.warnings]
    findings += [("error", text) for text in _folder(q.settings, q.origins) or _file(q)]
    findings += _redis(q)
    findings += _failure_log(q)
    _finish(findings, as_json)


def _redis(q: SpoolQ) -> list[tuple[str, str]]:
    """What Redis, or its driver, says against the URL."""
    if q.settings.sqlite_path is not None:
        return []
    try:
        q.primary.ready(1.0)
    except StoreUnavailable as error:
        if error.reason in ("config", "auth"):
            return [("error", str(error))]
        return [("note", f"Redis takes no jobs now, so its login and the URL's options may not have been tried. {error}")]
    return []


def _failure_log(q: SpoolQ) -> list[tuple[str, str]]:
    """What is wrong with the places where failures are written. In a bucket a small object is written, once."""
    if not q.settings.failure_log:
        return []
    from spoolq.failurelog import disk
    from spoolq.failurelog.bucket import BucketError, ObstoreBucket
    from spoolq.failurelog.target import target
    from spoolq.failurelog.uploader import probe

    wrong: list[tuple[str, str]] = []
    for place in map(target, q.settings.failure_log):
        try:
            if place.kind == "files":
                disk.look(Path(place.place), "failure_log")
            else:
                probe(ObstoreBucket(place))
        except BucketError as error:
            if error.reason == "unreachable":
                wrong.append(
                    ("warning", f"{error}; failures would wait on this disk (AWS_ENDPOINT_URL and the like say where it is)")
                )
            else:
                wrong.append(("error", str(error)))
        except ConfigError as error:
            wrong.append(("error", str(error)))
    return wrong


def _file(q: SpoolQ) -> list[str]:
    """What is wrong with the file of the spool or queue, where it is there."""
    try:
        path = q.settings.sqlite_path or q.settings.spool_path
        if there(path):
            (q.spool or q.primary).depths()
    except SpoolqError as error:
        return [str(error)]
    return []


def _settings(given: Given) -> tuple[Settings, Origins]:
    if given.app is None:
        return load_settings(given.config, **given.arguments)
    q = load(given.app, given)
    return q.settings, q.origins


def _folder(settings: Settings, origins: Origins) -> list[str]:
    """What is wrong with the directory of the spool, or of the queue where that is an SQLite file."""
    path, what = (settings.spool_path, "spool") if settings.sqlite_path is None else (settings.sqlite_path, "queue")
    place = folder(path, default=what == "spool" and origins["spool"] == "default")
    if not place.is_dir():
        return [f"the {what} {path} can't be made: there is no directory {place}; make it, for the user who enqueues"]
    if why := unwritable(place):
        return [f"the {what} {path} can't be written: {why}"]
    return []


def _finish(findings: list[tuple[str, str]], as_json: bool) -> NoReturn:
    levels = {level for level, _ in findings}
    code = BAD_CONFIG if "error" in levels else PROBLEM if "warning" in levels else 0
    if as_json:
        emit({"ok": code == 0, "findings": [{"level": level, "text": text} for level, text in findings]})
    else:
        for level, text in findings:
            click.echo(f"{level}: {text}")
        if not code:
            click.echo("ok: every setting can be used")
    sys.exit(code)
