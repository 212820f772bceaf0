"""The chart's auditor: one replica that reads what rules read and writes reports and statuses."""

import pytest
from typer.testing import CliRunner

from tests.chart.rendering import EVERYTHING_ON, NAMESPACE, Manifest, one, rendered, template
from troth.audit.registry import RULES
from troth.auditor.kinds import selections
from troth.cli.main import app
from troth.cluster.resources import resource_of

ON = ("audit.enabled=true",)
NAME = "troth-auditor"
PODS = {"app.kubernetes.io/name": "troth", "app.kubernetes.io/component": "auditor"}


def container(manifests: list[Manifest]) -> Manifest:
    (found,) = one(manifests, "Deployment", NAME)["spec"]["template"]["spec"]["containers"]
    return dict(found)


def rights(*values: str) -> set[tuple[str, str, str]]:
    """Return group, resource and verb of every right in the whole cluster."""
    return {
        (group, resource, verb)
        for rule in one(rendered(*ON, *values), "ClusterRole", NAME)["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_auditor_is_off_by_default() -> None:
    assert not [each for each in rendered() if "auditor" in each["metadata"]["name"]]


def test_one_replica_never_runs_beside_its_successor() -> None:
    deployment = one(rendered(*ON), "Deployment", NAME)["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    assert deployment["selector"]["matchLabels"] == PODS


@pytest.mark.parametrize("name", ["troth", "other"])
def test_selectors_of_the_operator_do_not_match_the_auditor(name: str) -> None:
    manifests = rendered(*EVERYTHING_ON, f"nameOverride={name}", "fullnameOverride=troth")
    auditor = one(manifests, "Deployment", NAME)["spec"]["template"]["metadata"]["labels"]
    operator = one(manifests, "Deployment", "troth")["spec"]
    for selector in (
        operator["selector"]["matchLabels"],
        one(manifests, "PodDisruptionBudget", "troth")["spec"]["selector"]["matchLabels"],
        one(manifests, "NetworkPolicy", "troth")["spec"]["podSelector"]["matchLabels"],
        one(manifests, "Service", "troth-metrics")["spec"]["selector"],
    ):
        assert not selector.items() <= auditor.items()
    assert not PODS.items() <= operator["template"]["metadata"]["labels"].items()


# Rights


def test_auditor_may_list_and_watch_everything_that_rules_read() -> None:
    granted = rights("audit.secretMetadata=true")
    for kind in selections(RULES, secret_metadata=True).keys() - {"EndpointSlice"}:
        resource = resource_of(kind)
        for verb in ("list", "watch"):
            assert (resource.group or "", resource.name, verb) in granted


def test_auditor_changes_only_reports_statuses_and_events() -> None:
    writes = {each for each in rights() if each[2] not in {"list", "watch"}}
    assert {resource for group, resource, _ in writes if group == "troth.dev"} == {
        f"{each}/status"
        for each in (
            *("trustdomains", "serviceidentities", "messagebrokers"),
            *("topicpolicies", "webhookendpoints"),
        )
    }
    assert {group for group, _, _ in writes} == {
        *("troth.dev", "openreports.io", "wgpolicyk8s.io", "events.k8s.io")
    }
    assert {verb for group, _, verb in writes if group == "troth.dev"} == {"patch"}


def test_secrets_are_read_only_if_their_metadata_is_wanted() -> None:
    assert not [each for each in rights() if each[1] == "secrets"]
    assert "--secret-metadata" not in container(rendered(*ON))["args"]
    wanted = "audit.secretMetadata=true"
    assert {each[2] for each in rights(wanted) if each[1] == "secrets"} == {"list", "watch"}
    assert "--secret-metadata" in container(rendered(*ON, wanted))["args"]


def test_logs_of_agents_are_read_only_if_there_are_agents() -> None:
    manifests = rendered(*ON, "audit.agent.enabled=true")
    role = one(manifests, "Role", f"{NAME}-agents")
    assert role["metadata"]["namespace"] == one(manifests, "DaemonSet")["metadata"]["namespace"]
    assert role["rules"] == [{"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]}]
    assert "--agents" in container(manifests)["args"]
    assert f"--agent-namespace={role['metadata']['namespace']}" in container(manifests)["args"]
    without = rendered(*ON)
    assert "--agents" not in container(without)["args"]
    assert not [each for each in without if each["metadata"]["name"] == f"{NAME}-agents"]


def test_auditor_has_its_own_service_account() -> None:
    manifests = rendered(*ON)
    account = {"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}
    assert one(manifests, "ClusterRoleBinding", NAME)["subjects"] == [account]
    assert one(manifests, "RoleBinding", f"{NAME}-endpoints")["subjects"] == [account]
    pod = one(manifests, "Deployment", NAME)["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == NAME


def test_rbac_can_be_left_out() -> None:
    manifests = rendered(*ON, "rbac.create=false")
    roles = [each["metadata"]["name"] for each in manifests if "Role" in each["kind"]]
    assert not [name for name in roles if "auditor" in name]
    one(manifests, "ServiceAccount", NAME)


# Pods


def test_pod_has_a_restricted_security_context() -> None:
    manifests = rendered(*ON)
    ours, operators = (
        one(manifests, "Deployment", name)["spec"]["template"]["spec"] for name in (NAME, "troth")
    )
    assert ours["securityContext"] == operators["securityContext"]
    assert container(manifests)["securityContext"] == operators["containers"][0]["securityContext"]


def test_command_line_is_valid() -> None:
    ours = container(rendered(*ON, "audit.secretMetadata=true", "audit.agent.enabled=true"))
    command: list[str] = [*ours["command"], *ours["args"]]
    assert command[0] == "troth"
    result = CliRunner().invoke(app, [*command[1:], "--help"])
    assert result.exit_code == 0, result.output
    for argument in command[2:]:
        assert argument.split("=")[0] in result.output


def test_network_policy_allows_the_api_server_alone() -> None:
    values = ("networkPolicy.enabled=true", "networkPolicy.apiServer.cidrs={192.0.2.10/32}")
    policy = one(rendered(*ON, *values), "NetworkPolicy", NAME)["spec"]
    assert policy["podSelector"]["matchLabels"] == PODS
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policy
    assert [rule["to"] for rule in policy["egress"]] == [[{"ipBlock": {"cidr": "192.0.2.10/32"}}]]


# Values


def test_auditor_of_some_namespaces_is_rejected() -> None:
    done = template(*ON, "namespaces={shop}")
    assert done.returncode != 0
    assert "audit.enabled needs an operator of all namespaces" in done.stderr


def test_invalid_value_is_rejected_by_name() -> None:
    done = template("audit.enabled=yes")
    assert done.returncode != 0
    assert "at '/audit/enabled'" in done.stderr
