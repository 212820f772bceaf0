"""Authenticates Kubernetes ServiceAccount tokens with TokenReviews of the API server.

A token is accepted only if the API server says that it is authentic, that its audience is this
issuer, and that it belongs to a ServiceAccount. If the answer is missing, late or malformed, the
caller must retry.

Anybody who reaches the issuer can send tokens, so forged ones must not cause load on the API
server: a token that has another audience, has expired, or was not signed with a key of the cluster
is rejected without a review. If that cannot be told, because the cluster's keys cannot be read or
the token names another issuer, the token is among the few that are reviewed without it.
"""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from troth.cluster.reviews import (
    AT_ONCE,
    REMEMBERED_FOR,
    TIMEOUT,
    BriefCache,
    Manifest,
    Reviews,
    ReviewServer,
    TooManyReviewsError,
    UnreviewedError,
)
from troth.issuer.errors import Code, OAuthError, unavailable
from troth.issuer.service_accounts.cluster_keys import ClusterKeySource, DocumentServer
from troth.pki.errors import SPIFFEIDError
from troth.pki.spiffe import spiffe_id
from troth.pki.tokens.checks import MAX_TIME
from troth.pki.tokens.service_account import AccountToken, parse_account_token
from troth.pki.tokens.signing import LEEWAY

UNVERIFIED_AT_ONCE = 4
"""Maximum number of concurrent reviews of tokens whose signature cannot be verified before."""

_LEEWAY = LEEWAY.total_seconds()
_FAILURE = "token review failed"


@dataclass(frozen=True, slots=True)
class Account:
    """The ServiceAccount of a token."""

    namespace: str
    name: str

    def spiffe_id(self, trust_domain: str) -> str:
        """Return the SPIFFE ID of the account's workload; raises `OAuthError` if it has none."""
        try:
            return spiffe_id(trust_domain, self.namespace, self.name)
        except SPIFFEIDError:
            raise _refused("names no ServiceAccount") from None


class Server(ReviewServer, DocumentServer, Protocol):
    """API server methods that the reviewer needs."""


class Reviewer:
    """Reviews tokens, and caches positive answers briefly."""

    def __init__(
        self,
        server: Server,
        *,
        timeout: float = TIMEOUT,
        workers: int = 1,
        uptime: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`workers` is the number of processes that share the limits of concurrent reviews."""
        self.cluster_keys = ClusterKeySource(server, timeout=timeout, uptime=uptime)
        self._verified, self._unverified = (
            Reviews(server, _FAILURE, timeout=timeout, at_once=max(at_once // workers, 1))
            for at_once in (AT_ONCE, UNVERIFIED_AT_ONCE)
        )
        self._uptime, self._now = uptime, now
        self._known: BriefCache[bytes, Account] = BriefCache(uptime)

    async def account(self, token: str, audience: str, peer: Hashable) -> Account:
        """Return the account of a token that a peer presents, such as a client's address.

        Raises `OAuthError`: `invalid_grant` for a token that is not valid for this audience, and
        `temporarily_unavailable` if the API server did not decide.
        """
        parsed = _parsed(token, audience)
        left = _seconds_left(parsed, self._now())
        key = sha256(f"{audience}\n{token}".encode()).digest()
        known = self._known.get(key)
        if known is not None:
            return known
        reviews = self._verified if await self._is_verified(parsed) else self._unverified
        asked_at = self._uptime()
        account = _account(await _review(reviews, token, audience, peer), audience)
        self._known.put(key, account, asked_at + min(REMEMBERED_FOR, left))
        return account

    async def _is_verified(self, parsed: AccountToken) -> bool:
        """Return whether the cluster issued a token, False if that cannot be told.

        Raises `invalid_grant` for a token that it did not sign.
        """
        cluster = await self.cluster_keys.keys_for(parsed.kid)
        if cluster is None:
            return False
        if not parsed.is_signed_by(cluster):
            raise _refused("is not signed with a key that this cluster's API server publishes")
        # a cluster accepts its previous issuers too, and publishes only the current one
        return parsed.claims.get("iss") == cluster.issuer


async def _review(reviews: Reviews, token: str, audience: str, peer: Hashable) -> Manifest:
    manifest = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "metadata": {},
        "spec": {"token": token, "audiences": [audience]},
    }
    try:
        return await reviews.review(manifest, peer)
    except TooManyReviewsError:
        raise unavailable(
            "too many ServiceAccount tokens from this address are being reviewed; try again"
        ) from None
    except UnreviewedError:
        raise unavailable(
            "the API server did not review the ServiceAccount token; try again"
        ) from None


def _account(review: Manifest, audience: str) -> Account:
    """Return the account in the status of a TokenReview (authentication.k8s.io/v1)."""
    match review.get("status"):
        case {"authenticated": True, "audiences": [*audiences], "user": {"username": str(name)}}:
            # an API server that does not support audiences omits them and has not checked them
            if audience in audiences:
                return _named(name)
        case dict():
            pass
        case _:
            raise unavailable(
                "the API server's review of the ServiceAccount token is invalid; try again"
            )
    raise _refused("is not accepted by this cluster's API server for this issuer")


def _named(username: str) -> Account:
    match username.split(":"):
        case ["system", "serviceaccount", namespace, name]:
            return Account(namespace, name)
        case _:
            raise _refused("is not a ServiceAccount token")


def _parsed(token: str, audience: str) -> AccountToken:
    """Return a token, not verified, if its `aud` is the audience; raises `invalid_grant`."""
    try:
        parsed = parse_account_token(token)
    except ValueError:
        raise _refused("is not a JWT of a ServiceAccount") from None
    audiences = parsed.claims.get("aud")
    if audience not in (audiences if isinstance(audiences, list) else [audiences]):
        raise _refused(f"is not for this issuer; project one with the audience {audience}")
    return parsed


def _seconds_left(parsed: AccountToken, now: float) -> float:
    """Return the seconds until a token expires; raises `invalid_grant` if it is not valid now.

    A projected token has `exp`. A legacy token has none and never expires; it is rejected.
    """
    expires, begins = parsed.claims.get("exp"), parsed.claims.get("nbf", 0)
    # `True` is an int but no time, and a clock cannot be compared with an arbitrarily large number
    if type(expires) is not int or not 0 <= expires <= MAX_TIME:
        raise _refused("has no expiration time")
    if type(begins) is not int or begins > now + _LEEWAY:
        raise _refused("is not valid yet")
    if expires <= now:
        raise _refused("has expired")
    return expires - now


def _refused(what: str) -> OAuthError:
    return OAuthError(Code.INVALID_GRANT, f"the subject token {what}")
