"""Input and result of the checks that decide whether an edge is live."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import product

from troth.resources.identity.spec import Port, ServiceIdentity
from troth.resources.identity.status import EdgeState
from troth.resources.references import Ref
from troth.resources.trust_domain.spec import TrustDomain
from troth.trust.declarations.governance import Governance
from troth.trust.declarations.registry import Registry

Domains = tuple[TrustDomain, TrustDomain]
"""Trust domains of the caller and the callee."""


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
    def possible_domains(self) -> Iterable[Domains] | None:
        """Trust domains that may govern caller and callee, None if any may.

        There is one pair if both namespaces are governed, and several during a conflict.
        """
        first, second = (each.possible for each in self.governances)
        return None if first is None or second is None else product(first, second)

    @property
    def is_called(self) -> bool:
        """Whether the caller itself declares the call."""
        calls = self.registry.declared(self.caller).calls
        return self.port in calls.get(self.callee, ())


Check = Callable[[EdgeCandidate], EdgeObstacle | None]
"""Check of an edge. It passes if what it needs to know is unknown, which another check reports."""


def deciding_obstacle(candidate: EdgeCandidate, checks: Iterable[Check]) -> EdgeObstacle | None:
    """Return the first obstacle that closes the edge, else the first that suspends it."""
    suspending: EdgeObstacle | None = None
    for check in checks:
        obstacle = check(candidate)
        if obstacle is not None and obstacle.state is not EdgeState.SUSPENDED:
            return obstacle
        suspending = suspending or obstacle
    return suspending


def find_port(identity: ServiceIdentity, name: str) -> Port | None:
    """Return an identity's port by name, None if there is none."""
    return next((port for port in identity.spec.workload.ports if port.name == name), None)
