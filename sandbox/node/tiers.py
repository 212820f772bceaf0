"""The tiers of sandboxes, and what each requires of the machine."""

import os
import shutil
import subprocess
import sys
from enum import StrEnum

from sandbox import tools
from sandbox.node import parts


class Tier(StrEnum):
    """Extent of a sandbox's cluster.

    CONTROL_PLANE has no node, so Pods stay Pending. PROCESS_PODS runs each Pod as one process in a
    network of its own, and starts many fast. NODE runs Pods in containers with a real kubelet. Both
    enforce NetworkPolicies.
    """

    CONTROL_PLANE = "control-plane"
    PROCESS_PODS = "process-pods"
    NODE = "node"

    @property
    def has_node(self) -> bool:
        """Whether Pods run."""
        return self is not Tier.CONTROL_PLANE

    @property
    def packages(self) -> tuple[parts.Packages, ...]:
        """Packages of the distribution that the tier needs."""
        match self:
            case Tier.CONTROL_PLANE:
                return ()
            case Tier.PROCESS_PODS:
                return (parts.FIREWALL,)
            case Tier.NODE:
                return (parts.FIREWALL, parts.CONTAINERS)

    @property
    def programs(self) -> tuple[str, ...]:
        """Programs of the sandbox that the tier needs besides the control plane's."""
        match self:
            case Tier.CONTROL_PLANE:
                return ()
            case Tier.PROCESS_PODS:
                return ("kube-router", "workload")
            case Tier.NODE:
                return ("kube-router", "workload", "kubelet", "kube-proxy")


def unavailable(tier: Tier) -> str | None:
    """Return the reason why this machine does not support a tier; `None` if it does.

    The check builds and fetches nothing.
    """
    if not tier.has_node:
        return None
    if release := tools.other_kubernetes():
        return f"a node needs the sandbox's own release of Kubernetes, and KUBERNETES is {release}"
    if sys.platform != "linux":
        return f"a node needs Linux, and this is {sys.platform}"
    if os.geteuid():
        return "a node needs root, for its namespaces; run it as root"
    for program in ("unshare", "ip", "mount"):
        if not shutil.which(program):
            return f"a node needs the program {program}, which is not on PATH"
    if refusal := _refusal_of_namespaces():
        return f"a node needs namespaces, which this machine refuses: {refusal}"
    for packages in tier.packages:
        if reason := parts.missing(packages):
            return f"a node needs packages that are not to be had: {reason}"
    return None


def _refusal_of_namespaces() -> str:
    """Return the kernel's error when a process creates namespaces; empty if it allows them."""
    return subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--fork", "true"],
        capture_output=True,
        text=True,
        check=False,
    ).stderr.strip()
