"""The chart's values for traces: environment variables, and connections to the collector."""

from typing import Any

import pytest

from tests.chart.rendering import (
    EVERYTHING_ON,
    GATEWAY_NAMESPACE,
    Manifest,
    one,
    rendered,
    template,
)

COLLECTOR = {"namespaceSelector": {"matchLabels": {"team": "observability"}}}
OFF = (*EVERYTHING_ON, "tracing.enabled=false")
PROGRAMS = ("troth", "troth-issuer-production", "troth-gateway")


def environment(manifests: list[Manifest], program: str) -> dict[str, Any]:
    pod = one(manifests, "Deployment", program)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    return {each.pop("name"): each for each in container["env"]}


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_get_the_variables_of_opentelemetry(program: str) -> None:
    found = environment(rendered(*EVERYTHING_ON), program)
    assert {name: each for name, each in found.items() if name.startswith("OTEL_")} == {
        "OTEL_TRACES_EXPORTER": {"value": "otlp"},
        "OTEL_EXPORTER_OTLP_ENDPOINT": {"value": "http://collector.observability.svc:4318"},
        "OTEL_TRACES_SAMPLER": {"value": "parentbased_traceidratio"},
        "OTEL_TRACES_SAMPLER_ARG": {"value": "0.1"},
        "OTEL_RESOURCE_ATTRIBUTES": {
            "value": "k8s.namespace.name=$(POD_NAMESPACE),k8s.pod.name=$(POD_NAME),"
            "deployment.environment.name=production"
        },
        "OTEL_EXPORTER_OTLP_CERTIFICATE": {"value": "/var/run/troth/collector/ca.crt"},
        "OTEL_EXPORTER_OTLP_HEADERS": {
            "valueFrom": {"secretKeyRef": {"name": "collector-headers", "key": "headers"}}
        },
    }
    names = list(found)  # a variable can refer to earlier ones only
    assert max(map(names.index, ("POD_NAMESPACE", "POD_NAME"))) < names.index(
        "OTEL_RESOURCE_ATTRIBUTES"
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_get_no_such_variable_without_tracing(program: str) -> None:
    assert not [name for name in environment(rendered(*OFF), program) if "OTEL" in name]


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_mount_the_collectors_ca(program: str) -> None:
    volume = {
        "name": "collector-ca",
        "configMap": {"name": "collector-ca", "items": [{"key": "ca.crt", "path": "ca.crt"}]},
    }
    mount = {"name": "collector-ca", "mountPath": "/var/run/troth/collector", "readOnly": True}
    for values, mounted in ((EVERYTHING_ON, True), (OFF, False)):
        pod = one(rendered(*values), "Deployment", program)["spec"]["template"]["spec"]
        assert (volume in pod.get("volumes", [])) is mounted
        assert (mount in pod["containers"][0].get("volumeMounts", [])) is mounted


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("brokers", [True, False])
def test_network_policies_allow_the_collector_and_its_name(program: str, *, brokers: bool) -> None:
    values = EVERYTHING_ON if brokers else (*EVERYTHING_ON, "networkPolicy.brokers=null")
    policy = one(rendered(*values), "NetworkPolicy", program)
    assert policy["metadata"]["namespace"] in {"troth-system", GATEWAY_NAMESPACE}
    egress = policy["spec"]["egress"]
    ports = [{"protocol": "TCP", "port": 4318}]
    assert {"to": [COLLECTOR], "ports": ports} in egress
    assert [rule["ports"][0]["port"] for rule in egress].count(53) == 1
    without = one(rendered(*OFF), "NetworkPolicy", program)["spec"]["egress"]
    assert {"to": [COLLECTOR], "ports": ports} not in without


@pytest.mark.parametrize("policies", [True, False])
def test_policies_that_would_deny_the_collector_are_rejected(*, policies: bool) -> None:
    on = ("tracing.enabled=true", "tracing.endpoint=http://collector:4318")
    cidrs = ("networkPolicy.enabled=true", "networkPolicy.apiServer.cidrs={192.0.2.1/32}")
    done = template(*on, *(cidrs if policies else ()))
    assert (done.returncode != 0) is policies
    assert ("name the pods of your collector under tracing.to" in done.stderr) is policies
