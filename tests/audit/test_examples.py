"""Every rule is documented, and finds what its page says that it finds."""

import pytest

from tests.audit.pages import FOLDER, evaluated, example_scene, page
from troth.audit.facts.pods.workloads import TEMPLATES
from troth.audit.finding import Fix
from troth.audit.registry import RULES
from troth.audit.rule import Rule
from troth.resources.references import Ref

EVERY = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)


@EVERY
def test_page_has_the_rule_s_name_and_title(rule: Rule) -> None:
    text = page(rule).text
    assert text.startswith(f"# {rule.id}: {rule.name}\n\n{rule.title}")
    assert f"Severity: {rule.severity.value}." in text


@EVERY
def test_rule_finds_the_examples(rule: Rule) -> None:
    scenes = page(rule).found
    assert scenes
    for manifests in scenes:
        assert evaluated(rule, example_scene(manifests)).findings


@EVERY
def test_rule_finds_nothing_in_the_counterexamples(rule: Rule) -> None:
    scenes = page(rule).not_found
    assert scenes
    for manifests in scenes:
        assert not evaluated(rule, example_scene(manifests)).findings


@EVERY
def test_every_finding_has_evidence_and_a_way_out(rule: Rule) -> None:
    for manifests in page(rule).found:
        scene = example_scene(manifests)
        for finding in evaluated(rule, scene).findings:
            assert finding.evidence
            fix = rule.fix(scene, finding)
            assert fix != Fix(), "a finding without a way out"


@EVERY
def test_rule_that_lacks_a_kind_is_never_silent(rule: Rule) -> None:
    """Without the objects of any one kind, each finding is still there, or the rule says so."""
    for manifests in page(rule).found:
        found = evaluated(rule, example_scene(manifests)).findings
        for kind in sorted({each["kind"] for each in manifests}):
            scene = example_scene(manifests)
            for each in manifests:
                if each["kind"] == kind:
                    scene.remove(kind, Ref.of(each))
            scene.hidden[kind] = "nobody may list it"
            after = evaluated(rule, scene)
            gone = {each.key for each in found} - {each.key for each in after.findings}
            seen_by_pods = kind in TEMPLATES and "Pod" in rule.reads  # in a cluster
            said = any(kind in each.kinds for each in after.unseen)
            assert not gone or said or seen_by_pods, kind


def test_every_page_is_of_a_rule() -> None:
    pages = {each.stem for each in FOLDER.glob("TR*.md")}
    assert pages == {rule.id for rule in RULES}
