"""Verification of access tokens and transaction tokens.

The key comes by `kid` from the bundle of the trust domain in the token's subject, and from nowhere
else. Nothing else in a token affects how it is verified.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from troth.pki.errors import SPIFFEIDError
from troth.pki.spiffe import SPIFFEID
from troth.pki.spiffe_bundle import SPIFFEBundle
from troth.pki.token_form import (
    ACCESS,
    TRANSACTION,
    TokenError,
    TokenKind,
    parse_token,
    verify_signature,
)
from troth.pki.tokens import LEEWAY, MAX_LIFETIME, TRANSACTION_TYPE, is_text, parse_scopes

__all__ = [
    "AccessToken",
    "TokenError",
    "TransactionToken",
    "check_times",
    "read_texts",
    "read_transaction",
    "verify_access_token",
    "verify_transaction_token",
]

MAX_TIME = 253402300799
"""Last second of the year 9999; a later time in a token is invalid."""

_MAX_REQUESTERS = 8
_LEEWAY = LEEWAY.total_seconds()
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
) -> AccessToken:
    """Return a token's content once its form, signature, issuer, audience and times are checked.

    `bundles` and `issuers` are by trust domain. The caller must check that the presenter is the
    holder, by `subject` and `thumbprint`. Raises `TokenError`.
    """
    parsed = parse_token(token, ACCESS)
    claims = parsed.claims
    subject, trust_domain = _workload(claims, "sub", ACCESS)
    bundle = bundles.get(trust_domain)
    verify_signature(parsed, bundle.jwt_keys if bundle else {}, ACCESS)
    issuer = issuers.get(trust_domain)
    if issuer is None or claims.get("iss") != issuer:
        raise ACCESS.error("issuer", "is not from the issuer of its subject's trust domain")
    if claims.get("aud") not in (audience, [audience]):
        raise ACCESS.error("audience", "is for another audience; request one for this service")
    if claims.get("client_id") != subject or not is_text(claims.get("jti")):
        raise ACCESS.malformed("lacks its client_id or jti")
    issued, expires = check_times(claims, ACCESS, now)
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


def verify_transaction_token(
    token: str, *, bundle: SPIFFEBundle, issuer: str, now: float
) -> TransactionToken:
    """Return the content of a token after checking form, key, signature, issuer, audience and
    times.

    `bundle` and `issuer` are those of the verifier's own trust domain. Transaction tokens of other
    domains are rejected. Raises `TokenError`.
    """
    parsed = parse_token(token, TRANSACTION)
    claims = parsed.claims
    verify_signature(parsed, bundle.jwt_keys, TRANSACTION)
    if claims.get("iss") != issuer:
        raise TRANSACTION.error("issuer", "is not from the issuer of this trust domain")
    if claims.get("aud") != bundle.trust_domain:
        raise TRANSACTION.error("audience", "is for another trust domain")
    issued, expires = check_times(claims, TRANSACTION, now)
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


def check_times(
    claims: Mapping[str, Any], kind: TokenKind, now: float, longest: timedelta = MAX_LIFETIME
) -> tuple[int, int]:
    """Return `iat` and `exp` if `now` is between them; raises `TokenError` otherwise."""
    issued, expires = _moment(claims, "iat", kind), _moment(claims, "exp", kind)
    if not 0 < expires - issued <= longest.total_seconds():
        raise kind.error("lifetime", f"has a lifetime that is not between one second and {longest}")
    # The draft has no nbf for transaction tokens; if there is one, it is enforced.
    without = kind.typ == TRANSACTION_TYPE and "nbf" not in claims
    begins = issued if without else _moment(claims, "nbf", kind)
    if now + _LEEWAY < max(issued, begins):
        raise kind.error("not-yet-valid", "is not valid yet; correct the clock that is wrong")
    if now - _LEEWAY >= expires:
        raise kind.error("expired", "has expired; request a new one, or correct the clock")
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
    if not isinstance(confirmation, dict) or confirmation.keys() != {"x5t#S256"}:
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
