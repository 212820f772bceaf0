"""Status of `TrustDomain`: its roots, its token signing keys, and their rotation."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from troth.resources.conditions import Conditions
from troth.resources.reported import Findings
from troth.resources.rotation.blockers import Blockers
from troth.resources.schema.lists import ATOMIC, keyed_by
from troth.resources.schema.model import Observed
from troth.resources.schema.scalars import Time

SPEC_LIMIT = 64 * 1024
"""Maximum characters of the spec that a status keeps."""
NAMESPACES = 256
"""Maximum number of watched namespaces that a status names."""


class Isolation(StrEnum):
    """Pods of the governed namespaces that Troth isolates."""

    NAMESPACE = "Namespace"
    WORKLOAD = "Workload"


class AuthorityState(StrEnum):
    """Use of a root or of a key that signs tokens."""

    PREPARED = "Prepared"
    ACTIVE = "Active"
    RETIRING = "Retiring"


class RotationPhase(StrEnum):
    """Phase of the rotation of a root or a token signing key."""

    IDLE = "Idle"
    PREPARING = "Preparing"
    DISTRIBUTING = "Distributing"
    ACTIVATING = "Activating"
    REISSUING = "Reissuing"
    RETIRING = "Retiring"


class RotationStatus(Observed):
    """Phase of a rotation, and what it waits for."""

    phase: RotationPhase = RotationPhase.IDLE
    """Phase of the rotation. Preparing: Troth creates a new root. Distributing: Troth adds it to
    every bundle. Activating: it begins to sign. Reissuing: Troth replaces the leaves of the old
    root. Retiring: Troth is about to remove the old root."""
    blockers: Blockers = ()
    """Requirements for the next phase, one sentence each. At most the first 16."""


class TokenRotationStatus(RotationStatus):
    """Phase of the rotation of the key that signs tokens, and what it waits for."""

    phase: RotationPhase = RotationPhase.IDLE
    """Phase of the rotation. Preparing: Troth creates a new key. Distributing: Troth adds it to
    every bundle. Activating: it begins to sign. Retiring: Troth is about to remove the old key from
    the bundles. There is no phase Reissuing, because tokens expire by themselves."""


class AuthorityStatus(Observed):
    """Root or intermediate of the domain."""

    fingerprint: Annotated[str, StringConstraints(max_length=64)]
    """First 16 hexadecimal digits of the certificate's SHA-256."""
    state: AuthorityState
    """Use of the certificate. Prepared: trusted, signs nothing yet. Active: signs new leaves.
    Retiring: still trusted."""
    not_after: Time
    """Time at which the certificate expires."""


class TokenKeyStatus(Observed):
    """Key that signs tokens."""

    fingerprint: Annotated[str, StringConstraints(max_length=64)]
    """First 16 hexadecimal digits of the SHA-256 that is the key ID (RFC 7638)."""
    state: AuthorityState
    """Use of the key. Prepared: published, signs nothing yet. Active: signs tokens. Retiring: still
    published."""


class RetiredStatus(Observed):
    """Retired root or token key that still verifies events."""

    fingerprint: Annotated[str, StringConstraints(max_length=64)]
    """First 16 hexadecimal digits of its fingerprint, as while it was in use."""
    retired_at: Time
    """Time at which it left the trust bundle. It verifies events until the longest maxAge of a
    TopicPolicy in the trust domain has passed since then, at least 168h."""


class TrustDomainStatus(Observed):
    """Observed state of a trust domain."""

    observed_generation: int | None = None
    """Generation of the spec that Troth last reconciled, -1 before the first time."""
    readable_spec: Annotated[str, StringConstraints(max_length=SPEC_LIMIT)] | None = None
    """Last spec that Troth could read, as JSON without defaults. Troth follows it while the current
    spec cannot be read. Empty if it is longer than 64 KiB."""
    isolation: Isolation | None = None
    """Isolation in force. A TrustDomain without spec.isolation keeps it."""
    authorities: Annotated[
        tuple[AuthorityStatus, ...],
        Field(max_length=8, json_schema_extra=keyed_by("fingerprint")),
    ] = ()
    """Roots or intermediates in use."""
    rotation: RotationStatus = RotationStatus()
    """Rotation of the root."""
    token_keys: Annotated[
        tuple[TokenKeyStatus, ...],
        Field(max_length=8, json_schema_extra=keyed_by("fingerprint")),
    ] = ()
    """Keys in use that sign tokens."""
    retired_authorities: Annotated[
        tuple[RetiredStatus, ...],
        Field(max_length=64, json_schema_extra=keyed_by("fingerprint")),
    ] = ()
    """Retired roots or intermediates that still verify events. If one is compromised, declare its
    fingerprint in a CredentialRotation."""
    retired_token_keys: Annotated[
        tuple[RetiredStatus, ...],
        Field(max_length=128, json_schema_extra=keyed_by("fingerprint")),
    ] = ()
    """Retired token keys that still verify the tokens in events."""
    token_rotation: TokenRotationStatus = TokenRotationStatus()
    """Rotation of the key that signs tokens."""
    watched_namespaces: Annotated[
        tuple[Annotated[str, StringConstraints(max_length=63)], ...],
        Field(max_length=NAMESPACES, json_schema_extra=ATOMIC),
    ] = ()
    """Namespaces that Troth watches, with its own; the first 256. Empty if it watches all."""
    findings: Findings = ()
    """Findings of the auditor about the resource, at most the first 32."""
    conditions: Conditions = ()
    """Conditions of the domain: Ready, AuthorityReady, BundleDistributed, Reconciling and Stalled.
    TokensReady if the domain issues tokens, NamespacesIsolated if it isolates namespaces, and
    NamespacesWatched if the operator watches only some namespaces."""
