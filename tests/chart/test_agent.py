"""The chart's node agent: it reads tables of a node's kernel, and can do nothing else."""

import pytest

from tests.chart.rendering import Manifest, kinds, one, rendered, template

ON = ("audit.agent.enabled=true",)
NAME, NAMESPACE = "troth-agent", "troth-agent"


def agent(*values: str) -> list[Manifest]:
    return [
        each
        for each in rendered(*ON, *values)
        if each["metadata"].get("namespace", each["metadata"]["name"]) == NAMESPACE
    ]


def pod(*values: str) -> Manifest:
    spec: Manifest = one(agent(*values), "DaemonSet", NAME)["spec"]["template"]["spec"]
    return spec


def test_agent_is_off_by_default() -> None:
    assert "DaemonSet" not in kinds(rendered())


def test_agent_has_no_rights_no_token_and_no_network() -> None:
    assert kinds(agent()) == {"Namespace", "ServiceAccount", "NetworkPolicy", "DaemonSet"}
    bound = [
        subject["name"]
        for each in rendered(*ON)
        if each["kind"].endswith("RoleBinding")
        for subject in each["subjects"]
    ]
    assert NAME not in bound
    assert pod()["automountServiceAccountToken"] is False
    policy = one(agent(), "NetworkPolicy", NAME)["spec"]
    assert policy == {
        "podSelector": one(agent(), "DaemonSet", NAME)["spec"]["selector"],
        "policyTypes": ["Ingress", "Egress"],
    }
    assert "ports" not in pod()["containers"][0]


def test_agent_is_an_unprivileged_user_in_the_group_that_may_read_the_table() -> None:
    spec = pod()
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 0,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert spec["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}


def paths_of(spec: Manifest) -> dict[str, str]:
    assert {each["hostPath"]["type"] for each in spec["volumes"]} == {"File"}
    return {each["name"]: each["hostPath"]["path"] for each in spec["volumes"]}


def test_agent_mounts_single_files_of_the_node_read_only() -> None:
    spec = pod()
    paths = paths_of(spec)
    two = {"/proc/1/net/nf_conntrack", "/proc/1/net/fib_trie"}
    assert set(paths.values()) == two
    assert set(paths_of(pod("audit.agent.ipv6=true")).values()) == two | {"/proc/1/net/if_inet6"}
    for mount in spec["containers"][0]["volumeMounts"]:
        assert mount["readOnly"]
        assert mount["mountPath"].rpartition("/")[2] == paths[mount["name"]].rpartition("/")[2]


def test_namespace_admits_the_volumes_and_is_the_agent_s_own() -> None:
    labels = one(agent(), "Namespace", NAMESPACE)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "privileged"
    assert "Namespace" not in kinds(agent("audit.agent.createNamespace=false"))
    refused = template(*ON, "audit.agent.namespace=troth-system")
    assert "operator's own namespace" in refused.stderr


def test_agent_runs_on_every_node() -> None:
    assert pod()["tolerations"] == [{"operator": "Exists"}]


def test_selector_of_learn_selects_the_agents() -> None:
    from troth.cli.learn.collect import AGENTS

    labels = one(agent(), "DaemonSet", NAME)["spec"]["template"]["metadata"]["labels"]
    assert dict(each.split("=") for each in AGENTS.split(",")).items() <= labels.items()


@pytest.mark.parametrize("value", ["interval=0", "interval=100", "tables=proc", "namespace=A"])
def test_invalid_value_is_rejected(value: str) -> None:
    assert "audit" in template(*ON, f"audit.agent.{value}").stderr
