"""The claim of the operator that benchmarks measure."""

from benchmarks.fleet.topology import Manifest
from sandbox.demo.programs import NAMESPACE as SYSTEM
from troth.cluster.leases.claim import CLAIM


def held_claim() -> Manifest:
    """Return the claim as an operator has it that was installed long ago.

    After an installation, an operator waits before it acts; no benchmark is to measure that.
    """
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": CLAIM.name, "namespace": CLAIM.namespace},
        "spec": {"holderIdentity": SYSTEM},
    }
