"""One HTTP request as a person has saved it: raw, or as a curl line."""

import re
from dataclasses import dataclass, field, replace

from troth.cli.webhook.curl import CurlError, is_curl, read_curl
from troth.webhooks.schemes.delivery import Delivery

LIMIT = 32 << 20
"""Bytes of a request that are read; an endpoint takes bodies of at most half of that."""

_LINE = re.compile(rb"([A-Z]{1,20}) ([!-~]{1,16384}) HTTP/[0-9](?:\.[0-9])?")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}):[ \t]*(.*?)[ \t]*", re.DOTALL)
_URL = re.compile(rb"https?://[^/?]*")
_LENGTH = b"content-length"


class NotARequestError(ValueError):
    """What was given is no HTTP request. The sentence quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class Given:
    """A request, the URL it was made to where that is known, and what is odd about the text."""

    delivery: Delivery
    url: str | None = None
    notes: tuple[str, ...] = field(default=())

    def with_body(self, body: bytes) -> "Given":
        """Return it with another body."""
        return replace(self, delivery=replace(self.delivery, body=body))


def read_request(text: bytes) -> Given:
    """Return the request of a text; raises `NotARequestError`."""
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
            "the first line is not such as POST /path HTTP/1.1; save the request whole, its first "
            "line, its headers, an empty line and its body, or give a curl line"
        )
    headers = tuple(_header(line, number) for number, line in enumerate(lines, start=2))
    target, url = found[2], None
    if at := _URL.match(target):
        # as it is sent to a proxy
        url = target.partition(b"?")[0].decode("ascii")
        target = target[at.end() :] or b"/"
    delivery = Delivery(found[1].decode(), target, headers, body)
    if list(delivery.values(b"transfer-encoding")):
        raise NotARequestError(
            "the body is in chunks; save it as a server sees it, and leave Transfer-Encoding out"
        )
    cut, notes = _as_long_as_said(delivery)
    if list(cut.values(b"content-encoding")):
        notes += ("it has a Content-Encoding, which a gateway refuses",)
    return Given(cut, url, notes)


def _split(text: bytes) -> tuple[bytes, bytes, bool]:
    """Return head and body, and whether the head's lines end as HTTP has them."""
    first = text.find(b"\n")
    crlf = text[first - 1 : first] == b"\r" if first > 0 else False
    head, _, body = text.partition(b"\r\n\r\n" if crlf else b"\n\n")
    return head.rstrip(b"\r\n"), body, crlf


def _header(line: bytes, number: int) -> tuple[bytes, bytes]:
    found = _HEADER.fullmatch(line)
    if found is None or any(byte < ord(" ") and byte != ord("\t") for byte in line):
        raise NotARequestError(
            f"line {number} is no header, which is a name, a colon and a value; an empty line "
            "stands before the body"
        )
    return found[1].lower(), found[2]


def _as_long_as_said(delivery: Delivery) -> tuple[Delivery, tuple[str, ...]]:
    """Return the delivery with as much body as its Content-Length says, and what that left out."""
    said = list(delivery.values(_LENGTH))
    if not said:
        return delivery, ()
    if len(set(said)) > 1 or re.fullmatch(rb"[0-9]{1,12}", said[0]) is None:
        raise NotARequestError("the Content-Length is no number, or there are two")
    length, actual = int(said[0]), len(delivery.body)
    if length < actual and not delivery.body[length:].strip(b"\r\n"):
        note = "line breaks after the body were left out, as the Content-Length says"
        return replace(delivery, body=delivery.body[:length]), (note,)
    note = (
        f"the Content-Length says {length} bytes and the body has {actual}: it was changed when it "
        "was saved"
    )
    return delivery, (note,) if length != actual else ()
