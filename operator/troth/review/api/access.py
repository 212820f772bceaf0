"""Who calls the list API, and what they may do: the API server decides both.

A TokenReview says whose token a caller presents, and a SubjectAccessReview whether that user has
the verb on `topicpolicies/deadletters` of the policy. Positive answers are cached briefly. Without
an answer, nothing is shown.
"""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from troth.cluster.reviews import (
    REMEMBERED_FOR,
    TIMEOUT,
    BriefCache,
    Manifest,
    Reviews,
    ReviewServer,
    UnreviewedError,
)
from troth.pki.encodings import base64url, strict_json
from troth.resources.metadata import GROUP
from troth.resources.references import Ref
from troth.review.api.problems import ProblemError, Reason, unavailable
from troth.serving.logs import escaped

RESOURCE, SUBRESOURCE = "topicpolicies", "deadletters"
LONGEST_TOKEN = 16 * 1024
"""Maximum number of characters of a bearer token."""

_TOKEN_PARTS = 3
_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=")
"""Characters of a bearer token (RFC 6750, section 2.1)."""


class Verb(StrEnum):
    """Verb on the dead letters of a policy."""

    LIST = "list"
    GET = "get"
    PAYLOAD = "payload"


@dataclass(frozen=True, slots=True)
class User:
    """User as the API server authenticated it."""

    name: str
    uid: str
    groups: tuple[str, ...]
    extra: tuple[tuple[str, tuple[str, ...]], ...]


class Access:
    """Authenticates and authorises callers."""

    def __init__(
        self,
        server: ReviewServer,
        *,
        audience: str | None = None,
        timeout: float = TIMEOUT,
        uptime: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`audience` is that of the callers' tokens, None for the API server's own."""
        self._tokens = Reviews(server, "token review failed", timeout=timeout)
        self._rights = Reviews(server, "access review failed", timeout=timeout)
        self._audience = audience
        self._uptime, self._now = uptime, now
        self._users: BriefCache[bytes, User] = BriefCache(uptime)
        self._allowed: BriefCache[tuple[User, Ref, Verb], bool] = BriefCache(uptime)

    async def user(self, token: str, peer: Hashable) -> User:
        """Return the user of a bearer token that a peer presents, such as a client's address.

        Raises `ProblemError`: `Unauthorized` for a token that is not valid, and
        `ServiceUnavailable` if the API server did not decide.
        """
        left = _seconds_left(token, self._now())
        if left <= 0:
            raise unauthorized("the bearer token has expired")
        key = sha256(token.encode()).digest()
        known = self._users.get(key)
        if known is not None:
            return known
        asked_at = self._uptime()
        user = _user(await self._reviewed(token, peer), self._audience)
        self._users.put(key, user, asked_at + min(REMEMBERED_FOR, left))
        return user

    async def check(self, user: User, policy: Ref, verb: Verb) -> None:
        """Raise `ProblemError` unless a user has a verb on the dead letters of a policy."""
        key = (user, policy, verb)
        if self._allowed.get(key):
            return
        asked_at = self._uptime()
        try:
            review = await self._rights.review(_access_review(user, policy, verb), user)
        except UnreviewedError:
            raise unavailable("the API server did not review the access; try again") from None
        match review.get("status"):
            case {"allowed": True, "denied": True}:
                raise _forbidden(user, policy, verb)
            case {"allowed": True}:
                self._allowed.put(key, True, asked_at + REMEMBERED_FOR)  # noqa: FBT003 - a value
            case dict():
                raise _forbidden(user, policy, verb)
            case _:
                raise unavailable("the API server's access review is invalid; try again")

    async def _reviewed(self, token: str, peer: Hashable) -> Manifest:
        audiences = {} if self._audience is None else {"audiences": [self._audience]}
        try:
            return await self._tokens.review(
                {
                    "apiVersion": "authentication.k8s.io/v1",
                    "kind": "TokenReview",
                    "metadata": {},
                    "spec": {"token": token, **audiences},
                },
                peer,
            )
        except UnreviewedError:
            raise unavailable("the API server did not review the bearer token; try again") from None


def unauthorized(message: str) -> ProblemError:
    """Return the rejection of a caller that is not authenticated."""
    return ProblemError(Reason.UNAUTHORIZED, message)


def bearer_token(values: list[bytes]) -> str:
    """Return the token of the values of the header `Authorization`; raises `ProblemError`."""
    if not values:
        raise unauthorized(
            "no bearer token; send the token of a user of the cluster in the header Authorization"
        )
    scheme, _, token = values[0].decode("latin-1").partition(" ")
    token = token.strip(" ")
    if len(values) > 1 or scheme.lower() != "bearer" or not token:
        raise unauthorized("the header Authorization is not one bearer token")
    if len(token) > LONGEST_TOKEN or not _CHARACTERS.issuperset(token):
        raise unauthorized("the bearer token has no valid form")
    return token


def _user(review: Manifest, audience: str | None) -> User:
    """Return the user in the status of a TokenReview (authentication.k8s.io/v1)."""
    match review.get("status"):
        case {"authenticated": True, "user": {"username": str(name)} as user} if name:
            # an API server that does not support audiences omits them and has not checked them
            if audience is None or audience in _audiences(review):
                return _read_user(name, user)
        case dict():
            pass
        case _:
            raise unavailable("the API server's review of the bearer token is invalid; try again")
    raise unauthorized("the API server does not accept the bearer token")


def _audiences(review: Manifest) -> list[object]:
    found = review["status"].get("audiences")
    return found if isinstance(found, list) else []


def _read_user(name: str, user: Manifest) -> User:
    uid, groups, extra = (user.get(part) for part in ("uid", "groups", "extra"))
    try:
        return User(
            name,
            _text(uid or ""),
            _texts(groups or []),
            tuple(sorted((_text(key), _texts(each)) for key, each in (extra or {}).items())),
        )
    except (TypeError, AttributeError):
        raise unavailable(
            "the API server's review of the bearer token is invalid; try again"
        ) from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _texts(values: object) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError("not a list")
    return tuple(map(_text, values))


def _access_review(user: User, policy: Ref, verb: Verb) -> Manifest:
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "metadata": {},
        "spec": {
            "user": user.name,
            "uid": user.uid,
            "groups": list(user.groups),
            "extra": {name: list(values) for name, values in user.extra},
            "resourceAttributes": {
                "group": GROUP,
                "resource": RESOURCE,
                "subresource": SUBRESOURCE,
                "namespace": policy.namespace,
                "name": policy.name,
                "verb": verb.value,
            },
        },
    }


def _forbidden(user: User, policy: Ref, verb: Verb) -> ProblemError:
    return ProblemError(
        Reason.FORBIDDEN,
        f'user "{escaped(user.name)}" cannot {verb} resource "{RESOURCE}/{SUBRESOURCE}" in API '
        f'group "{GROUP}" for the TopicPolicy {policy}; grant the verb {verb} on it in a Role',
    )


def _seconds_left(token: str, now: float) -> float:
    """Return the seconds until the expiry of a token, not verified; infinite if it says none.

    Only tokens that are JWTs say it. It bounds how long an answer is cached.
    """
    parts = token.split(".")
    try:
        claims = strict_json.parse(base64url.decode(parts[1])) if len(parts) == _TOKEN_PARTS else {}
    except ValueError:
        return float("inf")
    expires = claims.get("exp") if isinstance(claims, dict) else None
    return min(expires, 2**53) - now if type(expires) is int else float("inf")
