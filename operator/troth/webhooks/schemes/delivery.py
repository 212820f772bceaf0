"""A delivery as it came over the wire, and how it is refused."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """Why a delivery is not verified; the words that logs, metrics and answers use."""

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
    """What must be signed is not."""
    CONTENT_CHANGED = "content-changed"
    """A digest that is signed is not that of the body."""
    SENDER_UNEXPECTED = "sender-unexpected"
    """It is signed, by somebody who is not pinned: another topic, another certificate's host."""


class RefusedError(Exception):
    """A delivery that is not verified. `str()` says what is wrong and quotes nothing of it."""

    def __init__(self, reason: Reason, sentence: str) -> None:
        self.reason = reason
        super().__init__(sentence)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One HTTP request that may be a webhook's delivery.

    `target` is the path and query exactly as in the request line, `headers` the pairs in the order
    they came, names in lower case (as ASGI has them). Of all that only the method
    shows in a `repr`: a legacy sender's token is in a header, another's in its query.
    """

    method: str
    target: bytes = field(repr=False)
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    body: bytes = field(repr=False)

    def values(self, name: bytes) -> Iterator[bytes]:
        """Yield every value of a header."""
        return (value for each, value in self.headers if each == name)

    def header(self, name: bytes, missing: Reason = Reason.HEADER_MISSING) -> str:
        """Return the only value of a header; raises `RefusedError` where there is none, or two.

        Which of two would count is a question that the sender, a proxy and we may answer
        differently. A value that is not printable ASCII is refused as well.
        """
        text = self.optional(name)
        if text is None:
            raise RefusedError(missing, f"the header {name.decode()} is missing")
        return text

    def optional(self, name: bytes) -> str | None:
        """Return the only value of a header, None where it is not there; raises as `header`."""
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
        """Return the delivery with these headers in place of any of the same names."""
        added = tuple((name.lower().encode(), value.encode()) for name, value in headers)
        names = {name for name, _ in added}
        kept = tuple(pair for pair in self.headers if pair[0] not in names)
        return replace(self, headers=(*kept, *added))
