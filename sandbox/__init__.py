"""A real Kubernetes control plane on one machine, for the demo, the tests and the benchmarks.

    with Sandbox.start() as sandbox:
        sandbox.kubectl("get", "namespaces")

With another tier it has a node, where Pods run and NetworkPolicies filter packets; see
`sandbox.node`.

Nothing of it outlives the process that started it, however that ends. `python -m sandbox up`
gives a person a cluster that stays until `python -m sandbox down`.
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
