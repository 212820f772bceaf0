"""The table of reasons lists the reasons that planning gives, and the documentation explains them.

The fixture `listed_reasons` of tests/conftest.py fails a test that plans any other reason.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from itertools import combinations
from pathlib import Path

import pytest

from tests.guides.pages import ROOT
from troth.planning.reasons.condition import INTERNAL_ERROR, ConditionType, Course
from troth.planning.reasons.origins import ORIGINS
from troth.planning.reasons.table import CONDITIONS, TERMINATING, condition_of, course, ordered
from troth.planning.verdicts import false, true
from troth.resources.kinds import EVERY_KIND_BY_NAME
from troth.resources.schema.crd import custom_resource_definition

PACKAGE = ROOT / "operator/troth"
SOURCES = (
    *("brokers", "planning", "pki", "resources", "trust", "world"),
    *("reconcile/brokers/faults.py", "reconcile/brokers/work.py"),
)
"""Packages and modules that give reasons of conditions."""
CA = (
    *("certificates/authorities.py", "certificates/paths.py", "certificates/pairs.py"),
    *("encodings/pem.py", "keys/private.py"),
)
"""Modules of `troth.pki` whose errors become reasons of `AuthorityReady`."""
PAGES = (
    *("concepts.md", "edges.md", "schemas.md", "reference/brokers.md", "reference/conditions.md"),
    *("reference/rotation.md", "reference/tokens.md", "reference/webhooks.md"),
)
"""Pages of the documentation with tables of reasons."""

EVERY = [
    pytest.param(kind, each, id=f"{kind}-{each.name}")
    for kind, conditions in CONDITIONS.items()
    for each in conditions
]


def text_of(page: str) -> str:
    return (ROOT / "docs" / page).read_text()


@cache
def strings() -> frozenset[str]:
    """Return every string constant in the modules that write reasons, except the table."""
    places = [PACKAGE / each for each in SOURCES]
    files = (
        file
        for place in places
        for file in ([place] if place.is_file() else place.rglob("*.py"))
        if file.parent.name != "reasons"
    )
    nodes = (node for file in files for node in ast.walk(ast.parse(file.read_text())))
    return frozenset(
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def errors_in(file: Path) -> Iterator[str]:
    """Yield the reasons of the errors that a module raises."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Error") and node.args:
            yield from re.findall(r"'([A-Z]\w+)'", ast.unparse(node.args[0]))


@pytest.mark.parametrize(("kind", "condition"), EVERY)
def test_every_reason_exists_and_ends_in_one_way(kind: str, condition: ConditionType) -> None:
    columns = condition.stays, condition.passes, condition.soon
    assert not [pair for pair in combinations(columns, 2) if pair[0] & pair[1]]
    assert condition.reasons - strings() - {INTERNAL_ERROR, TERMINATING} == set()


def test_every_error_of_a_ca_is_a_reason_of_its_condition() -> None:
    reasons = {each for name in CA for each in errors_in(PACKAGE / "pki" / name)}
    assert len(reasons) > 20
    assert reasons - condition_of("TrustDomain", "AuthorityReady").stays == set()


def test_every_reason_with_an_origin_exists() -> None:
    assert len(ORIGINS) > 25
    assert ORIGINS.keys() - strings() == set()


@pytest.mark.parametrize(("kind", "condition"), EVERY)
def test_documentation_explains_every_reason(kind: str, condition: ConditionType) -> None:
    rows = [line for page in PAGES for line in text_of(page).splitlines() if line[:1] == "|"]
    explained = {word for row in rows for word in re.findall(r"`(\w+)`", row)}
    assert condition.reasons - condition.met - explained == set()


@pytest.mark.parametrize(("kind", "condition"), EVERY)
def test_custom_resource_lists_every_condition(kind: str, condition: ConditionType) -> None:
    crd = custom_resource_definition(EVERY_KIND_BY_NAME[kind])
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    words = re.findall(r"\w+", schema["properties"]["conditions"]["description"])
    assert (condition.name in words) is condition.listed


def test_unknown_reason_needs_manual_action() -> None:
    assert course("ServiceIdentity", false("CertificateIssued", "Unheard")) is Course.STAYS


def test_condition_of_another_kind_is_refused() -> None:
    with pytest.raises(KeyError):
        ordered("TrustDomain", [true("CertificateIssued", "Issued")])
