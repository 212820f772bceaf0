"""Claims: token audiences and DNS names, each of which belongs to one identity.

The older claim stands, so nobody takes a name from its holder by declaring it too. The age of a
claim counts from the time at which Troth first accepted it, which the status keeps. Otherwise an
old identity could add the name of a newer one. Claims that were never accepted are ordered by the
age of their identities, and then by their names.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from troth.resources.identity.spec import ServiceIdentity
from troth.resources.identity.status import ClaimKind, ClaimStatus
from troth.resources.references import Ref
from troth.resources.trust_domain.spec import TrustDomain
from troth.trust.declarations.governance import NEVER, Governance, federate
from troth.trust.multimap import Multimap

CLUSTER_ZONES = ("", "cluster.local", "clusterset.local")
"""Zones whose names certainly are those of a cluster: the search path's, the default, and that of
the multi-cluster Services API."""
SHORT = 3
"""Maximum labels of a short Service name: pod.service.namespace."""


class Claim(NamedTuple):
    """Name that only one identity may have."""

    kind: ClaimKind
    name: str


class Rank(NamedTuple):
    """Age of a claim: the smallest of several stands."""

    accepted: datetime
    created: datetime
    ref: Ref


class Reading(NamedTuple):
    """Meaning that a DNS name can have in a cluster.

    `service` is the Service of the namespace, None if the name is that of the namespace or of a
    pod's address. A `certain` name means nothing else.
    """

    namespace: str
    service: str | None
    certain: bool


def readings(name: str) -> Iterator[Reading]:
    """Yield each meaning that a name can have in a cluster.

    The forms are `[pod.][service.]namespace.svc[.zone]`, `address.namespace.pod[.zone]` and
    `[pod.]service.namespace` (Kubernetes, "DNS for Services and Pods").
    """
    labels = name.split(".")
    for place, label in enumerate(labels):
        if label in ("svc", "pod") and place:
            certain = ".".join(labels[place + 1 :]) in CLUSTER_ZONES
            yield _reading(labels[:place], certain=certain, pods=label == "pod")
    if len(labels) <= SHORT:
        yield _reading(labels, certain=False)


def _reading(labels: list[str], *, certain: bool, pods: bool = False) -> Reading:
    service = labels[-2] if len(labels) > 1 and not pods else None
    return Reading(labels[-1], service, certain)


def claimed_by(identity: ServiceIdentity) -> Iterable[Claim]:
    """Yield the claims that an identity declares."""
    token, certificate = (
        identity.spec.authentication.token,
        identity.spec.authentication.certificate,
    )
    if token is not None and token.audience is not None:
        yield Claim(ClaimKind.AUDIENCE, token.audience)
    for name in certificate.dns_names if certificate is not None else ():
        yield Claim(ClaimKind.DNS_NAME, name)


def ranks_of(
    ref: Ref,
    created: datetime | None,
    accepted: Iterable[ClaimStatus],
    declared: Iterable[Claim] | None = None,
) -> dict[Claim, Rank]:
    """Return the ranks of the declared claims; without `declared`, of the accepted ones."""
    since = {Claim(each.kind, each.name): each.since for each in accepted}
    return {
        claim: Rank(since.get(claim, NEVER), created or NEVER, ref)
        for claim in (since if declared is None else declared)
    }


class Claims:
    """Index of the claims of all identities."""

    def __init__(self) -> None:
        self._of: dict[Ref, Mapping[Claim, Rank]] = {}
        self._by: dict[Claim, dict[Ref, Rank]] = defaultdict(dict)
        self._meaning = Multimap[str, Ref]()

    def put(self, ref: Ref, ranks: Mapping[Claim, Rank]) -> bool:
        """Set the claims of an identity; return whether they changed."""
        if self.of(ref) == ranks:
            return False
        for claim in self._of.pop(ref, {}):
            del self._by[claim][ref]
            if not self._by[claim]:
                del self._by[claim]
            for namespace in _namespaces(claim):
                self._meaning.discard(namespace, ref)
        if ranks:
            self._of[ref] = ranks
        for claim, rank in ranks.items():
            self._by[claim][ref] = rank
            for namespace in _namespaces(claim):
                self._meaning.add(namespace, ref)
        return True

    def put_identity(self, identity: ServiceIdentity) -> bool:
        """Set the claims that an identity declares; return whether they changed."""
        created, accepted = identity.metadata.creation_timestamp, identity.status.claims
        return self.put(
            identity.ref, ranks_of(identity.ref, created, accepted, claimed_by(identity))
        )

    def of(self, ref: Ref) -> Mapping[Claim, Rank]:
        """Return the claims of an identity with their ranks."""
        return self._of.get(ref, {})

    def rivals(self, ref: Ref) -> frozenset[Ref]:
        """Return the other identities that have a claim in common with this one."""
        return frozenset(other for claim in self.of(ref) for other in self._by[claim]) - {ref}

    def older(self, ref: Ref, claim: Claim, concerns: Callable[[Ref], bool]) -> Ref | None:
        """Return the identity with the oldest older claim among those that `concerns` selects."""
        mine = self.of(ref).get(claim)
        found = (
            rank
            for rank in self._by.get(claim, {}).values()
            if mine is not None and rank < mine and concerns(rank.ref)
        )
        first = min(found, default=None)
        return first.ref if first is not None else None

    def meaning(self, namespace: str) -> frozenset[Ref]:
        """Return the identities with a DNS name that can be that of a Service of a namespace."""
        return frozenset(self._meaning.of(namespace))


def _namespaces(claim: Claim) -> set[str]:
    if claim.kind is not ClaimKind.DNS_NAME:
        return set()
    return {each.namespace for each in readings(claim.name)}


def together(governance: Governance, domain: TrustDomain) -> list[TrustDomain]:
    """Return the domains of a namespace whose names `domain` shares: itself, and federated ones."""
    return [
        claim
        for claim in governance.claims
        if claim.metadata.name == domain.metadata.name or federate(claim, domain)
    ]


def conflict_message(identity: Ref, claim: Claim, other: Ref, remedy: str) -> str:
    """Return the message for a claim that an older one excludes.

    Only an identity of the same namespace is named. Tenants need not know those of others.
    """
    noun = "audience" if claim.kind is ClaimKind.AUDIENCE else "DNS name"
    holder = (
        f"ServiceIdentity {other}"
        if other.namespace == identity.namespace
        else "a ServiceIdentity of another namespace"
    )
    return f"the {noun} {claim.name} belongs to {holder}, which claimed it first; {remedy}"
