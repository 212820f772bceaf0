"""Features of process pods, and the errors for unsupported ones."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import Sandbox, SandboxError, Tier
from sandbox.node.manifests import workload_pod
from sandbox.node.workload import Mode, Target, WorkloadEndedError
from tests.sandbox.identities import TrustDomain, secret
from tests.sandbox.nodes import addresses, apply, connects, is_ready, pods, policy, skip_without
from tests.sandbox.observing import becomes

DOMAIN = TrustDomain("shop.test")
MANY = 40


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    skip_without(Tier.PROCESS_PODS)
    with Sandbox.start(tier=Tier.PROCESS_PODS) as started:
        yield started


@pytest.mark.long
def test_projections_can_be_delayed(sandbox: Sandbox) -> None:
    spiffe_id = DOMAIN.spiffe_id("default/slow")
    apply(
        sandbox,
        secret("default", "slow", DOMAIN.files(spiffe_id)),
        workload_pod("default", "slow", identity="slow", ports={"https": 8443}),
    )
    addresses(sandbox, "default", ["slow"])
    certificate = sandbox.node.workload("default/slow").root / "identity" / "tls.crt"
    before = certificate.read_text()
    sandbox.node.delay_projections(0.8)
    began = time.monotonic()
    apply(sandbox, secret("default", "slow", DOMAIN.files(spiffe_id)))
    assert becomes(lambda: certificate.read_text() != before)
    assert time.monotonic() - began > 0.8
    sandbox.node.delay_projections(0)


def test_firewall_can_be_switched_off(sandbox: Sandbox) -> None:
    apply(
        sandbox,
        workload_pod("default", "shut", labels={"app": "shut"}, plain={"web": 8080}),
        policy("default", "shut", podSelector={"matchLabels": {"app": "shut"}}),
    )
    address = addresses(sandbox, "default", ["shut"])["shut"]
    sandbox.node.add_outsider("visitor", "198.51.100.8")
    assert connects(sandbox, "visitor", address, 8080) == "rejected"
    sandbox.node.switch_firewall(on=False)
    assert connects(sandbox, "visitor", address, 8080) == "answered"
    sandbox.node.switch_firewall(on=True)
    assert connects(sandbox, "visitor", address, 8080) == "rejected"


def test_pod_is_protected_from_its_first_moment(sandbox: Sandbox) -> None:
    apply(
        sandbox,
        policy("default", "early", podSelector={"matchLabels": {"app": "early"}}),
        workload_pod("default", "watcher", plain={"web": 8080}),
    )
    addresses(sandbox, "default", ["watcher"])
    watcher = sandbox.node.workload("default/watcher")
    apply(sandbox, workload_pod("default", "early", labels={"app": "early"}, plain={"web": 8080}))
    assert becomes(lambda: "podIP" in pods(sandbox, "default")["early"]["status"])
    address = pods(sandbox, "default")["early"]["status"]["podIP"]
    seen = set()
    while not is_ready(pods(sandbox, "default")["early"]):
        targets = [Target(f"{address}:8080", mode=Mode.CONNECT)] * 100
        seen |= {str(outcome) for outcome in watcher.call(targets)}
    assert "answered" not in seen


def test_ended_process_is_restarted_and_counted(sandbox: Sandbox) -> None:
    apply(sandbox, workload_pod("default", "mortal", plain={"web": 8080}))
    addresses(sandbox, "default", ["mortal"])
    workload = sandbox.node.workload("default/mortal")
    os.kill(workload.process, signal.SIGKILL)
    with pytest.raises(WorkloadEndedError):
        workload.identity()

    def restarted() -> bool:
        pod = pods(sandbox, "default")["mortal"]
        return is_ready(pod) and pod["status"]["containerStatuses"][0]["restartCount"] == 1

    assert becomes(restarted)
    sandbox.node.workload("default/mortal").identity()


def test_unsupported_process_pod_has_the_reason_in_its_status(sandbox: Sandbox) -> None:
    foreign = workload_pod("default", "foreign")
    foreign["spec"]["containers"][0]["image"] = "postgres:18"
    double = workload_pod("default", "double")
    double["spec"]["containers"].append({"name": "second", "image": "workload"})
    apply(sandbox, foreign, double)

    def reason(name: str) -> str:
        statuses = pods(sandbox, "default")[name]["status"].get("containerStatuses", [{}])
        return str(statuses[0].get("state", {}).get("waiting", {}).get("message", ""))

    assert becomes(lambda: "have no image postgres:18" in reason("foreign"))
    assert becomes(lambda: "runs one container" in reason("double"))


@pytest.mark.long
def test_many_pods_are_created_and_deleted_together(sandbox: Sandbox) -> None:
    names = [f"many-{number}" for number in range(MANY)]
    apply(sandbox, *(workload_pod("default", name, plain={"web": 8080}) for name in names))
    at = addresses(sandbox, "default", names)
    targets = [Target(f"{address}:8080", mode=Mode.PLAIN) for address in at.values()]
    outcomes = sandbox.node.probe({f"default/{name}": targets for name in names})
    assert {str(each) for found in outcomes.values() for each in found} == {"answered"}
    assert [each.server for each in outcomes["default/many-0"]] == names
    sandbox.kubectl("delete", "pods", "--all", "--wait=false", "-n", "default")
    assert becomes(lambda: not pods(sandbox, "default"))
    with pytest.raises(SandboxError, match="many-0 does not run"):
        sandbox.node.workload("default/many-0")


def test_process_pods_run_no_loaded_images(sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="process pods have no images; use the node tier"):
        sandbox.node.load_image(tmp_path / "image.tar")
