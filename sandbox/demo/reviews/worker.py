"""`troth review` as a process on loopback, with its identity, and the policy that names it."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from sandbox.control_plane import free_port
from sandbox.demo.cast import SHOP
from sandbox.demo.cluster import Cluster
from sandbox.demo.events.exchange import POLICY
from sandbox.demo.loopback import LOOPBACK
from sandbox.demo.messages.stage import MAIN
from sandbox.demo.mounts import Mount, mounted
from sandbox.demo.namespaces import MARK, PREFIX, renamed
from sandbox.demo.programs import NAME, NAMESPACE, Program, run_program
from sandbox.demo.shop import Place
from sandbox.demo.tokens.services import BUNDLE, DOMAIN, GRACE
from sandbox.processes import Tether

REVIEWER = Place(NAMESPACE, "troth-review")
"""Its ServiceIdentity and ServiceAccount, as the chart names them."""
ADMISSION_POLICY = f"{PREFIX or 'troth-'}dead-letter-reviews"
AUDIT_LOG = "troth-review-audit-log"
"""The ConfigMap with the head of the audit log."""
POD_LABELS = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/component": "review"}


@contextmanager
def identified(cluster: Cluster) -> Iterator[None]:
    """Have the worker's namespace in the trust domain, and its identity, while the context lasts.

    The chart creates the same identity for `review.policies`.
    """
    kubectl, label = cluster.sandbox.kubectl, _label()
    identity = yaml.safe_dump(_identity())
    kubectl("label", "namespace", NAMESPACE, label, "--overwrite")
    kubectl("apply", "-f", "-", stdin=identity)
    try:
        yield
    finally:
        kubectl("delete", "-f", "-", "--ignore-not-found", stdin=identity)
        kubectl("label", "namespace", NAMESPACE, f"{label.partition('=')[0]}-")


@contextmanager
def working(cluster: Cluster, tether: Tether) -> Iterator[Path]:
    """Run the worker while the context lasts; yield the file with its output."""
    directory = tether.directory / "review"
    credentials = directory / "credentials"
    identity, bundle = directory / "identity", directory / BUNDLE
    mounts = (
        Mount(Place(NAMESPACE, f"{REVIEWER.name}-identity"), identity),
        Mount(Place(NAMESPACE, f"{REVIEWER.name}-{MAIN.name}"), credentials / ".".join(MAIN)),
        Mount(Place(NAMESPACE, BUNDLE), bundle, is_secret=False),
    )
    with ExitStack() as stack:
        stack.enter_context(mounted(cluster.sandbox.kubeconfig, mounts))
        health = free_port()
        arguments = (
            *("review", f"--identity={identity}", f"--bundle={bundle}"),
            *(f"--credentials={credentials}", f"--index={directory / 'index'}"),
            f"--admission-policy={ADMISSION_POLICY}",
            f"--listen={LOOPBACK}:{free_port()}",
            *(f"--health-listen={LOOPBACK}:{health}", "--log-format=json"),
        )
        kubeconfig = cluster.sandbox.service_account_kubeconfig(*REVIEWER)
        log = tether.directory / f"{REVIEWER.name}.log"
        run_program(tether, Program(REVIEWER.name, log, NAMESPACE, kubeconfig), arguments, health)
        stack.callback(tether.stop, REVIEWER.name, grace=GRACE)
        yield log


def reviewer() -> dict[str, Any]:
    """Return the members of `deadLetter` that name the worker."""
    return {"reviewer": {"name": REVIEWER.name, "namespace": REVIEWER.namespace}}


def _label() -> str:
    """Return the label by which the trust domain selects its namespaces."""
    key = next(iter(renamed({"kind": "", "metadata": {}, "l": {"troth.dev/environment": ""}})["l"]))
    return f"{key}={DOMAIN}"


def _identity() -> dict[str, Any]:
    namespace, name = POLICY.split("/")
    assert namespace == SHOP
    return {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "ServiceIdentity",
        # the names of the namespaces have the prefix already
        "metadata": {
            "name": REVIEWER.name,
            "namespace": NAMESPACE,
            "labels": {MARK: "true"} if PREFIX else {},
        },
        "spec": {
            "workload": {
                "serviceAccountName": REVIEWER.name,
                "podSelector": {"matchLabels": POD_LABELS},
                "ports": [{"name": "https", "port": 8443}, {"name": "http", "port": 8080}],
            },
            "authentication": {"mtls": {}},
            "calls": [{"kubernetesAPI": True}],
            "reviews": [{"policy": {"name": name, "namespace": namespace}}],
            "exceptions": {"probes": ["http"], "metrics": ["http"]},
        },
    }


def counts(cluster: Cluster) -> dict[str, int]:
    """Return the numbers of dead letters without a decision, by reason, as the policy has them."""
    found = json.loads(cluster.sandbox.kubectl("get", "tp", "orders", "-n", SHOP, "-o", "json"))
    letters = found.get("status", {}).get("deadLetters", {})
    return {each["reason"]: each["count"] for each in letters.get("reasons", ())}
