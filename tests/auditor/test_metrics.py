"""Metrics of evaluations."""

from dataclasses import replace

from prometheus_client import CollectorRegistry

from troth.audit.evaluation import Evaluation
from troth.audit.finding import Cause, Finding, Object, Unseen
from troth.audit.registry import RULE_BY_ID
from troth.auditor.metrics import NO_API, Metrics
from troth.resources.references import Ref
from troth.resources.reported import Severity

RULE = RULE_BY_ID["TR701"]
FINDING = Finding(RULE.id, Object("Deployment", Ref("shop", "web")), "mend it")


def metrics() -> tuple[Metrics, CollectorRegistry]:
    registry = CollectorRegistry()
    return Metrics(registry, (RULE,), ("openreports.io/v1alpha1",)), registry


def count(registry: CollectorRegistry, severity: str) -> float | None:
    labels = {"rule": RULE.id, "severity": severity}
    return registry.get_sample_value("troth_findings", labels)


def test_mended_finding_leaves_zero_also_of_a_severity_of_its_own() -> None:
    made, registry = metrics()
    worse = replace(FINDING, severity=Severity.CRITICAL)
    for findings in ((FINDING, worse), ()):
        made.evaluated(Evaluation(findings, ()), whole=True, seconds=0.1, at=1.0)
        assert count(registry, "medium") == len(findings) / 2
        assert count(registry, "critical") == len(findings) / 2


def test_what_a_rule_could_not_see_is_counted() -> None:
    made, registry = metrics()
    unseen = Unseen(RULE.id, ("Pod",), "forbidden", Cause.DENIED)
    for missing, expected in (((unseen,), 1), ((), 0)):
        made.evaluated(Evaluation((), missing), whole=False, seconds=0.1, at=1.0)
        labels = {"rule": RULE.id, "reason": "Denied"}
        assert registry.get_sample_value("troth_audit_unseen", labels) == expected
        labels["reason"] = "NotShown"
        assert registry.get_sample_value("troth_audit_unseen", labels) == 0


def test_exactly_one_api_of_reports_is_marked() -> None:
    made, registry = metrics()
    for chosen in ("openreports.io/v1alpha1", NO_API):
        made.reports_to(chosen)
        for api in ("openreports.io/v1alpha1", NO_API):
            found = registry.get_sample_value("troth_audit_report_api", {"api": api})
            assert found == (api == chosen)


def test_nodes_that_nobody_can_read_are_counted() -> None:
    made, registry = metrics()
    for blind in (("node a: away", "node b: away"), ()):
        made.watched(blind)
        assert registry.get_sample_value("troth_audit_connections_unseen") == len(blind)
