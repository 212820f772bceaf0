"""The way out of each finding: once it is applied, the finding is gone."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.audit.fixing import fixed, place_of
from tests.audit.pages import evaluated, example_scene, page
from tests.cli.running import troth
from troth.audit.finding import Finding, Fix
from troth.audit.registry import RULES
from troth.audit.rule import Rule
from troth.audit.scene import Scene
from troth.planning.reasons.origins import ORIGINS, Origin
from troth.resources.manifests import dump, is_ours, parse_resource
from troth.resources.references import Ref

_UNTIL_MOVED = "its users move to identities of their own first"
_OBSERVED = "the broker has it until somebody changes the broker, and the operator looks again"
_STAGED = "its ServiceIdentity observes first, and a person decides when it enforces"

BY_HAND = {
    "TR101": _UNTIL_MOVED,
    "TR102": _UNTIL_MOVED,
    "TR103": "somebody finds out how the credential got there, and replaces it",
    "TR301": "a program changes",
    "TR302": "a person writes the schema",
    "TR401": _STAGED,
    "TR402": _STAGED,
    "TR403": "a probe proves it",
    "TR506": "an exception that has expired is deleted, or somebody decides again",
    "TR602": "a person reviews the peers before a NetworkPolicy of somebody else is deleted",
    "TR604": "the network enforces it, and a probe proves it",
    "TR703": "its users get other tokens before the Secret is deleted",
    "TR704": "the issuer renews the certificate",
    "TR801": _OBSERVED,
    "TR802": _OBSERVED,
    "TR803": _OBSERVED,
    "TR804": _OBSERVED,
    "TR805": _OBSERVED,
}
"""Rules with findings that stay after their fix is applied, because a person has to do more, and
what. What the fix applies must be valid all the same."""

ELSEWHERE = {Origin.BROKER, Origin.MISSING, Origin.OBJECT, Origin.SECRET}
ABSENT = {
    "NamespaceMissing",
    *(reason for reason, origin in ORIGINS.items() if origin in ELSEWHERE),
}
"""Reasons that only mean that an example does not have all objects of a cluster."""

EVERY = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)


def cases(rule: Rule) -> Iterator[tuple[list[dict[str, Any]], Scene, Finding, Fix]]:
    """Yield each example's manifests and scene with each finding and its fix."""
    for manifests in page(rule).found:
        scene = example_scene(manifests)
        for finding in evaluated(rule, scene).findings:
            yield manifests, scene, finding, rule.fix(scene, finding)


def remains(rule: Rule, manifests: list[dict[str, Any]], finding: Finding, fix: Fix) -> bool:
    """Return whether a finding is still there after its fix."""
    after = evaluated(rule, example_scene(fixed(manifests, fix)))
    return finding.key in {each.key for each in after.findings}


@EVERY
def test_finding_is_gone_after_its_fix(rule: Rule) -> None:
    left = [
        (finding, fix)
        for manifests, _, finding, fix in cases(rule)
        if remains(rule, manifests, finding, fix)
    ]
    without_steps = [str(finding.subject) for finding, fix in left if not fix.steps]
    assert without_steps == [], "nobody has to do more, so it must be gone"
    assert bool(left) == (rule.id in BY_HAND), [str(finding.subject) for finding, _ in left]


@EVERY
def test_fix_brings_no_other_finding_of_its_rule(rule: Rule) -> None:
    for manifests, scene, _, fix in cases(rule):
        before = {each.key for each in evaluated(rule, scene).findings}
        after = evaluated(rule, example_scene(fixed(manifests, fix)))
        assert {each.key for each in after.findings} <= before


@EVERY
def test_troth_check_accepts_what_a_fix_applies(rule: Rule) -> None:
    for manifests, _, _, fix in cases(rule):
        changed = {place_of(each) for each in fix.manifests} | {each.object for each in fix.patches}
        after = fixed(manifests, fix)
        ours = [each for each in after if is_ours(each) and place_of(each) in changed]
        for each in ours:
            parse_resource(each)
        if ours:
            subjects = {str(place_of(each)) for each in ours}
            assert _complaints(after, subjects) <= _complaints(manifests, subjects)


def _complaints(manifests: list[dict[str, Any]], subjects: set[str]) -> set[tuple[str, str]]:
    """Return reason and message of the errors of `troth check` about some objects, but for what an
    example lacks."""
    text = "---\n".join(map(dump, manifests))
    report = troth("check", "-f", "-", "-o", "json", given=text.encode()).output
    return {
        (each["reason"], each["message"])
        for each in json.loads(report)["findings"]
        if each["severity"] == "error"
        and each["reason"] not in ABSENT
        and f"{each['kind']} {Ref(each.get('namespace', ''), each['name'])}" in subjects
    }


@EVERY
def test_equal_scenes_have_equal_fixes(rule: Rule) -> None:
    for manifests, _, finding, fix in cases(rule):
        assert rule.fix(example_scene(list(reversed(manifests))), finding) == fix
