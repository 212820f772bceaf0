"""What is asked about one edge, everything that decides about it, and what stands in its way."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from troth.resources.identity.spec import Port, ServiceIdentity
from troth.resources.identity.status import EdgeState
from troth.resources.references import Ref
from troth.resources.trust_domain.spec import TrustDomain
from troth.trust.governance import Governance
from troth.trust.registry import Registry


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why an edge is not live."""

    state: EdgeState
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Question:
    """Everything that decides about one edge."""

    registry: Registry
    caller: Ref
    callee: Ref
    port: str
    now: datetime

    @property
    def caller_identity(self) -> ServiceIdentity | None:
        """The caller, if it is there and readable."""
        return self.registry.identities.get(self.caller)

    @property
    def callee_identity(self) -> ServiceIdentity | None:
        """The callee, if it is there and readable."""
        return self.registry.identities.get(self.callee)

    @property
    def governances(self) -> tuple[Governance, Governance]:
        """Who governs the namespaces of caller and callee."""
        govern = self.registry.governance
        return govern(self.caller.namespace), govern(self.callee.namespace)

    @property
    def domains(self) -> tuple[TrustDomain | None, TrustDomain | None]:
        """The trust domains of caller and callee."""
        first, second = self.governances
        return first.domain, second.domain


Check = Callable[[Question], Obstacle | None]


def find_port(identity: ServiceIdentity, name: str) -> Port | None:
    """Return an identity's port of that name."""
    return next((port for port in identity.spec.workload.ports if port.name == name), None)
