"""Decides what a caller may have, from what the operator granted only.

A token is never wider than that. A requested scope that is not granted is an error, and never
dropped silently: the callee would then reject the caller for no visible reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from troth.documents.token_grants import Caller, TokenGrants
from troth.issuer.errors import Code, OAuthError, invalid_request, without_tokens
from troth.issuer.token_request import (
    TENANT,
    AccessRequest,
    TransactionReplacement,
    TransactionStart,
)
from troth.pki.tokens.checks import TransactionToken

TRANSACTION_LIFETIME = timedelta(minutes=5)
MOST_REQUESTERS = 8
"""Maximum number of replacements of a transaction token; each adds a name to `req_wl`."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The proved identity of a caller: its SPIFFE ID, and its certificate in DER."""

    spiffe_id: str
    certificate: bytes | None = field(default=None, repr=False)
    """None if only a ServiceAccount token proves the identity."""


@dataclass(frozen=True, slots=True)
class AccessGrant:
    """A granted access token."""

    subject: str
    audience: str
    scopes: frozenset[str]
    lifetime: timedelta
    certificate: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class TransactionGrant:
    """A granted transaction token; `transaction` is None for a new one."""

    transaction: str | None
    subject: str = field(repr=False)
    scopes: frozenset[str]
    requester: str
    context: Mapping[str, str] = field(repr=False)
    request: Mapping[str, str] = field(repr=False)
    expires: datetime


def access(request: AccessRequest, proof: Proof, granted: TokenGrants) -> AccessGrant:
    """Grant an access token for a live edge; raises `OAuthError` if there is none."""
    audience = _caller(proof, granted).audiences.get(request.audience)
    if audience is None:
        raise OAuthError(
            Code.INVALID_TARGET,
            f"no live edge leads from {proof.spiffe_id} to a service with that audience",
        )
    scopes = audience.scopes if request.scopes is None else request.scopes
    _check_scopes(scopes, audience.scopes)
    seconds = min(audience.lifetime, granted.max_lifetime)
    return AccessGrant(
        proof.spiffe_id, request.audience, scopes, timedelta(seconds=seconds), proof.certificate
    )


def start(
    request: TransactionStart, proof: Proof, granted: TokenGrants, now: datetime
) -> TransactionGrant:
    """Grant the first token of a transaction to a workload that may start transactions."""
    _check_domain(request.audience, granted)
    starting = _caller(proof, granted).starts_transactions
    if starting is None:
        raise OAuthError(
            Code.UNAUTHORIZED_CLIENT,
            f"{proof.spiffe_id} may not start transactions; declare startsTransactions in its "
            "ServiceIdentity",
        )
    _check_scopes(request.scopes, starting.scopes)
    if not request.context.keys() <= {TENANT} | starting.context:
        raise invalid_request(
            "request_details has a name that startsTransactions.context does not list"
        )
    return TransactionGrant(
        transaction=None,
        subject=request.subject,
        scopes=request.scopes,
        requester=proof.spiffe_id,
        context=request.context,
        request=request.request,
        expires=now + _transaction_lifetime(granted),
    )


def replace(
    request: TransactionReplacement,
    original: TransactionToken,
    proof: Proof,
    granted: TokenGrants,
    now: datetime,
) -> TransactionGrant:
    """Grant a transaction token that allows less than the original, for no longer."""
    _check_domain(request.audience, granted)
    _caller(proof, granted)
    expires = datetime.fromtimestamp(original.expires, UTC)
    if expires <= now:  # without the leeway of verifiers, because this clock issued it
        raise OAuthError(Code.INVALID_GRANT, "the transaction token has expired")
    _check_scopes(request.scopes, original.scopes)
    return TransactionGrant(
        transaction=original.transaction,
        subject=original.subject,
        scopes=request.scopes,
        requester=_requesters(original.requester, proof.spiffe_id),
        context=original.context,
        request=original.request,
        expires=min(expires, now + _transaction_lifetime(granted)),
    )


def _caller(proof: Proof, granted: TokenGrants) -> Caller:
    caller = granted.callers.get(proof.spiffe_id)
    if caller is None:
        raise OAuthError(
            Code.UNAUTHORIZED_CLIENT,
            f"{proof.spiffe_id} is not an identity of {granted.trust_domain}",
        )
    return caller


def _check_domain(audience: str, granted: TokenGrants) -> None:
    if audience != granted.trust_domain:
        raise OAuthError(
            Code.INVALID_TARGET,
            "a transaction token is for the whole trust domain; use audience="
            f"{granted.trust_domain}",
        )


def _check_scopes(asked: frozenset[str], granted: frozenset[str]) -> None:
    if beyond := sorted(asked - granted):
        named = without_tokens(" ".join(beyond))  # before truncation: half a token is secret too
        raise OAuthError(Code.INVALID_SCOPE, f"not granted: {named[:512]}")


def _requesters(before: str, now: str) -> str:
    """Return `req_wl` of a replacement: the previous requesters and the new one."""
    requesters = [*before.split(","), now]
    if len(requesters) > MOST_REQUESTERS:
        raise OAuthError(Code.INVALID_GRANT, "the transaction token was replaced too many times")
    return ",".join(requesters)


def _transaction_lifetime(granted: TokenGrants) -> timedelta:
    return min(TRANSACTION_LIFETIME, timedelta(seconds=granted.max_lifetime))
