"""The pages about the kinds have every field, and are the generated ones."""

import re

import pytest

from tests.guides.pages import anchors
from tests.resources.schemas import parts, schema
from troth.resources.kinds import EVERY_KIND, Kind
from website.api_reference import page
from website.generated import stale

every_kind = pytest.mark.parametrize("kind", EVERY_KIND, ids=lambda kind: kind.name)


def test_checked_in_files_are_the_generated_ones() -> None:
    assert stale() == []


@every_kind
def test_page_has_every_field(kind: Kind) -> None:
    found: set[str] = set()
    section = ""
    for line in page(kind).splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif field := re.match(r"\| `(\w+)` \|", line):
            found.add(_plain(f"{section}.{field[1]}"))
    expected = {_plain(path) for path, _ in parts(schema(kind)) if path.count(".") > 1}
    outside = (".metadata", ".apiVersion", ".kind")
    assert found == {path for path in expected if not path.startswith(outside)}


@every_kind
def test_links_lead_to_one_section_each(kind: Kind) -> None:
    text = page(kind)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    assert len(anchors(text)) == len(headings)
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors(text)


@every_kind
def test_tables_are_whole(kind: Kind) -> None:
    for line in page(kind).splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 4, line
            assert "<" not in line, line


def test_field_shows_its_default_values_and_rules() -> None:
    (identity,) = (page(kind) for kind in EVERY_KIND if kind.name == "ServiceIdentity")
    assert "One of `Enforce`, `Observe`." in identity
    assert "Default: " in identity
    assert "such as 203.0.113.0/24." in identity


def _plain(path: str) -> str:
    """Return the path of a field without the marks of lists and maps."""
    return path.replace("[]", "").replace("{}", "").lstrip(".")
