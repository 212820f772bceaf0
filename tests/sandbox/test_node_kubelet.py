"""What a real kubelet brings with it."""

import json
from collections.abc import Iterator

import pytest

from sandbox import Sandbox, Tier
from sandbox.node.manifests import workload_pod
from tests.sandbox.nodes import addresses, apply, skip_without


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    skip_without(Tier.NODE)
    directory = tmp_path_factory.mktemp("node") / ("long" * 25)  # too long for a socket's path
    with Sandbox.start(directory, tier=Tier.NODE) as started:
        apply(started, workload_pod("default", "web", plain={"web": 8080}))
        addresses(started, "default", ["web"])
        yield started


def test_the_node_is_a_kubelet(sandbox: Sandbox) -> None:
    (node,) = json.loads(sandbox.kubectl("get", "nodes", "-o", "json"))["items"]
    assert node["status"]["nodeInfo"]["containerRuntimeVersion"].startswith("containerd://")


def test_logs_can_be_read(sandbox: Sandbox) -> None:
    assert sandbox.kubectl("logs", "web") == "serving 1 ports, 1 without TLS\n"


def test_commands_can_be_run_in_a_pod(sandbox: Sandbox) -> None:
    request = json.dumps({"do": "look"})
    answer = sandbox.kubectl("exec", "-i", "web", "--", "/workload", "call", stdin=request)
    assert "identity" in json.loads(answer)
