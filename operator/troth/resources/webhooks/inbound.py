"""Inbound webhook: its signatures, its limits and its target."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field

from troth.resources.references import LocalReference, Reference
from troth.resources.schema.lists import SET
from troth.resources.schema.model import Model
from troth.resources.schema.rules import Rule
from troth.resources.schema.scalars import (
    CIDR,
    Duration,
    Moment,
    Name,
    Owner,
    PortName,
    Sentence,
    duration_between,
    is_duration,
    whole,
)
from troth.resources.webhooks.names import (
    BodySize,
    CertificateSAN,
    CertificatesPEM,
    HeaderName,
    PublicURL,
    SignatureComponent,
    SignaturePrefix,
    SignedText,
    TargetPath,
    TopicARN,
    is_size,
    size_in_bytes,
)
from troth.resources.webhooks.schemes import ISSUED_BY_SENDER, LONGEST_BODY, SchemeName

UNSIGNED_LIMIT = timedelta(days=90)
"""Maximum time until the end of `acceptUnsigned`."""
TOLERANCE = timedelta(minutes=5)
PADDLE_TOLERANCE = timedelta(seconds=5)
"""Maximum age of a delivery in Paddle's own libraries."""


class ClientCertificate(Model):
    """Client certificate that the sender must present in TLS."""

    sans: Annotated[tuple[CertificateSAN, ...], Field(min_length=1, max_length=16), SET]
    """Subject alternative names, as URI:… or DNS:…. The certificate must have one of them."""
    ca_bundle: CertificatesPEM
    """Roots of the certificate, as PEM."""


class Source(Model):
    """Origin of deliveries.

    It narrows the accepted requests, and proves nothing about a delivery.
    """

    cidrs: Annotated[tuple[CIDR, ...], Field(max_length=64), SET] = ()
    """Networks of the sender, as CIDRs."""
    client_certificate: ClientCertificate | None = None
    """Client certificate that the sender must present in TLS."""


class WebhookTarget(Model):
    """Workload that receives the verified deliveries."""

    identity: LocalReference
    """ServiceIdentity of the target, in this namespace. It must accept the gateway, and no other
    caller on the same port."""
    port: PortName
    """Name of the target's port."""
    path: TargetPath
    """Path at the target."""
    workflow: Name
    """Workflow that the target runs for a delivery. The gateway sends its name in the context of
    each delivery."""


class Limits(Model):
    """Limits on the deliveries of the sender."""

    body: BodySize = "256Ki"
    """Maximum size of a delivery's body, in bytes, Ki or Mi. Default 256Ki. At most 16Mi, for SNS
    1Mi, for Twilio 256Ki."""
    requests_per_second: Annotated[
        int, Field(ge=1, le=100_000, strict=True), BeforeValidator(whole)
    ] = 50
    """Maximum number of verified deliveries a second at each replica of the gateway, divided among
    its workers. A burst may have as many, and at least one at each worker. Default 50."""

    @property
    def bytes(self) -> int:
        """Maximum size of a body in bytes."""
        return size_in_bytes(self.body)


class Digest(StrEnum):
    """Hash function of an HMAC."""

    SHA256 = "SHA256"
    SHA512 = "SHA512"
    SHA1 = "SHA1"


class Encoding(StrEnum):
    """Encoding of a signature."""

    HEX = "Hex"
    BASE64 = "Base64"


def _named_with(part: str, header: str) -> Rule:
    field = header.replace("H", "_h")
    return Rule(
        cel=f"!self.signed.contains('{part}') || has(self.{header})",
        message=f"set {header}; it is the header with the value of {part}",
        holds=lambda it: part not in it.signed or getattr(it, field) is not None,
    )


def _apart(one: str, other: str) -> Rule:
    fields = tuple(each.replace("H", "_h") for each in (one, other))

    def holds(it: Model) -> bool:
        first, second = (getattr(it, field) for field in fields)
        return first is None or second is None or first.lower() != second.lower()

    return Rule(
        cel=f"!has(self.{one}) || !has(self.{other}) || "
        f"self.{one}.lowerAscii() != self.{other}.lowerAscii()",
        message=f"choose another header for {other}; {one} has the same",
        holds=holds,
    )


class DescribedHMAC(Model):
    """HMAC signature without a named scheme."""

    rules: ClassVar[tuple[Rule, ...]] = (
        _named_with("{timestamp}", "timestampHeader"),
        _named_with("{id}", "idHeader"),
        Rule(
            cel="!has(self.timestampHeader) || self.signed.contains('{timestamp}')",
            message="add {timestamp} to signed; an unsigned timestamp proves nothing",
            holds=lambda it: it.timestamp_header is None or "{timestamp}" in it.signed,
        ),
        _apart("header", "timestampHeader"),
        _apart("header", "idHeader"),
        _apart("timestampHeader", "idHeader"),
    )

    header: HeaderName
    """Header with the signature."""
    prefix: SignaturePrefix = ""
    """Text before the signature in that header, such as sha256=. Default none."""
    signed: SignedText = "{body}"
    """Template of the signed content: {body} at the end, and before it any of {timestamp}, {id},
    {method} and {url}, with text between them. Default {body}."""
    digest: Digest = Digest.SHA256
    """Hash function of the HMAC. Default SHA256."""
    encoding: Encoding = Encoding.HEX
    """Encoding of the signature. Default Hex."""
    timestamp_header: HeaderName | None = None
    """Header with the value of {timestamp}, in seconds since 1970."""
    id_header: HeaderName | None = None
    """Header with the value of {id}, the delivery's ID."""


class SNSTopics(Model):
    """SNS topics that may send. A signature of SNS proves only that AWS is the sender."""

    topic_arns: Annotated[tuple[TopicARN, ...], Field(min_length=1, max_length=16), SET]
    """ARNs of the topics."""


class SignatureComponents(Model):
    """Components that an HTTP message signature must cover."""

    components: Annotated[tuple[SignatureComponent, ...], Field(min_length=1, max_length=16), SET]
    """Components that a signature must cover in addition to the method, the target, the digest of
    the content and the creation time."""


class AcceptUnsigned(Model):
    """Acceptance of unsigned deliveries until a date."""

    reason: Sentence
    """Reason why nothing stronger is possible yet."""
    owner: Owner
    """Person or team that is responsible for this acceptance."""
    expires_at: Moment
    """Time at which the acceptance ends, at most 90 days ahead. From then on, the gateway rejects
    every delivery."""

    @property
    def counts_from(self) -> datetime:
        """Time from which the end is near enough to be accepted."""
        return self.expires_at - UNSIGNED_LIMIT


def _only_with(field: str, scheme: SchemeName, message: str, attribute: str) -> Rule:
    return Rule(
        cel=f"(has(self.scheme) && self.scheme == '{scheme}') == has(self.{field})",
        message=message,
        holds=lambda it: (it.scheme is scheme) == (getattr(it, attribute) is not None),
    )


def _body_at_most(scheme: SchemeName, size: str) -> Rule:
    return Rule(
        cel=f"!has(self.scheme) || self.scheme != '{scheme}' || !has(self.limits) || "
        f"!has(self.limits.body) || !{is_size('self.limits.body')} || "
        f"quantity(self.limits.body).compareTo(quantity('{size}')) <= 0",
        message=f"set limits.body to at most {size}; the gateway parses a body of {scheme} before "
        "it verifies it",
        holds=lambda it: it.scheme is not scheme or it.limits.bytes <= size_in_bytes(size),
    )


def _window_fits(inbound: "Inbound") -> bool:
    return inbound.replay_window >= 2 * inbound.tolerated


_ISSUED = ", ".join(f"'{each}'" for each in SchemeName if each in ISSUED_BY_SENDER)


class Inbound(Model):
    """Inbound webhook; the gateway forwards only verified deliveries."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.scheme) || has(self.source)",
            message="set scheme to the sender's signature scheme, such as StandardWebhooks",
            holds=lambda it: it.scheme is not None or it.source is not None,
        ),
        Rule(
            cel="has(self.scheme) || !has(self.source)",
            message="an address is not an identity; set scheme to the sender's signature scheme as "
            "well",
            holds=lambda it: it.scheme is not None or it.source is None,
        ),
        Rule(
            cel=f"!has(self.scheme) || !(self.scheme in [{_ISSUED}]) || has(self.secretRef)",
            message="set secretRef to a Secret with the sender's secret; in this scheme the sender "
            "issues it",
            holds=lambda it: it.scheme not in ISSUED_BY_SENDER or it.secret_ref is not None,
        ),
        _only_with(
            "acceptUnsigned",
            SchemeName.GITLAB_TOKEN,
            "set acceptUnsigned, with owner, reason and expiresAt, if and only if the scheme is "
            "GitLabToken, which signs nothing",
            "accept_unsigned",
        ),
        _only_with(
            "hmac",
            SchemeName.HMAC,
            "set hmac, how the sender signs, if and only if the scheme is HMAC",
            "hmac",
        ),
        _only_with(
            "sns",
            SchemeName.SNS,
            "set sns, the topics that may send, if and only if the scheme is SNS; AWS signs for "
            "everybody's topics",
            "sns",
        ),
        Rule(
            cel="!has(self.httpSignatures) || "
            f"(has(self.scheme) && self.scheme == '{SchemeName.HTTP_SIGNATURES}')",
            message="remove httpSignatures; only the scheme HTTPSignatures uses it",
            holds=lambda it: it.http_signatures is None or it.scheme is SchemeName.HTTP_SIGNATURES,
        ),
        *(_body_at_most(scheme, size) for scheme, size in LONGEST_BODY.items()),
        Rule(
            cel=f"!{is_duration('self.replayWindow')} || (has(self.tolerance) ? "
            f"(!{is_duration('self.tolerance')} || duration(self.replayWindow) >= "
            "duration(self.tolerance) + duration(self.tolerance)) : "
            f"duration(self.replayWindow) >= duration(has(self.scheme) && "
            f"self.scheme == '{SchemeName.PADDLE}' ? '10s' : '10m'))",
            message="make replayWindow at least twice the tolerance (default 5m, for Paddle 5s); a "
            "timestamp is accepted for that long, past and future",
            holds=_window_fits,
        ),
    )

    scheme: SchemeName | None = None
    """Signature scheme of the sender."""
    secret_ref: LocalReference | None = None
    """Secret in this namespace with the sender's keys, each in an entry named by its ID. The
    gateway tries all of them. The Secret must have the label troth.dev/webhook-keys. If left out,
    Troth creates a Secret for a scheme whose secret the receiver chooses. SNS needs none."""
    tolerance: Annotated[Duration, duration_between("1s", "1h")] | None = None
    """Maximum age of a delivery's timestamp, past or future. Default 5m, for Paddle 5s."""
    replay_window: Annotated[Duration, duration_between("2s", "720h")] = timedelta(hours=24)
    """Time for which the gateway remembers a delivery and forwards no copy of it. Default 24h."""
    source: Source | None = None
    """Origin of deliveries. It is never sufficient without scheme."""
    public_url: PublicURL
    """URL that the sender uses. Some schemes sign it. The gateway always serves the endpoint at the
    path /namespace/name, whatever this field says."""
    gateway: Reference = Reference(name="troth-gateway", namespace="troth-gateway")
    """ServiceIdentity of the gateway that verifies deliveries. Defaults to troth-gateway in the
    namespace troth-gateway."""
    target: WebhookTarget
    """Workload that receives the verified deliveries."""
    limits: Limits = Limits()
    """Limits on the deliveries of the sender."""
    hmac: DescribedHMAC | None = None
    """Signature of the sender, for the scheme HMAC."""
    sns: SNSTopics | None = None
    """SNS topics that may send, for the scheme SNS."""
    http_signatures: SignatureComponents | None = None
    """Components that a signature must cover, for the scheme HTTPSignatures."""
    accept_unsigned: AcceptUnsigned | None = None
    """Acceptance of unsigned deliveries until a date, for the scheme GitLabToken."""

    @property
    def tolerated(self) -> timedelta:
        """Timestamp tolerance, with the default of the scheme."""
        if self.tolerance is not None:
            return self.tolerance
        return PADDLE_TOLERANCE if self.scheme is SchemeName.PADDLE else TOLERANCE
