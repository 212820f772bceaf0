"""Where a `ServiceIdentity` stands: its certificate, and its edges with peers."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from troth.resources.conditions import Conditions
from troth.resources.rotation.spec import CredentialPhase
from troth.resources.schema.lists import ATOMIC
from troth.resources.schema.model import Model
from troth.resources.schema.scalars import Time

MOST_BROKERS = 64


class CertificateStatus(Model):
    """The certificate in the Secret."""

    fingerprint: Annotated[str, StringConstraints(max_length=64)]
    """The first 16 hexadecimal digits of the certificate's SHA-256."""
    serial: Annotated[str, StringConstraints(max_length=40)]
    """The serial number in hexadecimal digits."""
    not_after: Time
    """When it expires."""
    renew_at: Time
    """When it is renewed."""
    authority: Annotated[str, StringConstraints(max_length=64)]
    """The fingerprint of the authority that signed it, shortened alike."""


class Direction(StrEnum):
    """On which side of an edge the identity stands."""

    INBOUND = "Inbound"
    OUTBOUND = "Outbound"


class EdgeState(StrEnum):
    """Whether an edge is open, and what it waits for."""

    LIVE = "Live"
    AWAITING_CALLER = "AwaitingCaller"
    AWAITING_CALLEE = "AwaitingCallee"
    REFUSED = "Refused"
    SUSPENDED = "Suspended"


class EdgeStatus(Model):
    """One declared relation with a peer."""

    peer: Annotated[str, StringConstraints(max_length=320)]
    """The peer as namespace/name; for a peer without an identity, what describes it."""
    direction: Direction
    """Inbound: the peer calls. Outbound: the peer is called."""
    ports: Annotated[tuple[str, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """The callee's ports that this holds for."""
    state: EdgeState
    """Live; AwaitingCaller or AwaitingCallee, when that side has not declared it; Refused; or
    Suspended: what was open stays open and nothing opens until a conflict is mended."""
    reason: Annotated[str, StringConstraints(max_length=64)] | None = None
    """Why it is not live, in one CamelCase word."""
    message: Annotated[str, StringConstraints(max_length=1024)] | None = None
    """What to change for it to become live."""


class BrokerCredentialStatus(Model):
    """The credential at one broker."""

    broker: Annotated[str, StringConstraints(max_length=320)]
    """The MessageBroker as namespace/name."""
    principal: Annotated[str, StringConstraints(max_length=384)]
    """What the identity is called there."""
    secret: Annotated[str, StringConstraints(max_length=253)]
    """The Secret with the credential, in the identity's namespace."""
    made_at: Time | None = None
    """When the credential in use was made."""
    phase: CredentialPhase = CredentialPhase.IDLE
    """Where its rotation stands. Idle; Prepared: the next credential is made and the broker is told
    of it. Overlapping: it is in use, and the old one is still good. Retiring: the old one is being
    revoked."""


class ServiceIdentityStatus(Model):
    """Where an identity stands."""

    observed_generation: int | None = None
    """The generation of the spec that was last acted on."""
    spiffe_id: Annotated[str, StringConstraints(max_length=2048)] | None = None
    """The workload's SPIFFE ID."""
    certificate: CertificateStatus | None = None
    """The certificate in the Secret."""
    edges: Annotated[tuple[EdgeStatus, ...], Field(max_length=1024, json_schema_extra=ATOMIC)] = ()
    """Every declared relation with a peer, and its state."""
    brokers: Annotated[
        tuple[BrokerCredentialStatus, ...],
        Field(max_length=MOST_BROKERS, json_schema_extra=ATOMIC),
    ] = ()
    """The credential at each broker where it may take part in messages; the first 64."""
    conditions: Conditions = ()
    """Ready, CertificateIssued, NetworkEnforced, PeersAgree, Reconciling, Stalled; RolledOut where
    onRotation is declared, TokensAccepted where tokens are, CredentialsIssued where brokers are
    used."""
