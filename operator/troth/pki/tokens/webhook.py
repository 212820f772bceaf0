"""Token that the gateway sends with a webhook's delivery to the target.

It has the form of a transaction token (draft-ietf-oauth-transaction-tokens) and states that the
gateway verified this body, at which endpoint, with which scheme and key. The gateway signs it with
its own key, not with one of the trust domain, and its audience is the target's SPIFFE ID. So no
other workload accepts it, and nobody can mistake it for a transaction token of the issuer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from troth.pki.encodings import base64url
from troth.pki.errors import IssuingError
from troth.pki.tokens.checks import check_times, read_texts, read_transaction
from troth.pki.tokens.form import Checks, TokenError, TokenKind, parse_token, verify_signature
from troth.pki.tokens.signing import MAX_TEXT, TRANSACTION_TYPE, TokenSigner, is_text

__all__ = ["Signer", "TokenError", "VerifiedDelivery", "WebhookToken", "verify_webhook_token"]

LIFETIME = timedelta(seconds=60)
"""Lifetime of a token; it is used only for the request from the gateway to the target."""

WEBHOOK = TokenKind("webhook-token", "webhook token", TRANSACTION_TYPE, LIFETIME)

_CHECKS = Checks(WEBHOOK)
_RULES = (
    ("issuer", "is not from the gateway whose key signed it"),
    ("audience", "is for another workload"),
)
_SUBJECT = "webhook:"
_CONTEXT = frozenset({"endpoint", "workflow", "scheme"})
# Cached, because the same few endpoints and keys recur.
_is_text = lru_cache(maxsize=4096)(is_text)
_REQUEST = frozenset({"key_id", "body_sha256"})


@dataclass(frozen=True, slots=True)
class VerifiedDelivery:
    """Statement of a gateway about a delivery that it verified.

    `endpoint` is `<namespace>/<name>`, `key_id` names the key with which the sender signed, and
    `body_sha256` is the digest of the body as received. `delivery_id` is the sender's, None if
    there is none, and may not be covered by the signature.
    """

    endpoint: str
    workflow: str
    scheme: str
    key_id: str
    body_sha256: bytes = field(repr=False)
    delivery_id: str | None = None


@dataclass(frozen=True, slots=True)
class WebhookToken:
    """Content of a verified token. Times are seconds since the epoch; `transaction` is a UUID."""

    gateway: str
    target: str
    transaction: str
    delivery: VerifiedDelivery
    expires: int
    issued: int


class Signer:
    """Signs the tokens of one gateway with one key, which is never in the `repr`."""

    __slots__ = ("_gateway", "_signer")

    def __init__(self, key: ec.EllipticCurvePrivateKey, gateway: str) -> None:
        """`gateway` is a SPIFFE ID. Raises `KeyMaterialError` for a key that is not on P-256."""
        self._signer = TokenSigner(key)
        self._gateway = gateway

    @property
    def kid(self) -> str:
        """ID of the key."""
        return self._signer.kid

    def __repr__(self) -> str:
        return f"Signer(kid={self.kid!r})"

    def token(
        self, target: str, delivery: VerifiedDelivery, *, transaction: str, now: float
    ) -> str:
        """Return a token for the workload with the SPIFFE ID `target`, valid from `now` on.

        `transaction` is a UUID. Raises `IssuingError` for invalid texts.
        """
        issued = int(now)
        context = {
            "endpoint": delivery.endpoint,
            "workflow": delivery.workflow,
            "scheme": delivery.scheme,
        }
        request = {
            "key_id": delivery.key_id,
            "body_sha256": base64url.encode(delivery.body_sha256),
        }
        if delivery.delivery_id is not None:
            request["delivery_id"] = delivery.delivery_id
        if not all(map(_is_text, (*context.values(), delivery.key_id))) or not (
            delivery.delivery_id is None or is_text(delivery.delivery_id)
        ):
            raise IssuingError(
                "InvalidContext",
                f"The description of a delivery has 1 to {MAX_TEXT} printable characters in each "
                "value; shorten or correct it.",
            )
        return self._signer.signed(
            TRANSACTION_TYPE,
            {
                "iss": self._gateway,
                "aud": target,
                "iat": issued,
                "exp": issued + int(LIFETIME.total_seconds()),
                "txn": transaction,
                "sub": f"{_SUBJECT}{delivery.endpoint}",
                "scope": "",
                "req_wl": self._gateway,
                "tctx": context,
                "rctx": request,
            },
        )


def verify_webhook_token(
    token: str,
    *,
    keys: Mapping[str, ec.EllipticCurvePublicKey],
    gateway: str,
    target: str,
    now: float,
) -> WebhookToken:
    """Return the token if every check passes; raises the `TokenError` of the first that fails.

    `keys` are those of this gateway only, by `kid`; `gateway` and `target` are SPIFFE IDs. The
    caller must check that the gateway is the presenter, that the endpoint leads here, and that
    `body_sha256` is the digest of the body.
    """
    parsed = parse_token(token, _CHECKS)
    claims = parsed.claims
    verify_signature(parsed, keys, _CHECKS)
    _CHECKS.check(
        _RULES,
        claims.get("iss") == gateway and claims.get("req_wl") == gateway,
        claims.get("aud") == target,
    )
    issued, expires = check_times(claims, _CHECKS, now)
    transaction = read_transaction(claims, WEBHOOK)
    if claims.get("scope") != "":
        raise WEBHOOK.malformed("has scopes, which a delivery never has")
    delivery = _delivery(claims)
    if claims.get("sub") != f"{_SUBJECT}{delivery.endpoint}":
        raise WEBHOOK.malformed("has a subject other than its endpoint")
    return WebhookToken(
        gateway=gateway,
        target=target,
        transaction=transaction,
        delivery=delivery,
        expires=expires,
        issued=issued,
    )


def _delivery(claims: Mapping[str, Any]) -> VerifiedDelivery:
    context = read_texts(claims.get("tctx"), "tctx", WEBHOOK)
    request = read_texts(claims.get("rctx"), "rctx", WEBHOOK)
    if context.keys() != _CONTEXT or request.keys() - {"delivery_id"} != _REQUEST:
        raise WEBHOOK.malformed("describes a delivery with other members than a gateway writes")
    try:
        digest = base64url.decode(request["body_sha256"])
    except ValueError:
        digest = b""
    if len(digest) != sha256().digest_size:
        raise WEBHOOK.malformed("has no SHA-256 of the body")
    return VerifiedDelivery(
        endpoint=context["endpoint"],
        workflow=context["workflow"],
        scheme=context["scheme"],
        key_id=request["key_id"],
        body_sha256=digest,
        delivery_id=request.get("delivery_id"),
    )
