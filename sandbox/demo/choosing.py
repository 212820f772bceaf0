"""On what the demo plays: the most of a cluster that this machine can have."""

from sandbox.node.tiers import Tier, unavailable

CLUSTERS = {
    Tier.NODE: "a node with kubelet, containerd and kube-router",
    Tier.PROCESS_PODS: "kube-router, and pods that are processes",
    Tier.CONTROL_PLANE: "etcd, API server and controllers, on loopback alone",
}
"""What there is of a cluster on each tier, in words."""


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
