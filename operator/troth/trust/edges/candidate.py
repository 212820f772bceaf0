"""Input and result of the checks that decide whether an edge is live."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from troth.resources.identity.spec import Port, ServiceIdentity
from troth.resources.identity.status import EdgeState
from troth.resources.references import Ref
from troth.resources.trust_domain.spec import TrustDomain
from troth.trust.declarations.governance import Governance
from troth.trust.declarations.registry import Registry


@dataclass(frozen=True, slots=True)
class EdgeObstacle:
    """Reason why an edge is not live."""

    state: EdgeState
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class EdgeCandidate:
    """Edge to check, with everything that decides about it."""

    registry: Registry
    caller: Ref
    callee: Ref
    port: str
    now: datetime

    @property
    def caller_identity(self) -> ServiceIdentity | None:
        """The caller, None if it does not exist or is unreadable."""
        return self.registry.identities.get(self.caller)

    @property
    def callee_identity(self) -> ServiceIdentity | None:
        """The callee, None if it does not exist or is unreadable."""
        return self.registry.identities.get(self.callee)

    @property
    def governances(self) -> tuple[Governance, Governance]:
        """Governance of the caller's and the callee's namespace."""
        govern = self.registry.governance
        return govern(self.caller.namespace), govern(self.callee.namespace)

    @property
    def domains(self) -> tuple[TrustDomain | None, TrustDomain | None]:
        """Trust domains of the caller and the callee."""
        first, second = self.governances
        return first.domain, second.domain


Check = Callable[[EdgeCandidate], EdgeObstacle | None]


def find_port(identity: ServiceIdentity, name: str) -> Port | None:
    """Return an identity's port by name, None if there is none."""
    return next((port for port in identity.spec.workload.ports if port.name == name), None)
