"""Form of a token: a JWS in compact serialization (RFC 7515, section 7.1), parsed strictly.

The header may have only algorithm, key ID and type. All other parameters (`jwk`, `jku`, `x5u`,
`x5c`, `crit`, `b64`, `zip`) would let the sender affect how the token is verified.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from troth.pki import base64url, strict_json
from troth.pki.errors import PKIError
from troth.pki.tokens import ALGORITHM, ES256, TOKEN_TYPE, TRANSACTION_TYPE

MAX_TOKEN = 8 * 1024
"""Maximum length of a token in characters; longer ones are rejected unread."""

_PARTS = 3
_NUMBER_BYTES = 32
_HEADER = frozenset({"alg", "kid", "typ"})


class TokenError(PKIError):
    """Rejected token; `reason` is the problem's code, such as `token-expired`."""


@dataclass(frozen=True, slots=True, eq=False)
class TokenKind:
    """TokenKind of token: the prefix of its error codes, its name in messages, and its `typ`."""

    prefix: str
    noun: str
    typ: str

    def error(self, check: str, what: str) -> TokenError:
        """Return the error of one check, with a message that quotes nothing of the token."""
        return TokenError(f"{self.prefix}-{check}", f"The {self.noun} {what}.")

    def malformed(self, what: str) -> TokenError:
        """Return the error of a token whose content is not that of its kind."""
        return self.error("malformed", what)


ACCESS = TokenKind("token", "access token", TOKEN_TYPE)
TRANSACTION = TokenKind("transaction", "transaction token", TRANSACTION_TYPE)


class ParsedToken(NamedTuple):
    """Parsed token that is not verified yet."""

    kid: str
    claims: dict[str, Any]
    signed: str
    signature: bytes

    def __repr__(self) -> str:
        return f"ParsedToken(kid={self.kid!r})"


def parse_token(token: str, kind: TokenKind) -> ParsedToken:
    """Return a token's parts; raises `TokenError` for any other form."""
    if len(token) > MAX_TOKEN:
        raise kind.malformed(f"is longer than {MAX_TOKEN} characters")
    parts = token.split(".") if token.isascii() else []
    if len(parts) != _PARTS:
        raise kind.malformed("is not a JWS in compact form: three parts separated by dots")
    header, payload, end = parts
    kid = _key_id(header, kind)
    claims = _object(payload, kind)
    try:
        signature = base64url.decode(end)
    except ValueError:
        raise kind.malformed("has a signature that is not canonical base64url") from None
    return ParsedToken(kid, claims, token[: -len(end) - 1], signature)


# Cached, because all tokens of one key have the same header. Errors are not cached.
@lru_cache(maxsize=64)
def _key_id(part: str, kind: TokenKind) -> str:
    header = _object(part, kind)
    if header.get("alg") != ALGORITHM:
        raise kind.error("algorithm", f"is not signed with {ALGORITHM}, the only allowed algorithm")
    if header.get("typ") != kind.typ:
        raise kind.error("type", f"has a type other than {kind.typ}")
    kid = header.get("kid")
    if header.keys() != _HEADER or not isinstance(kid, str):
        raise kind.malformed("has header members other than alg, kid and typ")
    return kid


def _object(part: str, kind: TokenKind) -> dict[str, Any]:
    try:
        document = strict_json.parse(base64url.decode(part))
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise kind.malformed("has a part that is not one JSON object in canonical base64url")
    return document


def verify_signature(
    parsed: ParsedToken, keys: Mapping[str, ec.EllipticCurvePublicKey], kind: TokenKind
) -> None:
    """Raise `TokenError` unless the key with the token's `kid` has signed it."""
    key = keys.get(parsed.kid)
    if key is None:
        raise kind.error("key", "is signed with a key that its trust domain does not publish")
    if not _verifies(key, parsed.signed.encode("ascii"), parsed.signature):
        raise kind.error("signature", "has an invalid signature")


def _verifies(key: ec.EllipticCurvePublicKey, signed: bytes, signature: bytes) -> bool:
    """Verify r and s, 32 bytes each (RFC 7518, section 3.4)."""
    if len(signature) != 2 * _NUMBER_BYTES:
        return False
    r, s = int.from_bytes(signature[:_NUMBER_BYTES]), int.from_bytes(signature[_NUMBER_BYTES:])
    try:
        key.verify(encode_dss_signature(r, s), signed, ES256)
    except InvalidSignature:
        return False
    return True
