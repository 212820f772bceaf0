"""`troth prove` on a real node: its probes are pods of the operator's image."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import yaml

from sandbox import Sandbox, Tier, image
from sandbox.demo.calls.pods import Pods
from sandbox.demo.cast import FULFILMENT, LEDGER, PAYMENTS
from sandbox.demo.cluster import Cluster
from sandbox.demo.shop import Place, Shop
from sandbox.demo.tokens.services import BUNDLE
from tests.chart.rendering import CHART, NAMESPACE
from tests.patience import PATIENCE
from tests.sandbox.nodes import apply, is_ready, namespace, pods, policy, skip_without
from tests.sandbox.release import DOMAIN, REPOSITORY_NAME, RESTRICTED, TAG, until
from tests.sandbox.servers import add_resolver

pytestmark = pytest.mark.timeout(900)  # the first run builds the image

Proof = dict[str, Any]

SERVICE = """
import sys
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from troth.edge.frameworks.uvicorn import config
from troth.edge.identity.files import Identity
from troth.edge.inbound.asgi import TrothMiddleware

identity = Identity("/identity", "/bundle")
app = Starlette(routes=[Route("/{path:path}", lambda request: Response("done"))])
guarded = TrothMiddleware(app, identity, sys.argv[1])
listen = {"host": "0.0.0.0", "port": int(sys.argv[2]), "log_level": "warning"}
uvicorn.Server(config(guarded, identity, **listen)).run()
"""
"""A service that verifies tokens, as its team would write it with `troth.edge`."""

VALUES = {
    "image": {"repository": REPOSITORY_NAME, "tag": TAG, "pullPolicy": "Never"},
    "replicas": 1,
    "trustDomains": [{"name": "production", "spec": DOMAIN["spec"] | {"proving": {"sample": 3}}}],
    "issuers": [{"domain": "production", "replicas": 1}],
    "prove": {"enabled": True, "schedule": "0 0 1 1 *"},  # the tests start its Jobs
}


@pytest.fixture(scope="module")
def shop() -> Iterator[Sandbox]:
    """Yield a node with Troth, installed by its chart, and the shop's services as pods."""
    if reason := image.unavailable():
        pytest.skip(reason)
    skip_without(Tier.NODE)
    archive = image.ensure()
    with Sandbox.start(tier=Tier.NODE) as sandbox:
        sandbox.node.load_image(archive)
        add_resolver(sandbox)
        apply(sandbox, namespace(NAMESPACE, **RESTRICTED))
        install = ("install", "troth", str(CHART), "-n", NAMESPACE, "--wait", "--values", "-")
        sandbox.helm(*install, stdin=yaml.safe_dump(VALUES))
        cluster, declared = Cluster(sandbox), Shop.read()
        sandbox.kubectl("apply", "-f", "-", stdin=declared.text())
        cluster.settled(declared, lambda _part, _whole: None)
        Pods(cluster, declared).start(cluster.secrets())
        for place in (PAYMENTS, LEDGER):
            sandbox.kubectl("delete", "deployment", place.name, "-n", place.namespace, "--wait")
            apply(sandbox, _guarded(place, declared.ports(place)["https"]))
            until(partial(_is_ready, sandbox, place))
        sandbox.node.caught_up()
        yield sandbox


def _is_ready(sandbox: Sandbox, place: Place) -> bool:
    return is_ready(pods(sandbox, place.namespace)[place.name])


def _guarded(place: Place, port: int) -> dict[str, Any]:
    volumes = {
        "identity": {"secret": {"secretName": f"{place.name}-identity"}},
        "bundle": {"configMap": {"name": BUNDLE}},
    }
    container = {
        "name": "service",
        "image": image.NAME,
        "imagePullPolicy": "Never",
        "command": ["python", "-c", SERVICE, "https", str(port)],
        "env": [{"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}],
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
        "volumeMounts": [{"name": each, "mountPath": f"/{each}"} for each in volumes],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**place._asdict(), "labels": {"app": place.name}},
        "spec": {
            "serviceAccountName": place.name,
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            "volumes": [{"name": name, **source} for name, source in volumes.items()],
        },
    }


def proven(sandbox: Sandbox, *options: str) -> tuple[list[Proof], int]:
    """Return the proofs of a round, and the exit code of the command."""
    command = (sys.executable, "-m", "troth.cli", "prove", "-o", "json", "--rate", "600")
    cluster = ("--kubeconfig", str(sandbox.kubeconfig))
    done = subprocess.run(
        (*command, *cluster, *options), capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)["proofs"], done.returncode


def results(proofs: list[Proof], probe: str) -> dict[tuple[str, str], tuple[str, str | None]]:
    """Return result and layer of each probe of a name, by caller and callee.

    Nothing listens on the port of payments for metrics, so probes of it prove nothing.
    """
    return {
        (each["peer"], each["callee"]): (each["result"], each.get("layer"))
        for each in proofs
        if each["probe"] == probe and each["port"] != "metrics"
    }


def statuses(sandbox: Sandbox, place: Place) -> list[Proof]:
    """Return the proofs in the status of an identity."""
    found = sandbox.kubectl("get", "sid", place.name, "-n", place.namespace, "-o", "json")
    return list(json.loads(found)["status"].get("proofs", []))


def test_declared_edges_pass_and_all_else_is_stopped(shop: Sandbox) -> None:
    proofs, code = proven(shop, "--sample", "8")
    assert code == 0, proofs
    assert set(results(proofs, "DeclaredEdge").values()) == {("Proven", "Application")}
    assert set(results(proofs, "DeclaredEdge")) == {
        (str(edge.caller), str(edge.callee)) for edge in Shop.read().agreed()
    }
    undeclared = results(proofs, "UndeclaredEdge")
    assert undeclared["finance/reporting", str(LEDGER)] == ("Proven", "Network")
    assert undeclared[f"{NAMESPACE}/troth-prover", str(PAYMENTS)] == ("Proven", "Network")
    assert {layer for result, layer in undeclared.values() if result == "Proven"} == {"Network"}
    for probe in ("ForgedHeaders", "OtherToken"):
        found = {callee: each for (_, callee), each in results(proofs, probe).items()}
        assert found[str(PAYMENTS)] == ("Proven", "Token"), probe
        assert found[str(LEDGER)] == ("Proven", "Token"), probe
    for probe in ("NoCertificate", "OtherCertificate"):
        found = {callee: each for (_, callee), each in results(proofs, probe).items()}
        assert found[str(PAYMENTS)][0] == found[str(FULFILMENT)][0] == "Proven", probe
    assert {each["probe"] for each in statuses(shop, PAYMENTS)} >= {"DeclaredEdge", "OtherToken"}
    left = shop.kubectl("get", "jobs", "-A", "-l", "troth.dev/probe", "-o", "name")
    assert left == "", "a round deletes its Jobs"


@pytest.mark.long
def test_policy_of_others_that_opens_a_namespace_is_seen(shop: Sandbox) -> None:
    widening = policy("shop", "allow-all", ingress=[{}], egress=[{}])
    with _applied(shop, widening):
        proofs, code = proven(shop, "--identity", str(PAYMENTS), "--sample", "20")
    undeclared = results(proofs, "UndeclaredEdge")
    assert code == 1
    assert undeclared[f"{FULFILMENT}", str(PAYMENTS)] == ("Disproven", "Network")
    assert undeclared[f"{NAMESPACE}/troth-prover", str(PAYMENTS)] == ("Disproven", "Network")
    assert ("Disproven", "Network") in {
        (each["result"], each.get("layer")) for each in statuses(shop, PAYMENTS)
    }


@pytest.mark.long
def test_network_that_enforces_nothing_is_seen(shop: Sandbox) -> None:
    shop.node.switch_firewall(on=False)
    try:
        proofs, code = proven(shop, "--identity", str(LEDGER))
    finally:
        shop.node.switch_firewall(on=True)
        shop.node.caught_up()
    assert code == 1
    assert set(results(proofs, "UndeclaredEdge").values()) == {("Disproven", "Network")}
    assert results(proofs, "OtherToken") != {}
    assert {result for result, _ in results(proofs, "OtherToken").values()} == {"Proven"}


def test_callee_that_is_down_proves_nothing(shop: Sandbox) -> None:
    where = ("deployment", FULFILMENT.name, "-n", FULFILMENT.namespace)
    shop.kubectl("scale", *where, "--replicas", "0")
    shop.kubectl("wait", "pods", "-n", "shop", "-l", "app=fulfilment", "--for=delete", _PATIENTLY)
    try:
        proofs, code = proven(shop, "--identity", str(FULFILMENT))
    finally:
        shop.kubectl("scale", *where, "--replicas", "1")
        shop.kubectl("rollout", "status", *where, _PATIENTLY)
    assert code == 0
    assert {each["result"] for each in proofs} == {"Inconclusive"}


@pytest.mark.long
def test_cron_job_of_the_chart_proves_what_is_due_with_its_own_rights(shop: Sandbox) -> None:
    proofs = json.dumps({"status": {"proofs": []}})
    where = ("sid", PAYMENTS.name, "-n", PAYMENTS.namespace)
    shop.kubectl("patch", *where, "--subresource=status", "--type=merge", "-p", proofs)
    with _job(shop, "on-demand") as log:
        assert "Proven" in log
    assert {"DeclaredEdge", "OtherToken"} <= {each["probe"] for each in statuses(shop, PAYMENTS)}
    with _job(shop, "again") as log:
        assert "DeclaredEdge" not in log, "nothing is due"


_PATIENTLY = f"--timeout={PATIENCE:.0f}s"


@contextmanager
def _job(sandbox: Sandbox, name: str) -> Iterator[str]:
    sandbox.kubectl("create", "job", name, "-n", NAMESPACE, "--from=cronjob/troth-prove")
    try:
        until(lambda: _ended(sandbox, name))
        yield sandbox.kubectl("logs", "-n", NAMESPACE, f"job/{name}")
    finally:
        sandbox.kubectl("delete", "job", name, "-n", NAMESPACE)


def _ended(sandbox: Sandbox, name: str) -> bool:
    found = json.loads(sandbox.kubectl("get", "job", name, "-n", NAMESPACE, "-o", "json"))
    conditions = found["status"].get("conditions", [])
    return any(each["type"] in ("Complete", "Failed") for each in conditions)


@contextmanager
def _applied(sandbox: Sandbox, manifest: Any) -> Iterator[None]:
    apply(sandbox, manifest)
    try:
        sandbox.node.caught_up()
        yield
    finally:
        sandbox.kubectl("delete", "-f", "-", stdin=yaml.safe_dump(dict(manifest)))
        sandbox.node.caught_up()
