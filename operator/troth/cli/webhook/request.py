"""Parses a saved HTTP request: raw HTTP or a curl command."""

import re
from dataclasses import dataclass, field, replace

from troth.cli.webhook.curl import CurlError, is_curl, read_curl
from troth.webhooks.schemes.delivery import Delivery

LIMIT = 32 << 20
"""Maximum size of a request in bytes. An endpoint accepts bodies of at most half of that."""

_LINE = re.compile(rb"([A-Z]{1,20}) ([!-~]{1,16384}) HTTP/[0-9](?:\.[0-9])?")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}):[ \t]*(.*?)[ \t]*", re.DOTALL)
_URL = re.compile(rb"https?://[^/?]*")
_LENGTH = b"content-length"


class NotARequestError(ValueError):
    """The input is not an HTTP request. The message quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class Given:
    """A request, its URL if known, and notes about faults in the saved text."""

    delivery: Delivery
    url: str | None = None
    notes: tuple[str, ...] = field(default=())

    def with_body(self, body: bytes) -> "Given":
        """Return the request with another body."""
        return replace(self, delivery=replace(self.delivery, body=body))


def read_request(text: bytes) -> Given:
    """Parse a request; raises `NotARequestError`."""
    if is_curl(text):
        try:
            line = read_curl(text)
        except CurlError as error:
            raise NotARequestError(str(error)) from None
        return Given(line.delivery, line.url)
    return _raw(text)


def _raw(text: bytes) -> Given:
    head, body, crlf = _split(text)
    first, *lines = head.split(b"\r\n" if crlf else b"\n")
    found = _LINE.fullmatch(first)
    if found is None:
        raise NotARequestError(
            "the first line is not a request line such as POST /path HTTP/1.1; save the request "
            "line, the headers, an empty line and the body, or give a curl command"
        )
    headers = tuple(_header(line, number) for number, line in enumerate(lines, start=2))
    target, url = found[2], None
    if at := _URL.match(target):
        # absolute form, as sent to a proxy
        url = target.partition(b"?")[0].decode("ascii")
        target = target[at.end() :] or b"/"
    delivery = Delivery(found[1].decode(), target, headers, body)
    if list(delivery.values(b"transfer-encoding")):
        raise NotARequestError("the body is chunked; save it decoded, and remove Transfer-Encoding")
    cut, notes = _cut_to_length(delivery)
    if list(cut.values(b"content-encoding")):
        notes += ("it has a Content-Encoding, which a gateway rejects",)
    return Given(cut, url, notes)


def _split(text: bytes) -> tuple[bytes, bytes, bool]:
    """Return head and body, and whether the head's lines end with CRLF."""
    first = text.find(b"\n")
    crlf = text[first - 1 : first] == b"\r" if first > 0 else False
    head, _, body = text.partition(b"\r\n\r\n" if crlf else b"\n\n")
    return head.rstrip(b"\r\n"), body, crlf


def _header(line: bytes, number: int) -> tuple[bytes, bytes]:
    found = _HEADER.fullmatch(line)
    if found is None or any(byte < ord(" ") and byte != ord("\t") for byte in line):
        raise NotARequestError(
            f"line {number} is not a header of the form NAME: VALUE; put an empty line before the "
            "body"
        )
    return found[1].lower(), found[2]


def _cut_to_length(delivery: Delivery) -> tuple[Delivery, tuple[str, ...]]:
    """Cut the body to its Content-Length; return the delivery and notes about differences."""
    said = list(delivery.values(_LENGTH))
    if not said:
        return delivery, ()
    if len(set(said)) > 1 or re.fullmatch(rb"[0-9]{1,12}", said[0]) is None:
        raise NotARequestError(
            "the Content-Length is not a number, or appears more than once with different values"
        )
    length, actual = int(said[0]), len(delivery.body)
    if length < actual and not delivery.body[length:].strip(b"\r\n"):
        note = "line breaks after the body were removed, according to the Content-Length"
        return replace(delivery, body=delivery.body[:length]), (note,)
    note = (
        f"the Content-Length is {length} bytes but the body has {actual}: saving the request "
        "changed it"
    )
    return delivery, (note,) if length != actual else ()
