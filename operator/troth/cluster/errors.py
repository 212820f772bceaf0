"""What an API server answers where it does not do what was asked, in words that hold no secret."""

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
"""Of Kubernetes' own; an admission webhook writes there what it likes."""
_CODES = frozenset(HTTPStatus)


class ApiError(Exception):
    """An answer of the API server that is not success, or that never came (status 0).

    `reason` is a word. `message` is in the words of whoever refused, an admission webhook perhaps,
    and may quote what was sent; so it is not part of the error's own text.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason
        self.message = message


def refused(error: DynamicApiError) -> ApiError:
    """Return what the server says of a request that it did not carry out."""
    try:
        return told(int(error.status), json.loads(error.body or ""))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return told(int(error.status), {})


def told(code: int, status: Manifest) -> ApiError:
    """Return the error that a `Status` of the API server tells of."""
    reason = str(status.get("reason"))
    if reason not in REASONS:
        reason = HTTPStatus(code).phrase if code in _CODES else ""
    return ApiError(code, reason, str(status.get("message") or ""))


def told_by_watch(status: object) -> ApiError:
    """Return the error that an ERROR event tells of, whatever its object is."""
    known = status if isinstance(status, dict) else {}
    code = known.get("code")
    return told(code if isinstance(code, int) else 0, known)
