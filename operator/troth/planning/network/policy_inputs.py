"""Inputs of the NetworkPolicy compiler for one workload."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from troth.planning.network.reachable_brokers import ReachableBrokers
from troth.planning.network.rules import Rule
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.references import Ref
from troth.resources.trust_domain.spec import Network
from troth.trust.edges.evaluation import Edge
from troth.world.facts.objects import Content, Endpoint, Manifest


@dataclass(frozen=True, slots=True)
class NetworkClaim:
    """Network settings and issuer's pods of a trust domain that selects the namespace.

    `issuer` is None if the trust domain issues no tokens.
    """

    network: Network
    issuer: Manifest | None


@dataclass(frozen=True, slots=True)
class PolicyInputs:
    """All inputs of the policy of one workload.

    `peers` has the identity of every readable peer of an edge. `existing` is the current policy,
    None if there is none. `reach` has the brokers that the workload may reach. `claims` has one
    entry if the workload is `settled`, and otherwise one for each trust domain that claims it.
    """

    identity: ServiceIdentity
    edges: tuple[Edge, ...]
    peers: Mapping[Ref, ServiceIdentity]
    claims: tuple[NetworkClaim, ...]
    settled: bool
    api_endpoints: frozenset[Endpoint]
    existing: Content | None
    reach: ReachableBrokers
    now: datetime

    def rules(self, direction: str) -> list[Rule]:
        """Return the `ingress` or `egress` rules of the existing policy, none without a policy."""
        return (self.existing.content.get(direction) or []) if self.existing else []
