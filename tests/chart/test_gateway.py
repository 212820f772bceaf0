"""The chart's gateway: a namespace of its own, rights to what is there, and nothing else."""

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


def test_there_is_none_until_it_is_asked_for() -> None:
    assert not [each for each in rendered() if "gateway" in each["metadata"]["name"]]


def test_all_of_it_is_in_a_namespace_of_its_own() -> None:
    before = [(each["kind"], each["metadata"]["name"]) for each in rendered()]
    added = [
        each for each in rendered(*ON) if (each["kind"], each["metadata"]["name"]) not in before
    ]
    places = {each["metadata"].get("namespace") for each in added if each["kind"] != "Namespace"}
    assert places == {GATEWAY_NAMESPACE}
    assert one(added, "Namespace")["metadata"]["name"] == GATEWAY_NAMESPACE
    others = rendered(*ON, "gateway.createNamespace=false")
    assert "Namespace" not in {each["kind"] for each in others}


def test_its_namespace_is_governed_by_its_labels() -> None:
    labels = one(rendered(*EVERYTHING_ON), "Namespace")["metadata"]["labels"]
    assert labels["environment"] == "production"


# Rights


def test_it_reads_the_secrets_of_its_namespace_and_writes_one_config_map() -> None:
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
        if each["kind"].endswith("Binding") and account in each["subjects"]
    ]
    assert [each["kind"] for each in bound] == ["RoleBinding"]
    assert bound[0]["subjects"] == [account]
    assert pod(manifests)["serviceAccountName"] == NAME


def test_rights_may_be_given_by_somebody_else() -> None:
    manifests = rendered(*ON, "rbac.create=false")
    assert not [each for each in manifests if "Role" in each["kind"] and NAME in str(each)]
    one(manifests, "ServiceAccount", NAME)


# The pods


def test_its_pods_can_do_nothing_but_run() -> None:
    manifests = rendered(*ON)
    (operator,) = one(manifests, "Deployment", "troth")["spec"]["template"]["spec"]["containers"]
    assert container(manifests)["securityContext"] == operator["securityContext"]
    assert pod(manifests)["securityContext"]["runAsNonRoot"] is True
    assert pod(manifests)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}


def test_what_is_secret_is_mounted_read_only_and_readable_by_it_alone() -> None:
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


def test_its_files_are_where_it_is_told_that_they_are() -> None:
    ours = container(rendered(*EVERYTHING_ON))
    paths = {each["name"]: each["mountPath"] for each in ours["volumeMounts"]}
    for name in ("identity", "bundle", "tls"):
        assert f"--{name}={paths[name]}" in ours["args"]
    assert f"--valkey={paths['valkey']}/url" in ours["args"]


def test_proxies_are_believed_that_are_named() -> None:
    arguments = container(rendered(*EVERYTHING_ON))["args"]
    assert [each for each in arguments if "proxies" in each] == [
        "--trusted-proxies=192.0.2.0/24",
        "--trusted-proxies=2001:db8::/32",
    ]
    assert not [each for each in container(rendered(*ON))["args"] if "proxies" in each]


@pytest.mark.parametrize("values", [ON, ALONE, EVERYTHING_ON], ids=["on", "alone", "all"])
def test_the_command_line_is_one_that_troth_takes(values: tuple[str, ...]) -> None:
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


def test_one_that_remembers_by_itself_is_never_there_twice() -> None:
    deployment = one(rendered(*ALONE), "Deployment", NAME)["spec"]
    assert deployment["strategy"] == {"type": "Recreate"}
    assert deployment["replicas"] == 1
    names = [
        each["metadata"]["name"]
        for each in rendered(*ALONE)
        if each["kind"] == "PodDisruptionBudget"
    ]
    assert NAME not in names


def test_a_new_copy_is_there_before_an_old_one_goes_and_a_drain_leaves_one() -> None:
    manifests = rendered(*ON)
    deployment = one(manifests, "Deployment", NAME)["spec"]
    assert deployment["strategy"] == {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    assert deployment["selector"]["matchLabels"] == PODS
    budget = one(manifests, "PodDisruptionBudget", NAME)["spec"]
    assert budget["selector"]["matchLabels"] == PODS


def test_it_has_time_to_answer_what_is_there() -> None:
    from troth.webhooks.gateway.connection.connections import LAST_CALL
    from troth.webhooks.gateway.serving import SHUTDOWN

    manifests = rendered(*ON)
    pause = container(manifests)["lifecycle"]["preStop"]["sleep"]["seconds"]
    steps = [0, pause, pause + LAST_CALL, pause + LAST_CALL + SHUTDOWN]
    assert all(earlier <= later for earlier, later in pairwise(steps))
    assert pod(manifests)["terminationGracePeriodSeconds"] > steps[-1]


@pytest.mark.parametrize("other", ["troth", "troth-issuer-production"])
def test_what_selects_others_does_not_select_it_nor_the_other_way_round(other: str) -> None:
    manifests = rendered(*EVERYTHING_ON)
    ours = one(manifests, "Deployment", NAME)["spec"]
    theirs = one(manifests, "Deployment", other)["spec"]
    for mine, yours in ((ours, theirs), (theirs, ours)):
        labels = mine["template"]["metadata"]["labels"]
        assert not yours["selector"]["matchLabels"].items() <= labels.items()


# The network


def test_senders_come_by_its_service() -> None:
    service = one(rendered(*ON), "Service", NAME)["spec"]
    assert service["selector"] == PODS
    assert service["type"] == "ClusterIP"
    (port,) = service["ports"]
    assert (port["port"], port["targetPort"]) == (443, "webhooks")


def test_from_outside_a_senders_address_stays_what_it_is() -> None:
    service = one(rendered(*EVERYTHING_ON), "Service", NAME)
    assert service["spec"]["externalTrafficPolicy"] == "Local"
    assert service["metadata"]["annotations"] == {"note": "kept"}


def test_its_network_policy_lets_senders_in_and_out_to_what_it_needs() -> None:
    policy = one(rendered(*EVERYTHING_ON), "NetworkPolicy", NAME)["spec"]
    assert policy["podSelector"]["matchLabels"] == PODS
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"][0] == {"ports": [{"protocol": "TCP", "port": "webhooks"}]}
    api, api6, valkey, dns = policy["egress"]
    assert api["to"] == [{"ipBlock": {"cidr": "192.0.2.10/32"}}]
    assert api6["to"] == [{"ipBlock": {"cidr": "2001:db8::1/128"}}]
    assert valkey == {
        "to": [{"podSelector": {"matchLabels": {"app": "valkey"}}}],
        "ports": [{"protocol": "TCP", "port": 6379}],
    }
    assert dns["ports"][0]["port"] == 53


# The identity


def test_its_identity_is_one_that_troth_takes() -> None:
    from troth.resources.manifests import parse_resource

    manifest = one(rendered(*EVERYTHING_ON), "ServiceIdentity")
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


def test_the_identity_of_the_examples_is_that_of_the_pods_that_the_chart_installs() -> None:
    """One that selects other pods would keep its targets closed to the gateway that is there."""
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
        ([*ON, "gateway.trustedProxies={everywhere}"], "at '/gateway/trustedProxies/0'"),
        ([*ON, "gateway.service.type=ExternalName"], "at '/gateway/service/type'"),
        ([*ON, "gateway.port=1"], "additional properties 'port' not allowed"),
    ],
)
def test_values_that_make_no_sense_are_refused_by_name(values: list[str], complaint: str) -> None:
    done = template(*values)
    assert done.returncode != 0
    assert complaint in done.stderr
