"""The chart's operator: its objects, their rights, and the rejected values."""

import pytest
import yaml

from tests.chart.rendering import (
    CHART,
    EVERYTHING_ON,
    GATEWAY_NAMESPACE,
    NAMESPACE,
    REPOSITORY,
    helm,
    hooks,
    kinds,
    one,
    rendered,
    template,
)
from troth.cluster.leases.claim import CLAIM
from troth.planning.network import broker_policy as broker_network
from troth.resources.kinds import EVERY_KIND

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
OPERATOR = {"kind": "ServiceAccount", "name": "troth", "namespace": NAMESPACE}


def test_helm_lint_has_no_complaint() -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout


def test_crds_are_the_generated_ones_and_no_part_of_the_release() -> None:
    installed = {file.name: file.read_text() for file in (CHART / "crds").iterdir()}
    assert installed == {file.name: file.read_text() for file in (REPOSITORY / "crds").iterdir()}
    assert "CustomResourceDefinition" not in kinds(rendered(*EVERYTHING_ON))


def test_job_upgrades_exactly_the_crds_of_the_chart() -> None:
    role = one(hooks(), "ClusterRole", "troth-crds")
    names = [yaml.safe_load(file.read_text()) for file in (CHART / "crds").iterdir()]
    assert role["rules"] == [
        _rule("apiextensions.k8s.io", "customresourcedefinitions", "create"),
        {
            **_rule("apiextensions.k8s.io", "customresourcedefinitions", "patch"),
            "resourceNames": sorted(each["metadata"]["name"] for each in names),
        },
    ]
    job = one(hooks(), "Job", "troth-crds")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-upgrade"
    assert "Job" not in kinds(hooks("crds.upgrade=false"))


def test_pods_of_hooks_are_restricted_and_no_selector_of_the_release_matches_them() -> None:
    selector = one(rendered(), "Deployment")["spec"]["selector"]["matchLabels"]
    job, test = one(hooks(), "Job")["spec"]["template"], one(hooks(), "Pod")
    for pod in (job, test):
        assert not selector.items() <= pod["metadata"]["labels"].items()
        (container,) = pod["spec"]["containers"]
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"] == RESTRICTED


def test_trust_domains_outlive_the_release() -> None:
    domain = one(rendered(*EVERYTHING_ON), "TrustDomain", "production")
    assert domain["spec"]["domain"] == "prod.example"
    assert domain["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


# Rights

DECLARED = "serviceidentities messagebrokers topicpolicies webhookendpoints credentialrotations"


def _rule(group: str, resources: str, verbs: str) -> dict[str, list[str]]:
    return {"apiGroups": [group], "resources": resources.split(), "verbs": verbs.split()}


CLUSTER_WIDE = [
    _rule("troth.dev", "trustdomains", "list watch"),
    _rule("troth.dev", "trustdomains/status", "patch"),
    _rule("troth.dev", "messagebrokers topicpolicies", "patch"),
    {
        **_rule("apiextensions.k8s.io", "customresourcedefinitions", "get"),
        "resourceNames": [f"{each}.troth.dev" for each in ("trustdomains", *DECLARED.split())],
    },
    _rule("", "namespaces", "list watch"),
]
IN_NAMESPACES = [
    _rule("troth.dev", DECLARED, "list watch"),
    _rule("troth.dev", "deadletterreviews", "list watch"),
    _rule("troth.dev", "serviceidentities messagebrokers webhookendpoints", "get"),
    _rule(
        "troth.dev",
        "serviceidentities/status messagebrokers/status topicpolicies/status "
        "webhookendpoints/status credentialrotations/status",
        "patch",
    ),
    _rule("", "services", "list watch"),
    _rule("", "secrets configmaps", "get list watch create patch delete"),
    _rule("networking.k8s.io", "networkpolicies", "get list watch create patch delete"),
    _rule("events.k8s.io", "events", "create"),
]


def test_operator_has_exactly_these_rights() -> None:
    manifests = rendered()
    assert one(manifests, "ClusterRole", "troth")["rules"] == [*CLUSTER_WIDE, *IN_NAMESPACES]
    assert one(manifests, "Role", "troth-endpoints")["rules"] == [
        _rule("discovery.k8s.io", "endpointslices", "list watch")
    ]
    lease = _rule("coordination.k8s.io", "leases", "get update patch")
    assert one(manifests, "Role", "troth-lease")["rules"] == [
        _rule("coordination.k8s.io", "leases", "create"),
        {**lease, "resourceNames": ["troth-operator"]},
    ]
    claim = _rule("coordination.k8s.io", "leases", "get update")
    assert one(manifests, "Role", "troth-claim")["rules"] == [
        _rule("coordination.k8s.io", "leases", "create"),
        {**claim, "resourceNames": [CLAIM.name]},
    ]
    assert one(manifests, "Role", "troth-claim")["metadata"]["namespace"] == CLAIM.namespace
    assert one(manifests, "Lease", CLAIM.name)["metadata"]["namespace"] == CLAIM.namespace
    bindings = [each for each in manifests if each["kind"].endswith("RoleBinding")]
    assert {(each["roleRef"]["kind"], each["roleRef"]["name"]) for each in bindings} == {
        ("ClusterRole", "troth"),
        ("Role", "troth-claim"),
        ("Role", "troth-endpoints"),
        ("Role", "troth-lease"),
    }
    assert all(each["subjects"] == [OPERATOR] for each in bindings)


def test_operator_of_some_namespaces_has_roles_there_and_reads_no_secret_elsewhere() -> None:
    options = ("gateway.enabled=true", "gateway.replicas=1", "gateway.name=troth")
    manifests = rendered("namespaces={shop,billing}", *options)
    deletions = _rule("troth.dev", "messagebrokers topicpolicies", "list watch")
    everywhere = one(manifests, "ClusterRole", "troth")["rules"]
    assert [each for each in everywhere if each != deletions] == CLUSTER_WIDE
    assert everywhere.count(deletions) == 1
    watched = sorted(["shop", "billing", NAMESPACE, GATEWAY_NAMESPACE])
    for kind in ("Role", "RoleBinding"):
        found = [
            each
            for each in manifests
            if (each["kind"], each["metadata"]["name"]) == (kind, "troth-operator")
        ]
        assert [each["metadata"]["namespace"] for each in found] == watched
        assert all(each.get("rules", IN_NAMESPACES) == IN_NAMESPACES for each in found)
        assert all(each.get("subjects", [OPERATOR]) == [OPERATOR] for each in found)
    assert one(manifests, "Role", "troth-endpoints")["rules"] == [
        _rule("discovery.k8s.io", "endpointslices", "list watch"),
        _rule("events.k8s.io", "events", "create"),
    ]
    deployments = [each for each in manifests if each["kind"] == "Deployment"]
    operator = next(each for each in deployments if each["metadata"]["namespace"] == NAMESPACE)
    (container,) = operator["spec"]["template"]["spec"]["containers"]
    assert f"--namespaces={','.join(watched)}" in container["args"]


def test_workloads_may_be_patched_only_if_rollouts_are_enabled() -> None:
    before = one(rendered(), "ClusterRole", "troth")["rules"]
    after = one(rendered("rollouts.enabled=true"), "ClusterRole", "troth")["rules"]
    assert [rule for rule in after if rule not in before] == [
        _rule("apps", "deployments statefulsets daemonsets", "list watch patch"),
        _rule("policy", "poddisruptionbudgets", "list watch"),
    ]
    assert [rule for rule in before if rule not in after] == []


def test_no_role_has_a_wildcard() -> None:
    roles = [each for each in rendered(*EVERYTHING_ON) if each["kind"] in {"Role", "ClusterRole"}]
    assert roles
    for role in roles:
        for rule in role["rules"]:
            named = (value for values in rule.values() for value in values)
            assert not [value for value in named if "*" in value]


def test_editors_may_write_resources_of_services_only() -> None:
    edit = one(rendered(), "ClusterRole", "troth-edit")
    assert [rule["resources"] for rule in edit["rules"]] == [
        ["serviceidentities", "topicpolicies", "webhookendpoints", "deadletterreviews"]
    ]
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    labels = edit["metadata"]["labels"]
    assert {label.removeprefix(prefix) for label in labels if label.startswith(prefix)} == {
        "edit",
        "admin",
    }


@pytest.mark.parametrize(
    ("name", "resource"), [("rotate", "credentialrotations"), ("except", "findingexceptions")]
)
def test_roles_of_security_are_part_of_no_role_of_a_team(name: str, resource: str) -> None:
    role = one(rendered(), "ClusterRole", f"troth-{name}")
    assert [rule["resources"] for rule in role["rules"]] == [[resource]]
    assert not any("aggregate-to" in label for label in role["metadata"]["labels"])


def test_viewers_may_read_every_kind() -> None:
    (rule,) = one(rendered(), "ClusterRole", "troth-view")["rules"]
    assert set(rule["resources"]) == {kind.plural for kind in EVERY_KIND}
    assert rule["verbs"] == ["get", "list", "watch"]


@pytest.mark.parametrize("shards", [1, 3])
def test_change_of_shards_takes_no_right_from_the_replicas_that_run(shards: int) -> None:
    """Helm changes the Role before Kubernetes replaces the pods."""
    (_, lease) = one(rendered(f"shards={shards}"), "Role", "troth-lease")["rules"]
    assert (lease["verbs"], lease["resourceNames"]) == (
        ["get", "update", "patch"],
        ["troth-operator"],
    )


def test_operator_gets_the_number_of_shards() -> None:
    manifests = rendered("shards=3")
    (container,) = one(manifests, "Deployment", "troth")["spec"]["template"]["spec"]["containers"]
    assert "--shards=3" in container["args"]


def test_lease_role_is_in_the_release_namespace() -> None:
    done = helm("template", "t", str(CHART), "--namespace", "elsewhere", "--kube-version", "1.36.0")
    manifests = [each for each in yaml.safe_load_all(done.stdout) if each]
    assert one(manifests, "Role", "t-troth-lease")["metadata"]["namespace"] == "elsewhere"
    assert one(manifests, "Role", "t-troth-endpoints")["metadata"]["namespace"] == "default"


# Pods


def test_pods_have_a_restricted_security_context() -> None:
    pod = one(rendered(), "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    assert container["securityContext"] == RESTRICTED


def test_two_replicas_are_spread_over_nodes() -> None:
    manifests = rendered()
    deployment = one(manifests, "Deployment")["spec"]
    pods = deployment["selector"]["matchLabels"]
    (spread,) = deployment["template"]["spec"]["topologySpreadConstraints"]
    assert deployment["replicas"] == 2
    assert spread["labelSelector"]["matchLabels"] == pods
    assert pods.items() <= deployment["template"]["metadata"]["labels"].items()
    assert one(manifests, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == pods


def test_single_replica_does_not_block_a_drain() -> None:
    assert "PodDisruptionBudget" not in kinds(rendered("replicas=1"))


def test_digest_pins_the_image() -> None:
    digest = "sha256:" + "0" * 64
    (container,) = one(rendered(f"image.digest={digest}", "image.tag=v1"), "Deployment")["spec"][
        "template"
    ]["spec"]["containers"]
    assert container["image"] == f"troth@{digest}"


@pytest.mark.parametrize("rollouts", [True, False])
def test_command_line_is_valid(*, rollouts: bool) -> None:
    from typer.testing import CliRunner

    from troth.cli.main import app

    manifests = rendered(f"rollouts.enabled={str(rollouts).lower()}", "namespaces={shop}")
    (container,) = one(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    command: list[str] = [*container["command"], *container["args"]]
    assert ("--rollouts" in command) == rollouts
    arguments = command[1:]
    assert command[0] == "troth"
    result = CliRunner().invoke(app, [*arguments, "--help"])
    assert result.exit_code == 0, result.output
    for argument in arguments[1:]:
        assert argument.split("=")[0] in result.output


# Optional parts


def test_metrics_service_and_network_policy_are_off_by_default() -> None:
    assert kinds(rendered()).isdisjoint({"Service", "NetworkPolicy"})
    manifests = rendered(*EVERYTHING_ON)
    pods = one(manifests, "Deployment", "troth")["spec"]["selector"]["matchLabels"]
    assert one(manifests, "Service", "troth-metrics")["spec"]["selector"] == pods
    policy = one(manifests, "NetworkPolicy", "troth")["spec"]
    assert policy["podSelector"]["matchLabels"] == pods
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert [rule["to"][0]["ipBlock"]["cidr"] for rule in policy["egress"][:2]] == [
        "192.0.2.10/32",
        "2001:db8::1/128",
    ]
    assert len(policy["ingress"]) == 2


def test_network_policy_without_exceptions_has_no_ingress() -> None:
    values = ("networkPolicy.enabled=true", "networkPolicy.apiServer.cidrs={192.0.2.10/32}")
    policy = one(rendered(*values), "NetworkPolicy")["spec"]
    assert "ingress" not in policy
    assert [rule["to"] for rule in policy["egress"]] == [[{"ipBlock": {"cidr": "192.0.2.10/32"}}]]


def test_operator_may_reach_listed_brokers_and_the_resolver() -> None:
    policy = one(rendered(*EVERYTHING_ON), "NetworkPolicy", "troth")["spec"]
    brokers, _collector, dns = policy["egress"][2:]
    assert brokers == {
        "to": [{"podSelector": {"matchLabels": {"app": "kafka"}}}],
        "ports": [{"protocol": "TCP", "port": 9093}, {"protocol": "TCP", "port": 9094}],
    }
    assert dns["to"][0]["podSelector"] == {"matchLabels": {"k8s-app": "kube-dns"}}
    assert dns["ports"] == [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]
    by_address = rendered(*EVERYTHING_ON, "networkPolicy.dns.to=null")
    assert len(one(by_address, "NetworkPolicy", "troth")["spec"]["egress"]) == 4


def test_broker_policies_select_the_operators_pods_under_any_release_name() -> None:
    pods = one(rendered("nameOverride=other"), "Deployment")["spec"]["template"]["metadata"]
    assert broker_network.OPERATOR.match_labels.items() <= pods["labels"].items()
    (issuer,) = (
        each
        for each in rendered("issuers[0].domain=production")
        if each["kind"] == "Deployment" and "issuer" in each["metadata"]["name"]
    )
    labels = issuer["spec"]["template"]["metadata"]["labels"]
    assert not broker_network.OPERATOR.match_labels.items() <= labels.items()


# Values


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (["replicas=0"], "at '/replicas': minimum: got 0, want 1"),
        (["replica=3"], "additional properties 'replica' not allowed"),
        (["leaseDuration=1s"], "at '/leaseDuration': '1s' does not match pattern"),
        (["leaseDuration=15"], "at '/leaseDuration': got number, want string"),
        (["log.format=xml"], "at '/log/format': value must be one of 'json', 'console'"),
        (["image.digest=latest"], "at '/image/digest': 'latest' does not match pattern"),
        (["image.pullPolicy=Sometimes"], "at '/image/pullPolicy': value must be one of"),
        (["serviceAccount.create=false"], "at '/serviceAccount/name': minLength: got 0, want 1"),
        (["tracing.enabled=true"], "at '/tracing/endpoint': minLength"),
        (["tracing.endpoint=http://user:password@collector:4318"], "at '/tracing/endpoint'"),
        (["tracing.sampler=sometimes"], "at '/tracing/sampler'"),
        (["networkPolicy.enabled=true"], "at '/networkPolicy/apiServer/cidrs': minItems"),
        (["networkPolicy.probeCIDRs={everywhere}"], "at '/networkPolicy/probeCIDRs/0'"),
        (["networkPolicy.brokers[0].ports={9093}"], "missing property 'to'"),
        (["networkPolicy.brokers[0].to[0].a=b"], "missing property 'ports'"),
        (["podDisruptionBudget.maxUnavailable=0"], "at '/podDisruptionBudget/maxUnavailable'"),
        (["namespaces={shop-*}"], "at '/namespaces/0': 'shop-*' does not match pattern"),
        (["namespaces={shop,shop}"], "at '/namespaces': items at 0 and 1 are equal"),
        (["workers=0"], "at '/workers': minimum: got 0, want 1"),
        (["shards=0"], "at '/shards': minimum: got 0, want 1"),
        (["gatway.enabled=true"], "additional properties 'gatway' not allowed"),
        (["log.levle=debug"], "at '/log': additional properties 'levle' not allowed"),
        (["nodeSelector.ssd=true"], "at '/nodeSelector/ssd': got boolean, want string"),
    ],
)
def test_invalid_value_is_rejected_by_name(values: list[str], complaint: str) -> None:
    done = template(*values)
    assert done.returncode != 0
    assert complaint in done.stderr


def test_schema_has_exactly_the_existing_values() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    _same_keys(values, schema, "")


def _same_keys(values: object, schema: dict[str, object], where: str) -> None:
    properties = schema.get("properties")
    if not isinstance(values, dict) or not isinstance(properties, dict):
        return
    assert schema.get("additionalProperties") is False, where
    known = set(properties) - {"global", "claims"}  # helm's own, and a rarely used one
    assert set(values) == known, where
    for key in values:
        _same_keys(values[key], properties[key], f"{where}/{key}")
