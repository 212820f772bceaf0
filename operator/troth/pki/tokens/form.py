"""The form of a token, and the verdicts of its checks.

A token is a JWS in compact form (RFC 7515, section 7.1), parsed strictly. Every JOSE header except
algorithm, key ID and type is rejected, because all others (`jwk`, `jku`, `x5u`, `x5c`, `crit`,
`b64`, `zip`) let the maker of a token influence its verification.

A verification hands each check in order to `Checks`, which raise the error of the first that fails.
`report` runs on and collects all verdicts. So both have one list of checks, and a strict
verification creates nothing for a check that a token passes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from troth.pki.encodings import base64url, strict_json
from troth.pki.errors import PKIError
from troth.pki.tokens.signing import (
    ALGORITHM,
    ES256,
    MAX_LIFETIME,
    TOKEN_TYPE,
    TRANSACTION_TYPE,
)

MAX_TOKEN = 8 * 1024
"""Maximum length of a token in characters; a longer one is not parsed."""

MALFORMED = "malformed"
"""The check of the form of header and claims; it can fail at any point and passes last."""

_PARTS = 3
_NUMBER_BYTES = 32
_HEADER = frozenset({"alg", "kid", "typ"})
_HEADER_RULES = (
    ("algorithm", f"is not signed with {ALGORITHM}, the only allowed algorithm"),
    ("type", "has a type other than {kind.typ}"),
)
_FORM_RULE = ((MALFORMED, "does not have the form of its kind"),)
_SIGNATURE_RULES = (
    ("key", "is signed with a key that its trust domain does not publish"),
    ("signature", "has an invalid signature"),
)


class TokenError(PKIError):
    """A rejected token; `reason` is the problem's code, such as `token-expired`."""


class Verdict(NamedTuple):
    """The outcome of one check; `error` is None if the token passes it."""

    check: str
    error: TokenError | None


_Verified = TypeVar("_Verified")


@dataclass(frozen=True, slots=True, eq=False)
class TokenKind:
    """Kind of token: the prefix of its problem codes, its name in sentences, and its `typ`."""

    prefix: str
    noun: str
    typ: str
    lifetime: timedelta = MAX_LIFETIME
    """Maximum lifetime."""

    def error(self, check: str, what: str) -> TokenError:
        """Return the error of a check; its sentence quotes nothing of the token.

        `what` may contain `{kind.typ}` and `{kind.lifetime}`: they are formatted only here, because
        formatting them costs as much as all checks of a valid token.
        """
        return TokenError(f"{self.prefix}-{check}", f"The {self.noun} {what.format(kind=self)}.")

    def malformed(self, what: str) -> TokenError:
        """Return the error of a token that does not have the form of its kind."""
        return self.error(MALFORMED, what)


ACCESS = TokenKind("token", "access token", TOKEN_TYPE)
TRANSACTION = TokenKind("transaction", "transaction token", TRANSACTION_TYPE)


Rules = tuple[tuple[str, str], ...]
"""Checks that a verification makes together: the name of each, and its sentence if it fails."""


class Checks:
    """Receives the outcomes of a verification's checks, and ends it at the first that failed."""

    __slots__ = ("kind",)

    def __init__(self, kind: TokenKind) -> None:
        self.kind = kind

    def require(self, rules: Rules, *passed: bool) -> None:
        """Receive checks of which each depends on the previous; raises `TokenError`."""
        if False in passed:
            raise self.kind.error(*rules[passed.index(False)])

    check = require
    """Receive checks that no other depends on."""


@dataclass(frozen=True, slots=True)
class Report(Generic[_Verified]):
    """The verdicts of the checks that ran; `verified` is None unless all of them passed."""

    verdicts: tuple[Verdict, ...]
    verified: _Verified | None


def report(verification: Callable[..., _Verified], kind: TokenKind) -> Report[_Verified]:
    """Run every check that does not depend on a failed one.

    `verification` takes `checks`. What it returns is verified only if every check passed.
    """
    recorder = _Recorder(kind)
    verified: _Verified | None = None
    try:
        verified = verification(checks=recorder)
        recorder.check(_FORM_RULE, True)  # noqa: FBT003 - it takes outcomes alone
    except TokenError as error:
        check = error.reason.removeprefix(f"{kind.prefix}-")
        recorder.verdicts.append(Verdict(check, error))
    rejected = any(verdict.error is not None for verdict in recorder.verdicts)
    return Report(tuple(recorder.verdicts), None if rejected else verified)


class _Recorder(Checks):
    """Collects verdicts; only a failed `require` ends the verification."""

    __slots__ = ("verdicts",)

    def __init__(self, kind: TokenKind) -> None:
        super().__init__(kind)
        self.verdicts: list[Verdict] = []

    def require(self, rules: Rules, *passed: bool) -> None:
        for rule, holds in zip(rules, passed, strict=True):
            super().require((rule,), holds)
            self.verdicts.append(Verdict(rule[0], None))

    def check(self, rules: Rules, *passed: bool) -> None:
        for rule, holds in zip(rules, passed, strict=True):
            self.verdicts.append(Verdict(rule[0], None if holds else self.kind.error(*rule)))


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


def parse_token(token: str, checks: Checks) -> ParsedToken:
    """Parse a token; raises `TokenError` if it does not have the form of its kind."""
    kind = checks.kind
    first, payload, end = _parts(token, kind)
    header = _header(first, kind)
    checks.require(_HEADER_RULES, header.algorithm, header.type)
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
    parsed: ParsedToken, keys: Mapping[str, ec.EllipticCurvePublicKey], checks: Checks
) -> None:
    """Verify the signature with the key that `kid` chooses from `keys`."""
    key = keys.get(parsed.kid)
    checks.require(_SIGNATURE_RULES, key is not None, _verifies(key, parsed))


def _verifies(key: ec.EllipticCurvePublicKey | None, parsed: ParsedToken) -> bool:
    """Return whether r and s, 32 bytes each (RFC 7518, section 3.4), are the key's signature."""
    signature = parsed.signature
    if key is None or len(signature) != 2 * _NUMBER_BYTES:
        return False
    r, s = int.from_bytes(signature[:_NUMBER_BYTES]), int.from_bytes(signature[_NUMBER_BYTES:])
    try:
        key.verify(encode_dss_signature(r, s), parsed.signed.encode("ascii"), ES256)
    except InvalidSignature:
        return False
    return True
