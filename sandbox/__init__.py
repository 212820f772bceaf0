"""A real Kubernetes control plane on one machine, for the demo, the tests and the benchmarks.

    with Sandbox.start() as sandbox:
        sandbox.kubectl("get", "namespaces")

Other tiers add a node, which runs Pods and enforces NetworkPolicies; see `sandbox.node`.

All parts end with the process that started them, even if it is killed. `python -m sandbox up`
starts a cluster that runs until `python -m sandbox down`.
"""

from sandbox.cluster import Sandbox
from sandbox.errors import BuildError, CommandError, ComponentError, SandboxError
from sandbox.node.tiers import Tier, unavailable
from sandbox.tools import ensure

__all__ = [
    "BuildError",
    "CommandError",
    "ComponentError",
    "Sandbox",
    "SandboxError",
    "Tier",
    "ensure",
    "unavailable",
]
