"""The structured fields (RFC 9651) of HTTP message signatures, read strictly.

What the fields allow and no signature needs is refused: a label, a component or a parameter that is
there twice, of which readers would take the last, and values of another type. The rest is the
library's, and whatever it raises is a `RefusedError` here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import http_sf

from troth.webhooks.schemes.delivery import Delivery, Reason, RefusedError

MOST_SIGNATURES = 4
"""Signatures of one request that are looked at: one may cost as much as fifty MACs."""

SIGNATURE = b"signature"
SIGNATURE_INPUT = b"signature-input"
CONTENT_DIGEST = b"content-digest"

_LONGEST = 16 * 1024
_MOST_COMPONENTS = 64
_COMMA = re.compile(r"[ \t]*,[ \t]*")


@dataclass(frozen=True, slots=True)
class Signed:
    """One signature of a message: what it says it covers, in order, and by what parameters.

    `text` is both as they stand in what is signed (RFC 9421 section 2.3).
    """

    covered: tuple[str, ...]
    parameters: Mapping[str, object] = field(repr=False)
    text: str
    signature: bytes = field(repr=False)

    def text_of(self, name: str) -> str | None:
        """Return a parameter that is a string, None where it is not there."""
        value = self.parameters.get(name)
        if value is not None and not isinstance(value, str):
            raise _malformed(f"{name} is not a string")
        return value

    def time_of(self, name: str) -> int | None:
        """Return a parameter that is a time, None where it is not there."""
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

    Each label stands in `Signature-Input` and in `Signature`: one that is left over in either was
    signed by somebody who meant another message.
    """
    values = _byte_sequences(delivery.header(SIGNATURE, Reason.SIGNATURE_MISSING), SIGNATURE)
    inputs = _dictionary(
        delivery.header(SIGNATURE_INPUT, Reason.SIGNATURE_MISSING), SIGNATURE_INPUT
    )
    if not inputs:
        raise RefusedError(Reason.SIGNATURE_MISSING, "the request has no signature")
    if len(inputs) > MOST_SIGNATURES or len(values) > MOST_SIGNATURES:
        raise RefusedError(Reason.TOO_MANY_SIGNATURES, "the request has too many signatures")
    if inputs.keys() != values.keys():
        raise _malformed("Signature and Signature-Input have different labels")
    return tuple(_signed(label, each, values[label]) for label, each in inputs.items())


def read_digests(text: str) -> Mapping[str, bytes]:
    """Return the digests of a `Content-Digest` (RFC 9530 section 2); raises `RefusedError`."""
    return _byte_sequences(text, CONTENT_DIGEST)


def write(name: str, value: bytes) -> str:
    """Return a dictionary with one byte sequence as a field."""
    return http_sf.ser({name: value})


def parameters_text(covered: tuple[str, ...], parameters: Mapping[str, str | int]) -> str:
    """Return what a signature covers and its parameters, as they stand in what is signed."""
    member: http_sf.InnerListType = (list(covered), dict(parameters))
    return http_sf.ser({"a": member}).removeprefix("a=")


def _dictionary(text: str, name: bytes) -> Mapping[str, object]:
    where = name.decode()
    if len(text) > _LONGEST:
        raise _malformed(f"{where} is too long")

    def twice(_: str, __: str) -> None:
        raise ValueError

    try:
        parsed = http_sf.parse(text.encode(), tltype="dictionary", on_duplicate_key=twice)
    except ValueError:
        raise _malformed(f"{where} is not an unambiguous dictionary") from None
    assert isinstance(parsed, dict)
    return parsed


def _byte_sequences(text: str, where: bytes) -> Mapping[str, bytes]:
    """Return the members of a field that are bytes alone, each spelled as `write` would."""
    members = {name: _bytes(member, where) for name, member in _dictionary(text, where).items()}
    # The library takes base64 without its padding, as the RFC asks, and with bits no byte needs.
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
    """Return the name of a component; those with parameters are parts of one, and refused."""
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
