"""Every metric and label that an alert or a panel uses is one that a program exports."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from enum import StrEnum
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from tests.chart.monitoring.rules import alerts, panels, queries
from tests.chart.rendering import EVERYTHING_ON, rendered
from tests.reconcile.serving import Server, running
from troth.cli.gateway.process import Options, Parts
from troth.cli.run.metrics import Metrics
from troth.issuer.decisions import ISSUED, Decisions
from troth.issuer.errors import Code
from troth.reconcile.loop.instrumentation import BrokerChange
from troth.reconcile.operator import Operator
from troth.resources.kinds import KINDS
from troth.resources.messaging.topic_policy_status import GrantState
from troth.resources.trust_domain.status import AuthorityState, RotationPhase
from troth.serving.api_requests import counting
from troth.serving.loop_stalls import stalls_measured

Labels = dict[str, set[str]]
"""The labels of each metric."""

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
}


@asynccontextmanager
async def exported() -> AsyncIterator[Labels]:
    """Yield the metrics of operator, issuer and gateway, from their registries."""
    metrics, issuer, nowhere = Metrics(), Decisions(), Path("missing")
    gateway = Parts(
        Options(
            identity_name="gateway",
            kubeconfig=None,
            context=None,
            namespace="gateway",
            identity=nowhere,
            bundle=nowhere,
            listen=("127.0.0.1", 0),
            tls=None,
            valkey=None,
            trusted_proxies=(),
            resolve={},
            health_listen=("127.0.0.1", 0),
        )
    )
    issuer.read_view_age(lambda: None)
    registries = (metrics.registry, issuer.registry, gateway.registry)
    async with AsyncExitStack() as stack:
        it = await stack.enter_async_context(running(Server()))
        operator = SimpleNamespace(
            engine=it.engine,
            leadership=SimpleNamespace(acting=True),
            crds=SimpleNamespace(lacking={}),
        )
        metrics.read_from(cast("Operator", operator))
        for registry in registries:
            await stack.enter_async_context(stalls_measured(registry))
        for registry in registries[1:]:
            counting(registry)
        yield {name: labels for each in registries for name, labels in _samples(each)}


def _samples(registry: CollectorRegistry) -> Iterator[tuple[str, set[str]]]:
    """Yield each sample's name, and its labels, also of metrics without a sample."""
    by_name = registry._names_to_collectors
    for family in registry.collect():
        source = family if hasattr(family, "_labelnames") else by_name.get(family.name, family)
        labels = set(getattr(source, "_labelnames", ()))
        match family.type:
            case "counter":
                yield f"{family.name}_total", labels
            case "histogram":
                yield f"{family.name}_bucket", labels | {"le"}
                yield f"{family.name}_count", labels
                yield f"{family.name}_sum", labels
            case _:
                yield family.name, labels


async def test_every_metric_and_label_is_exported() -> None:
    async with exported() as known:
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
