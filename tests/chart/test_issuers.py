"""The chart's issuers: one for each trust domain, which reads one Secret and reviews tokens."""

import pytest

from tests.chart.rendering import EVERYTHING_ON, NAMESPACE, Manifest, one, rendered, template

TWO = ("issuers[0].domain=production", "issuers[1].domain=staging")
NAME = "troth-issuer-production"
PODS = {
    "app.kubernetes.io/name": "troth",
    "app.kubernetes.io/component": "issuer",
    "troth.dev/trust-domain": "production",
}


def container(manifests: list[Manifest]) -> Manifest:
    (found,) = one(manifests, "Deployment", NAME)["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_issuers_are_off_by_default() -> None:
    assert not [each for each in rendered() if "issuer" in each["metadata"]["name"]]


def test_pods_have_the_labels_that_callers_policies_select() -> None:
    deployment = one(rendered(*TWO), "Deployment", NAME)["spec"]
    assert deployment["replicas"] == 2
    assert deployment["selector"]["matchLabels"] == PODS
    assert deployment["template"]["metadata"]["labels"].items() >= PODS.items()


def test_service_has_the_name_in_the_certificate() -> None:
    service = one(rendered(*TWO), "Service", "production-issuer")["spec"]
    assert service["selector"] == PODS
    (port,) = service["ports"]
    assert (port["port"], port["targetPort"]) == (8443, "https")


@pytest.mark.parametrize("name", ["troth", "other"])
def test_selectors_of_the_operator_do_not_match_an_issuer(name: str) -> None:
    manifests = rendered(*EVERYTHING_ON, f"nameOverride={name}", "fullnameOverride=troth")
    issuer = one(manifests, "Deployment", NAME)["spec"]["template"]["metadata"]["labels"]
    operator = one(manifests, "Deployment", "troth")["spec"]
    for selector in (
        operator["selector"]["matchLabels"],
        operator["template"]["spec"]["topologySpreadConstraints"][0]["labelSelector"][
            "matchLabels"
        ],
        one(manifests, "PodDisruptionBudget", "troth")["spec"]["selector"]["matchLabels"],
        one(manifests, "NetworkPolicy", "troth")["spec"]["podSelector"]["matchLabels"],
        one(manifests, "Service", "troth-metrics")["spec"]["selector"],
    ):
        assert not selector.items() <= issuer.items()
    assert not PODS.items() <= operator["template"]["metadata"]["labels"].items()


# Rights


def test_issuer_may_read_one_secret_and_review_tokens() -> None:
    manifests = rendered(*TWO)
    assert one(manifests, "Role", NAME)["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": ["production-tokens"],
            "verbs": ["get", "list", "watch"],
        }
    ]
    assert one(manifests, "ClusterRole", "troth-issuer")["rules"] == [
        {
            "apiGroups": ["authentication.k8s.io"],
            "resources": ["tokenreviews"],
            "verbs": ["create"],
        },
        {
            "nonResourceURLs": ["/.well-known/openid-configuration", "/openid/v1/jwks"],
            "verbs": ["get"],
        },
    ]
    accounts = [
        {"kind": "ServiceAccount", "name": f"troth-issuer-{domain}", "namespace": NAMESPACE}
        for domain in ("production", "staging")
    ]
    assert one(manifests, "RoleBinding", NAME)["subjects"] == accounts[:1]
    assert one(manifests, "ClusterRoleBinding", "troth-issuer")["subjects"] == accounts
    bound = [
        each["roleRef"]["name"]
        for each in manifests
        if each["kind"].endswith("RoleBinding") and accounts[0] in each["subjects"]
    ]
    assert sorted(bound) == ["troth-issuer", NAME]


def test_issuer_has_its_own_service_account() -> None:
    manifests = rendered(*TWO)
    one(manifests, "ServiceAccount", NAME)
    pod = one(manifests, "Deployment", NAME)["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == NAME


def test_rbac_can_be_left_out() -> None:
    manifests = rendered(*TWO, "rbac.create=false")
    roles = [each["metadata"]["name"] for each in manifests if "Role" in each["kind"]]
    assert not [name for name in roles if "issuer" in name]
    one(manifests, "ServiceAccount", NAME)


# Pods


def test_pods_have_a_restricted_security_context() -> None:
    manifests = rendered(*TWO)
    ours = one(manifests, "Deployment", NAME)["spec"]["template"]["spec"]
    (operator,) = one(manifests, "Deployment", "troth")["spec"]["template"]["spec"]["containers"]
    assert container(manifests)["securityContext"] == operator["securityContext"]
    assert ours["securityContext"]["runAsNonRoot"] is True
    assert ours["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}


def test_pod_has_one_process_unless_there_are_workers() -> None:
    assert not [each for each in container(rendered(*TWO))["args"] if "workers" in each]
    assert "--workers=4" in container(rendered(*TWO, "issuers[0].workers=4"))["args"]


def test_certificate_is_mounted_read_only_for_the_issuer_alone() -> None:
    manifests = rendered(*TWO)
    pod = one(manifests, "Deployment", NAME)["spec"]["template"]["spec"]
    (volume,) = pod["volumes"]
    assert volume["secret"] == {"secretName": "production-issuer", "defaultMode": 0o440}
    (mount,) = container(manifests)["volumeMounts"]
    assert f"--tls={mount['mountPath']}" in container(manifests)["args"]
    assert mount["readOnly"] is True
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]


def test_command_line_is_valid() -> None:
    from typer.testing import CliRunner

    from troth.cli.main import app

    ours = container(rendered(*TWO))
    command: list[str] = [*ours["command"], *ours["args"]]
    arguments = command[1:]
    assert command[0] == "troth"
    result = CliRunner().invoke(app, [*arguments, "--help"])
    assert result.exit_code == 0, result.output
    for argument in arguments[1:]:
        assert argument.split("=")[0] in result.output


def test_single_replica_does_not_block_a_drain() -> None:
    manifests = rendered(*EVERYTHING_ON)
    budget = one(manifests, "PodDisruptionBudget", NAME)["spec"]
    assert budget["selector"]["matchLabels"] == PODS
    names = [
        each["metadata"]["name"] for each in manifests if each["kind"] == "PodDisruptionBudget"
    ]
    assert "troth-issuer-staging" not in names


def test_network_policy_admits_callers_and_egress_to_the_api_server_alone() -> None:
    values = ("networkPolicy.enabled=true", "networkPolicy.apiServer.cidrs={192.0.2.10/32}")
    policy = one(rendered(*TWO, *values), "NetworkPolicy", NAME)["spec"]
    assert policy["podSelector"]["matchLabels"] == PODS
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == [{"ports": [{"protocol": "TCP", "port": "https"}]}]
    assert [rule["to"] for rule in policy["egress"]] == [[{"ipBlock": {"cidr": "192.0.2.10/32"}}]]


# Values


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (["issuers[0].replicas=2"], "at '/issuers/0': missing property 'domain'"),
        (["issuers[0].domain=Production"], "at '/issuers/0/domain': 'Production' does not match"),
        (["issuers[0].domain=a.b"], "at '/issuers/0/domain': 'a.b' does not match"),
        (["issuers[0].domain=" + "a" * 57], "at '/issuers/0/domain': maxLength: got 57, want 56"),
        (["issuers[0].domain=a", "issuers[0].replicas=0"], "at '/issuers/0/replicas': minimum"),
        (["issuers[0].domain=a", "issuers[0].port=1"], "additional properties 'port' not allowed"),
        (["issuers[0].domain=a", "issuers[1].domain=a"], "names the trust domain a twice"),
    ],
)
def test_invalid_value_is_rejected_by_name(values: list[str], complaint: str) -> None:
    done = template(*values)
    assert done.returncode != 0
    assert complaint in done.stderr
