"""Whose a Kubernetes ServiceAccount token is: asked of the API server, and only of it.

A token is believed only if the API server says that it authenticates, that it is for this issuer,
and that it is a ServiceAccount's. No answer, a slow one and one that makes no sense are no proof:
the caller is told to try again. What is plainly not for this issuer is not even asked about, so
that nobody can have the API server asked at their pleasure.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol

import structlog

from troth.cluster.errors import ApiError
from troth.issuer.errors import Code, OAuthError, unavailable
from troth.pki import base64url, strict_json
from troth.pki.errors import SPIFFEIDError
from troth.pki.spiffe import spiffe_id
from troth.pki.token_checks import MAX_TIME

TIMEOUT = 3.0
"""Seconds that a caller is made to wait for the API server."""
REMEMBERED_FOR = 5.0
"""Seconds that a good answer is used again. The API server itself remembers for ten more: together
that is how long a token of a deleted ServiceAccount may still be exchanged.
"""
REMEMBERED = 4096
AT_ONCE = 32
"""Questions asked of the API server at the same time; more callers are told to come again."""

_PARTS = 3

log = structlog.get_logger()

Manifest = dict[str, Any]


class Asked(Protocol):
    """What is needed of `troth.cluster.api.ApiServer`."""

    def create(self, manifest: Manifest) -> Awaitable[Manifest]:
        """Create an object, and return what the API server makes of it."""


@dataclass(frozen=True, slots=True)
class Account:
    """A ServiceAccount that a token belongs to."""

    namespace: str
    name: str

    def spiffe_id(self, trust_domain: str) -> str:
        """Return the SPIFFE ID of the account's workload; raises `OAuthError` if it has none."""
        try:
            return spiffe_id(trust_domain, self.namespace, self.name)
        except SPIFFEIDError:
            raise _refused("names no ServiceAccount") from None


class Reviewer:
    """Asks the API server about tokens, and remembers for a moment whose they are."""

    def __init__(
        self,
        server: Asked,
        *,
        timeout: float = TIMEOUT,
        uptime: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._server = server
        self._timeout = timeout
        self._uptime, self._now = uptime, now
        self._known: OrderedDict[bytes, tuple[Account, float]] = OrderedDict()
        self._asking = 0

    async def account(self, token: str, audience: str) -> Account:
        """Return whose a token is.

        Raises `OAuthError`: `invalid_grant` for one that is not good for this audience, and
        `temporarily_unavailable` where the API server did not say.
        """
        expires = _expiry(token, audience)
        left = expires - self._now()
        if left <= 0:
            raise _refused("has expired")
        key = sha256(f"{audience}\n{token}".encode()).digest()
        known = self._known.get(key)
        if known is not None and known[1] > self._uptime():
            return known[0]
        asked_at = self._uptime()
        account = _account(await self._review(token, audience), audience)
        self._known[key] = account, asked_at + min(REMEMBERED_FOR, left)
        self._known.move_to_end(key)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return account

    async def _review(self, token: str, audience: str) -> Manifest:
        if self._asking >= AT_ONCE:
            raise unavailable("too many ServiceAccount tokens are being reviewed; try again")
        self._asking += 1
        try:
            async with asyncio.timeout(self._timeout):
                return await self._server.create(
                    {
                        "apiVersion": "authentication.k8s.io/v1",
                        "kind": "TokenReview",
                        "metadata": {},
                        "spec": {"token": token, "audiences": [audience]},
                    }
                )
        except TimeoutError:
            log.warning("token review failed", reason="Timeout", seconds=self._timeout)
        except ApiError as error:
            log.warning("token review failed", status=error.status, reason=error.reason)
        finally:
            self._asking -= 1
        raise unavailable("the API server did not review the ServiceAccount token; try again")


def _account(review: Manifest, audience: str) -> Account:
    """Return whose a token is, by a TokenReview's status (authentication.k8s.io/v1)."""
    match review.get("status"):
        case {"authenticated": True, "audiences": [*audiences], "user": {"username": str(name)}}:
            # an API server that knows no audiences leaves them out, and has not looked at them
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
    """Return when a token says it expires, if it says it is for the audience; nothing is verified.

    A projected token is a JWT with `aud` and `exp`; an old one without, which never ends, is not
    taken. Raises `OAuthError` `invalid_grant`.
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
    # True is an int as well, and not a time; and no clock can be compared with a number of any size
    if type(expires) is not int or not 0 <= expires <= MAX_TIME:
        raise _refused("has no expiration time")
    return expires


def _refused(what: str) -> OAuthError:
    return OAuthError(Code.INVALID_GRANT, f"the subject token {what}")
