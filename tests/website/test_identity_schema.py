"""The JSON Schema of `identity.json`: it accepts what Troth writes."""

import json
import re
from typing import Any

import jsonschema_rs
import pytest

from tests.edge.mounts import accepted, document
from tests.guides.pages import ROOT
from website.identity_schema import identity_schema

RECORDED = ROOT / "tests" / "net" / "recorded" / "documents.txt"
VALIDATOR = jsonschema_rs.validator_for(identity_schema())


def _written() -> dict[str, str]:
    """Return each `identity.json` of the examples, by its title in the record."""
    sections = re.split(r"^==== (.*)$", RECORDED.read_text(), flags=re.MULTILINE)[1:]
    pairs = zip(sections[::2], sections[1::2], strict=True)
    return {title: text for title, text in pairs if " identity.json " in title}


WRITTEN = _written()


def test_schema_is_valid_itself() -> None:
    jsonschema_rs.meta.validate(identity_schema())


@pytest.mark.parametrize("title", WRITTEN)
def test_document_of_an_example_is_valid(title: str) -> None:
    VALIDATOR.validate(json.loads(WRITTEN[title]))


def test_examples_have_every_member() -> None:
    named = {name for text in WRITTEN.values() for name in json.loads(text)}
    assert named == set(identity_schema()["properties"])


def test_schema_has_no_noise_of_its_generator() -> None:
    text = json.dumps(identity_schema())
    assert '"type": "null"' not in text
    assert text.count('"title"') == 1


def test_unknown_member_is_ignored_only_at_the_top() -> None:
    assert VALIDATOR.is_valid(document(future=[]))
    caller = accepted("spiffe://prod.shop.example/ns/shop/sa/checkout")
    assert VALIDATOR.is_valid(document(accepts=[caller]))
    assert not VALIDATOR.is_valid(document(accepts=[caller | {"unless": []}]))


@pytest.mark.parametrize(
    "changed",
    [{"version": "v2"}, {"accepts": None}, {"requires": {"context": ["Region"]}}, {"calls": [{}]}],
    ids=str,
)
def test_document_of_another_shape_is_rejected(changed: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(document(**changed))
