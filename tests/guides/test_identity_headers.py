"""The published lists of identity headers are those of the code."""

import re
from pathlib import Path

import pytest

from tests.edge.inbound.test_identity_headers import application_gets
from troth.edge.inbound.identity_headers import (
    ANYWHERE,
    BEGINNINGS,
    HARMLESS,
    HARMLESS_X,
    WORDS,
)

PAGE = Path(__file__).parents[2] / "docs/reference/identity-headers.md"
TEXT = PAGE.read_text()


@pytest.mark.parametrize(
    ("before", "after", "names"),
    [
        ("**contains** one of", "- or has a word", ANYWHERE),
        ("also after an `x`:", "- or **has the word**", BEGINNINGS),
        ("- or **has the word**", "- or **begins with `X-`**", WORDS),
        ("**harmless**:", "Everything else", HARMLESS_X),
        ("**kept**:", "Cookies", HARMLESS),
    ],
)
def test_published_list_is_complete(before: str, after: str, names: tuple[str, ...]) -> None:
    section = TEXT.partition(before)[2].partition(after)[0]
    assert tuple(re.findall("`([a-z0-9-]+)`", section)) == names


def test_named_examples_are_removed() -> None:
    section = TEXT.partition("Among them are")[2].partition("These match")[0]
    examples = [each.removesuffix("…") for each in re.findall("`([A-Za-z0-9…-]+)`", section)]
    assert len(examples) > 15
    assert [each for each in examples if application_gets(each)] == []
