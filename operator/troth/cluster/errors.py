"""Errors of the API server, with texts that contain no secrets."""

import json
import re
from http import HTTPStatus

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
_FIELD = re.compile(r"[A-Za-z0-9_.\[\]/-]{1,120}")
LONGEST = 500
"""Maximum number of characters of a message that is passed on."""
MOST_FIELDS = 3
"""Maximum number of fields that an error names."""


class ApiError(Exception):
    """Answer of the API server that is an error, or a missing answer (status 0).

    `reason` is one word, or the phrase of the status code. `message` comes from the server or from
    an admission webhook and may quote the request, so it is not part of the error's own text.
    `fields` are the paths of invalid fields, without their values.
    """

    def __init__(
        self, status: int, reason: str, message: str, fields: tuple[str, ...] = ()
    ) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason
        self.message = message
        self.fields = fields

    @property
    def line(self) -> str:
        """The message in one line of at most `LONGEST` printable characters."""
        line = " ".join(self.message.split())
        line = "".join(each if each.isprintable() else "?" for each in line[: LONGEST + 1])
        return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"

    @property
    def code(self) -> str:
        """Status code for metrics, or `STORE_FULL`, because 500 can be anything."""
        return STORE_FULL if self.reason == STORE_FULL else str(self.status)


class StoreRestored(Exception):  # noqa: N818 - what happened, not what failed
    """The API server's store went back in time, as after a restore from a snapshot.

    Nothing that was known of it holds: objects went back, came back and disappeared, and versions
    of before say nothing about versions of now.
    """


def error_from(code: int, body: bytes) -> ApiError:
    """Return the error of a rejected request, whose answer can be anything."""
    try:
        return error_from_status(code, json.loads(body))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return error_from_status(code, {})


def error_from_status(code: int, status: Manifest) -> ApiError:
    """Return the error that a `Status` object describes."""
    reason, message = str(status.get("reason")), str(status.get("message") or "")
    if code == SERVER_ERROR and _NO_SPACE in message:
        reason = STORE_FULL
    elif reason not in REASONS:
        reason = HTTPStatus(code).phrase if code in _CODES else ""
    return ApiError(code, reason, message, tuple(_fields(status)))


def _fields(status: Manifest) -> list[str]:
    """Return the invalid fields that a `Status` object names."""
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    found = [
        each["field"]
        for each in (causes if isinstance(causes, list) else ())
        if isinstance(each, dict) and isinstance(each.get("field"), str)
    ]
    return [each for each in dict.fromkeys(found) if _FIELD.fullmatch(each)][:MOST_FIELDS]


def error_from_event(status: object) -> ApiError:
    """Return the error of an ERROR event, whose object can be anything."""
    known = status if isinstance(status, dict) else {}
    code = known.get("code")
    return error_from_status(code if isinstance(code, int) else 0, known)
