"""Logins of a broker that several workloads share."""

from collections.abc import Iterator
from typing import Any

from troth.audit.brokers.observed import (
    Addresses,
    connection_evidence,
    object_of,
    observed_brokers,
    pod_evidence,
)
from troth.audit.facts.pods.running import Running, lasting
from troth.audit.facts.pods.workloads import Pod
from troth.audit.finding import Finding, Fix, Object
from troth.audit.rule import Rule, Scope
from troth.audit.scene import Scene
from troth.audit.skeletons import ENFORCE_STEP, identity_skeleton, ports_of, selector_of
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.observed_broker import ObservedBroker
from troth.resources.references import Ref
from troth.resources.reported import Severity

LISTED = 5


def _find(scene: Scene, _: str) -> Iterator[Finding]:
    addresses = Addresses(scene)
    for broker, observed in observed_brokers(scene):
        yield from _at(scene, broker, observed, addresses)


def _at(
    scene: Scene, broker: MessageBroker, observed: ObservedBroker, addresses: Addresses
) -> Iterator[Finding]:
    for client in observed.clients:
        own = broker.spec.owns.principal_prefix
        if client.principal is None or client.principal.startswith(own):
            continue  # TR103 is about the principals of identities
        source = addresses.source(client, observed.observed_at)
        users = _users(scene, [pod for _, pod in source.pods])
        if len(users) < 2:  # noqa: PLR2004 - shared by two
            continue
        named = [str(each) for each in users]
        some = ", ".join(named[:LISTED]) + (" and others" if len(named) > LISTED else "")
        yield Finding(
            RULE.id,
            object_of(broker),
            f"the login {client.principal} is shared by {some}; give each workload a "
            "ServiceIdentity, and with it a principal of its own",
            (
                connection_evidence(broker, client, client.addresses),
                *(
                    pod_evidence(address, pod, scene.workload_of(pod.workload))
                    for address, pod in source.pods
                ),
            ),
            about=client.principal,
        )


def _users(scene: Scene, pods: list[Pod]) -> dict[Object, Pod]:
    """Return the workloads of pods, one of those that share an identity, each with a pod."""
    found: dict[Object, Pod] = {}
    known: set[Ref] = set()
    for pod in sorted(pods, key=lambda each: each.ref):
        identities = set(scene.identities_of(pod.ref.namespace, pod.labels))
        workload = scene.workload_of(pod.workload)
        if workload in found or identities & known:
            continue
        known |= identities
        found[workload] = pod
    return dict(sorted(found.items()))


def _fix(scene: Scene, finding: Finding) -> Fix:
    broker = scene.world.brokers.messaging.brokers[finding.subject.ref]
    observed = broker.status.observed
    addresses, manifests = Addresses(scene), dict[Ref, dict[str, Any]]()
    for client in observed.clients if observed is not None else ():
        if observed is None or client.principal != finding.about:
            continue
        source = addresses.source(client, observed.observed_at)
        for workload, pod in _users(scene, [pod for _, pod in source.pods]).items():
            if not list(scene.identities_of(pod.ref.namespace, pod.labels)):
                ref = Ref(pod.ref.namespace, workload.ref.name)
                account = pod.spec.service_account
                running = Running(workload, lasting(pod.labels), pod.spec, "")
                manifests[ref] = identity_skeleton(
                    ref,
                    ref.name if account == "default" else account,
                    selector_of(scene, [running]),
                    ports_of(running),
                )
    return Fix(
        tuple(manifest for _, manifest in sorted(manifests.items())),
        steps=(
            "Give each of these workloads a ServiceAccount of its own, if it runs as default.",
            "Name the identities in a TopicPolicy for each topic, as producers or consumers.",
            "Name these policies in publishes and consumes of the identities.",
            ENFORCE_STEP,
            "Mount the Secret of each identity's credential, and connect with it.",
            f"Then delete the login {finding.about} at the broker.",
        ),
    )


RULE = Rule(
    id="TR102",
    name="SharedBrokerLogin",
    title="Pods of several workloads are connected to a message broker with one login.",
    severity=Severity.HIGH,
    reads=frozenset({"MessageBroker", "Pod", "Job", "ServiceIdentity"}),
    find=_find,
    fix=_fix,
    scope=Scope.CLUSTER,
    sources=frozenset({"brokers", "brokers:Clients", "brokers:Principals"}),
)
