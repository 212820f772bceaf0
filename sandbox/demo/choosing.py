"""On what the demo plays: the most of a cluster that this machine can have, and a broker."""

from enum import StrEnum
from typing import NamedTuple

from sandbox.brokers.kafka_jars import ensure_kafka
from sandbox.node.tiers import Tier, unavailable

CLUSTERS = {
    Tier.NODE: "a node with kubelet, containerd and kube-router",
    Tier.PROCESS_PODS: "kube-router, and pods that are processes",
    Tier.CONTROL_PLANE: "etcd, API server and controllers, on loopback alone",
}
"""What there is of a cluster on each tier, in words."""


class BrokerName(StrEnum):
    """The brokers that there are, as `BROKER` names them."""

    NATS = "nats"
    KAFKA = "kafka"

    def prepare(self) -> None:
        """Fetch what is missing; raises `SandboxError` if this machine cannot have the broker."""
        if self is BrokerName.KAFKA:
            ensure_kafka()


class Setting(NamedTuple):
    """On what the demo plays."""

    tier: Tier
    broker: BrokerName


def best() -> tuple[Tier, str]:
    """Return the tier to play on and, if there could be more, a sentence on what is missing."""
    without_kubelet = unavailable(Tier.NODE)
    if without_kubelet is None:
        return Tier.NODE, ""
    if unavailable(Tier.PROCESS_PODS) is None:
        return Tier.PROCESS_PODS, f"Pods are processes here, without a kubelet: {without_kubelet}."
    return (
        Tier.CONTROL_PLANE,
        f"No pods and no packet filter here, only processes on loopback: {without_kubelet}.",
    )
