"""docs/brokers.md says what the code does: its reasons, its numbers, its rules."""

import ast
import re
from collections.abc import Iterator
from inspect import getsource
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from troth.brokers import admin_secret
from troth.brokers.kafka import principals as kafka_principals
from troth.planning.brokers import admin_rotation
from troth.planning.brokers import status as broker_status
from troth.planning.brokers import work as broker_work
from troth.planning.brokers.finalizer import FINALIZER, PATIENCE
from troth.planning.grants import status as grant_status
from troth.reconcile.brokers import change as broker_change
from troth.reconcile.brokers import faults as broker_faults
from troth.resources.manifests import parse_resource
from troth.resources.messaging import json_schema
from troth.resources.messaging.names import NAME_LIMIT
from troth.trust import topics
from troth.world.watch_class import SCHEMA as LABEL

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "brokers.md").read_text()
WORD = re.compile(r"^([A-Z][a-z]+){2,}$")


def reasons(module: ModuleType) -> Iterator[str]:
    """Every reason in a module's source: two CamelCase words or more."""
    for node in ast.walk(ast.parse(getsource(module))):
        if isinstance(node, ast.Constant) and WORD.match(str(node.value)):
            yield str(node.value)


@pytest.mark.parametrize(
    "module",
    [topics, grant_status, broker_status, broker_faults, json_schema],
    ids=lambda module: module.__name__,
)
def test_every_reason_is_in_the_guide(module: ModuleType) -> None:
    found = set(reasons(module))
    assert found
    assert {reason for reason in found if f"`{reason}`" not in GUIDE} == set()


def test_every_reason_of_an_admin_credential_is_in_the_guide_to_rotation() -> None:
    guide = (ROOT / "docs" / "rotation.md").read_text()
    found = set(reasons(admin_rotation))
    assert "MechanismTaken" in found
    assert {reason for reason in found if f"`{reason}`" not in guide} == set()


def test_the_rule_for_certificates_is_the_one_that_makes_principals() -> None:
    assert f"rules={kafka_principals.mapping_rule('troth-prod-')}\n" in GUIDE


@pytest.mark.parametrize(
    "said",
    [
        f"**{PATIENCE.seconds // 60} minutes** after their deletion",
        f"finalizer `{FINALIZER}`",
        f"kubectl annotate mb/main --namespace messaging {broker_work.ALLOW_REMOVALS}=37",
        f"up to {broker_change.TRIED} of the credentials",
        f"| credentials told in one change | {broker_work.AT_ONCE}; the rest follows |",
        f"| entries in a policy's `status.grants` | {grant_status.GRANT_LIMIT},",
        f"| a topic's or group's name; a principal's prefix | {NAME_LIMIT} characters; 64 |",
        f"| a value in an admin Secret | {admin_secret.LONGEST // 1024} KiB |",
        f"`identity.json` | {json_schema.MOST_BYTES // 1024} KiB; 700 KiB |",
        f'labels: {{{LABEL}: "true"}}',
    ],
)
def test_numbers_and_names_are_those_of_the_code(said: str) -> None:
    assert said in GUIDE


def test_the_broker_that_it_declares_is_one_that_is_taken() -> None:
    declared = [
        manifest
        for block in re.findall(r"```yaml\n(apiVersion.*?)```", GUIDE, re.DOTALL)
        for manifest in yaml.safe_load_all(block)
    ]
    assert [each["kind"] for each in declared] == ["MessageBroker"]
    for manifest in declared:
        parse_resource(manifest, "docs/brokers.md")


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", GUIDE):
        file, _, anchor = target.partition("#")
        assert not file or (ROOT / "docs" / file).exists(), target
        assert not anchor or anchor in anchors(ROOT / "docs" / (file or "brokers.md")), target


def anchors(guide: Path) -> set[str]:
    """The anchors of a guide's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", guide.read_text(), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", each.lower()).replace(" ", "-") for each in headings}
