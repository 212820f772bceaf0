"""The node agent as the chart installs it: an unprivileged pod that reads its node's table."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from sandbox import Sandbox, Tier, image
from sandbox.node.manifests import workload_pod
from sandbox.node.workload import Mode, Target
from tests.chart.rendering import AGENT_NAMESPACE, REPOSITORY, Manifest, rendered
from tests.patience import PATIENCE
from tests.sandbox.nodes import addresses, apply, namespace, skip_without
from tests.sandbox.release import PATIENCE_OF_HELM, REPOSITORY_NAME, TAG, until
from troth.resources.manifests import ManifestLoader

pytestmark = pytest.mark.timeout(900)  # the first run builds the image

SHOP = "shop"
PORTS: dict[str, dict[str, int]] = {"web": {}, "payments": {"http": 8080}}


def process_of(sandbox: Sandbox) -> str:
    """Return the ID that a process in the node's network has on the node.

    Process 1 of the sandbox's node is in another network, unlike on a machine.
    """
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            status = (process / "status").read_text()
        except OSError:
            continue
        if "kube-router" in command.split(" ")[0] and str(sandbox.directory) in command:
            (line,) = (each for each in status.splitlines() if each.startswith("NSpid:"))
            return line.split()[-1]
    raise AssertionError("the node has no kube-router")


@pytest.fixture(scope="module")
def node() -> Iterator[Sandbox]:
    """Yield a node with the agent and two pods."""
    if reason := image.unavailable():
        pytest.skip(reason)
    skip_without(Tier.NODE)
    archive = image.ensure()
    with Sandbox.start(tier=Tier.NODE) as sandbox:
        sandbox.node.load_image(archive)
        agent = [
            each
            for each in rendered(
                "audit.agent.enabled=true",
                "audit.agent.interval=1",
                f"audit.agent.tables=/proc/{process_of(sandbox)}/net",
                f"image.repository={REPOSITORY_NAME}",
                f"image.tag={TAG}",
                "image.pullPolicy=Never",
            )
            if each["metadata"].get("namespace", each["metadata"]["name"]) == AGENT_NAMESPACE
        ]
        apply(sandbox, *agent, namespace(SHOP))
        patience = f"--timeout={PATIENCE_OF_HELM}"
        sandbox.kubectl(
            "rollout", "status", "daemonset/troth-agent", "-n", AGENT_NAMESPACE, patience
        )
        apply(sandbox, *(each for name in PORTS for each in service_pod(name)))
        yield sandbox


def service_pod(name: str) -> list[Manifest]:
    """Return a pod, and a ServiceAccount of its own."""
    metadata = {"name": name, "namespace": SHOP}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    labels, ports = {"app": name}, PORTS[name]
    return [account, workload_pod(SHOP, name, labels=labels, plain=ports, service_account=name)]


def agent_log(sandbox: Sandbox) -> str:
    return sandbox.kubectl("logs", "daemonset/troth-agent", "-n", AGENT_NAMESPACE)


def test_agent_sees_a_connection_between_pods_and_learn_reads_its_log(node: Sandbox) -> None:
    found = addresses(node, SHOP, ["web", "payments"])
    target = Target(f"{found['payments']}:8080", mode=Mode.PLAIN)

    def is_seen() -> bool:
        node.node.workload(f"{SHOP}/web").call([target])
        pairs = [json.loads(line) for line in agent_log(node).splitlines()]
        return found["payments"] in [each.get("destination") for each in pairs]

    until(is_seen)
    place = ("--kubeconfig", str(node.kubeconfig), "--namespace", SHOP, "--from-agents")
    ended = subprocess.run(
        [sys.executable, "-m", "troth.cli", "learn", *place],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        cwd=REPOSITORY,
    )
    assert ended.returncode == 0, ended.stderr
    drafts = {
        each["metadata"]["name"]: each["spec"]
        for each in yaml.load_all(ended.stdout, ManifestLoader)
        if each and each["kind"] == "ServiceIdentity"
    }
    assert drafts["payments"]["accepts"] == [{"from": {"name": "web"}, "ports": ["http"]}]


@pytest.mark.long
def test_agent_has_no_capability_and_cannot_read_another_file_of_the_node(node: Sandbox) -> None:
    asked = ("exec", "daemonset/troth-agent", "-n", AGENT_NAMESPACE, "--")
    status = node.kubectl(*asked, "cat", "/proc/self/status")
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    assert fields["Uid"].split() == ["65532"] * 4
    assert (fields["CapEff"].strip(), fields["CapBnd"].strip()) == ("0" * 16, "0" * 16)
    assert node.kubectl(*asked, "ls", "/node").split() == ["fib_trie", "nf_conntrack"]
    interfaces = node.kubectl(*asked, "cat", "/proc/net/dev")
    assert "kube-bridge" not in interfaces
    assert len(interfaces.splitlines()) == 4  # two lines of headings, lo and eth0
