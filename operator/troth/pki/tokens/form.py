"""The form of a token, and the verdicts of its checks.

A token is a JWS in compact form (RFC 7515, section 7.1), parsed strictly. Every JOSE header except
algorithm, key ID and type is rejected, because all others (`jwk`, `jku`, `x5u`, `x5c`, `crit`,
`b64`, `zip`) let the maker of a token influence its verification.

A verification is a generator: it yields the verdict of each check in order and returns what it has
verified. `accept` stops at the first failed check; `report` runs on and collects all verdicts.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from troth.pki.encodings import base64url, strict_json
from troth.pki.errors import PKIError
from troth.pki.tokens.signing import ALGORITHM, ES256, TOKEN_TYPE, TRANSACTION_TYPE

MAX_TOKEN = 8 * 1024
"""Maximum length of a token in characters; a longer one is not parsed."""

MALFORMED = "malformed"
"""The check of the form of header and claims; it can fail at any point and passes last."""

_PARTS = 3
_NUMBER_BYTES = 32
_HEADER = frozenset({"alg", "kid", "typ"})


class TokenError(PKIError):
    """A rejected token; `reason` is the problem's code, such as `token-expired`."""


class Verdict(NamedTuple):
    """The outcome of one check; `error` is None if the token passes it."""

    check: str
    error: TokenError | None


@lru_cache  # most verdicts of most tokens
def passing(check: str) -> Verdict:
    """Return the verdict of a check that the token passes."""
    return Verdict(check, None)


_Verified = TypeVar("_Verified")
Verdicts = Generator[Verdict, None, _Verified]
"""A verification. A failed check that the next ones depend on is raised, the others are yielded."""


@dataclass(frozen=True, slots=True, eq=False)
class TokenKind:
    """Kind of token: the prefix of its problem codes, its name in sentences, and its `typ`."""

    prefix: str
    noun: str
    typ: str

    def error(self, check: str, what: str) -> TokenError:
        """Return the error of a check; its sentence quotes nothing of the token."""
        return TokenError(f"{self.prefix}-{check}", f"The {self.noun} {what}.")

    def malformed(self, what: str) -> TokenError:
        """Return the error of a token that does not have the form of its kind."""
        return self.error(MALFORMED, what)

    def verdict(self, check: str, what: str, *, passed: bool) -> Verdict:
        """Return the verdict of a check that no other depends on."""
        return passing(check) if passed else Verdict(check, self.error(check, what))

    def require(self, check: str, what: str, *, passed: bool) -> Verdict:
        """Return the verdict of a passed check; raises `TokenError` if it failed."""
        if not passed:
            raise self.error(check, what)
        return passing(check)

    def failed(self, error: TokenError) -> Verdict:
        """Return the verdict of the check that raised an error of this kind."""
        return Verdict(error.reason.removeprefix(f"{self.prefix}-"), error)


ACCESS = TokenKind("token", "access token", TOKEN_TYPE)
TRANSACTION = TokenKind("transaction", "transaction token", TRANSACTION_TYPE)


@dataclass(frozen=True, slots=True)
class Report(Generic[_Verified]):
    """The verdicts of the checks that ran; `verified` is None unless all of them passed."""

    verdicts: tuple[Verdict, ...]
    verified: _Verified | None


def accept(verdicts: Verdicts[_Verified]) -> _Verified:
    """Return what is verified; raises the `TokenError` of the first failed check."""
    while True:
        try:
            verdict = next(verdicts)
        except StopIteration as end:
            verified: _Verified = end.value
            return verified
        if verdict.error is not None:
            raise verdict.error


def report(verdicts: Verdicts[_Verified], kind: TokenKind) -> Report[_Verified]:
    """Run every check that does not depend on a failed one."""
    found: list[Verdict] = []
    verified: _Verified | None = None
    try:
        while True:
            found.append(next(verdicts))
    except StopIteration as end:
        verified = end.value
    except TokenError as error:
        found.append(kind.failed(error))
    rejected = any(verdict.error is not None for verdict in found)
    return Report(tuple(found), None if rejected else verified)


class ParsedToken(NamedTuple):
    """A parsed token whose signature and claims are not yet verified."""

    kid: str
    claims: dict[str, Any]
    signed: str
    signature: bytes

    def __repr__(self) -> str:
        return f"ParsedToken(kid={self.kid!r})"


class _Header(NamedTuple):
    algorithm: bool
    type: bool
    kid: str | None
    """None if the header has other members than alg, kid and typ."""


def parse_token(token: str, kind: TokenKind) -> Verdicts[ParsedToken]:
    """Parse a token."""
    first, payload, end = _parts(token, kind)
    header = _header(first, kind)
    yield kind.require(
        "algorithm",
        f"is not signed with {ALGORITHM}, the only allowed algorithm",
        passed=header.algorithm,
    )
    yield kind.require("type", f"has a type other than {kind.typ}", passed=header.type)
    if header.kid is None:
        raise kind.malformed("has header members other than alg, kid and typ")
    claims = _object(payload, kind)
    try:
        signature = base64url.decode(end)
    except ValueError:
        raise kind.malformed("has a signature that is not canonical base64url") from None
    return ParsedToken(header.kid, claims, token[: -len(end) - 1], signature)


def kind_of(token: str) -> TokenKind:
    """Return the kind that the unverified header names; `ACCESS` if it names none."""
    try:
        return TRANSACTION if _header(_parts(token, TRANSACTION)[0], TRANSACTION).type else ACCESS
    except TokenError:
        return ACCESS


def _parts(token: str, kind: TokenKind) -> list[str]:
    if len(token) > MAX_TOKEN:
        raise kind.malformed(f"is longer than {MAX_TOKEN} characters")
    parts = token.split(".") if token.isascii() else []
    if len(parts) != _PARTS:
        raise kind.malformed("is not a JWS in compact form: three parts separated by dots")
    return parts


# all tokens of one key have the same header
@lru_cache(maxsize=64)
def _header(part: str, kind: TokenKind) -> _Header:
    header = _object(part, kind)
    kid = header.get("kid")
    complete = header.keys() == _HEADER and isinstance(kid, str)
    return _Header(
        header.get("alg") == ALGORITHM, header.get("typ") == kind.typ, kid if complete else None
    )


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
) -> Verdicts[None]:
    """Verify the signature with the key that `kid` chooses from `keys`."""
    key = keys.get(parsed.kid)
    if key is None:
        raise kind.error("key", "is signed with a key that its trust domain does not publish")
    yield passing("key")
    yield kind.require(
        "signature",
        "has an invalid signature",
        passed=_verifies(key, parsed.signed.encode("ascii"), parsed.signature),
    )


def _verifies(key: ec.EllipticCurvePublicKey, signed: bytes, signature: bytes) -> bool:
    """Return whether r and s, 32 bytes each (RFC 7518, section 3.4), are the key's signature."""
    if len(signature) != 2 * _NUMBER_BYTES:
        return False
    r, s = int.from_bytes(signature[:_NUMBER_BYTES]), int.from_bytes(signature[_NUMBER_BYTES:])
    try:
        key.verify(encode_dss_signature(r, s), signed, ES256)
    except InvalidSignature:
        return False
    return True
