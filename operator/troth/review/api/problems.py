"""Rejected requests of the list API."""

from enum import StrEnum
from http import HTTPStatus


class Reason(StrEnum):
    """Reason of a rejection, with the names that Kubernetes has."""

    BAD_REQUEST = "BadRequest"
    UNAUTHORIZED = "Unauthorized"
    FORBIDDEN = "Forbidden"
    NOT_FOUND = "NotFound"
    METHOD_NOT_ALLOWED = "MethodNotAllowed"
    GONE = "Gone"
    TOO_LARGE = "RequestEntityTooLarge"
    INTERNAL_ERROR = "InternalError"
    UNAVAILABLE = "ServiceUnavailable"

    @property
    def status(self) -> HTTPStatus:
        """Status code of the answer."""
        return _STATUS[self]


_STATUS = {
    Reason.BAD_REQUEST: HTTPStatus.BAD_REQUEST,
    Reason.UNAUTHORIZED: HTTPStatus.UNAUTHORIZED,
    Reason.FORBIDDEN: HTTPStatus.FORBIDDEN,
    Reason.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Reason.METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
    Reason.GONE: HTTPStatus.GONE,
    Reason.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Reason.INTERNAL_ERROR: HTTPStatus.INTERNAL_SERVER_ERROR,
    Reason.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}


class ProblemError(Exception):
    """Rejected request. `message` is a sentence for its caller, and quotes no token."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


def bad_request(message: str) -> ProblemError:
    """Return the rejection of a malformed request."""
    return ProblemError(Reason.BAD_REQUEST, message)


def unavailable(message: str) -> ProblemError:
    """Return the rejection of a request that cannot be answered now; the caller may retry."""
    return ProblemError(Reason.UNAVAILABLE, message)
