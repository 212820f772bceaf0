"""The chart's review worker: its identity, its rights, and what its pod mounts."""

import pytest
from typer.testing import CliRunner

from tests.chart.rendering import EVERYTHING_ON, NAMESPACE, Manifest, one, rendered, template
from troth.cli.main import app
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.manifests import parse_resource

ON = ("review.enabled=true",)
ORDERS = ("review.policies[0].namespace=shop", "review.policies[0].name=orders")
MAIN = ("review.brokers[0].namespace=messaging", "review.brokers[0].name=main")
SOME = "namespaces={shop,finance}"
NAME, OWN = "troth-review", "troth-review-own"
PODS = {"app.kubernetes.io/name": "troth", "app.kubernetes.io/component": "review"}
ADMISSION = "troth-dead-letter-reviews"
Right = tuple[str, str, str, str]


def pod(manifests: list[Manifest]) -> Manifest:
    return dict(one(manifests, "Deployment", NAME)["spec"]["template"]["spec"])


def container(manifests: list[Manifest]) -> Manifest:
    (found,) = pod(manifests)["containers"]
    return dict(found)


def rights(role: Manifest) -> set[Right]:
    """Return group, resource, verb and name of every right of a role."""
    return {
        (group, resource, verb, name)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }


def reviewed(*values: str) -> ServiceIdentity:
    """Return the worker's ServiceIdentity."""
    found = parse_resource(one(rendered(*ON, *ORDERS, *values), "ServiceIdentity", NAME))
    assert isinstance(found, ServiceIdentity)
    return found


def test_worker_is_off_by_default() -> None:
    assert not [each for each in rendered() if each["metadata"]["name"].startswith(NAME)]


def test_names_in_reviews_are_held_also_without_a_worker() -> None:
    assert (
        one(rendered(), "ValidatingAdmissionPolicy", ADMISSION)["spec"]["failurePolicy"] == "Fail"
    )
    binding = one(rendered(), "ValidatingAdmissionPolicyBinding", ADMISSION)["spec"]
    assert binding["validationActions"] == ["Deny"]


def test_one_replica_never_runs_beside_its_successor() -> None:
    deployment = one(rendered(*ON), "Deployment", NAME)["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    assert deployment["selector"]["matchLabels"] == PODS


@pytest.mark.parametrize("name", ["troth", "other"])
def test_selectors_of_the_operator_do_not_match_the_worker(name: str) -> None:
    manifests = rendered(*EVERYTHING_ON, f"nameOverride={name}", "fullnameOverride=troth")
    labels = one(manifests, "Deployment", NAME)["spec"]["template"]["metadata"]["labels"]
    operator = one(manifests, "Deployment", "troth")["spec"]
    for selector in (
        operator["selector"]["matchLabels"],
        one(manifests, "PodDisruptionBudget", "troth")["spec"]["selector"]["matchLabels"],
        one(manifests, "NetworkPolicy", "troth")["spec"]["podSelector"]["matchLabels"],
        one(manifests, "Service", "troth-metrics")["spec"]["selector"],
    ):
        assert not selector.items() <= labels.items()
    assert not PODS.items() <= operator["template"]["metadata"]["labels"].items()


# Rights

IN_NAMESPACES: set[Right] = {
    ("troth.dev", "deadletterreviews", "list", ""),
    ("troth.dev", "deadletterreviews", "watch", ""),
    ("troth.dev", "deadletterreviews", "patch", ""),
    ("troth.dev", "deadletterreviews/status", "patch", ""),
    ("troth.dev", "topicpolicies", "list", ""),
    ("troth.dev", "topicpolicies", "watch", ""),
    ("troth.dev", "topicpolicies/status", "patch", ""),
    ("events.k8s.io", "events", "create", ""),
}
EVERYWHERE: set[Right] = {
    ("authentication.k8s.io", "tokenreviews", "create", ""),
    ("authorization.k8s.io", "subjectaccessreviews", "create", ""),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies", "get", ADMISSION),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings", "get", ADMISSION),
}


def test_worker_has_exactly_these_rights() -> None:
    manifests = rendered(*ON)
    assert rights(one(manifests, "ClusterRole", NAME)) == EVERYWHERE | IN_NAMESPACES
    assert rights(one(manifests, "Role", OWN)) == {
        ("coordination.k8s.io", "leases", "create", ""),
        ("coordination.k8s.io", "leases", "get", "troth-review"),
        ("coordination.k8s.io", "leases", "update", "troth-review"),
        ("", "configmaps", "create", ""),
        ("", "configmaps", "get", "troth-review-audit-log"),
        ("", "configmaps", "update", "troth-review-audit-log"),
    }
    account = {"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}
    for kind, name in (("ClusterRoleBinding", NAME), ("RoleBinding", OWN)):
        assert one(manifests, kind, name)["subjects"] == [account]
    assert pod(manifests)["serviceAccountName"] == NAME


def test_worker_reads_no_secret() -> None:
    roles = [each for each in rendered(*EVERYTHING_ON) if each["metadata"]["name"].startswith(NAME)]
    assert not [
        right for each in roles if "rules" in each for right in rights(each) if "secrets" in right
    ]


def test_worker_of_some_namespaces_has_rights_in_them_alone() -> None:
    manifests = rendered(*ON, SOME)
    assert rights(one(manifests, "ClusterRole", NAME)) == EVERYWHERE
    roles = [
        each for each in manifests if (each["kind"], each["metadata"]["name"]) == ("Role", NAME)
    ]
    assert [each["metadata"]["namespace"] for each in roles] == ["finance", "shop", NAMESPACE]
    assert all(rights(each) == IN_NAMESPACES for each in roles)
    assert f"--namespaces=finance,shop,{NAMESPACE}" in container(manifests)["args"]
    assert not [each for each in container(rendered(*ON))["args"] if "namespaces" in each]


def test_rbac_can_be_left_out() -> None:
    manifests = rendered(*ON, "rbac.create=false")
    names = [each["metadata"]["name"] for each in manifests if "Role" in each["kind"]]
    of_users = f"{NAME}-reach"
    assert [name for name in names if name.startswith(NAME)] == [of_users]
    one(manifests, "ServiceAccount", NAME)


# Identity


def test_identity_matches_the_pod() -> None:
    identity = reviewed()
    labels = one(rendered(*ON), "Deployment", NAME)["spec"]["template"]["metadata"]["labels"]
    workload = identity.spec.workload
    assert workload.pod_selector.match_labels.items() <= labels.items()
    assert workload.service_account_name == NAME
    ports = {each["name"]: each["containerPort"] for each in container(rendered(*ON))["ports"]}
    assert {each.name: each.port for each in workload.ports} == ports


def test_identity_reviews_the_policies() -> None:
    (use,) = reviewed().spec.reviews
    assert (use.policy.namespace, use.policy.name) == ("shop", "orders")


def test_identity_without_policies_is_left_to_the_user() -> None:
    assert not [each for each in rendered(*ON) if each["kind"] == "ServiceIdentity"]


def test_identity_accepts_only_named_peers() -> None:
    assert reviewed().spec.accepts == ()
    manifest = one(rendered(*EVERYTHING_ON), "ServiceIdentity", NAME)
    assert [each["unverified"]["cidrs"] for each in manifest["spec"]["accepts"]] == [
        ["192.0.2.0/24"]
    ]


def test_audit_log_is_published_only_under_a_named_policy() -> None:
    assert reviewed().spec.publishes == ()
    assert not [each for each in container(rendered(*ON))["args"] if "audit-topic" in each]
    named = ("review.auditTopic.name=decisions", "review.auditTopic.namespace=records")
    (use,) = reviewed(*named).spec.publishes
    assert (use.policy.namespace, use.policy.name) == ("records", "decisions")
    assert "--audit-topic=records/decisions" in container(rendered(*ON, *named))["args"]


def test_name_of_the_identity_is_that_of_its_secrets() -> None:
    name = "review.identity=dlq"
    volumes = {each["name"]: each for each in pod(rendered(*ON, *MAIN, name))["volumes"]}
    assert volumes["identity"]["secret"]["secretName"] == "dlq-identity"
    assert volumes["broker-0"]["secret"]["secretName"] == "dlq-main"
    assert volumes["schemas"]["configMap"] == {"name": "dlq-schemas", "optional": True}
    manifests = rendered(*ON, *ORDERS, name)
    identity = one(manifests, "ServiceIdentity", "dlq")
    account = one(manifests, "ServiceAccount", "dlq")["metadata"]["name"]
    assert identity["spec"]["workload"]["serviceAccountName"] == account
    assert pod(manifests)["serviceAccountName"] == account
    assert one(manifests, "ClusterRoleBinding", NAME)["subjects"][0]["name"] == account


# Pods


def test_pod_has_a_restricted_security_context() -> None:
    manifests = rendered(*ON)
    ours, operators = (
        one(manifests, "Deployment", name)["spec"]["template"]["spec"] for name in (NAME, "troth")
    )
    assert {**operators["securityContext"], "fsGroup": 65532} == ours["securityContext"]
    assert container(manifests)["securityContext"] == operators["containers"][0]["securityContext"]


def test_only_the_index_can_be_written() -> None:
    mounts = container(rendered(*EVERYTHING_ON))["volumeMounts"]
    assert [each["name"] for each in mounts if not each.get("readOnly")] == ["index"]
    volumes = {each["name"]: each for each in pod(rendered(*ON, "review.indexSize=5Gi"))["volumes"]}
    assert volumes["index"] == {"name": "index", "emptyDir": {"sizeLimit": "5Gi"}}


def test_each_broker_has_a_folder_of_its_own() -> None:
    manifests = rendered(*EVERYTHING_ON)
    paths = {each["name"]: each["mountPath"] for each in container(manifests)["volumeMounts"]}
    assert paths["broker-0"] == "/var/run/troth/credentials/messaging.main"
    assert paths["broker-1"] == "/var/run/troth/credentials/messaging.audit"
    secrets = [each["secret"] for each in pod(manifests)["volumes"] if "secret" in each]
    assert {each["defaultMode"] for each in secrets} == {0o440}


def test_broker_without_a_credential_does_not_hold_back_the_pod() -> None:
    volumes = {each["name"]: each for each in pod(rendered(*ON, *MAIN))["volumes"]}
    assert volumes["broker-0"]["secret"]["optional"] is True
    assert "optional" not in volumes["identity"]["secret"]


def test_options_name_the_mount_paths() -> None:
    ours = container(rendered(*EVERYTHING_ON))
    paths = {each["name"]: each["mountPath"] for each in ours["volumeMounts"]}
    for name in ("identity", "bundle", "schemas", "index"):
        assert f"--{name}={paths[name]}" in ours["args"]
    assert "--credentials=/var/run/troth/credentials" in ours["args"]


def test_bundle_can_have_another_name() -> None:
    volumes = {each["name"]: each for each in pod(rendered(*ON, "review.bundle=b"))["volumes"]}
    assert volumes["bundle"]["configMap"] == {"name": "b"}


def test_admission_policy_is_that_of_the_release() -> None:
    manifests = rendered(*ON, "fullnameOverride=other")
    (ours,) = one(manifests, "Deployment", "other-review")["spec"]["template"]["spec"]["containers"]
    assert "--admission-policy=other-dead-letter-reviews" in ours["args"]


def test_resources_can_be_set() -> None:
    ours = container(rendered(*ON, "review.resources.limits.memory=1Gi"))
    assert ours["resources"]["limits"] == {"memory": "1Gi"}


def test_command_line_is_valid() -> None:
    ours = container(rendered(*EVERYTHING_ON, SOME, "audit.enabled=false"))
    command: list[str] = [*ours["command"], *ours["args"]]
    assert command[0] == "troth"
    result = CliRunner().invoke(app, [*command[1:], "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    for argument in command[2:]:
        assert argument.split("=")[0] in result.output


# Network


def test_service_leads_to_the_list_api() -> None:
    service = one(rendered(*ON), "Service", NAME)["spec"]
    assert service["selector"] == PODS
    assert [(each["port"], each["targetPort"]) for each in service["ports"]] == [(443, "https")]


def test_network_policy_allows_the_api_server_and_the_brokers() -> None:
    closed = ("networkPolicy.enabled=true", "networkPolicy.apiServer.cidrs={192.0.2.10/32}")
    policy = one(rendered(*ON, *closed), "NetworkPolicy", NAME)["spec"]
    assert policy["podSelector"]["matchLabels"] == PODS
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policy
    assert [rule["to"] for rule in policy["egress"]] == [[{"ipBlock": {"cidr": "192.0.2.10/32"}}]]
    opened = one(rendered(*EVERYTHING_ON), "NetworkPolicy", NAME)["spec"]
    *_, brokers, dns = opened["egress"]
    assert brokers["to"] == [{"podSelector": {"matchLabels": {"app": "kafka"}}}]
    assert {each["port"] for each in dns["ports"]} == {53}
    assert {port["port"] for rule in opened["ingress"] for port in rule["ports"]} == {"http"}


# Values


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("review.enabled=yes", "/review/enabled"),
        ("review.identity=A", "/review/identity"),
        ("review.policies[0].name=orders", "/review/policies/0"),
        ("review.brokers[0].namespace=messaging", "/review/brokers/0"),
        ("review.auditTopic.namespace=records", "/review/auditTopic/name"),
        ("review.bundle=", "/review/bundle"),
        ("review.accepts[0]=anybody", "/review/accepts/0"),
        ("review.indexSize=plenty", "/review/indexSize"),
        ("review.resources.cpu=1", "/review/resources"),
        ("review.replicas=2", "/review"),
    ],
)
def test_invalid_value_is_rejected_by_name(value: str, place: str) -> None:
    done = template(value)
    assert done.returncode != 0
    assert f"at '{place}'" in done.stderr
