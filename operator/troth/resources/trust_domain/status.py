"""Where a `TrustDomain` stands: its roots, the keys that sign tokens, and their replacement."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from troth.resources.conditions import Conditions
from troth.resources.rotation.blockers import Blockers
from troth.resources.schema.model import Model
from troth.resources.schema.scalars import Time


class AuthorityState(StrEnum):
    """What a root is used for."""

    PREPARED = "Prepared"
    ACTIVE = "Active"
    RETIRING = "Retiring"


class RotationPhase(StrEnum):
    """Where the replacement of a root stands."""

    IDLE = "Idle"
    PREPARING = "Preparing"
    DISTRIBUTING = "Distributing"
    ACTIVATING = "Activating"
    REISSUING = "Reissuing"
    RETIRING = "Retiring"


class RotationStatus(Model):
    """Where the replacement of the root stands, and what it waits for."""

    phase: RotationPhase = RotationPhase.IDLE
    """Preparing: a new root is made. Distributing: it goes into every bundle. Activating: it
    begins to sign. Reissuing: leaves of the old root are replaced. Retiring: the old root is about
    to be dropped."""
    blockers: Blockers = ()
    """What must happen before the next phase, in sentences; the first 16."""


class AuthorityStatus(Model):
    """One root or intermediate of the domain."""

    fingerprint: Annotated[str, StringConstraints(max_length=64)]
    """The first 16 hexadecimal digits of the certificate's SHA-256."""
    state: AuthorityState
    """Prepared: trusted, signs nothing yet. Active: signs new leaves. Retiring: still trusted."""
    not_after: Time
    """When it expires."""


class TokenKeyStatus(Model):
    """One key of those that sign tokens."""

    fingerprint: Annotated[str, StringConstraints(max_length=64)]
    """The first 16 hexadecimal digits of the SHA-256 that is its key ID (RFC 7638)."""
    state: AuthorityState
    """Prepared: published, signs nothing yet. Active: signs tokens. Retiring: still published."""


class TrustDomainStatus(Model):
    """Where a trust domain stands."""

    observed_generation: int | None = None
    """The generation of the spec that was last acted on."""
    authorities: Annotated[
        tuple[AuthorityStatus, ...],
        Field(
            max_length=8,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["fingerprint"],
            },
        ),
    ] = ()
    """The roots or intermediates in use."""
    rotation: RotationStatus = RotationStatus()
    """The replacement of the root."""
    token_keys: Annotated[
        tuple[TokenKeyStatus, ...],
        Field(
            max_length=8,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["fingerprint"],
            },
        ),
    ] = ()
    """The keys in use that sign tokens."""
    token_rotation: RotationStatus = RotationStatus()
    """The replacement of the key that signs tokens. Reissuing does not come up: tokens end by
    themselves."""
    conditions: Conditions = ()
    """Ready, AuthorityReady, BundleDistributed, Reconciling, Stalled; TokensReady where tokens are
    issued."""
