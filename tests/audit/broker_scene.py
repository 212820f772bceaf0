"""Scenes with a message broker that the operator has observed, and pods."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from tests.audit.pages import NOW, evaluated
from tests.broker_builders import orders, publisher, subscriber
from tests.builders import Manifest, domain, namespace, stamp
from tests.messaging import NATS, broker
from troth.audit.evaluation import Evaluation
from troth.audit.rule import Rule
from troth.audit.scene import Scene, scene_of

AT = NOW - timedelta(minutes=30)
"""Time of the observation."""
SIGNER = f"A{'C' * 55}"
USER = f"{SIGNER}/U{'D' * 55}"
HOSTILE = "\\x1b[31m](javascript:x)<script>|`"
"""A name as a status has it: escaped, and with characters that mean something elsewhere."""
UP = {"type": "Reachable", "status": "True", "reason": "Seen", "lastTransitionTime": stamp(NOW)}
AWAY = UP | {"status": "False", "reason": "Unreachable", "message": "nobody answers at nats:4222"}


def observed_broker(
    *, reachable: Manifest | None = UP, described: Manifest = NATS, **observed: Any
) -> Manifest:
    """Return the broker `main` with what it shows; without `observed`, it was never observed."""
    status: Manifest = {"conditions": [reachable] if reachable else []}
    if observed:
        status["observed"] = {"observedAt": stamp(AT)} | observed
    return broker(described=described) | {"status": status}


def client(principal: str, *addresses: str, **more: Any) -> Manifest:
    return {"principal": principal, "addresses": list(addresses)} | more


def pod(
    name: str,
    address: str,
    namespace: str = "shop",
    *,
    owner: tuple[str, str] | None = None,
    started: datetime = NOW - timedelta(hours=1),
    host_network: bool = False,
) -> Manifest:
    """Return a running pod labelled `app: <name>`, which a Deployment of its name controls."""
    labels = {"app": name, "pod-template-hash": "5d9c7"}
    kind, controller = owner or ("ReplicaSet", f"{name}-5d9c7")
    reference = {"kind": kind, "name": controller, "controller": True, "apiVersion": "v1"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{name}-{address.replace('.', '-')}",
            "namespace": namespace,
            "labels": labels,
            "ownerReferences": [reference | {"uid": controller}],
        },
        "spec": {
            "serviceAccountName": name,
            "hostNetwork": host_network,
            "containers": [{"name": "app", "image": "registry.example/app:1"}],
        },
        "status": {
            "phase": "Running",
            "startTime": stamp(started),
            "podIPs": [{"ip": address}],
        },
    }


def scene(*manifests: Manifest, in_cluster: bool = True) -> Scene:
    """Return a cluster where `checkout` publishes orders and `fulfilment` consumes them."""
    return scene_of(
        [
            namespace("shop", domain="production"),
            namespace("messaging", domain="production"),
            domain(),
            publisher(),
            subscriber(),
            orders(),
            *manifests,
        ],
        NOW,
        in_cluster=in_cluster,
    )


def found(rule: Rule, *manifests: Manifest) -> Evaluation:
    """Return the evaluation of a rule in such a cluster."""
    return evaluated(rule, scene(*manifests))


def messages(evaluation: Evaluation) -> list[str]:
    return [each.message for each in evaluation.findings]


def reasons(evaluation: Evaluation) -> set[tuple[str, str]]:
    """Return the sources that a rule could not see, with the reasons."""
    return {(each.kinds[0], each.reason) for each in evaluation.unseen}


def sentences(evaluation: Evaluation) -> Iterable[str]:
    """Return every line of evidence."""
    return [line.sentence for each in evaluation.findings for line in each.evidence]
