"""Status of `ServiceIdentity`: its certificate, its edges and its broker credentials."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from troth.resources.conditions import Conditions
from troth.resources.reported import Findings, Proofs, Traffic
from troth.resources.rotation.spec import CredentialPhase
from troth.resources.schema.lists import ATOMIC, keyed_by
from troth.resources.schema.model import Observed
from troth.resources.schema.scalars import Time
from troth.resources.schema.sharing import shared

MOST_BROKERS = 64


class CertificateStatus(Observed):
    """Certificate in the Secret."""

    fingerprint: Annotated[str, StringConstraints(max_length=64)]
    """First 16 hexadecimal digits of the certificate's SHA-256."""
    serial: Annotated[str, StringConstraints(max_length=40)]
    """Serial number in hexadecimal digits."""
    not_after: Time
    """Time at which the certificate expires."""
    renew_at: Time
    """Time at which Troth renews the certificate."""
    authority: Annotated[str, StringConstraints(max_length=64)]
    """Fingerprint of the root or intermediate that signed the certificate, shortened in the same
    way."""


class Direction(StrEnum):
    """Direction of an edge, as seen from the identity."""

    INBOUND = "Inbound"
    OUTBOUND = "Outbound"


class EdgeState(StrEnum):
    """State of an edge: whether it is open, and what it waits for."""

    LIVE = "Live"
    AWAITING_CALLER = "AwaitingCaller"
    AWAITING_CALLEE = "AwaitingCallee"
    REFUSED = "Refused"
    SUSPENDED = "Suspended"


class EdgeStatus(Observed):
    """Declared edge with a peer."""

    peer: Annotated[str, StringConstraints(max_length=320)]
    """Peer as namespace/name. For a peer without an identity, its description."""
    direction: Direction
    """Direction of the edge. Inbound: the peer calls. Outbound: the peer is called."""
    ports: Annotated[tuple[str, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """Ports of the callee that the edge covers."""
    state: EdgeState
    """State of the edge. Live: open. AwaitingCaller or AwaitingCallee: that side has not declared
    it. Refused: declared, but not allowed. Suspended: open ports stay open and no others open until
    a conflict is resolved."""
    reason: Annotated[str, StringConstraints(max_length=64)] | None = None
    """CamelCase reason why the edge is not live."""
    message: Annotated[str, StringConstraints(max_length=1024)] | None = None
    """Change that is needed for the edge to become live."""


class BrokerCredentialStatus(Observed):
    """Credential at one broker."""

    broker: Annotated[str, StringConstraints(max_length=320)]
    """MessageBroker as namespace/name."""
    principal: Annotated[str, StringConstraints(max_length=384)]
    """Principal of the identity at the broker."""
    secret: Annotated[str, StringConstraints(max_length=253)]
    """Secret with the credential, in the identity's namespace."""
    made_at: Time | None = None
    """Time at which the credential in use was created."""
    phase: CredentialPhase = CredentialPhase.IDLE
    """Phase of the credential's rotation. Idle: no rotation. Prepared: the next credential is
    created and configured at the broker. Overlapping: it is in use, and the old one is still valid.
    Retiring: the old one is being revoked."""


class ClaimKind(StrEnum):
    """Kind of a name that only one identity may have."""

    AUDIENCE = "Audience"
    DNS_NAME = "DNSName"


class ClaimStatus(Observed):
    """Name that belongs to the identity."""

    kind: ClaimKind
    """Kind of the name. Audience: the audience of its tokens. DNSName: a DNS name that its
    certificate lists in addition to those of its Services."""
    name: Annotated[str, StringConstraints(max_length=255)]
    """The audience or the DNS name."""
    since: Time
    """Time at which Troth first accepted the claim. The oldest claim stands."""


class ServiceIdentityStatus(Observed):
    """Observed state of an identity."""

    observed_generation: int | None = None
    """Generation of the spec that Troth last reconciled, -1 before the first time."""
    spiffe_id: Annotated[str, StringConstraints(max_length=2048)] | None = None
    """SPIFFE ID of the workload."""
    certificate: CertificateStatus | None = None
    """Certificate in the Secret."""
    edges: Annotated[
        tuple[Annotated[EdgeStatus, shared()], ...],
        Field(max_length=1024, json_schema_extra=ATOMIC),
    ] = ()
    """Declared edges with peers, and their states."""
    unlisted_edges: Annotated[int, Field(ge=0)] | None = None
    """Number of edges that `edges` does not list, at most 4096. It lists at most 1024 entries of 64
    ports each. Edges that only peers declare have at most 256 KiB of them, and those that wait for
    this identity at most 64 entries. `troth status sid/NAME` also shows edges that only the
    statuses of peers list. Absent if all are listed."""
    brokers: Annotated[
        tuple[BrokerCredentialStatus, ...],
        Field(max_length=MOST_BROKERS, json_schema_extra=ATOMIC),
    ] = ()
    """Credentials at the brokers where the identity may publish or consume. At most the first
    64."""
    gateway_trusted_since: Time | None = None
    """Time at which Troth first accepted gateway-only trust of this name. A ConfigMap in Troth's
    namespace, troth-gateway-trust-<namespace>.<name>, also records it and outlives the identity."""
    claims: Annotated[
        tuple[ClaimStatus, ...],
        Field(max_length=17, json_schema_extra=keyed_by("kind", "name")),
    ] = ()
    """Names that belong to the identity. An identity that declares one of them later has a
    conflict."""
    findings: Findings = ()
    """Findings of the auditor about the resource, at most the first 32."""
    traffic: Traffic = ()
    """Connections that the auditor saw with peers, at most 64, those that would be denied first."""
    proofs: Proofs = ()
    """Results of `troth prove` for the edges of the identity."""
    conditions: Conditions = ()
    """Conditions of the identity: Ready, CertificateIssued, NetworkEnforced, PeersAgree,
    Reconciling and Stalled. RolledOut if onRotation is declared, TokensAccepted if tokens are,
    TokensIssued if the issuer has no room for its tokens, GatewayTrusted if gatewayOnly is,
    PeersVerified if unverified peers are, WebhooksSigned if servesWebhooks is, CredentialsIssued if
    brokers are used, and SchemasWritten if the schemas of messages do not fit into the Secret."""
