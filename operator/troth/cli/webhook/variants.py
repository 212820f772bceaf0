"""Variants of a delivery: what it may have been before something changed it."""

import base64
import binascii
import json
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

from troth.webhooks.schemes.delivery import Delivery

_LARGEST = 1 << 20
"""Maximum size in bytes of a body to try variants of."""

_BOM = b"\xef\xbb\xbf"
_MOST = 32
_PREFIXES = (b"whsec_", b"whsk_", b"whpk_")


def bodies(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield possible original bodies, each with a description of the difference."""
    seen = {body}
    for what, each in _bodies(body) if len(body) <= _LARGEST else ():
        if each not in seen:
            seen.add(each)
            yield what, each


def _bodies(body: bytes) -> Iterator[tuple[str, bytes]]:
    yield "without the line break at its end", body.removesuffix(b"\n").removesuffix(b"\r")
    yield "without white space around it", body.strip()
    yield "with a line break at its end", body + b"\n"
    yield "with LF for each CRLF", body.replace(b"\r\n", b"\n")
    yield "with CRLF for each LF", body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    yield "without the byte order mark", body.removeprefix(_BOM)
    yield from _json(body)
    with suppress(UnicodeError):
        yield "decoded from UTF-8 a second time", body.decode().encode("latin-1")
    yield "encoded as UTF-8 a second time", body.decode("latin-1").encode()
    if body:
        yield "left empty: the sender signed an empty body, or something else had consumed it", b""


def _json(body: bytes) -> Iterator[tuple[str, bytes]]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return
    for how, separators, indent in (
        ("without spaces", (",", ":"), None),
        ("with spaces", (", ", ": "), None),
        ("with two spaces before each line", (",", ": "), 2),
        ("with four spaces before each line", (",", ": "), 4),
    ):
        for escaped in (False, True):
            text = json.dumps(value, ensure_ascii=escaped, separators=separators, indent=indent)
            what = f"as reformatted JSON, {how}" + (
                " and with non-ASCII characters escaped" if escaped else ""
            )
            try:
                yield what, text.encode()
            except UnicodeEncodeError:
                continue


def secrets(text: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the keys that a sender may derive from a secret, each with a description."""
    plain = text.strip()
    rest = plain
    for prefix in _PREFIXES:
        rest = rest.removeprefix(prefix)
    seen = set()
    for how, value in (
        ("the secret as it is", plain),
        ("the secret with the line break of its file", plain + b"\n"),
        ("the secret without its prefix", rest),
        ("the base64-decoded secret", _base64(rest)),
        ("the hex-decoded secret", _hexadecimal(rest)),
        ("the base64-encoded secret", base64.b64encode(plain)),
    ):
        if value and value not in seen:
            seen.add(value)
            yield how, value


def _base64(text: bytes) -> bytes:
    try:
        return base64.b64decode(text.translate(bytes.maketrans(b"-_", b"+/")) + b"==")
    except (binascii.Error, ValueError):
        return b""


def _hexadecimal(text: bytes) -> bytes:
    try:
        return bytes.fromhex(text.decode("ascii"))
    except ValueError:
        return b""


def layouts(delivery: Delivery, url: str) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield what senders sign before and after the body, each with a description.

    Times and ids come from the headers.
    """
    address = url.encode()
    yield "the body", b"", b""
    yield "the URL and the body", address, b""
    yield "the body and the URL", b"", address
    yield "the method, the URL and the body", delivery.method.encode() + address, b""
    for time in _times(delivery):
        for between in (b".", b":", b""):
            name = f"the time, {between.decode()!r} and the body" if between else "time and body"
            yield name, time + between, b""
        yield "'v0:', the time, ':' and the body", b"v0:" + time + b":", b""
        for named in _ids(delivery):
            yield "the id, the time and the body, with '.' between", named + b"." + time + b".", b""


def _times(delivery: Delivery) -> list[bytes]:
    parts = (
        part.rpartition(b"=")[2].strip()
        for _, value in delivery.headers
        for part in value.replace(b";", b",").split(b",")
    )
    return list(dict.fromkeys(part for part in parts if part.isdigit() and len(part) in (10, 13)))[
        :4
    ]


def _ids(delivery: Delivery) -> list[bytes]:
    return [value for name, value in delivery.headers if name.endswith((b"-id", b"-delivery"))][:4]


def signatures(delivery: Delivery) -> frozenset[bytes]:
    """Return all values in the headers that may be a MAC."""
    found = set()
    for _, value in delivery.headers:
        for part in value.replace(b";", b",").replace(b" ", b",").split(b","):
            for text in (part, part.partition(b"=")[2], part.partition(b":")[2]):
                found |= {_hexadecimal(text), _base64(text)}
    return frozenset(islice((each for each in found if len(each) in (20, 32, 64)), _MOST))
