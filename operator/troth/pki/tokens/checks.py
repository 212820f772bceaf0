"""The checks of signed tokens, in order.

The key comes from the bundle of the trust domain that the token's subject belongs to, by `kid`, and
from nowhere else: nothing that a token contains influences its verification.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from troth.pki.bundles.spiffe_bundle import SPIFFEBundle
from troth.pki.errors import SPIFFEIDError
from troth.pki.spiffe import SPIFFEID
from troth.pki.tokens.form import (
    ACCESS,
    MALFORMED,
    TRANSACTION,
    Checks,
    TokenError,
    TokenKind,
    parse_token,
    verify_signature,
)
from troth.pki.tokens.signing import LEEWAY, TRANSACTION_TYPE, is_text, parse_scopes

__all__ = [
    "CHECKS",
    "AccessToken",
    "TokenError",
    "TransactionToken",
    "check_times",
    "holder_problem",
    "read_texts",
    "read_transaction",
    "verify_access_token",
    "verify_transaction_token",
]

CHECKS = (
    "algorithm",
    "type",
    "key",
    "signature",
    "issuer",
    "audience",
    "lifetime",
    "not-yet-valid",
    "expired",
    MALFORMED,
)
"""The names of all checks, in the order of their verdicts."""

MAX_TIME = 253402300799
"""Last second of the year 9999; a later time in a token is invalid."""

_MAX_REQUESTERS = 8
_LEEWAY = LEEWAY.total_seconds()
_ACCESS_RULES = (
    ("issuer", "is not from the issuer of its subject's trust domain"),
    ("audience", "is for another audience; request one for this service"),
)
_TRANSACTION_RULES = (
    ("issuer", "is not from the issuer of this trust domain"),
    ("audience", "is for another trust domain"),
)
_LIFETIME_RULE = (
    ("lifetime", "has a lifetime that is not between one second and {kind.lifetime}"),
)
_VALIDITY_RULES = (
    ("not-yet-valid", "is not valid yet; correct the clock that is wrong"),
    ("expired", "has expired; request a new one, or correct the clock"),
)
_ACCESS, _TRANSACTION = Checks(ACCESS), Checks(TRANSACTION)
_NO_KEYS: Mapping[str, ec.EllipticCurvePublicKey] = MappingProxyType({})
_CONFIRMATION = frozenset({"x5t#S256"})
# 32 bytes in canonical base64url: the last two bits of the last character must be zero.
_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class AccessToken:
    """Content of a verified access token. Times are seconds since the epoch.

    `subject` is the SPIFFE ID of the holder. `thumbprint` is the `x5t#S256` of the certificate to
    which the token is bound, None for a bearer token.
    """

    issuer: str
    subject: str
    audience: str
    scopes: frozenset[str]
    expires: float
    issued: float
    token_id: str
    thumbprint: str | None


@dataclass(frozen=True, slots=True)
class TransactionToken:
    """Content of a verified transaction token. Times are seconds since the epoch.

    `transaction` is the UUID, `subject` the party on whose behalf the request is made, `context`
    the claim `tctx` and `request` the claim `rctx`. `requester` is the SPIFFE ID of the workload
    that requested the token, followed by those that replaced it, joined by commas. `token` is the
    token itself, to be forwarded unmodified; it is never in the `repr`.
    """

    issuer: str
    trust_domain: str
    transaction: str
    subject: str
    scopes: frozenset[str]
    requester: str
    context: Mapping[str, str]
    request: Mapping[str, str]
    expires: float
    issued: float
    token: str = field(repr=False)


def verify_access_token(
    token: str,
    *,
    bundles: Mapping[str, SPIFFEBundle],
    issuers: Mapping[str, str],
    audience: str,
    now: float,
    checks: Checks = _ACCESS,
) -> AccessToken:
    """Return the token if every check passes; raises the `TokenError` of the first that fails.

    `bundles` and `issuers` are by trust domain. The caller must check that the presenter is the
    holder, with `holder_problem`. `checks` is for a `report`.
    """
    parsed = parse_token(token, checks)
    claims = parsed.claims
    subject, trust_domain = _workload(claims, "sub", ACCESS)
    bundle = bundles.get(trust_domain)
    verify_signature(parsed, bundle.jwt_keys if bundle else _NO_KEYS, checks)
    issuer = issuers.get(trust_domain, "")  # an empty one, which is unknown, never matches
    checks.check(
        _ACCESS_RULES,
        issuer != "" and claims.get("iss") == issuer,
        claims.get("aud") in (audience, [audience]),
    )
    if claims.get("client_id") != subject or not is_text(claims.get("jti")):
        raise ACCESS.malformed("lacks its client_id or jti")
    issued, expires = check_times(claims, checks, now)
    return AccessToken(
        issuer=issuer,
        subject=subject,
        audience=audience,
        scopes=_scopes(claims, ACCESS),
        expires=expires,
        issued=issued,
        token_id=claims["jti"],
        thumbprint=_confirmation(claims),
    )


def holder_problem(
    token: AccessToken, presenter: str | None, thumbprint: str | None, *, must_be_bound: bool
) -> str | None:
    """Return the problem's code if the presenter may not use a verified token, else None.

    `presenter` and `thumbprint` are of the presenter's certificate (RFC 8705, section 3), None if
    it has none. A token that is not bound to a certificate may be used unless `must_be_bound`.
    """
    if presenter is not None and token.subject != presenter:
        return "token-holder"
    if token.thumbprint is None:
        return "token-unbound" if must_be_bound else None
    return None if token.thumbprint == thumbprint else "token-holder"


def verify_transaction_token(
    token: str, *, bundle: SPIFFEBundle, issuer: str, now: float, checks: Checks = _TRANSACTION
) -> TransactionToken:
    """Return the token if every check passes; raises the `TokenError` of the first that fails.

    `bundle` and `issuer` are those of the verifier's own trust domain: transaction tokens of others
    are rejected. `checks` is for a `report`.
    """
    parsed = parse_token(token, checks)
    claims = parsed.claims
    verify_signature(parsed, bundle.jwt_keys, checks)
    checks.check(
        _TRANSACTION_RULES,
        issuer != "" and claims.get("iss") == issuer,
        claims.get("aud") == bundle.trust_domain,
    )
    issued, expires = check_times(claims, checks, now)
    transaction, subject = read_transaction(claims, TRANSACTION), claims.get("sub")
    if not isinstance(subject, str) or not is_text(subject):
        raise TRANSACTION.malformed("has no subject")
    return TransactionToken(
        issuer=issuer,
        trust_domain=bundle.trust_domain,
        transaction=transaction,
        subject=subject,
        scopes=_scopes(claims, TRANSACTION),
        requester=_requesters(claims, bundle.trust_domain),
        context=read_texts(claims.get("tctx"), "tctx", TRANSACTION),
        request=read_texts(claims.get("rctx", {}), "rctx", TRANSACTION),
        expires=expires,
        issued=issued,
        token=token,
    )


def check_times(claims: Mapping[str, Any], checks: Checks, now: float) -> tuple[int, int]:
    """Verify that `now` is within the validity; return `iat` and `exp`."""
    kind = checks.kind
    issued, expires = _moment(claims, "iat", kind), _moment(claims, "exp", kind)
    checks.check(_LIFETIME_RULE, 0 < expires - issued <= kind.lifetime.total_seconds())
    # The draft knows no nbf for transaction tokens, but one that is present is checked.
    without = kind.typ == TRANSACTION_TYPE and "nbf" not in claims
    begins = issued if without else _moment(claims, "nbf", kind)
    checks.check(_VALIDITY_RULES, now + _LEEWAY >= max(issued, begins), now - _LEEWAY < expires)
    return issued, expires


def read_transaction(claims: Mapping[str, Any], kind: TokenKind) -> str:
    """Return the UUID in `txn`; raises `TokenError` if there is none."""
    transaction = claims.get("txn")
    if not isinstance(transaction, str) or not _UUID.fullmatch(transaction):
        raise kind.malformed("has no UUID in txn")
    return transaction


def _moment(claims: Mapping[str, Any], name: str, kind: TokenKind) -> int:
    value = claims.get(name)
    # True is an int too, but not a time.
    if type(value) is not int or not 0 <= value <= MAX_TIME:
        raise kind.malformed(f"has no whole seconds in {name}")
    return value


def _requesters(claims: Mapping[str, Any], trust_domain: str) -> str:
    text = claims.get("req_wl")
    requesters = text.split(",") if isinstance(text, str) else []
    if not 0 < len(requesters) <= _MAX_REQUESTERS:
        raise TRANSACTION.malformed("does not name the workloads that requested it")
    for each in requesters:
        if _workload({"req_wl": each}, "req_wl", TRANSACTION)[1] != trust_domain:
            raise TRANSACTION.malformed("was requested by a workload of another trust domain")
    return ",".join(requesters)


def _workload(claims: Mapping[str, Any], name: str, kind: TokenKind) -> tuple[str, str]:
    value = claims.get(name)
    trust_domain = _trust_domain(value) if isinstance(value, str) else None
    if trust_domain is None:
        raise kind.malformed(f"has no workload's SPIFFE ID in {name}")
    return str(value), trust_domain


# Cached, because the same few workloads and scopes recur.
@lru_cache(maxsize=1024)
def _trust_domain(workload: str) -> str | None:
    try:
        identity = SPIFFEID.parse(workload)
    except SPIFFEIDError:
        return None
    return identity.trust_domain if identity.path else None


_parse_scopes = lru_cache(maxsize=1024)(parse_scopes)


def _scopes(claims: Mapping[str, Any], kind: TokenKind) -> frozenset[str]:
    value = claims.get("scope")
    scopes = _parse_scopes(value) if isinstance(value, str) else None
    if scopes is None:
        raise kind.malformed("has no scope, or one that RFC 6749 does not allow")
    return scopes


def _confirmation(claims: Mapping[str, Any]) -> str | None:
    if "cnf" not in claims:
        return None
    confirmation = claims["cnf"]
    # Another confirmation method would require a check that is not implemented here.
    if not isinstance(confirmation, dict) or confirmation.keys() != _CONFIRMATION:
        raise ACCESS.malformed("is bound to its holder by something other than a certificate")
    thumbprint = confirmation["x5t#S256"]
    if not isinstance(thumbprint, str) or not _THUMBPRINT.fullmatch(thumbprint):
        raise ACCESS.malformed("is bound to a value that is not a certificate thumbprint")
    return thumbprint


def read_texts(members: object, name: str, kind: TokenKind) -> Mapping[str, str]:
    """Return a claim that is an object of short texts; raises `TokenError` otherwise."""
    if not isinstance(members, dict) or not all(
        is_text(key) and is_text(value) for key, value in members.items()
    ):
        raise kind.malformed(f"has a {name} that is not an object of short strings")
    return MappingProxyType(members)
