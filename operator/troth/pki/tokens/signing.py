"""Signing of access tokens and transaction tokens; `token_checks` verifies them.

An access token is a JWT-SVID (SPIFFE, standards/JWT-SVID.md) that is also an OAuth 2.0 access token
with the claims of RFC 9068. It is bound to the holder's certificate (RFC 8705, section 3.1) if the
holder has one. A transaction token is that of draft-ietf-oauth-transaction-tokens. Both are JWS in
compact serialization, signed with ES256.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from itertools import chain
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from pydantic_core import to_json

from troth.pki.encodings import base64url
from troth.pki.errors import IssuingError
from troth.pki.keys.jwk import key_id

ALGORITHM = "ES256"
ES256 = ec.ECDSA(SHA256())
TOKEN_TYPE = "JWT"  # noqa: S105 - go-spiffe accepts only this and JOSE, not RFC 9068's at+jwt
TRANSACTION_TYPE = "txntoken+jwt"

MAX_LIFETIME = timedelta(minutes=15)
"""Maximum lifetime of a token, and so the longest time for which a revoked grant stays usable."""

LEEWAY = timedelta(seconds=60)
"""Maximum difference between the clocks of an issuer and a verifier."""

MAX_TEXT = 256
"""Maximum length of a subject, a tenant and other texts for people, in characters."""

_SCOPES = re.compile(r"(?:{0}(?: {0})*)?".format(r"[\x21\x23-\x5b\x5d-\x7e]+"), re.ASCII)

_NUMBER_BYTES = 32


@lru_cache(maxsize=1024)  # the same holders request tokens repeatedly
def certificate_thumbprint(der: bytes) -> str:
    """Return a certificate's `x5t#S256` (RFC 8705, section 3.1): 43 characters of base64url."""
    return base64url.encode(sha256(der).digest())


def is_text(value: object) -> bool:
    """Return whether a value is a text that a token may hold: 1 to `MAX_TEXT` printable characters.

    Control characters, line breaks and lone surrogates are not: services log and forward the text.
    """
    return isinstance(value, str) and 0 < len(value) <= MAX_TEXT and value.isprintable()


def parse_scopes(text: object) -> frozenset[str] | None:
    """Return the scopes of a `scope` claim or parameter (RFC 6749, section 3.3), None if invalid.

    One space separates two scopes, and none is around them. An empty text has no scopes.
    """
    if not isinstance(text, str) or _SCOPES.fullmatch(text) is None:
        return None
    return frozenset(text.split())


class TokenSigner:
    """Signs tokens with one key, which is never in the `repr`."""

    __slots__ = ("_headers", "_key", "kid")

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        """Raise `KeyMaterialError` for a key that is not on P-256."""
        self.kid = key_id(key.public_key())
        self._key = key
        self._headers = {
            kind: _part({"alg": ALGORITHM, "kid": self.kid, "typ": kind})
            for kind in (TOKEN_TYPE, TRANSACTION_TYPE)
        }

    def __repr__(self) -> str:
        return f"TokenSigner(kid={self.kid!r})"

    def access_token(
        self,
        *,
        issuer: str,
        subject: str,
        audience: str,
        scopes: Iterable[str],
        lifetime: timedelta,
        now: datetime,
        certificate: bytes | None,
        token_id: str,
    ) -> str:
        """Return a token that identifies its holder and grants scopes at one audience.

        `subject` is the SPIFFE ID of the holder. `certificate` is the X.509-SVID (DER) to which the
        token is bound, None if the holder has none. Raises `IssuingError` for a lifetime that is
        not between one second and `MAX_LIFETIME`, and for invalid scopes.
        """
        issued = _seconds(now)
        claims = {
            "iss": issuer,
            "sub": subject,
            "aud": [audience],
            "exp": _expiry(issued, issued + int(lifetime.total_seconds())),
            "iat": issued,
            "nbf": issued,
            "jti": token_id,
            "scope": _scope(scopes),
            "client_id": subject,
        }
        if certificate is not None:
            claims["cnf"] = {"x5t#S256": certificate_thumbprint(certificate)}
        return self.signed(TOKEN_TYPE, claims)

    def transaction_token(
        self,
        *,
        issuer: str,
        trust_domain: str,
        transaction: str,
        subject: str,
        scopes: Iterable[str],
        requester: str,
        context: Mapping[str, str],
        request: Mapping[str, str],
        expires: datetime,
        now: datetime,
    ) -> str:
        """Return a token that states on whose behalf a request is made, for one trust domain.

        `transaction` is a UUID and `requester` the SPIFFE ID of the requesting workload. `context`
        stays the same for the whole transaction (`tctx`). `request` describes its origin (`rctx`,
        omitted if empty). Raises `IssuingError` for an expiry that is not between one second and
        `MAX_LIFETIME` from now, and for invalid scopes and texts.
        """
        issued = _seconds(now)
        claims: dict[str, Any] = {
            "iss": issuer,
            "aud": trust_domain,
            "iat": issued,
            "exp": _expiry(issued, _seconds(expires)),
            "txn": transaction,
            "sub": subject,
            "scope": _scope(scopes),
            "req_wl": requester,
            "tctx": dict(context),
        }
        if request:
            claims["rctx"] = dict(request)
        if not all(map(is_text, (subject, *chain(*context.items(), *request.items())))):
            raise IssuingError(
                "InvalidContext",
                f"A transaction's subject and context are 1 to {MAX_TEXT} printable characters "
                "each; shorten or correct them.",
            )
        return self.signed(TRANSACTION_TYPE, claims)

    def signed(self, kind: str, claims: Mapping[str, Any]) -> str:
        """Return a signed token of a type with these claims, which are not checked."""
        signed = f"{self._headers[kind]}.{_part(claims)}"
        r, s = decode_dss_signature(self._key.sign(signed.encode("ascii"), ES256))
        # RFC 7518, section 3.4: r, then s, 32 bytes each.
        signature = r.to_bytes(_NUMBER_BYTES) + s.to_bytes(_NUMBER_BYTES)
        return f"{signed}.{base64url.encode(signature)}"


def _part(members: Mapping[str, Any]) -> str:
    return base64url.encode(to_json(members))


def _seconds(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise TypeError("a moment must be an aware datetime")
    return int(moment.timestamp())


def _expiry(issued: int, expires: int) -> int:
    if not 0 < expires - issued <= MAX_LIFETIME.total_seconds():
        raise IssuingError(
            "InvalidLifetime",
            f"The lifetime of a token is at least one second and at most {MAX_LIFETIME}; change "
            "it.",
        )
    return expires


def _scope(scopes: Iterable[str]) -> str:
    each = sorted(set(scopes))
    # A scope with a space would be read as two.
    if not all(map(_is_one_scope, each)):
        raise IssuingError(
            "InvalidScope", "A scope is printable ASCII without spaces and quotes; correct it."
        )
    return " ".join(each)


@lru_cache(maxsize=4096)
def _is_one_scope(text: str) -> bool:
    return parse_scopes(text) == frozenset({text})
