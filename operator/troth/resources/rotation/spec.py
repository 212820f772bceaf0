"""Spec and status of `CredentialRotation`: the rotation of another resource's credential."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from troth.resources.conditions import Conditions
from troth.resources.metadata import Resource
from troth.resources.references import Ref
from troth.resources.rotation.blockers import Blockers
from troth.resources.rotation.windows import CronExpression, TimeZone
from troth.resources.schema.lists import ATOMIC
from troth.resources.schema.model import Model, Observed
from troth.resources.schema.rules import Immutable, Rule
from troth.resources.schema.scalars import Duration, Moment, Name, Time, duration_between


class TargetKind(StrEnum):
    """Kinds whose credentials Troth can rotate."""

    SERVICE_IDENTITY = "ServiceIdentity"
    TRUST_DOMAIN = "TrustDomain"
    MESSAGE_BROKER = "MessageBroker"
    WEBHOOK_ENDPOINT = "WebhookEndpoint"


class Target(Model):
    """Resource whose credential is rotated."""

    kind: TargetKind
    """Kind of the resource. ServiceIdentity: its key and certificate, and its credentials at
    brokers. MessageBroker: the password with which Troth administers it. WebhookEndpoint: the
    secret that Troth created, never one that the sender issues. TrustDomain: its root, or the CA
    that you provide, and the key that signs its tokens; only in Troth's own namespace."""
    name: Name
    """Name of the resource. It is in this namespace, except for a TrustDomain."""


class Window(Model):
    """Window in which a scheduled rotation may begin."""

    cron: CronExpression
    """Cron expression for the start of the window: minute, hour, day of month, month and day of
    week."""
    duration: Annotated[Duration, duration_between("1m", "168h")]
    """Length of the window."""
    time_zone: TimeZone = "UTC"
    """Time zone of the expression, such as Europe/Berlin. Default UTC."""


class CredentialRotationSpec(Model):
    """Desired rotation of a credential."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.compromised) || self.target.kind == 'TrustDomain'",
            message="only a root or a token key can be declared compromised; to replace the key of "
            "a ServiceIdentity at once, set requestedAt",
            holds=lambda spec: (
                spec.compromised is None or spec.target.kind is TargetKind.TRUST_DOMAIN
            ),
        ),
        Rule(
            cel="!has(self.windows) || size(self.windows) == 0 || has(self.every)",
            message="set every with windows; a window only limits when a scheduled rotation may "
            "begin",
            holds=lambda spec: not spec.windows or spec.every is not None,
        ),
    )

    target: Annotated[
        Target, Immutable("target cannot change; create a new CredentialRotation instead")
    ]
    """Resource whose credential is rotated. Immutable."""
    every: Annotated[Duration, duration_between("5m", "87600h")] | None = None
    """Maximum age of the credential. Without it, Troth rotates only when the credential's own
    lifetime or requestedAt requires it."""
    windows: Annotated[tuple[Window, ...], Field(max_length=4, json_schema_extra=ATOMIC)] = ()
    """Windows in which a rotation that `every` requires may begin. Defaults to any time. A
    credential that would expire and a requested rotation wait for no window."""
    overlap: Annotated[Duration, duration_between("0s", "2160h")] = timedelta(0)
    """Minimum time for which the old credential stays valid beside the new one, beyond what the
    rotation itself needs. Default 0s. A certificate is renewed this long before it expires. An old
    root is kept this long."""
    requested_at: Moment | None = None
    """Time of a requested rotation. Once it has come, Troth replaces a credential that was created
    before it."""
    compromised: (
        Annotated[
            str,
            StringConstraints(max_length=64),
            Rule(
                cel="self.matches('^[0-9a-f]{16}([0-9a-f]{48})?$')",
                message="write the fingerprint of the root or token key from status.authorities or "
                "status.tokenKeys of its TrustDomain, 16 hexadecimal digits",
                holds=lambda text: len(text) in (16, 64) and set(text) <= set("0123456789abcdef"),
            ),
        ]
        | None
    ) = None
    """Fingerprint of a compromised root or token signing key. Troth removes it without waiting for
    anybody. Workloads that still hold its certificates or tokens are rejected until they have new
    ones."""


class CredentialPhase(StrEnum):
    """Phase of a rotation."""

    IDLE = "Idle"
    PREPARED = "Prepared"
    OVERLAPPING = "Overlapping"
    RETIRING = "Retiring"


class CredentialRotationStatus(Observed):
    """Observed state of a rotation."""

    observed_generation: int | None = None
    """Generation of the spec that Troth last reconciled, -1 before the first time."""
    phase: CredentialPhase = CredentialPhase.IDLE
    """Phase of the rotation. Idle: no rotation. Prepared: the new credential is created and
    distributed to its verifiers. Overlapping: it is in use, and the old one is still valid.
    Retiring: the old one is about to be removed."""
    blockers: Blockers = ()
    """Requirements for the next phase, one sentence each. At most the first 16."""
    last_rotated: Time | None = None
    """Time at which the credential in use was created."""
    next_rotation: Time | None = None
    """Time at which the next rotation begins, if nothing requires an earlier one."""
    conditions: Conditions = ()
    """Conditions of the rotation: Ready, Reconciling and Stalled."""


class CredentialRotation(Resource):
    """Rotation of the credential of another resource."""

    kind: Literal["CredentialRotation"] = "CredentialRotation"
    spec: CredentialRotationSpec
    status: CredentialRotationStatus = CredentialRotationStatus()

    @property
    def ref(self) -> Ref:
        """Namespace and name of the rotation."""
        return Ref(self.metadata.namespace or "default", self.metadata.name)

    @property
    def target(self) -> Ref:
        """Namespace and name of the resource whose credential is rotated."""
        named = self.spec.target
        here = self.ref.namespace if named.kind is not TargetKind.TRUST_DOMAIN else ""
        return Ref(here, named.name)
