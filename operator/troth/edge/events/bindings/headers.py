"""What the bindings share: strict reading of headers into attributes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from troth.edge.events.attributes import (
    CORE,
    DEAD_LETTER,
    LONGEST_VALUE,
    MOST_ATTRIBUTES,
    NAME,
    REDRIVE,
    SEAL,
    longest,
)
from troth.edge.events.rejection import Reason, RejectedError

MOST_HEADERS = 256
"""Maximum number of a message's headers, those of other libraries included."""
MOST_HEADER_BYTES = 512 * 1024
"""Maximum size of a message's headers in bytes, names and values."""

_MOST_BYTES_OF_A_CHARACTER = 12
"""Percent-encoding triples a character's length at most, and UTF-8 has at most four bytes."""

Headers = Sequence[tuple[str, bytes | None]]
Kept = tuple[tuple[str, bytes], ...]
"""Headers of a message, as a dead letter repeats them."""


@dataclass(frozen=True, slots=True)
class Binding:
    """How a broker's headers hold attributes.

    `prefix` begins the name of an attribute's header, and `names` are headers that hold an
    attribute under another name. `decode` raises `ValueError` for a value that the binding does not
    write.
    """

    prefix: str
    names: Mapping[str, str]
    decode: Callable[[bytes], str]
    known: Mapping[str, str] = field(init=False)
    """Attributes that events have, by the names of their headers."""

    def __post_init__(self) -> None:
        """Derive the names of headers."""
        others = {attribute: header for header, attribute in self.names.items()}
        names = (*CORE, *DEAD_LETTER, SEAL, REDRIVE)
        known = {others.get(each, self.prefix + each): each for each in names}
        object.__setattr__(self, "known", known)

    def read(self, headers: Headers) -> tuple[dict[str, str], Kept]:
        """Return the attributes in a message's headers, and all headers as bytes.

        Raises `RejectedError` with `TooLarge` or `Malformed`: an attribute that is repeated, empty
        or too long, a name in another spelling (`CE_id`, `ce-id` for `ce_id`), a value that is not
        text. Other headers are ignored. The first fault in the order of the headers counts.
        """
        known, decode = self.known, self.decode
        attributes: dict[str, str] = {}
        size = 0
        kept = as_bytes(headers)
        for name, value in kept[:MOST_HEADERS]:
            size += len(name) + len(value)
            if size > MOST_HEADER_BYTES:
                raise _too_large()
            attribute = known.get(name) or self._other(name)
            if attribute is None:
                continue
            if not value or attribute in attributes:
                raise _malformed("an attribute is empty or repeated")
            # LONGEST_VALUE is the shortest limit, and no text is longer than its bytes.
            is_short = len(value) <= LONGEST_VALUE
            if not is_short and len(value) > _MOST_BYTES_OF_A_CHARACTER * longest(attribute):
                raise RejectedError(Reason.TOO_LARGE, "an attribute is too long")
            try:
                text = decode(value)
            except ValueError:
                raise _malformed("an attribute is not text in the form of the binding") from None
            if not is_short and len(text) > longest(attribute):
                raise RejectedError(Reason.TOO_LARGE, "an attribute is too long")
            attributes[attribute] = text
            if len(attributes) > MOST_ATTRIBUTES:
                raise RejectedError(
                    Reason.TOO_LARGE, f"the message has more than {MOST_ATTRIBUTES} attributes"
                )
        if len(kept) > MOST_HEADERS:
            raise _too_large()
        return attributes, kept

    def _other(self, name: str) -> str | None:
        """Return the attribute of a header that no event of Troth has, None if it has none."""
        if not name.startswith(self.prefix):
            if self._resembles(name):
                raise _malformed("the name of a header is in another spelling")
            return None
        attribute = name[len(self.prefix) :]
        if NAME.fullmatch(attribute) is None or attribute in self.names.values():
            raise _malformed("the name of an attribute is not 1 to 20 of a-z and 0-9")
        return attribute

    def _resembles(self, name: str) -> bool:
        plain = name.strip().lower().replace("_", "-")
        return plain.startswith(self.prefix.replace("_", "-")) or plain in self.names


def as_bytes(headers: Headers) -> Kept:
    """Return headers with an empty value for each that has none."""
    return tuple([(name, value or b"") for name, value in headers])


def _malformed(detail: str) -> RejectedError:
    return RejectedError(Reason.MALFORMED, detail)


def _too_large() -> RejectedError:
    return RejectedError(
        Reason.TOO_LARGE,
        f"the message has more than {MOST_HEADERS} headers, or more than "
        f"{MOST_HEADER_BYTES // 1024} KiB of them",
    )
