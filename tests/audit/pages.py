"""The examples in the documentation of rules. Each block of YAML is one scene."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from troth.audit.evaluation import Evaluation, Evaluator
from troth.audit.rule import Rule
from troth.audit.scene import Scene, scene_of
from troth.resources.manifests import ManifestLoader

FOLDER = Path(__file__).parents[2] / "docs" / "findings"
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
"""Time at which the examples are evaluated."""

_BLOCK = re.compile(r"```yaml\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Page:
    """Page of a rule, and its scenes."""

    text: str
    found: tuple[list[dict[str, Any]], ...]
    """Scenes in which the rule has a finding."""
    not_found: tuple[list[dict[str, Any]], ...]
    """Scenes in which it has none."""


def page(rule: Rule) -> Page:
    """Return a rule's page."""
    text = (FOLDER / f"{rule.id}.md").read_text()
    _, _, examples = text.partition("\n## Found\n")
    found, _, not_found = examples.partition("\n## Not found\n")
    return Page(text, _scenes(found), _scenes(not_found))


def _scenes(text: str) -> tuple[list[dict[str, Any]], ...]:
    return tuple(
        [each for each in yaml.load_all(block, ManifestLoader) if each]
        for block in _BLOCK.findall(text)
    )


def example_scene(manifests: list[dict[str, Any]]) -> Scene:
    """Return an example's scene. It is that of a cluster if the example has a Pod or a status."""
    live = any(each["kind"] == "Pod" or "status" in each for each in manifests)
    return scene_of(manifests, NOW, in_cluster=live)


def evaluated(rule: Rule, scene: Scene) -> Evaluation:
    """Return the evaluation of one rule."""
    return Evaluator((rule,)).evaluate(scene)
