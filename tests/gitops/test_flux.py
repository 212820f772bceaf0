"""The real Flux: `examples/gitops/flux` on an empty cluster, and commits to it.

Flux's controllers and Troth run as processes, because the cluster has no node.
"""

import asyncio
import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests import builders
from tests.broker_builders import orders
from tests.brokers.nats.stage import Stage as Broker
from tests.builders import Manifest
from tests.cluster.stage import opened
from tests.gitops.fleet import Fleet, condition, edit, fleet
from tests.gitops.judging import Verdict, argo_cd, kstatus
from tests.gitops.waiting import until
from tests.reconcile.brokers.at_work import admin_secrets, nats_broker
from troth.resources.conditions import UNOBSERVED

pytestmark = pytest.mark.timeout(1800)  # Flux polls, and a busy machine starts slowly
RECONCILES, IDENTITIES = 10, 20


@pytest.fixture(scope="module")
def shop() -> Iterator[Fleet]:
    if shutil.which("git") is None:
        pytest.skip("git is not on this machine, so nothing serves a repository")
    with fleet() as found:
        yield found


def file(shop: Fleet, name: str) -> Path:
    return shop.tree / "examples" / "shop" / name


def policy(shop: Fleet, name: str) -> Manifest:
    found: Manifest = shop.get("networkpolicy", f"{name}-troth", "-n", "shop")
    return found


def document(shop: Fleet, name: str) -> Manifest:
    secret = shop.get("secret", f"{name}-identity", "-n", "shop")
    found: Manifest = json.loads(base64.b64decode(secret["data"]["identity.json"]))
    return found


def test_resources_are_in_progress_while_troth_does_not_run(shop: Fleet) -> None:
    assert {each.status for each in shop.unseen} == {"InProgress"}


def test_first_apply_succeeds_at_the_first_attempt(shop: Fleet) -> None:
    """Namespaces, identities and trust domains are in one Kustomization, applied in that order."""

    def events() -> set[tuple[str, str]]:
        found = shop.get("events", "-n", "flux-system")["items"]
        return {(each["involvedObject"]["name"], each["reason"]) for each in found}

    succeeded = ("shop", "ReconciliationSucceeded")  # Flux posts it after the status
    told = until(events, lambda found: succeeded in found, shop.logs)
    assert ("shop", "HealthCheckFailed") not in told
    declared = shop.resources()
    assert {each.status for each in kstatus(declared)} == {"Current"}
    for each in declared:
        assert argo_cd([each], each["kind"])[0].status == "Healthy"


def test_new_environment_in_one_commit_succeeds_at_the_first_attempt(shop: Fleet) -> None:
    """Troth runs, and Flux applies all identities before the trust domain that they need."""
    environment = {"troth.dev/environment": "testing"}
    made = [
        builders.namespace("testing", **environment),
        *(builders.identity(f"service-{number}", "testing") for number in range(IDENTITIES)),
        builders.domain(
            "testing", environment="testing", namespaceSelector={"matchLabels": environment}
        ),
    ]
    file(shop, "60-testing.yaml").write_text(yaml.safe_dump_all(made))
    with file(shop, "Kustomization").open("a") as base:
        base.write("- 60-testing.yaml\n")
    ready = shop.push("An environment for tests")
    assert (ready["status"], ready["reason"]) == ("True", "ReconciliationSucceeded")
    shop.revert()


def test_chart_from_the_repository_installs_the_crds(shop: Fleet) -> None:
    release = shop.get("helmrelease", "troth", "-n", "flux-system")
    # each commit is an upgrade, because the chart comes from the same repository
    assert condition(release, "Ready")["reason"] in {"InstallSucceeded", "UpgradeSucceeded"}
    crd = shop.get("crd", "serviceidentities.troth.dev")
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert schema["properties"]["status"]["default"] == {"observedGeneration": UNOBSERVED}


def test_commit_that_removes_an_edge_closes_it(shop: Fleet) -> None:
    before = policy(shop, "fulfilment")["spec"]
    assert opened({"spec": before}, "ingress") == [8443]
    edit(file(shop, "20-checkout.yaml"), "  - {to: {name: fulfilment}, ports: [https]}\n", "")
    assert shop.push("checkout no longer calls fulfilment")["status"] == "True"
    until(lambda: opened(policy(shop, "fulfilment"), "ingress"), lambda ports: not ports, shop.logs)
    shop.revert()
    until(lambda: policy(shop, "fulfilment")["spec"], lambda spec: spec == before, shop.logs)


@pytest.mark.long
def test_commit_that_the_crd_rejects_shows_troths_message(shop: Fleet) -> None:
    edit(file(shop, "20-checkout.yaml"), "to: {name: payments}", "to: {name: A_B}")
    ready = shop.push("checkout calls nothing that exists")
    assert (ready["status"], ready["reason"]) == ("False", "ReconciliationFailed")
    assert "spec.calls[0].to.name" in ready["message"]
    assert "write a Kubernetes name" in ready["message"]
    shop.revert()


@pytest.mark.long
def test_commit_that_needs_a_person_is_unhealthy_with_troths_message(shop: Fleet) -> None:
    """Flux names the resource; its kstatus has the message."""
    identity = {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "ServiceIdentity",
        "metadata": {"name": "prometheus", "namespace": "monitoring"},
        "spec": {
            "workload": {
                "serviceAccountName": "prometheus",
                "podSelector": {"matchLabels": {"app": "prometheus"}},
            },
            "authentication": {"mtls": {}},
        },
    }
    file(shop, "40-prometheus.yaml").write_text(yaml.safe_dump(identity))
    with file(shop, "Kustomization").open("a") as base:
        base.write("- 40-prometheus.yaml\n")
    ready = shop.push("An identity in a namespace of no trust domain")
    assert (ready["status"], ready["reason"]) == ("False", "HealthCheckFailed")
    assert "ServiceIdentity/monitoring/prometheus status: 'Failed'" in ready["message"]
    found = shop.get("sid", "prometheus", "-n", "monitoring")
    troths = condition(found, "Ready")["message"]
    assert "label the namespace" in troths
    assert kstatus([found]) == [Verdict("Failed", troths)]
    assert argo_cd([found], "ServiceIdentity") == [Verdict("Degraded", troths)]
    shop.revert()
    assert not shop.exists("sid", "prometheus", "-n", "monitoring")


@pytest.mark.long
def test_pruned_identity_is_revoked(shop: Fleet) -> None:
    assert "recommendations" in json.dumps(document(shop, "checkout")["calls"])
    file(shop, "25-recommendations.yaml").unlink()
    edit(file(shop, "Kustomization"), "- 25-recommendations.yaml\n", "")
    assert shop.push("No recommendations")["status"] == "True"
    assert not shop.exists("sid", "recommendations", "-n", "shop")

    def left() -> list[str]:
        secret = shop.exists("secret", "recommendations-identity", "-n", "shop")
        known = "recommendations" in json.dumps(document(shop, "checkout")["calls"])
        return ["Secret"] * secret + ["edge"] * known

    until(left, lambda found: not found, shop.logs)
    shop.revert()


@pytest.mark.long
async def test_pruned_topic_policy_is_revoked_at_the_broker(shop: Fleet, nats: Broker) -> None:
    admin = yaml.safe_dump_all(admin_secrets(nats))
    shop.cluster.kubectl("create", "namespace", "messaging")
    shop.cluster.kubectl("apply", "-f", "-", stdin=admin)
    governed = {"matchLabels": {"troth.dev/environment": "production"}}
    broker = nats_broker(nats, allowedNamespaces=governed)
    declared = {"50-broker.yaml": broker, "51-orders.yaml": orders()}
    for name, manifest in declared.items():
        file(shop, name).write_text(yaml.safe_dump(manifest))
        with file(shop, "Kustomization").open("a") as base:
            base.write(f"- {name}\n")
    assert (await asyncio.to_thread(shop.push, "Orders on NATS"))["status"] == "True"
    data = shop.get("secret", "checkout-main", "-n", "shop")["data"]
    credential = {name: base64.b64decode(text).decode() for name, text in data.items()}
    client = await nats.enter(credential["user.creds"], credential["inbox.prefix"])
    assert await grants(nats) == 2

    file(shop, "51-orders.yaml").unlink()
    edit(file(shop, "Kustomization"), "- 51-orders.yaml\n", "")
    assert (await asyncio.to_thread(shop.push, "No orders"))["status"] == "True"
    assert not shop.exists("tp", "orders", "-n", "shop")
    assert await grants(nats) == 0
    assert client.is_closed

    def withdrawn() -> bool:
        return not shop.exists("secret", "checkout-main", "-n", "shop")

    await asyncio.to_thread(until, withdrawn, bool, shop.logs)

    file(shop, "50-broker.yaml").unlink()
    edit(file(shop, "Kustomization"), "- 50-broker.yaml\n", "")
    assert (await asyncio.to_thread(shop.push, "No broker"))["status"] == "True"
    await asyncio.to_thread(shop.cluster.kubectl, "delete", "namespace", "messaging")


async def grants(nats: Broker) -> int:
    """Return the number of credentials in the account."""
    return len((await nats.claims())["nats"].get("signing_keys") or [])


@pytest.mark.long
def test_repeated_reconciles_write_nothing(shop: Fleet) -> None:
    before = shop.versions()
    for _ in range(RECONCILES):
        shop.look("kustomization", "shop")
    assert shop.verdict("kustomization", "shop")["status"] == "True"
    assert shop.versions() == before


def test_drift_of_owned_objects_is_restored_by_troth_alone(shop: Fleet) -> None:
    before = policy(shop, "payments")
    shop.cluster.kubectl("delete", "networkpolicy", "payments-troth", "-n", "shop")
    shop.cluster.kubectl(
        *("wait", "networkpolicy", "payments-troth", "-n", "shop", "--for=create"),
        "--timeout=120s",
    )

    def restored(found: Manifest) -> bool:
        return bool(found["spec"] == before["spec"])

    until(lambda: policy(shop, "payments"), restored, shop.logs)
    shown = shop.get("networkpolicy", "payments-troth", "-n", "shop", "--show-managed-fields")
    managers = {each["manager"] for each in shown["metadata"]["managedFields"]}
    assert "troth" in managers
    assert "kustomize-controller" not in managers
