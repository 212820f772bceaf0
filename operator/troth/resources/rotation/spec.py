"""`CredentialRotation`: when the credential of another resource is replaced, and "now"."""

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
from troth.resources.schema.model import Model
from troth.resources.schema.rules import Immutable, Rule
from troth.resources.schema.scalars import Duration, Moment, Name, Time, duration_between


class TargetKind(StrEnum):
    """The kinds whose credentials can be rotated."""

    SERVICE_IDENTITY = "ServiceIdentity"
    TRUST_DOMAIN = "TrustDomain"
    MESSAGE_BROKER = "MessageBroker"
    WEBHOOK_ENDPOINT = "WebhookEndpoint"


class Target(Model):
    """The resource whose credential is rotated."""

    kind: TargetKind
    """ServiceIdentity: its key and certificate, and its credentials at brokers. MessageBroker: the
    password with which Troth administers it. WebhookEndpoint: the secret that Troth has made, never
    one that the sender issues. TrustDomain: its root, or the given CA, and the key that signs its
    tokens; only from Troth's own namespace."""
    name: Name
    """The resource's name; all but a TrustDomain are in this namespace."""


class Window(Model):
    """When a scheduled rotation may begin."""

    cron: CronExpression
    """When the window opens, as minute, hour, day of month, month and day of week."""
    duration: Annotated[Duration, duration_between("1m", "168h")]
    """How long it stays open."""
    time_zone: TimeZone = "UTC"
    """The time zone of the expression, such as Europe/Berlin."""


class CredentialRotationSpec(Model):
    """What is rotated, and when."""

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
            message="write every beside windows; a window only says when a scheduled rotation may "
            "begin",
            holds=lambda spec: not spec.windows or spec.every is not None,
        ),
    )

    target: Annotated[
        Target, Immutable("target cannot change; create a new CredentialRotation instead")
    ]
    """Whose credential; immutable."""
    every: Annotated[Duration, duration_between("5m", "87600h")] | None = None
    """How old the credential may become. Without it, only what its own lifetime and requestedAt
    ask for is done."""
    windows: Annotated[tuple[Window, ...], Field(max_length=4, json_schema_extra=ATOMIC)] = ()
    """When a rotation that `every` asks for may begin; at any time if left out. A credential that
    would expire, and a requested rotation, wait for no window."""
    overlap: Annotated[Duration, duration_between("0s", "2160h")] = timedelta(0)
    """How long the old credential stays good beside the new one at least, beyond what the rotation
    itself needs. A certificate is renewed so long before its end; an old root is kept so long."""
    requested_at: Moment | None = None
    """Rotate now: a credential made before this moment is replaced as soon as it has come."""
    compromised: (
        Annotated[
            str,
            StringConstraints(max_length=64),
            Rule(
                cel="self.matches('^[0-9a-f]{16}([0-9a-f]{48})?$')",
                message="write the fingerprint of the root or token key as status.authorities or "
                "status.tokenKeys of its TrustDomain shows it, 16 hexadecimal digits",
                holds=lambda text: len(text) in (16, 64) and set(text) <= set("0123456789abcdef"),
            ),
        ]
        | None
    ) = None
    """The fingerprint of a root, or of a key that signs tokens, which is no longer only Troth's. It
    is dropped without waiting for anybody; whoever still holds its certificates or tokens is
    refused until it has new ones."""


class CredentialPhase(StrEnum):
    """Where a rotation stands."""

    IDLE = "Idle"
    PREPARED = "Prepared"
    OVERLAPPING = "Overlapping"
    RETIRING = "Retiring"


class CredentialRotationStatus(Model):
    """Where a rotation stands, and when the next is due."""

    observed_generation: int | None = None
    """The generation of the spec that was last acted on."""
    phase: CredentialPhase = CredentialPhase.IDLE
    """Idle; Prepared: the new credential is made and reaches those who verify it. Overlapping: it
    is in use, and the old one is still good. Retiring: the old one is about to be dropped."""
    blockers: Blockers = ()
    """What must happen before the next phase, in sentences; the first 16."""
    last_rotated: Time | None = None
    """When the credential in use was made."""
    next_rotation: Time | None = None
    """When the next rotation begins, if nothing else asks for one earlier."""
    conditions: Conditions = ()
    """Ready, Reconciling, Stalled."""


class CredentialRotation(Resource):
    """When the credential of another resource is replaced."""

    kind: Literal["CredentialRotation"] = "CredentialRotation"
    spec: CredentialRotationSpec
    status: CredentialRotationStatus = CredentialRotationStatus()

    @property
    def ref(self) -> Ref:
        """Where the rotation is declared."""
        return Ref(self.metadata.namespace or "default", self.metadata.name)

    @property
    def target(self) -> Ref:
        """Where the resource is whose credential is rotated."""
        named = self.spec.target
        here = self.ref.namespace if named.kind is not TargetKind.TRUST_DOMAIN else ""
        return Ref(here, named.name)
