"""Authenticates Kubernetes ServiceAccount tokens with TokenReviews of the API server.

A token is accepted only if the API server says that it is authentic, that its audience is this
issuer, and that it belongs to a ServiceAccount. If the answer is missing, late or malformed, the
caller must retry. A token with another audience is rejected without a review, so that callers
cannot cause load on the API server.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

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
from troth.pki.encodings import base64url, strict_json
from troth.pki.errors import SPIFFEIDError
from troth.pki.spiffe import spiffe_id
from troth.pki.tokens.checks import MAX_TIME

_PARTS = 3


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


class Reviewer:
    """Reviews tokens, and caches positive answers briefly."""

    def __init__(
        self,
        server: ReviewServer,
        *,
        timeout: float = TIMEOUT,
        at_once: int = AT_ONCE,
        uptime: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._reviews = Reviews(server, "token review failed", timeout=timeout, at_once=at_once)
        self._uptime, self._now = uptime, now
        self._known: BriefCache[bytes, Account] = BriefCache(uptime)

    async def account(self, token: str, audience: str) -> Account:
        """Return the account of a token.

        Raises `OAuthError`: `invalid_grant` for a token that is not valid for this audience, and
        `temporarily_unavailable` if the API server did not decide.
        """
        expires = _expiry(token, audience)
        left = expires - self._now()
        if left <= 0:
            raise _refused("has expired")
        key = sha256(f"{audience}\n{token}".encode()).digest()
        known = self._known.get(key)
        if known is not None:
            return known
        asked_at = self._uptime()
        account = _account(await self._review(token, audience), audience)
        self._known.put(key, account, asked_at + min(REMEMBERED_FOR, left))
        return account

    async def _review(self, token: str, audience: str) -> Manifest:
        try:
            return await self._reviews.review(
                {
                    "apiVersion": "authentication.k8s.io/v1",
                    "kind": "TokenReview",
                    "metadata": {},
                    "spec": {"token": token, "audiences": [audience]},
                }
            )
        except TooManyReviewsError:
            raise unavailable(
                "too many ServiceAccount tokens are being reviewed; try again"
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


def _expiry(token: str, audience: str) -> float:
    """Return the expiry of an unverified token if its `aud` is the audience.

    A projected token is a JWT with `aud` and `exp`. A legacy token has neither and never expires;
    it is rejected. Raises `OAuthError` `invalid_grant`.
    """
    parts = token.split(".")
    try:
        claims = strict_json.parse(base64url.decode(parts[1])) if len(parts) == _PARTS else None
    except ValueError:
        claims = None
    if not isinstance(claims, dict):
        raise _refused("is not a JWT")
    audiences = claims.get("aud")
    if audience not in (audiences if isinstance(audiences, list) else [audiences]):
        raise _refused(f"is not for this issuer; project one with the audience {audience}")
    expires = claims.get("exp")
    # `True` is an int but no time, and a clock cannot be compared with an arbitrarily large number
    if type(expires) is not int or not 0 <= expires <= MAX_TIME:
        raise _refused("has no expiration time")
    return expires


def _refused(what: str) -> OAuthError:
    return OAuthError(Code.INVALID_GRANT, f"the subject token {what}")
