"""Senders for the tests: one for each scheme, with a key and a delivery."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from troth.documents.webhook_endpoint import Described, Signing
from troth.resources.webhooks.schemes import SchemeName
from troth.webhooks.schemes.delivery import Delivery, Reason, RefusedError
from troth.webhooks.schemes.registry import scheme_for
from troth.webhooks.schemes.scheme import Key, Scheme, Stamp, Verified

NOW = 1_700_000_000
TOLERANCE = 300
URL = "https://hooks.shop.example/shop/payments"
BODY = b'{"id": "evt_1", "event_id": "ntf_1", "amount": 12}'
STAMP = Stamp(NOW, "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W")

PLAIN = b"It's a Secret to Everybody"
OTHER_PLAIN = b"It's a Secret to Everyboda"
WHSEC = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_WHSEC = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx"
WHSK = (
    b"whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
)
WHPK = b"whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
OTHER_WHPK = b"whpk_O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik="
WHSEC_32 = b"whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
OTHER_WHSEC_32 = b"whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWc="


@dataclass(frozen=True)
class Sender:
    """A scheme with a key. `headers` are all of what it looks at to verify, `logged` beside them.

    `other` is a key that is not the sender's, nearly the same where it can be.
    """

    name: str
    scheme: Scheme
    text: bytes
    other: bytes
    signature: bytes
    headers: tuple[bytes, ...]
    signs_body: bool = True
    logged: bytes | None = None

    def __str__(self) -> str:
        return self.name

    @property
    def key(self) -> Key:
        return self.scheme.key("k1", self.text)

    def sent(self, body: bytes = BODY, stamp: Stamp = STAMP) -> Delivery:
        return self.scheme.sign(Delivery("POST", b"/shop/payments", (), body), self.key, stamp)

    def verified(
        self,
        delivery: Delivery,
        keys: Sequence[Key] | None = None,
        now: float = NOW,
        tolerance: float = TOLERANCE,
    ) -> Verified:
        return self.scheme.verify(
            delivery, (self.key,) if keys is None else keys, now=now, tolerance=tolerance
        )

    def refusal(
        self, delivery: Delivery, keys: Sequence[Key] | None = None, now: float = NOW
    ) -> Reason:
        """Return why a delivery is refused; one that is verified is an error."""
        try:
            verified = self.verified(delivery, keys, now)
        except RefusedError as error:
            return error.reason
        raise AssertionError(f"verified as {verified}")


def _sender(
    scheme: SchemeName,
    headers: str,
    text: bytes = PLAIN,
    other: bytes = OTHER_PLAIN,
    *,
    name: str = "",
    described: Described | None = None,
    signs_body: bool = True,
    logged: bytes | None = None,
) -> Sender:
    each = tuple(header.encode() for header in headers.split())
    return Sender(
        name or scheme,
        scheme_for(Signing(name=scheme, url=URL, described=described)),
        text,
        other,
        each[0],
        each,
        signs_body,
        logged,
    )


_STANDARD = "webhook-signature webhook-timestamp webhook-id"

V1 = _sender(SchemeName.STANDARD_WEBHOOKS, _STANDARD, WHSEC, OTHER_WHSEC, name="v1")
V1A = _sender(SchemeName.STANDARD_WEBHOOKS, _STANDARD, WHSK, OTHER_WHPK, name="v1a")
GITLAB = _sender(SchemeName.GITLAB, _STANDARD, WHSEC_32, OTHER_WHSEC_32)
GITLAB_TOKEN = _sender(
    SchemeName.GITLAB_TOKEN, "x-gitlab-token", signs_body=False, logged=b"idempotency-key"
)
GITHUB = _sender(SchemeName.GITHUB, "x-hub-signature-256", logged=b"x-github-delivery")
BITBUCKET = _sender(SchemeName.BITBUCKET, "x-hub-signature", logged=b"x-request-uuid")
STRIPE = _sender(SchemeName.STRIPE, "stripe-signature", WHSEC, OTHER_WHSEC)
SLACK = _sender(SchemeName.SLACK, "x-slack-signature x-slack-request-timestamp")
SHOPIFY = _sender(SchemeName.SHOPIFY, "x-shopify-hmac-sha256", logged=b"x-shopify-webhook-id")
PADDLE = _sender(SchemeName.PADDLE, "paddle-signature")
SQUARE = _sender(SchemeName.SQUARE, "x-square-hmacsha256-signature")
PLAIN_HMAC = _sender(
    SchemeName.HMAC,
    "x-signature",
    name="HMAC of the body",
    described=Described(header="X-Signature", id_header="X-Id", encoding="Base64", digest="SHA1"),
    logged=b"x-id",
)
FULL_HMAC = _sender(
    SchemeName.HMAC,
    "x-signature x-time x-id",
    name="HMAC of everything",
    described=Described(
        header="X-Signature",
        prefix="sha512=",
        signed="v9:{method} {url}\n{id}|{timestamp}.{body}",
        digest="SHA512",
        timestamp_header="X-Time",
        id_header="X-Id",
    ),
)

SENDERS = (
    V1,
    V1A,
    GITLAB,
    GITLAB_TOKEN,
    GITHUB,
    BITBUCKET,
    STRIPE,
    SLACK,
    SHOPIFY,
    PADDLE,
    SQUARE,
    PLAIN_HMAC,
    FULL_HMAC,
)
TIMED = tuple(each for each in SENDERS if each.scheme.signs_timestamp)
SIGNING = tuple(each for each in SENDERS if each.signs_body)


def with_header(delivery: Delivery, name: bytes, value: bytes) -> Delivery:
    """Return a delivery with a header in place of the one it has, any bytes."""
    kept = tuple(pair for pair in delivery.headers if pair[0] != name)
    return replace(delivery, headers=(*kept, (name, value)))


def without_header(delivery: Delivery, name: bytes) -> Delivery:
    return replace(delivery, headers=tuple(pair for pair in delivery.headers if pair[0] != name))


def header_of(delivery: Delivery, name: bytes) -> bytes:
    (value,) = delivery.values(name)
    return value


def flipped(value: bytes, bit: int) -> bytes:
    """Return bytes with one bit of them changed."""
    place, within = divmod(bit, 8)
    return value[:place] + bytes((value[place] ^ (1 << within),)) + value[place + 1 :]
