"""The chart's gateway: its own namespace, minimal rights, and nothing by default."""

from itertools import pairwise

import pytest
import yaml

from tests.chart.rendering import (
    EVERYTHING_ON,
    GATEWAY_NAMESPACE,
    NAMESPACE,
    REPOSITORY,
    Manifest,
    one,
    rendered,
    template,
)

NAME = "troth-gateway"
ON = ("gateway.enabled=true", "gateway.valkey.secretName=valkey")
ALONE = ("gateway.enabled=true", "gateway.replicas=1")
IDENTITY = (
    "gateway.identity.create=true",
    "gateway.identity.allowedNamespaces.matchLabels.environment=production",
)
PODS = {
    "app.kubernetes.io/name": "troth",
    "app.kubernetes.io/component": "webhook-gateway",
    "troth.dev/gateway": NAME,
}


def pod(manifests: list[Manifest]) -> Manifest:
    return dict(one(manifests, "Deployment", NAME)["spec"]["template"]["spec"])


def container(manifests: list[Manifest]) -> Manifest:
    (found,) = pod(manifests)["containers"]
    return dict(found)


def test_gateway_is_off_by_default() -> None:
    assert not [each for each in rendered() if "gateway" in each["metadata"]["name"]]


def test_gateway_is_in_a_namespace_of_its_own() -> None:
    before = [(each["kind"], each["metadata"]["name"]) for each in rendered()]
    added = [
        each for each in rendered(*ON) if (each["kind"], each["metadata"]["name"]) not in before
    ]
    places = {each["metadata"].get("namespace") for each in added if each["kind"] != "Namespace"}
    assert places == {GATEWAY_NAMESPACE}
    assert one(added, "Namespace")["metadata"]["name"] == GATEWAY_NAMESPACE
    others = rendered(*ON, "gateway.createNamespace=false")
    assert "Namespace" not in {each["kind"] for each in others}


def test_namespace_labels_can_be_set() -> None:
    labels = one(rendered(*EVERYTHING_ON), "Namespace", GATEWAY_NAMESPACE)["metadata"]["labels"]
    assert labels["environment"] == "production"


# Rights


def test_gateway_reads_secrets_of_its_namespace_and_writes_one_config_map() -> None:
    manifests = rendered(*ON)
    assert one(manifests, "Role", NAME)["rules"] == [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]},
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": ["troth-gateway-webhook-keys"],
            "verbs": ["patch"],
        },
    ]
    account = {"kind": "ServiceAccount", "name": NAME, "namespace": GATEWAY_NAMESPACE}
    bound = [
        each
        for each in manifests
        if each["kind"].endswith("RoleBinding") and account in each["subjects"]
    ]
    assert [each["kind"] for each in bound] == ["RoleBinding"]
    assert bound[0]["subjects"] == [account]
    assert pod(manifests)["serviceAccountName"] == NAME


def test_rbac_can_be_left_out() -> None:
    manifests = rendered(*ON, "rbac.create=false")
    assert not [each for each in manifests if "Role" in each["kind"] and NAME in str(each)]
    one(manifests, "ServiceAccount", NAME)


# Pods


def test_pods_have_a_restricted_security_context() -> None:
    manifests = rendered(*ON)
    (operator,) = one(manifests, "Deployment", "troth")["spec"]["template"]["spec"]["containers"]
    assert container(manifests)["securityContext"] == operator["securityContext"]
    assert pod(manifests)["securityContext"]["runAsNonRoot"] is True
    assert pod(manifests)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}


def test_secrets_are_mounted_read_only_for_the_gateway_alone() -> None:
    manifests = rendered(*EVERYTHING_ON)
    ours = pod(manifests)
    volumes = {each["name"]: each for each in ours["volumes"]}
    secrets = {name: each["secret"] for name, each in volumes.items() if "secret" in each}
    assert {name: each["secretName"] for name, each in secrets.items()} == {
        "identity": "troth-gateway-identity",
        "tls": "hooks-tls",
        "valkey": "valkey",
    }
    assert {each["defaultMode"] for each in secrets.values()} == {0o440}
    assert secrets["valkey"]["items"] == [{"key": "url", "path": "url"}]
    assert volumes["bundle"]["configMap"] == {"name": "trust-bundle"}
    mounts = container(manifests)["volumeMounts"]
    assert {each["name"] for each in mounts} == set(volumes)
    assert all(each["readOnly"] for each in mounts)
    assert ours["securityContext"]["fsGroup"] == ours["securityContext"]["runAsGroup"]


def test_options_name_the_mount_paths() -> None:
    ours = container(rendered(*EVERYTHING_ON))
    paths = {each["name"]: each["mountPath"] for each in ours["volumeMounts"]}
    for name in ("identity", "bundle", "tls"):
        assert f"--{name}={paths[name]}" in ours["args"]
    assert f"--valkey={paths['valkey']}/url" in ours["args"]


def test_only_named_proxies_are_trusted() -> None:
    arguments = container(rendered(*EVERYTHING_ON))["args"]
    assert [each for each in arguments if "proxies" in each] == [
        "--trusted-proxies=192.0.2.0/24",
        "--trusted-proxies=2001:db8::/32",
    ]
    assert not [each for each in container(rendered(*ON))["args"] if "proxies" in each]


@pytest.mark.parametrize("values", [ON, ALONE, EVERYTHING_ON], ids=["on", "alone", "all"])
def test_command_line_is_valid(values: tuple[str, ...]) -> None:
    from typer.testing import CliRunner

    from troth.cli.main import app

    ours = container(rendered(*values))
    command: list[str] = [*ours["command"], *ours["args"]]
    assert command[0] == "troth"
    result = CliRunner().invoke(app, [*command[1:], "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    for argument in command[2:]:
        assert argument.split("=")[0] in result.output
    assert ("--single-replica" in command) is (values == ALONE)


def test_single_replica_without_a_store_is_recreated() -> None:
    deployment = one(rendered(*ALONE), "Deployment", NAME)["spec"]
    assert deployment["strategy"] == {"type": "Recreate"}
    assert deployment["replicas"] == 1
    names = [
        each["metadata"]["name"]
        for each in rendered(*ALONE)
        if each["kind"] == "PodDisruptionBudget"
    ]
    assert NAME not in names


def test_pod_has_one_process_unless_there_are_workers() -> None:
    assert not [each for each in container(rendered(*ON))["args"] if "workers" in each]
    assert "--workers=4" in container(rendered(*ON, "gateway.workers=4"))["args"]
    one_replica = container(rendered(*ON, "gateway.replicas=1", "gateway.workers=4"))
    assert "--workers=4" in one_replica["args"]


def test_workers_need_no_volume() -> None:
    assert pod(rendered(*ON, "gateway.workers=4"))["volumes"] == pod(rendered(*ON))["volumes"]


def test_update_and_drain_keep_a_replica() -> None:
    manifests = rendered(*ON)
    deployment = one(manifests, "Deployment", NAME)["spec"]
    assert deployment["strategy"] == {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    assert deployment["selector"]["matchLabels"] == PODS
    budget = one(manifests, "PodDisruptionBudget", NAME)["spec"]
    assert budget["selector"]["matchLabels"] == PODS


def test_grace_period_covers_every_step_of_the_shutdown() -> None:
    from troth.serving.connection import LAST_CALL
    from troth.webhooks.gateway.serving import SHUTDOWN

    manifests = rendered(*ON)
    pause = container(manifests)["lifecycle"]["preStop"]["sleep"]["seconds"]
    steps = [0, pause, pause + LAST_CALL, pause + LAST_CALL + SHUTDOWN]
    assert all(earlier <= later for earlier, later in pairwise(steps))
    assert pod(manifests)["terminationGracePeriodSeconds"] > steps[-1]


@pytest.mark.parametrize("other", ["troth", "troth-issuer-production"])
def test_selectors_of_operator_issuer_and_gateway_do_not_overlap(other: str) -> None:
    manifests = rendered(*EVERYTHING_ON)
    ours = one(manifests, "Deployment", NAME)["spec"]
    theirs = one(manifests, "Deployment", other)["spec"]
    for mine, yours in ((ours, theirs), (theirs, ours)):
        labels = mine["template"]["metadata"]["labels"]
        assert not yours["selector"]["matchLabels"].items() <= labels.items()


# Network


def test_senders_use_the_service() -> None:
    service = one(rendered(*ON), "Service", NAME)["spec"]
    assert service["selector"] == PODS
    assert service["type"] == "ClusterIP"
    (port,) = service["ports"]
    assert (port["port"], port["targetPort"]) == (443, "webhooks")


def test_external_traffic_keeps_the_senders_address() -> None:
    service = one(rendered(*EVERYTHING_ON), "Service", NAME)
    assert service["spec"]["externalTrafficPolicy"] == "Local"
    assert service["metadata"]["annotations"] == {"note": "kept"}


def test_network_policy_admits_senders_and_the_egress_it_needs() -> None:
    policy = one(rendered(*EVERYTHING_ON), "NetworkPolicy", NAME)["spec"]
    assert policy["podSelector"]["matchLabels"] == PODS
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"][0] == {"ports": [{"protocol": "TCP", "port": "webhooks"}]}
    api, api6, valkey, _collector, dns = policy["egress"]
    assert api["to"] == [{"ipBlock": {"cidr": "192.0.2.10/32"}}]
    assert api6["to"] == [{"ipBlock": {"cidr": "2001:db8::1/128"}}]
    assert valkey == {
        "to": [{"podSelector": {"matchLabels": {"app": "valkey"}}}],
        "ports": [{"protocol": "TCP", "port": 6379}],
    }
    assert dns["ports"][0]["port"] == 53


# Identity


def test_identity_is_valid_and_matches_the_pods() -> None:
    from troth.resources.manifests import parse_resource

    manifest = one(rendered(*EVERYTHING_ON), "ServiceIdentity", NAME)
    assert manifest["metadata"]["name"] == NAME
    spec = manifest["spec"]
    assert spec["workload"]["podSelector"]["matchLabels"] == PODS
    assert spec["workload"]["serviceAccountName"] == NAME
    assert spec["servesWebhooks"] == {
        "allowedNamespaces": {"matchLabels": {"environment": "production"}}
    }
    ports = {each["name"]: each["port"] for each in spec["workload"]["ports"]}
    declared = {each["name"]: each["containerPort"] for each in container(rendered(*ON))["ports"]}
    assert ports == declared
    parse_resource(manifest)


def test_identity_of_the_examples_selects_the_chart_pods() -> None:
    """An identity that selects other pods would keep the targets closed to the gateway."""
    written = one(rendered(*ON, *IDENTITY), "ServiceIdentity")["spec"]
    text = (REPOSITORY / "examples" / "webhooks" / "10-gateway.yaml").read_text()
    example = yaml.safe_load(text)["spec"]
    assert example["workload"] == written["workload"]
    assert example["exceptions"] == written["exceptions"]
    assert {"kubernetesAPI": True} in example["calls"]


# Values


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (["gateway.enabled=true"], "name a Secret with the URL of a Valkey under"),
        ([*ON, f"gateway.namespace={NAMESPACE}"], "gateway.namespace is the operator's own"),
        ([*ON, "gateway.identity.create=true"], "at '/gateway/identity/allowedNamespaces'"),
        ([*ON, "gateway.name=a.b"], "at '/gateway/name': 'a.b' does not match"),
        ([*ON, "gateway.name=" + "a" * 53], "at '/gateway/name': maxLength: got 53, want 52"),
        ([*ON, "gateway.replicas=0"], "at '/gateway/replicas': minimum"),
        ([*ON, "gateway.workers=0"], "at '/gateway/workers': minimum"),
        ([*ON, "gateway.workers=17"], "at '/gateway/workers': maximum"),
        ([*ALONE, "gateway.workers=2"], "gateway.workers is more than 1, which needs a Valkey"),
        ([*ON, "gateway.trustedProxies={everywhere}"], "at '/gateway/trustedProxies/0'"),
        ([*ON, "gateway.service.type=ExternalName"], "at '/gateway/service/type'"),
        ([*ON, "gateway.port=1"], "additional properties 'port' not allowed"),
    ],
)
def test_invalid_value_is_rejected_by_name(values: list[str], complaint: str) -> None:
    done = template(*values)
    assert done.returncode != 0
    assert complaint in done.stderr
