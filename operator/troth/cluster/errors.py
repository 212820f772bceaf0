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


class ApiError(Exception):
    """Answer of the API server that is an error, or a missing answer (status 0).

    `reason` is one word. `message` comes from the server or from an admission webhook and may quote
    the request, so it is not part of the error's own text.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason
        self.message = message


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
    reason = str(status.get("reason"))
    if reason not in REASONS:
        reason = HTTPStatus(code).phrase if code in _CODES else ""
    return ApiError(code, reason, str(status.get("message") or ""))


def error_from_event(status: object) -> ApiError:
    """Return the error of an ERROR event, whose object can be anything."""
    known = status if isinstance(status, dict) else {}
    code = known.get("code")
    return error_from_status(code if isinstance(code, int) else 0, known)
