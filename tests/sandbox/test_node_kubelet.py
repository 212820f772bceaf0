"""Features of the node tier that come from a real kubelet."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import Sandbox, SandboxError, Tier
from sandbox.components import RESOLVER_ADDRESS
from sandbox.node.images import Image
from sandbox.node.manifests import workload_pod
from sandbox.tools import ensure
from tests.sandbox.nodes import addresses, apply, connects, policy, skip_without
from tests.sandbox.observing import becomes


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    skip_without(Tier.NODE)
    directory = tmp_path_factory.mktemp("node") / ("long" * 25)  # too long for a socket's path
    with Sandbox.start(directory, tier=Tier.NODE) as started:
        apply(started, workload_pod("default", "web", plain={"web": 8080}))
        addresses(started, "default", ["web"])
        yield started


@pytest.mark.long
def test_node_has_a_container_runtime(sandbox: Sandbox) -> None:
    (node,) = json.loads(sandbox.kubectl("get", "nodes", "-o", "json"))["items"]
    assert node["status"]["nodeInfo"]["containerRuntimeVersion"].startswith("containerd://")


def test_logs_can_be_read(sandbox: Sandbox) -> None:
    assert sandbox.kubectl("logs", "web") == "serving 1 ports, 1 without TLS\n"


def test_commands_can_be_run_in_a_pod(sandbox: Sandbox) -> None:
    request = json.dumps({"do": "look"})
    answer = sandbox.kubectl("exec", "-i", "web", "--", "/workload", "call", stdin=request)
    assert "identity" in json.loads(answer)


def test_pods_use_the_clusters_resolver(sandbox: Sandbox) -> None:
    resolver = sandbox.node.workload("default/web").root / "etc" / "resolv.conf"
    assert f"nameserver {RESOLVER_ADDRESS}" in resolver.read_text().splitlines()


def test_service_reaches_its_pods_with_and_without_the_firewall(sandbox: Sandbox) -> None:
    labels = {"app": "behind"}
    apply(
        sandbox,
        workload_pod("default", "behind", labels=labels, plain={"web": 8080}),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"namespace": "default", "name": "behind"},
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
        },
    )
    addresses(sandbox, "default", ["behind"])
    asked = ("get", "service", "behind", "-o", "jsonpath={.spec.clusterIP}")
    address = sandbox.kubectl(*asked)

    def outcome() -> str:
        return connects(sandbox, "default/web", address, 80)

    assert becomes(lambda: outcome() == "answered"), outcome()
    apply(sandbox, policy("default", "behind", podSelector={"matchLabels": labels}))
    sandbox.node.caught_up()
    assert outcome() == "rejected"  # a policy sees the pod, not the Service
    sandbox.node.switch_firewall(on=False)
    assert outcome() == "answered"
    assert "KUBE-SERVICES" in sandbox.node.firewall_rules()
    sandbox.node.switch_firewall(on=True)
    assert outcome() == "rejected"


def test_pods_run_a_loaded_image(sandbox: Sandbox, tmp_path: Path) -> None:
    name = "sandbox.troth.dev/loaded:local"
    archive = tmp_path / "loaded.tar"
    Image(name, {"/workload": ensure("workload")}, ("/workload",)).write_archive(archive)
    sandbox.node.load_image(archive)
    pod = workload_pod("default", "loaded", plain={"web": 8080})
    pod["spec"]["containers"][0]["image"] = name
    apply(sandbox, pod)
    assert addresses(sandbox, "default", ["loaded"])


def test_archive_without_an_image_is_rejected(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "no-image.tar").write_text("nothing")
    with pytest.raises(SandboxError, match=r"containerd cannot load .*no-image\.tar: "):
        sandbox.node.load_image(tmp_path / "no-image.tar")
