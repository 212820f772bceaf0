"""What the gateway answers: to a sender the status, and whether to try again; to the log, why.

Who forges a delivery must not be told how far it came.
"""

from dataclasses import dataclass, field
from http import HTTPStatus

RETRY_AFTER = 10
"""Seconds; most senders go by a schedule of their own."""

NOTHING = b""
_TAKEN = [(b"content-length", b"0")]


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer. `reason` is one word for the log and the metrics, empty where all is well."""

    status: int
    reason: str = ""
    body: bytes = field(default=NOTHING, repr=False)
    retry: bool = False

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of the answer."""
        if self.status == HTTPStatus.OK and not self.body:
            return _TAKEN  # nearly all of them
        headers = [(b"content-length", str(len(self.body)).encode())]
        if self.body:
            headers.append((b"content-type", b"application/json"))
        if self.retry:
            headers.append((b"retry-after", str(RETRY_AFTER).encode()))
        if self.status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers.append((b"allow", b"POST"))
        return headers


class RefusalError(Exception):
    """A request that ends with this answer."""

    def __init__(self, status: int, reason: str, *, retry: bool = False) -> None:
        super().__init__(reason)
        self.answered = Answered(status, reason, retry=retry)


class GoneError(Exception):
    """The sender has gone, or was cut off, before its request was whole: an abort, not a short
    body. Nobody hears an answer.
    """
