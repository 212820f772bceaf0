"""Message brokers as rules see them: the declaration, and what the operator observes there.

An address is that of a pod only if one pod has it. Pods in the host network share their node's, and
a pod that started after the observation had the address too late.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from troth.audit.facts.pods.workloads import Pod
from troth.audit.finding import Evidence, Object
from troth.audit.scene import Scene
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.observed_broker import ObservedBroker, ObservedClient
from troth.resources.references import Ref
from troth.trust.selectors import matches

CLIENTS = "status.observed.clients"


def object_of(broker: MessageBroker) -> Object:
    """Return the object of a broker."""
    return Object("MessageBroker", broker.ref)


def brokers_in(scene: Scene, namespace: str) -> list[MessageBroker]:
    """Return the brokers of a namespace."""
    declared = scene.world.brokers.messaging.brokers
    return [each for ref, each in sorted(declared.items()) if ref.namespace == namespace]


def observed_brokers(
    scene: Scene, namespace: str | None = None
) -> Iterator[tuple[MessageBroker, ObservedBroker]]:
    """Yield the brokers of a namespace, or of all, that the operator has observed."""
    for ref, broker in sorted(scene.world.brokers.messaging.brokers.items()):
        observed = broker.status.observed
        if observed is not None and namespace in (None, ref.namespace):
            yield broker, observed


@dataclass(frozen=True, slots=True)
class Source:
    """Where the clients of one login are."""

    pods: tuple[tuple[str, Pod], ...]
    """Addresses, each with its pod."""
    elsewhere: tuple[str, ...]
    """Addresses that are of no single pod."""


@dataclass(slots=True)
class Addresses:
    """Pods by their addresses. It goes through all pods once, at the first use."""

    scene: Scene
    _pods: dict[str, list[Pod]] = field(default_factory=dict)

    def source(self, client: ObservedClient, at: datetime) -> Source:
        """Return where the clients of a login were at the time of an observation."""
        pods, elsewhere = [], []
        for address in client.addresses:
            pod = self._pod(address, at)
            if pod is None:
                elsewhere.append(address)
            else:
                pods.append((address, pod))
        return Source(tuple(pods), tuple(elsewhere))

    def _pod(self, address: str, at: datetime) -> Pod | None:
        if not self._pods:
            self._pods = _by_address(self.scene)
        having = [
            each
            for each in self._pods.get(address, ())
            if each.started_at is None or each.started_at <= at
        ]
        return having[0] if len(having) == 1 else None


def _by_address(scene: Scene) -> dict[str, list[Pod]]:
    found: dict[str, list[Pod]] = defaultdict(list)
    for namespace in scene.namespaces():
        for pod in scene.pods_in(namespace):
            for address in () if pod.spec.host_network else pod.addresses:
                found[address].append(pod)
    return found


def selects(scene: Scene, identity: Ref, pod: Pod) -> bool:
    """Return whether a ServiceIdentity selects a pod."""
    declared = scene.world.registry.identities.get(identity)
    return (
        declared is not None
        and pod.ref.namespace == identity.namespace
        and matches(declared.spec.workload.pod_selector, pod.labels)
    )


def connection_evidence(
    broker: MessageBroker, client: ObservedClient, addresses: tuple[str, ...]
) -> Evidence:
    """Return the evidence that clients are connected from some addresses."""
    named = f", named {', '.join(client.names)}" if client.names else ""
    shows = f"{login_of(client)} is connected from {', '.join(addresses)}{named}"
    return Evidence(object_of(broker), CLIENTS, shows)


def login_of(client: ObservedClient) -> str:
    """Return the principal of a login, or the group that clients are in."""
    return client.principal or f"group {client.group}"


def pod_evidence(address: str, pod: Pod, workload: Object) -> Evidence:
    """Return the evidence that a pod of a workload has an address."""
    place = Object("Pod", pod.ref)
    shows = f"has the address {address}"
    if workload != place:
        shows = f"{shows} and belongs to {workload}"
    return Evidence(place, "status.podIPs", shows)
