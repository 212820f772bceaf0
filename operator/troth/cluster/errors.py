"""Errors of the API server, with texts that contain no secrets."""

import json
from http import HTTPStatus

from kubernetes.aio.dynamic.exceptions import DynamicApiError

from troth.world.facts.objects import Manifest

REASONS = frozenset(
    {
        *("AlreadyExists", "BadRequest", "Conflict", "Expired", "Forbidden", "Gone"),
        *("InternalError", "Invalid", "MethodNotAllowed", "NotAcceptable", "NotFound"),
        *("RequestEntityTooLarge", "ServerTimeout", "ServiceUnavailable", "StorageReadError"),
        *("Timeout", "TooManyRequests", "Unauthorized", "UnsupportedMediaType"),
    }
)
"""Reasons that Kubernetes defines. An admission webhook can send any other text."""
_CODES = frozenset(HTTPStatus)
SERVER_ERROR = 500
STORE_FULL = "StoreFull"
"""Reason of a write that the API server rejects because its etcd is full.

The API server answers 500 without a reason. Until a person has made room, etcd rejects all writes
but deletions (https://etcd.io/docs/v3.6/op-guide/maintenance/#space-quota).
"""
_NO_SPACE = "etcdserver: mvcc: database space exceeded"
"""etcd's `ErrNoSpace` (api/v3rpc/rpctypes/error.go)."""


class ApiError(Exception):
    """Answer of the API server that is an error, or a missing answer (status 0).

    `reason` is one word, or the phrase of the status code. `message` comes from the server or from
    an admission webhook and may quote the request, so it is not part of the error's own text.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason
        self.message = message

    @property
    def code(self) -> str:
        """Status code for metrics, or `STORE_FULL`, because 500 can be anything."""
        return STORE_FULL if self.reason == STORE_FULL else str(self.status)


class StoreRestored(Exception):  # noqa: N818 - what happened, not what failed
    """The API server's store went back in time, as after a restore from a snapshot.

    Nothing that was known of it holds: objects went back, came back and disappeared, and versions
    of before say nothing about versions of now.
    """


def error_from(error: DynamicApiError) -> ApiError:
    """Return the error of a rejected request."""
    try:
        return error_from_status(int(error.status), json.loads(error.body or ""))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return error_from_status(int(error.status), {})


def error_from_status(code: int, status: Manifest) -> ApiError:
    """Return the error that a `Status` object describes."""
    reason, message = str(status.get("reason")), str(status.get("message") or "")
    if code == SERVER_ERROR and _NO_SPACE in message:
        reason = STORE_FULL
    elif reason not in REASONS:
        reason = HTTPStatus(code).phrase if code in _CODES else ""
    return ApiError(code, reason, message)


def error_from_event(status: object) -> ApiError:
    """Return the error of an ERROR event, whose object can be anything."""
    known = status if isinstance(status, dict) else {}
    code = known.get("code")
    return error_from_status(code if isinstance(code, int) else 0, known)
