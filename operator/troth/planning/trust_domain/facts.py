"""Frozen inputs of the plans of a TrustDomain and of its issuer's view, which `view` gathers."""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from troth.planning.certificates.rollouts import Restarting
from troth.planning.moment import Moment
from troth.planning.owned_objects import is_child
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.references import Ref
from troth.resources.rotation.spec import CredentialRotation
from troth.resources.trust_domain.spec import TrustDomain
from troth.resources.trust_domain.status import Isolation
from troth.trust.declarations.registry import Registry
from troth.trust.declarations.topics.messaging import Messaging
from troth.world.facts.objects import (
    AuthoritySecret,
    Content,
    Fact,
    IdentitySecret,
    KnownAuthority,
    TokenKey,
    TokensSecret,
    Unreadable,
)
from troth.world.facts.owned import OwnedObject
from troth.world.index.token_keys import CallerEntry
from troth.world.keys import Key

Bundles = tuple[tuple[str, Content | None], ...]
"""Bundles by namespace, None where one is missing."""


class RootReader(NamedTuple):
    """A bundle or Secret from which verifiers read roots, and since when (uptime) it holds them.

    `secret` is the Secret, None for the bundle of a namespace. `until` is the time from which no
    workload can use it, if that is known.
    """

    namespace: str
    secret: Ref | None
    roots: frozenset[str]
    since: float
    until: datetime | None = None

    @property
    def name(self) -> str:
        """Name of the reader in a sentence."""
        return (
            f"Secret {self.secret}" if self.secret else f"the bundle of namespace {self.namespace}"
        )


@dataclass(frozen=True, slots=True)
class Rivals:
    """Other TrustDomains with the SPIFFE trust domain of one.

    `holder` has it instead. `unreadable` may have it, unless this one has a root.
    """

    holder: TrustDomain | None
    unreadable: str | None


@dataclass(frozen=True, slots=True)
class HeldLeaf:
    """Secret with a leaf that may still be valid, and which CAs signed it, while one retires."""

    secret: IdentitySecret
    of_active: bool
    of_retiring: bool


@dataclass(frozen=True, slots=True)
class RootEvidence:
    """What the next step of a root's rotation depends on.

    `readers` are gathered while there is a next root, and `leaves` otherwise.
    """

    readers: tuple[RootReader, ...] = ()
    leaves: tuple[HeldLeaf, ...] = ()
    restarting: tuple[Restarting, ...] = ()
    unlisted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyEvidence:
    """Bundles that must publish a token key before it signs.

    They are gathered while a key waits for them, as are the namespaces without a list.
    """

    bundles: Bundles = ()
    unlisted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RotationView:
    """Inputs of the rotation of a domain's root and token keys.

    `authority` and `tokens` are the Secrets of these names, with any owner.
    """

    domain: TrustDomain
    registry: Registry
    messaging: Messaging
    rotations: tuple[CredentialRotation, ...]
    rivals: Rivals
    authority: KnownAuthority | None
    given: KnownAuthority | None
    tokens: TokensSecret | None
    root: RootEvidence
    token_key: KeyEvidence
    moment: Moment

    @property
    def own_authority(self) -> KnownAuthority | None:
        """The authority, if its Secret is Troth's."""
        known = self.authority
        return known if known is not None and is_child(known.secret, self.domain) else None

    @property
    def own_tokens(self) -> TokensSecret | None:
        """The Secret with the token keys, if the domain issues tokens and the Secret is Troth's."""
        return own_tokens(self.domain, self.tokens)


@dataclass(frozen=True, slots=True)
class Federated:
    """Another domain whose roots and token keys a domain's workloads may trust."""

    domain: TrustDomain
    anchors: tuple[bytes, ...]
    keys: tuple[TokenKey, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """Objects that were written for a domain: bundles, its issuer's Secrets, and its CA's."""

    bundles: tuple[Content, ...]
    issuer_secrets: tuple[Fact, ...]
    authority: AuthoritySecret | None


@dataclass(frozen=True, slots=True)
class DomainView:
    """Inputs of the plan of a domain that is not being deleted.

    `issuer` is the Secret with the issuer's certificate, if it is Troth's. `anchors` are what the
    domain's workloads trust.
    """

    rotation: RotationView
    own_namespace: str
    written: Written
    authority_place: OwnedObject[AuthoritySecret]
    tokens_place: OwnedObject[TokensSecret]
    issuer_place: OwnedObject[IdentitySecret]
    issuer: IdentitySecret | None
    issuer_signed: bool
    anchors: tuple[bytes, ...]
    federated: tuple[Federated, ...]
    bundles: tuple[OwnedObject[Content], ...]
    terminating: frozenset[str]

    @property
    def domain(self) -> TrustDomain:
        """The declared domain."""
        return self.rotation.domain

    @property
    def registry(self) -> Registry:
        """All declarations."""
        return self.rotation.registry

    @property
    def own_anchors(self) -> tuple[bytes, ...]:
        """The domain's own anchors, none while it has no usable authority."""
        known = self.rotation.authority
        return known.anchors if known is not None else ()

    @property
    def moment(self) -> Moment:
        """The time at which the plan is made."""
        return self.rotation.moment


@dataclass(frozen=True, slots=True)
class NetworkIsolation:
    """What the isolation of a domain's namespaces depends on.

    `brokers` include those that are being deleted. `unread` are the unreadable brokers and
    identities, sorted. `policies` are the isolation policies by namespace, and `places` those of
    the namespaces that the domain isolates.
    """

    registry: Registry
    own_namespace: str
    brokers: tuple[MessageBroker, ...]
    unread: tuple[Key, ...]
    policies: Mapping[str, Content]
    places: Mapping[str, OwnedObject[Content]]
    terminating: frozenset[str]


@dataclass(frozen=True, slots=True)
class KnownDomain:
    """What is known of the TrustDomain of a key.

    `view` are the inputs of its plan, None if it does not exist or is being deleted.
    """

    key: Key
    unreadable: Unreadable | None
    domain: TrustDomain | None
    written: Written
    isolation: NetworkIsolation
    view: DomainView | None
    moment: Moment


@dataclass(frozen=True, slots=True)
class IssuerView:
    """Inputs of the configuration that an issuer reads.

    `known` is the Secret that holds it, None while it cannot. `bundles` are gathered for the first
    one, which waits for them. `written` is when (uptime) Troth last wrote it. `entries` is the
    cache of entries, which planning fills.
    """

    domain: TrustDomain
    registry: Registry
    own_namespace: str
    known: TokensSecret | None
    bundles: Bundles
    written: float | None
    entries: MutableMapping[Ref, CallerEntry]
    moment: Moment


@dataclass(frozen=True, slots=True)
class KnownIssuer:
    """The issuer of the TrustDomain of a key, None if the domain issues no tokens."""

    key: Key
    view: IssuerView | None


def own_tokens(domain: TrustDomain, known: TokensSecret | None) -> TokensSecret | None:
    """Return the Secret with a domain's token keys, if it issues tokens and the Secret is its."""
    if domain.spec.tokens is None or known is None or not is_child(known, domain):
        return None
    return known


def isolation_of(domain: TrustDomain) -> Isolation:
    """Return the isolation that is in force.

    A domain that does not say keeps what its status records. One without a record is new if it has
    never had an authority, and then isolates its namespaces. A default in the CRD would also apply
    to every stored domain, and close pods that nobody has declared yet.
    """
    if domain.spec.isolation is not None:
        return domain.spec.isolation
    if domain.status.isolation is not None:
        return domain.status.isolation
    return Isolation.WORKLOAD if domain.status.authorities else Isolation.NAMESPACE
