"""Strict parsing of the structured fields (RFC 9651) of HTTP message signatures.

Valid constructs that no signature needs are rejected: repeated labels, components or parameters, of
which parsers use the last, and values of another type. A library parses the rest, and all of its
errors become `RefusedError`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import http_sf

from troth.webhooks.schemes.delivery import Delivery, Reason, RefusedError

MOST_SIGNATURES = 4
"""Maximum number of signatures of one request; one takes as long to verify as fifty MACs."""

SIGNATURE = b"signature"
SIGNATURE_INPUT = b"signature-input"
CONTENT_DIGEST = b"content-digest"

_LONGEST = 8 * 1024
_MOST_COMPONENTS = 64
_MOST_DIGESTS = 16
_MOST_PARTS = 160
"""Maximum number of items and parameters in a field, which takes a millisecond to parse."""
# RFC 9651, section 3.3.3. A string that does not end goes on to the end of the text: otherwise each
# quote in it would be tried as a beginning.
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?')
_COMMA = re.compile(r"[ \t]*,[ \t]*")


@dataclass(frozen=True, slots=True)
class Signed:
    """Signature of a message: the components that it covers, in order, and its parameters.

    `text` is both in the form in which they are signed (RFC 9421, section 2.3).
    """

    covered: tuple[str, ...]
    parameters: Mapping[str, object] = field(repr=False)
    text: str
    signature: bytes = field(repr=False)

    def text_of(self, name: str) -> str | None:
        """Return a parameter that is a string, None if it is absent."""
        value = self.parameters.get(name)
        if value is not None and not isinstance(value, str):
            raise _malformed(f"{name} is not a string")
        return value

    def time_of(self, name: str) -> int | None:
        """Return a parameter that is a time, None if it is absent."""
        value = self.parameters.get(name)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise RefusedError(
                Reason.TIMESTAMP_MALFORMED, f"{name} is not whole seconds since the epoch"
            )
        return value


def read_signatures(delivery: Delivery) -> tuple[Signed, ...]:
    """Return the signatures of a message, at least one; raises `RefusedError`.

    Each label must be in both `Signature-Input` and `Signature`: one that is only in one of them
    belongs to another message.
    """
    values = _byte_sequences(delivery.header(SIGNATURE, Reason.SIGNATURE_MISSING), SIGNATURE)
    inputs = _dictionary(
        delivery.header(SIGNATURE_INPUT, Reason.SIGNATURE_MISSING), SIGNATURE_INPUT
    )
    if not inputs:
        raise RefusedError(Reason.SIGNATURE_MISSING, "the request has no signature")
    if inputs.keys() != values.keys():
        raise _malformed("Signature and Signature-Input have different labels")
    return tuple(_signed(label, each, values[label]) for label, each in inputs.items())


def read_digests(text: str) -> Mapping[str, bytes]:
    """Return the digests of a `Content-Digest` (RFC 9530, section 2); raises `RefusedError`."""
    return _byte_sequences(text, CONTENT_DIGEST, _MOST_DIGESTS)


def write(name: str, value: bytes) -> str:
    """Return a dictionary with one byte sequence, as the value of a field."""
    return http_sf.ser({name: value})


def parameters_text(covered: tuple[str, ...], parameters: Mapping[str, str | int]) -> str:
    """Return the components and parameters of a signature, in the form in which they are signed."""
    member: http_sf.InnerListType = (list(covered), dict(parameters))
    return http_sf.ser({"a": member}).removeprefix("a=")


def _dictionary(text: str, name: bytes, most: int = MOST_SIGNATURES) -> Mapping[str, object]:
    """Return the members of a field, at most `most`. Its size is bounded before it is parsed."""
    where = name.decode()
    if len(text) > _LONGEST:
        raise _malformed(f"{where} is too long")
    around = _STRING.sub("", text)
    if around.count(",") >= most:
        raise RefusedError(Reason.TOO_MANY_SIGNATURES, f"{where} has too many members")
    if around.count(" ") + around.count("\t") + around.count(";") > _MOST_PARTS:
        raise _malformed(f"{where} has too many components or parameters")

    def twice(_: str, __: str) -> None:
        raise ValueError

    try:
        parsed = http_sf.parse(text.encode(), tltype="dictionary", on_duplicate_key=twice)
    except ValueError:
        raise _malformed(f"{where} is an invalid or ambiguous dictionary") from None
    assert isinstance(parsed, dict)
    return parsed


def _byte_sequences(text: str, where: bytes, most: int = MOST_SIGNATURES) -> Mapping[str, bytes]:
    """Return the members of a field, which must be byte sequences encoded as by `write`."""
    parsed = _dictionary(text, where, most)
    members = {name: _bytes(member, where) for name, member in parsed.items()}
    # As the RFC asks, the library accepts missing padding, and it ignores bits after the last byte.
    spelled = [write(name, value) for name, value in members.items()]
    if members and _COMMA.split(text.strip(" ")) != spelled:
        raise _malformed(f"{where.decode()} is not in its canonical form")
    return members


def _signed(label: str, member: object, value: bytes) -> Signed:
    match member:
        case (list(items), dict(parameters)):
            covered = tuple(map(_component, items))
        case _:
            raise _malformed("the covered components are not a list")
    if len(covered) > _MOST_COMPONENTS or len(set(covered)) != len(covered):
        raise _malformed("a component is repeated, or there are too many")
    text = http_sf.ser({label: (items, parameters)}).removeprefix(f"{label}=")
    return Signed(covered, parameters, text, value)


def _component(item: object) -> str:
    """Return the name of a component; one with parameters is only a part and is rejected."""
    match item:
        case (str(name), dict(parameters)) if not parameters:
            return name
        case _:
            raise _malformed("a component is not a plain name")


def _bytes(member: object, where: bytes) -> bytes:
    match member:
        case (bytes(value), dict(parameters)) if not parameters:
            return value
        case _:
            raise _malformed(f"{where.decode()} has a member that is not a byte sequence")


def _malformed(sentence: str) -> RefusedError:
    return RefusedError(Reason.SIGNATURE_MALFORMED, sentence)
