"""A webhook that comes in: how its sender signs, what narrows it, and to whom it is handed."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field, StringConstraints

from troth.resources.references import LocalReference, Reference
from troth.resources.schema.lists import SET
from troth.resources.schema.model import Model
from troth.resources.schema.rules import Rule
from troth.resources.schema.scalars import (
    CIDR,
    Duration,
    Moment,
    Name,
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
    size_in_bytes,
)
from troth.resources.webhooks.schemes import ISSUED_BY_SENDER, SchemeName

UNSIGNED_LIMIT = timedelta(days=90)
"""How far ahead the end of taking unsigned deliveries may lie."""
TOLERANCE = timedelta(minutes=5)
PADDLE_TOLERANCE = timedelta(seconds=5)
"""How old Paddle's own libraries let a delivery be."""


class ClientCertificate(Model):
    """The certificate that the sender shows in TLS."""

    sans: Annotated[tuple[CertificateSAN, ...], Field(min_length=1, max_length=16), SET]
    """The certificate's names, one of which it must have, as URI:… or DNS:…"""
    ca_bundle: CertificatesPEM
    """The roots that vouch for it, as PEM."""


class Source(Model):
    """Where deliveries come from. It narrows, and proves nothing of a delivery."""

    cidrs: Annotated[tuple[CIDR, ...], Field(max_length=64), SET] = ()
    """The networks of the sender."""
    client_certificate: ClientCertificate | None = None
    """The certificate that the sender shows in TLS."""


class WebhookTarget(Model):
    """Who is given what was verified."""

    identity: LocalReference
    """The ServiceIdentity, of this namespace. It accepts the gateway, and nobody else on that
    port."""
    port: PortName
    """The name of its port."""
    path: TargetPath
    """The path there."""
    workflow: Name
    """What the target does with it, as the context says that is handed over with a delivery."""


class Limits(Model):
    """What is taken of the sender."""

    body: BodySize = "256Ki"
    """How long a delivery's body may be."""
    requests_per_second: Annotated[
        int, Field(ge=1, le=100_000, strict=True), BeforeValidator(whole)
    ] = 50
    """How many verified deliveries a second each replica of the gateway lets through."""

    @property
    def bytes(self) -> int:
        """How many bytes a body may have."""
        return size_in_bytes(self.body)


class Digest(StrEnum):
    """The digest of an HMAC."""

    SHA256 = "SHA256"
    SHA512 = "SHA512"
    SHA1 = "SHA1"


class Encoding(StrEnum):
    """How a signature is written."""

    HEX = "Hex"
    BASE64 = "Base64"


def _named_with(part: str, header: str) -> Rule:
    field = header.replace("H", "_h")
    return Rule(
        cel=f"!self.signed.contains('{part}') || has(self.{header})",
        message=f"write {header} as well; {part} is what that header says",
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
        message=f"write another header under {other}; {one} names this one",
        holds=holds,
    )


class DescribedHMAC(Model):
    """An HMAC that no scheme has a name for."""

    rules: ClassVar[tuple[Rule, ...]] = (
        _named_with("{timestamp}", "timestampHeader"),
        _named_with("{id}", "idHeader"),
        Rule(
            cel="!has(self.timestampHeader) || self.signed.contains('{timestamp}')",
            message="write {timestamp} under signed as well; a time that is not signed proves "
            "nothing",
            holds=lambda it: it.timestamp_header is None or "{timestamp}" in it.signed,
        ),
        _apart("header", "timestampHeader"),
        _apart("header", "idHeader"),
        _apart("timestampHeader", "idHeader"),
    )

    header: HeaderName
    """The header with the signature."""
    prefix: SignaturePrefix = ""
    """What stands before the signature there."""
    signed: SignedText = "{body}"
    """What is signed: {body} at the end, and before it any of {timestamp}, {id}, {method} and
    {url}, with text between them."""
    digest: Digest = Digest.SHA256
    """The digest."""
    encoding: Encoding = Encoding.HEX
    """How the signature is written."""
    timestamp_header: HeaderName | None = None
    """The header with the time, in seconds since 1970, that {timestamp} stands for."""
    id_header: HeaderName | None = None
    """The header with the delivery's id, that {id} stands for."""


class SNSTopics(Model):
    """Which topics of SNS may send. Its signature proves no more than that AWS has sent."""

    topic_arns: Annotated[tuple[TopicARN, ...], Field(min_length=1, max_length=16), SET]
    """The topics' ARNs."""


class SignatureComponents(Model):
    """What HTTP message signatures must cover."""

    components: Annotated[tuple[SignatureComponent, ...], Field(min_length=1, max_length=16), SET]
    """What is covered beside the method, the target, the digest of the content, and when the
    signature was created."""


class AcceptUnsigned(Model):
    """That deliveries which nobody signed are taken, with an end date."""

    reason: Sentence
    """Why nothing better serves yet."""
    owner: Annotated[Sentence, StringConstraints(min_length=1)]
    """Who answers for it."""
    expires_at: Moment
    """When it ends, at most 90 days ahead; from then on nothing is let through."""

    @property
    def counts_from(self) -> datetime:
        """When its end is near enough for it to count."""
        return self.expires_at - UNSIGNED_LIMIT


def _only_with(field: str, scheme: SchemeName, message: str, attribute: str) -> Rule:
    return Rule(
        cel=f"(has(self.scheme) && self.scheme == '{scheme}') == has(self.{field})",
        message=message,
        holds=lambda it: (it.scheme is scheme) == (getattr(it, attribute) is not None),
    )


def _window_fits(inbound: "Inbound") -> bool:
    return inbound.replay_window >= 2 * inbound.tolerated


_ISSUED = ", ".join(f"'{each}'" for each in SchemeName if each in ISSUED_BY_SENDER)


class Inbound(Model):
    """A webhook that comes in by a gateway, which lets through what is verified."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.scheme) || has(self.source)",
            message="choose the scheme by which the sender signs, such as StandardWebhooks",
            holds=lambda it: it.scheme is not None or it.source is not None,
        ),
        Rule(
            cel="has(self.scheme) || !has(self.source)",
            message="an address is not an identity; choose a scheme as well, by which the sender "
            "signs",
            holds=lambda it: it.scheme is not None or it.source is None,
        ),
        Rule(
            cel=f"!has(self.scheme) || !(self.scheme in [{_ISSUED}]) || has(self.secretRef)",
            message="the sender issues this secret; put it in a Secret and name that under "
            "secretRef",
            holds=lambda it: it.scheme not in ISSUED_BY_SENDER or it.secret_ref is not None,
        ),
        _only_with(
            "acceptUnsigned",
            SchemeName.GITLAB_TOKEN,
            "write acceptUnsigned, with owner, reason and expiresAt, for GitLabToken, which signs "
            "nothing, and for no other scheme",
            "accept_unsigned",
        ),
        _only_with(
            "hmac",
            SchemeName.HMAC,
            "describe under hmac how the sender signs for the scheme HMAC, and for no other",
            "hmac",
        ),
        _only_with(
            "sns",
            SchemeName.SNS,
            "name under sns the topics that may send for the scheme SNS, and for no other; AWS "
            "signs for everybody's topics",
            "sns",
        ),
        Rule(
            cel="!has(self.httpSignatures) || "
            f"(has(self.scheme) && self.scheme == '{SchemeName.HTTP_SIGNATURES}')",
            message="leave httpSignatures out; it is for the scheme HTTPSignatures alone",
            holds=lambda it: it.http_signatures is None or it.scheme is SchemeName.HTTP_SIGNATURES,
        ),
        Rule(
            cel=f"!{is_duration('self.replayWindow')} || (has(self.tolerance) ? "
            f"(!{is_duration('self.tolerance')} || duration(self.replayWindow) >= "
            "duration(self.tolerance) + duration(self.tolerance)) : "
            f"duration(self.replayWindow) >= duration(has(self.scheme) && "
            f"self.scheme == '{SchemeName.PADDLE}' ? '10s' : '10m'))",
            message="make replayWindow at least twice the tolerance, which is 5m where it is not "
            "written (Paddle: 5s); a delivery is good for that long, from the past and the future",
            holds=_window_fits,
        ),
    )

    scheme: SchemeName | None = None
    """How the sender signs."""
    secret_ref: LocalReference | None = None
    """The Secret of this namespace with the sender's keys, each under an id of its own, all of
    which are tried. It carries the label troth.dev/webhook-keys. When left out Troth makes it,
    where the receiver chooses the secret; SNS needs none."""
    tolerance: Annotated[Duration, duration_between("1s", "1h")] | None = None
    """How far the time that a delivery was signed at may be from now, to both sides; 5m when left
    out, Paddle 5s."""
    replay_window: Annotated[Duration, duration_between("2s", "720h")] = timedelta(hours=24)
    """How long a delivery is remembered, and let through no second time."""
    source: Source | None = None
    """Where deliveries come from; never enough alone."""
    public_url: PublicURL
    """The URL as the sender knows it, which some schemes sign. The gateway serves the endpoint
    under the path /namespace/name, whatever is written here."""
    gateway: Reference = Reference(name="troth-gateway", namespace="troth-gateway")
    """The ServiceIdentity of the gateway that verifies."""
    target: WebhookTarget
    """Who is given what was verified."""
    limits: Limits = Limits()
    """What is taken of the sender."""
    hmac: DescribedHMAC | None = None
    """How the sender signs, for the scheme HMAC."""
    sns: SNSTopics | None = None
    """Which topics may send, for the scheme SNS."""
    http_signatures: SignatureComponents | None = None
    """What must be covered, for the scheme HTTPSignatures."""
    accept_unsigned: AcceptUnsigned | None = None
    """That what nobody signed is taken for a while, for the scheme GitLabToken."""

    @property
    def tolerated(self) -> timedelta:
        """How far the time of a delivery may be from now."""
        if self.tolerance is not None:
            return self.tolerance
        return PADDLE_TOLERANCE if self.scheme is SchemeName.PADDLE else TOLERANCE
