"""Tables, JSON and foreign text."""

from __future__ import annotations

import json

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from spoolq.cli.output import clean, emit, table


def printed(*args: object, **options: object) -> str:
    @click.command()
    def show() -> None:
        table(*args, **options)  # type: ignore[arg-type]

    return CliRunner().invoke(show, catch_exceptions=False).stdout


def test_a_pipe_gets_aligned_plain_text_that_is_never_cut() -> None:
    long = "x" * 200
    text = printed(("NAME", "COUNT", "WHY"), [("a", "1", long), ("bcd", "12,000", "y")], right=("COUNT",))
    assert text == f"NAME   COUNT  WHY\na          1  {long}\nbcd   12,000  y\n"


def test_a_terminal_without_rich_gets_the_last_column_cut_to_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spoolq.cli.output.terminal", lambda err=False: True)
    monkeypatch.setattr("spoolq.cli.output._rich", lambda *_: False)
    text = printed(("NAME", "WHY"), [("a", "x" * 200)])
    assert max(map(len, text.splitlines())) == 80
    assert text.rstrip().endswith("...")


@given(st.text())
def test_foreign_text_can_not_steer_the_terminal(text: str) -> None:
    assert clean(text).isprintable()


def test_foreign_text_stays_readable() -> None:
    assert clean("naïve 東京\x1b[31m\n\ud800") == "naïve 東京\\x1b[31m\\n\\ud800"


def test_a_document_is_one_line_with_its_schema(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"text": "line\nbreak"})
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out) == {"schema": 1, "text": "line\nbreak"}
