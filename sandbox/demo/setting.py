"""What the demo runs, and on what: acts, a tier of cluster, and a broker."""

from enum import StrEnum
from typing import NamedTuple

from sandbox import tools
from sandbox.brokers.kafka_jars import ensure_kafka
from sandbox.node.tiers import Tier, unavailable

CLUSTERS = {
    Tier.NODE: "a node with kubelet, containerd and kube-router",
    Tier.PROCESS_PODS: "kube-router, and processes as pods",
    Tier.CONTROL_PLANE: "etcd, API server and controllers, on loopback only",
}
"""What the cluster of each tier has."""
ENVTEST = ("etcd", "kube-apiserver", "kubectl")
"""The programs that a directory of envtest has."""


class Act(StrEnum):
    """The acts, in the order in which they run."""

    CALLS = "calls"
    TOKENS = "tokens"
    MESSAGES = "messages"
    EVENTS = "events"
    WEBHOOKS = "webhooks"
    ROTATION = "rotation"

    def runs_on(self, tier: Tier) -> bool:
        """Whether a cluster of this tier can show the act: rotation needs a node."""
        return tier.has_node or self is not Act.ROTATION


class BrokerName(StrEnum):
    """The brokers, as `BROKER` names them."""

    NATS = "nats"
    KAFKA = "kafka"

    def prepare(self) -> None:
        """Fetch what is missing; raises `SandboxError` if this machine cannot run the broker."""
        if self is BrokerName.KAFKA:
            ensure_kafka()


class Setting(NamedTuple):
    """What the demo runs, and on what.

    With `envtest`, the cluster has no controllers, and the demo builds nothing.
    """

    tier: Tier
    broker: BrokerName
    acts: tuple[Act, ...]
    envtest: bool = False

    @property
    def uses_broker(self) -> bool:
        """Whether one of the acts needs the broker."""
        return not {Act.MESSAGES, Act.EVENTS}.isdisjoint(self.acts)


def has_envtest() -> bool:
    """Whether `KUBEBUILDER_ASSETS` has an API server and etcd, and no controllers."""
    assets = tools.assets()
    return {"etcd", "kube-apiserver"} <= assets and "kube-controller-manager" not in assets


def best() -> tuple[Tier, str]:
    """Return the highest tier that this machine supports, and a sentence on what it lacks."""
    if has_envtest():
        return Tier.CONTROL_PLANE, (
            "KUBEBUILDER_ASSETS has an API server and etcd, so nothing is built: the services are "
            "processes on loopback, without pods and packet filter."
        )
    without_kubelet = unavailable(Tier.NODE)
    if without_kubelet is None:
        return Tier.NODE, ""
    if unavailable(Tier.PROCESS_PODS) is None:
        return Tier.PROCESS_PODS, f"Pods are processes, without a kubelet: {without_kubelet}."
    return (
        Tier.CONTROL_PLANE,
        f"No pods and no packet filter, only processes on loopback: {without_kubelet}.",
    )
