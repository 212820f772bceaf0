"""The form of a token: a JWS in compact form (RFC 7515 section 7.1), taken apart strictly.

Whatever a JOSE header can carry beside algorithm, key ID and type is refused, because all of it
(`jwk`, `jku`, `x5u`, `x5c`, `crit`, `b64`, `zip`) lets who made a token say how it is judged.
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
"""Characters of a token; what is longer is not even looked at."""

_PARTS = 3
_NUMBER_BYTES = 32
_HEADER = frozenset({"alg", "kid", "typ"})


class TokenError(PKIError):
    """A token that is refused; `reason` is the problem's code, such as `token-expired`."""


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """One kind of token: how its refusals' codes begin, what it is called, and its `typ`."""

    prefix: str
    noun: str
    typ: str

    def error(self, check: str, what: str) -> TokenError:
        """The refusal by one check, in a sentence about the token that quotes nothing of it."""
        return TokenError(f"{self.prefix}-{check}", f"The {self.noun} {what}.")

    def malformed(self, what: str) -> TokenError:
        """The refusal of a token that does not say what one of its kind says."""
        return self.error("malformed", what)


ACCESS = Kind("token", "access token", TOKEN_TYPE)
TRANSACTION = Kind("transaction", "transaction token", TRANSACTION_TYPE)


class Opened(NamedTuple):
    """A token taken apart and not yet believed."""

    kid: str
    claims: dict[str, Any]
    signed: str
    signature: bytes

    def __repr__(self) -> str:
        return f"Opened(kid={self.kid!r})"


def open_token(token: str, kind: Kind) -> Opened:
    """Take a token apart; raises `TokenError` for anything but the one form it can have."""
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
    return Opened(kid, claims, token[: -len(end) - 1], signature)


# All tokens of one key have the same header. Only what was found right is kept.
@lru_cache(maxsize=64)
def _key_id(part: str, kind: Kind) -> str:
    header = _object(part, kind)
    if header.get("alg") != ALGORITHM:
        raise kind.error("algorithm", f"is not signed with {ALGORITHM}, the only allowed algorithm")
    if header.get("typ") != kind.typ:
        raise kind.error("type", f"has a type other than {kind.typ}")
    kid = header.get("kid")
    if header.keys() != _HEADER or not isinstance(kid, str):
        raise kind.malformed("has header members other than alg, kid and typ")
    return kid


def _object(part: str, kind: Kind) -> dict[str, Any]:
    try:
        document = strict_json.parse(base64url.decode(part))
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise kind.malformed("has a part that is not one JSON object in canonical base64url")
    return document


def check_signature(
    opened: Opened, keys: Mapping[str, ec.EllipticCurvePublicKey], kind: Kind
) -> None:
    """Raise `TokenError` where no key of these, chosen by `kid`, has signed the token."""
    key = keys.get(opened.kid)
    if key is None:
        raise kind.error("key", "is signed with a key that its trust domain does not publish")
    if not _verifies(key, opened.signed.encode("ascii"), opened.signature):
        raise kind.error("signature", "has an invalid signature")


def _verifies(key: ec.EllipticCurvePublicKey, signed: bytes, signature: bytes) -> bool:
    """Whether r and s, 32 bytes each (RFC 7518 section 3.4), are the key's signature."""
    if len(signature) != 2 * _NUMBER_BYTES:
        return False
    r, s = int.from_bytes(signature[:_NUMBER_BYTES]), int.from_bytes(signature[_NUMBER_BYTES:])
    try:
        key.verify(encode_dss_signature(r, s), signed, ES256)
    except InvalidSignature:
        return False
    return True
