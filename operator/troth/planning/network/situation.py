"""All that the NetworkPolicy of one workload depends on."""

from collections.abc import Mapping
from dataclasses import dataclass

from troth.planning.network.broker_reach import Reach
from troth.planning.network.rules import Rule
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.references import Ref
from troth.resources.trust_domain.spec import Network
from troth.trust.edges import Edge
from troth.world.facts.objects import Content, Endpoint, Manifest


@dataclass(frozen=True, slots=True)
class NetworkClaim:
    """What a trust domain that selects the namespace adds: its network, and its issuer's pods.

    `issuer` is None for a trust domain that issues no tokens.
    """

    network: Network
    issuer: Manifest | None


@dataclass(frozen=True, slots=True)
class Situation:
    """All that the policy of one workload depends on.

    `peers` has the identity of every peer of an edge that can be read; `existing` is the policy as
    it stands, None without one; `reach` is to which brokers the workload may go. `claims` has one
    entry where the workload is `settled`, and else one for each trust domain that claims it.
    """

    identity: ServiceIdentity
    edges: tuple[Edge, ...]
    peers: Mapping[Ref, ServiceIdentity]
    claims: tuple[NetworkClaim, ...]
    settled: bool
    api_endpoints: frozenset[Endpoint]
    existing: Content | None
    reach: Reach

    def rules(self, direction: str) -> list[Rule]:
        """Return the rules of the policy as it stands: of its `ingress` or its `egress`."""
        return (self.existing.content.get(direction) or []) if self.existing else []
