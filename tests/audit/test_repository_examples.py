"""No rule has a finding in the manifests of `examples/`, except those that they declare."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from tests.audit.pages import NOW, evaluated
from troth.audit.registry import RULES
from troth.audit.rule import Rule
from troth.audit.scene import Manifest, Scene, scene_of
from troth.resources.manifests import ManifestLoader

EXAMPLES = Path(__file__).parents[2] / "examples"
BROKERS = ("nats.yaml", "kafka.yaml")
"""Files of which a reader applies one."""
DECLARED = {("TR501", "legacy/warehouse"), ("TR502", "shop/checkout")}
"""Standing exceptions that the shop declares, because it shows them: trust in a gateway until a
date, and an ingress controller without an identity."""


def manifests(folder: Path, without: str) -> Iterator[Manifest]:
    """Yield the objects in the files of a folder, without those of one name."""
    for path in sorted(folder.rglob("*.yaml")):
        if path.name != without:
            for each in yaml.load_all(path.read_text(), ManifestLoader):
                if isinstance(each, dict) and {"kind", "metadata"} <= each.keys():
                    yield each


@cache
def scene(folder: Path, without: str = "") -> Scene:
    """Return the scene of a folder, once for all rules: they only read it."""
    return scene_of(manifests(folder, without), NOW)


def found(rule: Rule, scene: Scene) -> set[tuple[str, str]]:
    return {(each.rule, str(each.subject.ref)) for each in evaluated(rule, scene).findings}


@pytest.mark.parametrize("without", BROKERS)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_rule_finds_nothing_in_the_examples(rule: Rule, without: str) -> None:
    examples = scene(EXAMPLES, without)
    assert examples.workloads_in("shop"), "the examples have workloads"
    assert found(rule, examples) == {each for each in DECLARED if each[0] == rule.id}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_rule_finds_nothing_in_a_folder_of_the_examples_alone(rule: Rule) -> None:
    for folder in sorted(each for each in EXAMPLES.iterdir() if each.is_dir()):
        assert found(rule, scene(folder)) <= DECLARED, folder.name
