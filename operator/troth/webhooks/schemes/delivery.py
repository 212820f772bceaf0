"""A delivery as received, and the error that rejects it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """Reason why a delivery is not verified, as used in logs, metrics and answers."""

    HEADER_MISSING = "header-missing"
    HEADER_REPEATED = "header-repeated"
    SIGNATURE_MISSING = "signature-missing"
    SIGNATURE_MALFORMED = "signature-malformed"
    SIGNATURE_WRONG = "signature-wrong"
    TOO_MANY_SIGNATURES = "too-many-signatures"
    TIMESTAMP_MALFORMED = "timestamp-malformed"
    TIMESTAMP_TOO_OLD = "timestamp-too-old"
    TIMESTAMP_TOO_NEW = "timestamp-too-new"
    BODY_MALFORMED = "body-malformed"
    NOT_COVERED = "not-covered"
    """Something that must be signed is not."""
    CONTENT_CHANGED = "content-changed"
    """The signed digest is not that of the body."""
    SENDER_UNEXPECTED = "sender-unexpected"
    """The signer is not the pinned one: another topic, or another host of the certificate."""


class RefusedError(Exception):
    """Delivery that is rejected. `str()` says what is wrong and quotes nothing of the delivery."""

    def __init__(self, reason: Reason, sentence: str) -> None:
        self.reason = reason
        super().__init__(sentence)


@dataclass(frozen=True, slots=True)
class Delivery:
    """HTTP request that may be a webhook's delivery.

    `target` is the path and query exactly as in the request line. `headers` are pairs in order of
    arrival, names in lower case as in ASGI. Only the method is in the `repr`, because some senders
    put a token into a header or the query.
    """

    method: str
    target: bytes = field(repr=False)
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    body: bytes = field(repr=False)

    def values(self, name: bytes) -> Iterator[bytes]:
        """Yield every value of a header."""
        return (value for each, value in self.headers if each == name)

    def header(self, name: bytes, missing: Reason = Reason.HEADER_MISSING) -> str:
        """Return the only value of a header; raises `RefusedError` if there is none or more than
        one.

        Of two values, a sender, a proxy and this gateway might each use another one. A value that
        is not printable ASCII is rejected too.
        """
        text = self.optional(name)
        if text is None:
            raise RefusedError(missing, f"the header {name.decode()} is missing")
        return text

    def optional(self, name: bytes) -> str | None:
        """Return the only value of a header, None if it is absent; raises like `header`."""
        found = [value for each, value in self.headers if each == name]
        if len(found) > 1:
            raise RefusedError(Reason.HEADER_REPEATED, f"the header {name.decode()} is repeated")
        if not found:
            return None
        text = found[0].decode("latin-1")
        if not (text.isascii() and text.isprintable()):
            raise RefusedError(
                Reason.SIGNATURE_MALFORMED, f"the header {name.decode()} is not printable ASCII"
            )
        return text

    def with_headers(self, headers: Iterable[tuple[str, str]]) -> Self:
        """Return the delivery with these headers instead of those with the same names."""
        added = tuple((name.lower().encode(), value.encode()) for name, value in headers)
        names = {name for name, _ in added}
        kept = tuple(pair for pair in self.headers if pair[0] not in names)
        return replace(self, headers=(*kept, *added))
