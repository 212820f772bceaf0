"""Evaluation of rules: what holds for the findings of every rule."""

from collections.abc import Iterable
from dataclasses import replace

from tests.audit.pages import evaluated, page
from tests.audit.scenes import live
from tests.builders import NOW, domain, finding_exception, identity
from troth.audit.evaluation import Evaluator
from troth.audit.finding import Evidence, Finding, Object
from troth.audit.registry import RULE_BY_ID, RULES
from troth.audit.scene import Scene, scene_of
from troth.resources.references import Ref
from troth.resources.reported import Severity

SUBJECT = Object("Deployment", Ref("shop", "web"))


def test_findings_with_one_key_are_one_with_the_worst_severity_and_all_evidence() -> None:
    def find(_: Scene, namespace: str) -> Iterable[Finding]:
        if namespace == "shop":
            for severity, field in ((None, "a"), (Severity.HIGH, "b"), (None, "a")):
                evidence = (Evidence(SUBJECT, field),)
                yield Finding("TR701", SUBJECT, f"because of {field}", evidence, severity=severity)

    (found,) = Evaluator((replace(RULE_BY_ID["TR701"], find=find),)).evaluate(live()).findings
    assert (found.severity, found.message) == (Severity.HIGH, "because of b")
    assert [each.field for each in found.evidence] == ["b", "a"]


def test_id_has_64_bits_of_the_key() -> None:
    found = Finding("TR701", SUBJECT, "")
    assert len(found.id) == len("TR701-") + 16
    assert found.id != replace(found, about="http").id


def test_rule_says_that_it_does_not_know_which_namespaces_are_governed() -> None:
    """An identity outside them restricts nothing, which nobody knows without TrustDomains."""
    rule = RULE_BY_ID["TR402"]
    manifests = [*page(rule).found[0], identity("orders")]
    assert evaluated(rule, scene_of([*manifests, domain()], NOW)).findings
    scene = scene_of(manifests, NOW)
    scene.hidden["TrustDomain"] = "nobody may list it"
    evaluation = evaluated(rule, scene)
    assert not evaluation.findings
    assert [each.kinds for each in evaluation.unseen] == [("TrustDomain",)]


def test_rule_names_each_resource_that_this_version_cannot_read() -> None:
    newer = identity("payments", workload={"unknown": 1})
    unseen = [
        (each.rule, each.kinds) for each in Evaluator().evaluate(live(newer, identity())).unseen
    ]
    assert not [rule for rule, kinds in unseen if kinds == ("ServiceIdentity shop/payments",)]
    unseen = [(each.rule, each.kinds) for each in Evaluator().evaluate(live(newer)).unseen]
    rules = {rule for rule, kinds in unseen if kinds == ("ServiceIdentity shop/payments",)}
    assert rules == {rule.id for rule in RULES if "ServiceIdentity" in rule.reads}
    exception = finding_exception(until="whenever")
    assert ("TR506", ("FindingException shop/legacy",)) in [
        (each.rule, each.kinds) for each in Evaluator().evaluate(live(exception)).unseen
    ]


def test_rule_about_probes_says_that_nobody_has_probed() -> None:
    rule = RULE_BY_ID["TR604"]
    assert [each.kinds for each in evaluated(rule, live(identity())).unseen] == [("probes",)]
    assert not evaluated(rule, live()).unseen, "there is nothing to probe"
    assert not evaluated(rule, scene_of([identity()], NOW)).unseen, "files have no probes"
    assert not evaluated(rule, scene_of(page(rule).not_found[0], NOW, in_cluster=True)).unseen
