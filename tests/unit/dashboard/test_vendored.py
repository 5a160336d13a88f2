"""What comes from others in the wheel: named with version, licence and sum, and nothing beside it."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import spoolq.dashboard

STATIC = Path(spoolq.dashboard.__file__).parent / "static"
TEMPLATES = STATIC.parent / "templates"
VENDOR = STATIC / "vendor"
MANIFEST: list[dict[str, Any]] = json.loads((VENDOR / "manifest.json").read_text("utf-8"))["vendored"]


def test_each_file_is_the_one_that_was_taken() -> None:
    for package in MANIFEST:
        for file in package["files"]:
            assert hashlib.sha256((VENDOR / file["file"]).read_bytes()).hexdigest() == file["sha256"], file["file"]


def test_no_file_is_there_that_the_manifest_doesnt_name() -> None:
    named = {file["file"] for package in MANIFEST for file in package["files"]}
    assert {path.name for path in VENDOR.iterdir()} == named | {"manifest.json"}


def test_each_package_has_version_licence_and_source() -> None:
    assert {package["package"] for package in MANIFEST} == {"htmx.org", "uplot"}
    for package in MANIFEST:
        assert re.fullmatch(r"\d+\.\d+\.\d+", package["version"])
        assert package["licence"] in {"0BSD", "MIT"}
        assert package["licence_file"] in {file["file"] for file in package["files"]}
        assert (
            package["source"]
            == f"https://registry.npmjs.org/{package['package']}/-/{package['package']}-{package['version']}.tgz"
        )


def test_the_version_is_the_one_that_the_code_says() -> None:
    versions = {package["package"]: package["version"] for package in MANIFEST}
    assert f'"{versions["htmx.org"]}"' in (VENDOR / "htmx.min.js").read_text("utf-8")
    assert versions["uplot"] in (VENDOR / "uPlot.iife.min.js").read_text("utf-8")


def test_nothing_is_inline_and_nothing_comes_from_elsewhere() -> None:
    """The policy would stop it; here it is said before a browser does."""
    for path in TEMPLATES.glob("*.html"):
        html = path.read_text("utf-8")
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle\s*=|\son\w+\s*=|javascript:", html), path.name
        assert not re.search(r"""(?:src|href|action)\s*=\s*["'](?:https?:)?//""", html), path.name
        assert "|safe" not in html.replace(" ", ""), path.name
    for path in STATIC.glob("*.*s"):
        assert not re.search(
            r"https?://(?!www\.w3\.org/)|\beval\(|new Function|innerHTML|insertAdjacentHTML", path.read_text()
        ), path.name
