"""PodMonitors, PrometheusRule and dashboard as the chart renders them."""

import json
from typing import Any

import pytest

from tests.chart.monitoring.rules import alerts, dashboard
from tests.chart.rendering import EVERYTHING_ON, kinds, one, rendered, template

API = "monitoring.coreos.com/v1"
POD_MONITOR = "monitoring.podMonitor.enabled=true"
RULES = "monitoring.rules.enabled=true"
BOTH = ("audit.enabled=true", "review.enabled=true")
"""Values that switch on the programs about which there are alerts."""
DASHBOARD = "monitoring.dashboard.enabled=true"


def monitored(*values: str) -> list[dict[str, Any]]:
    return rendered(*values, apis=(API,))


def test_monitoring_is_off_by_default() -> None:
    manifests = monitored()
    assert kinds(manifests).isdisjoint({"PodMonitor", "PrometheusRule", "ConfigMap"})


@pytest.mark.parametrize("role", ["operator", "issuer", "gateway", "auditor", "review"])
def test_pod_monitor_selects_the_pods_of_one_role_at_a_port_that_they_have(role: str) -> None:
    manifests = monitored(*EVERYTHING_ON, POD_MONITOR)
    monitors = {
        "operator": one(manifests, "PodMonitor", "troth"),
        "issuer": one(manifests, "PodMonitor", "troth-issuers"),
        "gateway": one(manifests, "PodMonitor", "troth-gateway"),
        "auditor": one(manifests, "PodMonitor", "troth-auditor"),
        "review": one(manifests, "PodMonitor", "troth-review"),
    }
    selected = [
        each
        for each in manifests
        if each["kind"] == "Deployment"
        and _selector(monitors[role]).items() <= _pod(each)["metadata"]["labels"].items()
        and _in_namespace(monitors[role], each["metadata"]["namespace"])
    ]
    assert {_pod(each)["spec"]["containers"][0]["name"] for each in selected} == {role}
    assert len(selected) == (2 if role == "issuer" else 1)
    (endpoint,) = monitors[role]["spec"]["podMetricsEndpoints"]
    for each in selected:
        ports = _pod(each)["spec"]["containers"][0]["ports"]
        assert endpoint["port"] in {port["name"] for port in ports}


def test_samples_keep_the_labels_that_name_resources() -> None:
    for each in monitored(*EVERYTHING_ON, POD_MONITOR):
        if each["kind"] == "PodMonitor":
            (endpoint,) = each["spec"]["podMetricsEndpoints"]
            assert endpoint["honorLabels"] is True


def test_labels_and_interval_can_be_set() -> None:
    values = ("monitoring.podMonitor.interval=2m", "monitoring.podMonitor.labels.release=kps")
    monitor = one(monitored(POD_MONITOR, *values), "PodMonitor")
    assert monitor["metadata"]["labels"]["release"] == "kps"
    assert monitor["metadata"]["labels"]["app.kubernetes.io/instance"] == "troth"
    assert monitor["spec"]["podMetricsEndpoints"][0]["interval"] == "2m"


def test_network_policies_of_all_roles_admit_prometheus_to_the_metrics_port() -> None:
    manifests = monitored(*EVERYTHING_ON, POD_MONITOR)
    policies = [
        each
        for each in manifests
        if each["kind"] == "NetworkPolicy" and each["spec"].get("ingress")
    ]
    # operator, two issuers, gateway, auditor, review worker; a node agent has no port
    assert len(policies) == 6
    for policy in policies:
        assert {
            "from": [{"podSelector": {"matchLabels": {"app": "prometheus"}}}],
            "ports": [{"protocol": "TCP", "port": "http"}],
        } in policy["spec"]["ingress"]


@pytest.mark.parametrize("name", ["troth-gateway", "troth-review"])
def test_identity_admits_the_collector_of_its_trust_domain(name: str) -> None:
    identity = one(rendered(*EVERYTHING_ON), "ServiceIdentity", name)
    assert identity["spec"]["exceptions"]["metrics"] == ["http"]


def test_policies_that_deny_prometheus_are_rejected() -> None:
    closed = ("networkPolicy.enabled=true", "networkPolicy.apiServer.cidrs={192.0.2.10/32}")
    done = template(POD_MONITOR, *closed, apis=(API,))
    assert done.returncode != 0
    assert "name the pods of your Prometheus under networkPolicy.metricsFrom" in done.stderr


@pytest.mark.parametrize("value", [POD_MONITOR, RULES])
def test_cluster_without_the_prometheus_operator_is_rejected(value: str) -> None:
    done = template(value)
    assert done.returncode != 0
    assert f"{value.removesuffix('=true')} needs the CRDs of the Prometheus Operator" in done.stderr


def test_rule_has_exactly_the_alerts_of_the_file() -> None:
    values = (*BOTH, "monitoring.rules.labels.release=kps")
    rule = one(monitored(RULES, *values), "PrometheusRule")
    assert rule["metadata"]["labels"]["release"] == "kps"
    assert [each for group in rule["spec"]["groups"] for each in group["rules"]] == alerts()


def test_alerts_about_the_auditor_need_an_auditor() -> None:
    rule = one(monitored(RULES), "PrometheusRule")
    assert "troth-auditor" not in {group["name"] for group in rule["spec"]["groups"]}


def test_alerts_about_reviews_need_the_review_worker() -> None:
    rule = one(monitored(RULES), "PrometheusRule")
    assert "troth-review" not in {group["name"] for group in rule["spec"]["groups"]}


def test_alert_can_be_left_out() -> None:
    disabled = "monitoring.rules.disabled={TrothNoLeader}"
    rule = one(monitored(RULES, *BOTH, disabled), "PrometheusRule")
    names = [each["alert"] for group in rule["spec"]["groups"] for each in group["rules"]]
    assert names == [each["alert"] for each in alerts() if each["alert"] != "TrothNoLeader"]


def test_unknown_alert_to_leave_out_is_rejected() -> None:
    done = template(RULES, "monitoring.rules.disabled={TrothNoLeeder}", apis=(API,))
    assert done.returncode != 0
    assert "monitoring.rules.disabled names TrothNoLeeder, which is no alert" in done.stderr


def test_dashboard_is_a_config_map_that_grafana_loads() -> None:
    manifest = one(rendered(DASHBOARD, "monitoring.dashboard.namespace=grafana"), "ConfigMap")
    assert manifest["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert manifest["metadata"]["namespace"] == "grafana"
    assert json.loads(manifest["data"]["troth.json"]) == dashboard()


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("monitoring.podMonitor.interval=30", "at '/monitoring/podMonitor/interval': got number"),
        ("monitoring.podMonitor.scrapeTimeout=fast", "'fast' does not match pattern"),
        ("monitoring.podMonitors.enabled=true", "'podMonitors' not allowed"),
        ("monitoring.rules.disabled=TrothNoLeader", "at '/monitoring/rules/disabled': got string"),
    ],
)
def test_invalid_value_is_rejected_by_name(value: str, complaint: str) -> None:
    done = template(value)
    assert done.returncode != 0
    assert complaint in done.stderr


def _selector(monitor: dict[str, Any]) -> dict[str, str]:
    labels: dict[str, str] = monitor["spec"]["selector"]["matchLabels"]
    return labels


def _pod(deployment: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = deployment["spec"]["template"]
    return pod


def _in_namespace(monitor: dict[str, Any], namespace: str) -> bool:
    own = {"matchNames": [monitor["metadata"]["namespace"]]}
    return namespace in monitor["spec"].get("namespaceSelector", own)["matchNames"]
