"""Each story holds in every interleaving, and breaks without any one of its rules."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.model.explore import Story, explore
from tests.model.stories import STORIES

PAGE = Path(__file__).parents[2] / "docs" / "hand-off.md"


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_it_holds(story: Story) -> None:
    found = explore(story)
    assert not found.broken, " > ".join(found.way)
    assert found.states > 100


@pytest.mark.parametrize(
    ("story", "rule"),
    [(story, rule) for story in STORIES for rule in story.rules],
    ids=lambda value: getattr(value, "name", value),
)
def test_it_breaks_without(story: Story, rule: str) -> None:
    assert explore(story, rule).broken


def test_the_page_names_every_rule_and_no_other() -> None:
    named = set(re.findall(r"^- `(\w+)`", PAGE.read_text(), re.MULTILINE))
    assert named == {rule for story in STORIES for rule in story.rules}
