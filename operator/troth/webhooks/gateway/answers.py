"""Answers of the gateway: the status and whether to retry for the sender, the reason for the log.

The answer must not tell a forger which check failed.
"""

from dataclasses import dataclass, field
from http import HTTPStatus

from troth.serving.connection import RETRY_AFTER

NOTHING = b""
_TAKEN = [(b"content-length", b"0")]


@dataclass(frozen=True, slots=True)
class Answered:
    """Answer to a request. `reason` is one word for log and metrics, empty for a success."""

    status: int
    reason: str = ""
    body: bytes = field(default=NOTHING, repr=False)
    retry: bool = False

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Headers of the answer."""
        if self.status == HTTPStatus.OK and not self.body:
            return _TAKEN  # the usual case
        headers = [(b"content-length", str(len(self.body)).encode())]
        if self.body:
            headers.append((b"content-type", b"application/json"))
        if self.retry:
            headers.append((b"retry-after", str(RETRY_AFTER).encode()))
        if self.status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers.append((b"allow", b"POST"))
        return headers


class RefusalError(Exception):
    """Raised to end a request with this answer."""

    def __init__(self, status: int, reason: str, *, retry: bool = False) -> None:
        super().__init__(reason)
        self.answered = Answered(status, reason, retry=retry)


class GoneError(Exception):
    """The connection ended before the request was complete, so nobody receives an answer."""
