"""Every metric and label that an alert or a panel uses is one that a program exports."""

import re
from enum import StrEnum

import pytest

from tests.chart.monitoring.exposition import exported, registries
from tests.chart.monitoring.rules import alerts, panels, queries
from tests.chart.rendering import EVERYTHING_ON, rendered
from troth.issuer.decisions import ISSUED
from troth.issuer.errors import Code
from troth.reconcile.runtime.instrumentation import BrokerChange
from troth.resources.kinds import KINDS
from troth.resources.messaging.topic_policy_status import GrantState
from troth.resources.reviews.dead_letter_review_status import LetterOutcome
from troth.resources.trust_domain.status import AuthorityState, RotationPhase
from troth.review.letters.letter import LetterState

# What Prometheus and the PodMonitors add to each sample.
ADDED = {"pod"}
EXPRESSIONS = [each["expr"] for each in alerts()] + queries()
NAME = re.compile(r"\btroth_\w+")
VALUES: dict[tuple[str, str], type[StrEnum]] = {
    ("troth_rotation_phase", "phase"): RotationPhase,
    ("troth_token_rotation_phase", "phase"): RotationPhase,
    ("troth_authority_expiration_timestamp_seconds", "state"): AuthorityState,
    ("troth_topic_grants", "state"): GrantState,
    ("troth_broker_changes_total", "change"): BrokerChange,
    ("troth_dead_letters", "state"): LetterState,
    ("troth_audit_log_letters_total", "outcome"): LetterOutcome,
}


async def test_every_metric_and_label_is_exported() -> None:
    async with registries() as found:
        known = exported(found)
        for expression in EXPRESSIONS:
            used = set(NAME.findall(expression))
            assert used
            assert used <= known.keys(), expression
            for name, selector in re.findall(r"\b(troth_\w+){(.+?)}", expression):
                assert _selected(selector).keys() <= known[name], expression
            available = ADDED.union(*(known[name] for name in used))
            assert _grouped(expression) <= available, expression


async def test_annotations_and_legends_use_labels_that_the_result_has() -> None:
    for each in alerts():
        for text in each["annotations"].values():
            assert set(re.findall(r"\$labels\.(\w+)", text)) <= _grouped(each["expr"]), each
    for panel in panels():
        for target in panel["targets"]:
            legend = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            assert legend <= _grouped(target["expr"]), target


def test_selected_values_exist() -> None:
    kinds = {each.name for each in KINDS}
    outcomes = {ISSUED, "failed", *Code}
    for expression in EXPRESSIONS:
        for name, selector in re.findall(r"\b(troth_\w+){(.+?)}", expression):
            for label, values in _selected(selector).items():
                if (name, label) in VALUES:
                    assert values <= set(VALUES[name, label]), expression
                elif name == "troth_resources" and label == "kind":
                    assert values <= kinds, expression
                elif name == "troth_issuer_decisions_total" and label == "outcome":
                    assert values <= outcomes, expression


def test_issuer_pods_have_the_label_that_becomes_the_trust_domain() -> None:
    manifests = rendered(
        *EVERYTHING_ON,
        "monitoring.podMonitor.enabled=true",
        apis=("monitoring.coreos.com/v1",),
    )
    (monitor,) = (each for each in manifests if each["metadata"]["name"] == "troth-issuers")
    (relabeling,) = monitor["spec"]["podMetricsEndpoints"][0]["relabelings"]
    (source,) = relabeling["sourceLabels"]
    for each in manifests:
        if each["kind"] == "Deployment" and "issuer" in each["metadata"]["name"]:
            labels = each["spec"]["template"]["metadata"]["labels"]
            known = {re.sub(r"\W", "_", f"__meta_kubernetes_pod_label_{name}") for name in labels}
            assert source in known


def _selected(selector: str) -> dict[str, set[str]]:
    """Return the labels of a selector and the values that they are compared with."""
    found = re.findall(r'(\w+)(?:=~|!~|!=|=)"(.*?)"', selector)
    return {label: set(values.split("|")) for label, values in found}


def _grouped(expression: str) -> set[str]:
    return {
        label
        for labels in re.findall(r"\bby \((.*?)\)", expression)
        for label in labels.split(", ")
    }


@pytest.mark.parametrize("panel", panels(), ids=lambda each: each["title"])
def test_panel_lies_within_the_screen(panel: dict[str, dict[str, int]]) -> None:
    place = panel["gridPos"]
    assert place["x"] + place["w"] <= 24
    assert place["y"] + place["h"] <= 25
