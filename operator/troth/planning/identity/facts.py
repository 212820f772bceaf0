"""The inputs of an identity's plan, as its parts read them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from troth.planning.grants.message_schemas import Texts
from troth.planning.identity.credentials.view import BrokerCredentials
from troth.planning.identity.trust_record import TrustRecord
from troth.planning.moment import Moment
from troth.planning.network.reachable_brokers import ReachableBrokers
from troth.resources.identity.authentication import Certificate, GatewayOnly
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.identity.status import EdgeState
from troth.resources.messaging.topic_policy_status import GrantState
from troth.resources.references import Ref
from troth.resources.rotation.spec import CredentialRotation
from troth.resources.trust_domain.spec import TrustDomain
from troth.trust.declarations.governance import Governance
from troth.trust.declarations.narrowing import Narrowing
from troth.trust.declarations.registry import Registry
from troth.trust.declarations.sharing import SharedIdentity
from troth.trust.declarations.topics.messaging import Messaging
from troth.trust.edges.evaluation import Edge
from troth.trust.topics.evaluation import TopicGrant
from troth.world.facts.objects import (
    Budget,
    Content,
    Cutoff,
    Endpoint,
    Fault,
    IdentitySecret,
    KnownAuthority,
    SigningSecret,
    Unreadable,
    Workload,
)
from troth.world.facts.owned import OwnedObject
from troth.world.keys import Key


@dataclass(frozen=True, slots=True)
class Restartable:
    """A workload that an identity lets Troth restart.

    `budget` is the PodDisruptionBudget that currently allows no disruption of its pods.
    """

    workload: Workload
    budget: Budget | None
    write_fault: Fault | None


@dataclass(frozen=True, slots=True)
class View:
    """All inputs of the plan of one identity, gathered once."""

    identity: ServiceIdentity
    governance: Governance
    shared: SharedIdentity | None
    known_authority: KnownAuthority | None
    anchors: tuple[bytes, ...]
    """The roots of `ca.crt`: its domain's own and those of federated domains."""
    own_anchors: tuple[bytes, ...]
    owned_secret: OwnedObject[IdentitySecret]
    owned_policy: OwnedObject[Content]
    services: tuple[str, ...]
    edges: tuple[Edge, ...]
    topics: tuple[TopicGrant, ...]
    """Its own grants, and the publish grants of others in policies by which it consumes."""
    keeps_schemas: bool
    """Whether a policy also accepts its previous schema, which only the document has."""
    reach: ReachableBrokers
    unread_webhooks: bool
    """Whether an unreadable endpoint may target this identity."""
    trust_turns: tuple[datetime, ...]
    reissue_wait: timedelta
    rotations: tuple[CredentialRotation, ...]
    record: TrustRecord
    deny: OwnedObject[Content]
    """NetworkPolicy that denies everything to pods that only a new selector matches."""
    signing: OwnedObject[SigningSecret]
    """Secret with the keys of this webhook gateway."""
    credentials: BrokerCredentials
    schema_files: OwnedObject[Content]
    """ConfigMap with the schemas that do not fit into the Secret."""
    schema_texts: Mapping[Ref, Texts | None]
    """Texts of schemas, by the policy of a grant in `topics`."""
    signed: bool
    """Whether a current root of the domain signed the leaf in the Secret."""
    may_restart: bool
    workloads: Mapping[tuple[str, Ref], Restartable]
    """Existing workloads that the identity lets Troth restart, by kind and name."""
    secret_barred: bool
    """Whether the Secret cannot be kept as declared until a person acts."""
    unapplied: Narrowing
    """Narrowing that closes edges until it is in the Secret."""
    gateways: Mapping[Ref, SigningSecret]
    """Secrets with the keys of the gateways that this identity accepts."""
    targets: Mapping[Ref, IdentitySecret]
    """Secrets of the identities that this webhook gateway may call."""
    ending: frozenset[str]
    """Namespaces of callees that are being deleted."""
    cutoff: Cutoff | None
    """Oldest identity of the namespace that the issuer configuration has no room for."""
    api_endpoints: frozenset[Endpoint]
    own_namespace: str
    registry: Registry
    messaging: Messaging
    """Declarations, for the rules of `troth.trust`."""
    moment: Moment
    errors: tuple[Exception, ...]
    """Errors of reading it; what could not be read opens the least."""
    foreign_errors: tuple[Exception, ...]
    """Errors of judging edges that only peers declare."""

    @property
    def secret(self) -> IdentitySecret | None:
        """The identity's Secret, with any owner."""
        return self.owned_secret.fact

    @property
    def policy(self) -> Content | None:
        """The identity's NetworkPolicy, with any owner."""
        return self.owned_policy.fact

    @property
    def domain(self) -> TrustDomain | None:
        """The governing trust domain."""
        return self.governance.domain

    @property
    def certificate(self) -> Certificate | None:
        """The declared certificate, None if the authentication pattern has none."""
        return self.identity.spec.authentication.certificate

    @property
    def gateway_only(self) -> GatewayOnly | None:
        """The declared gateway-only trust, None for another authentication pattern."""
        return self.identity.spec.authentication.gateway_only

    def kept_from(self, child: IdentitySecret | Content | None) -> str:
        """Return the resource version that a write of an owned object requires.

        It is set if the object keeps parts whose state is unknown now, and empty if everything in
        it follows from what is declared.
        """
        suspended = any(edge.state is EdgeState.SUSPENDED for edge in self.edges)
        suspended |= any(grant.state is GrantState.SUSPENDED for grant in self.topics)
        unsettled = suspended or self.reach.unsettled or self.unread_webhooks or self.keeps_schemas
        kept = unsettled or self.domain is None or self.shared is not None
        return child.resource_version if child is not None and kept else ""


@dataclass(frozen=True, slots=True)
class TerminatingView:
    """All inputs of the plan of an identity that is being deleted."""

    identity: ServiceIdentity
    governance: Governance
    secret: OwnedObject[IdentitySecret]
    policy: OwnedObject[Content]
    moment: Moment


@dataclass(frozen=True, slots=True)
class IdentityView:
    """What is known of the ServiceIdentity of a key.

    `since` is when its gateway-only trust was first accepted. `terminating` are the inputs of its
    plan if it is being deleted, and `readable` otherwise; both are None if it does not exist,
    cannot be read, or its namespace is being deleted.
    """

    key: Key
    unreadable: Unreadable | None
    identity: ServiceIdentity | None
    record: TrustRecord
    since: datetime | None
    terminating: TerminatingView | None
    readable: View | None
    moment: Moment
