"""Attacks on the bytes of a validly signed delivery."""

import gzip
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.webhooks.gateway.attacks.observing import (
    POST,
    Attack,
    Stage,
    answers_of_bare,
    observed,
)
from tests.webhooks.gateway.attacks.scene import (
    BODY,
    MOST_BODY,
    PATH,
    delivery,
    delivery_in_chunks,
    secret_data,
    signed,
)
from tests.webhooks.gateway.attacks.wire import chunked, head
from troth.edge.inbound.connections import timed

CHUNKED = b"Transfer-Encoding: chunked"
LENGTH = b"Content-Length: %d" % len(BODY)
TITLES = ("on a delivery that is signed", "uvicorn by itself", "the gateway", "reason", "reached")

Parts = tuple[bytes, ...]
"""What is said on one connection, each in a segment of its own."""
SILENCE = "half a head, half a body, then silence"


def framed(*fields: bytes, body: bytes = BODY) -> bytes:
    return head(POST, *signed(), *fields) + body


def coded(coding: bytes) -> bytes:
    return framed(b"Transfer-Encoding" + coding, body=chunked(BODY))


def to(target: bytes) -> bytes:
    return delivery(b"POST %b HTTP/1.1" % target)


def with_field(*fields: bytes, **options: Any) -> bytes:
    return delivery(POST, *fields, **options)


def unsigned() -> bytes:
    return delivery().replace(b"webhook-signature", b"x-webhook-signature")


def too_long_in_chunks() -> Parts:
    return (framed(CHUNKED, body=b""), *[b"2000\r\n" + b"x" * 0x2000 + b"\r\n"] * 9)


def twice(name: bytes) -> bytes:
    (own,) = (each for each in signed() if each.startswith(name))
    return with_field(own)


def expecting(what: bytes) -> Parts:
    whole = with_field(b"Expect: " + what)
    return whole[: -len(BODY)], BODY


def _of() -> Mapping[str, Callable[[], Sequence[Parts | bytes]]]:
    bomb = partial(gzip.compress, b"\0" * 10_000_000)
    return {
        "nothing": lambda: [delivery()],
        "sent in chunks": lambda: [delivery_in_chunks()],
        "webhook-id in a chunked trailer": lambda: [
            head(POST, *signed()[1:], CHUNKED) + chunked(BODY, trailer=signed()[:1])
        ],
        "any other trailer": lambda: [delivery_in_chunks(trailer=[b"x: y"])],
        "Content-Length and Transfer-Encoding": lambda: [
            framed(LENGTH, CHUNKED),
            framed(CHUNKED, LENGTH, body=chunked(BODY)),
        ],
        "Transfer-Encoding: chunked twice": lambda: [
            framed(CHUNKED, CHUNKED, body=chunked(BODY)),
            coded(b": chunked, chunked"),
        ],
        "Transfer-Encoding: chunked, identity": lambda: [coded(b": chunked, identity")],
        "Transfer-Encoding: identity, chunked": lambda: [coded(b": identity, chunked")],
        "Transfer-Encoding: gzip, chunked": lambda: [coded(b": gzip, chunked")],
        "Transfer-Encoding: xchunked": lambda: [coded(b": xchunked")],
        "Transfer-Encoding, folded (obs-fold)": lambda: [coded(b":\r\n chunked")],
        "Transfer-Encoding : chunked (space)": lambda: [coded(b" : chunked")],
        "a chunk extension of 80 KB": lambda: [
            (framed(CHUNKED, body=b"1;" + b"x" * 20_000), *[b"x" * 20_000] * 3)
        ],
        "chunk size -f, 0xf, overflow": lambda: [
            framed(CHUNKED, body=size + b"\r\n" + BODY + b"\r\n0\r\n\r\n")
            for size in (b"-f", b"0xf", b"1000000000000000f")
        ],
        "bare LF for CRLF, everywhere": lambda: [delivery().replace(b"\r\n", b"\n")],
        "bare LF at one header, or before the body": lambda: [
            delivery().replace(b"\r\nHost", b"\nHost"),
            delivery().replace(b"\r\n\r\n", b"\r\n\n"),
        ],
        "bare CR in a value": lambda: [with_field(b"X: a\rwebhook-id: msg_1")],
        "NUL in a value": lambda: [with_field(b"X: a\0b")],
        "a header folded (obs-fold)": lambda: [with_field(b"X: a\r\n folded")],
        "no Host": lambda: [delivery(host=None)],
        "two Hosts": lambda: [with_field(b"Host: elsewhere")],
        "an empty Host": lambda: [delivery(host=b"")],
        "Host and X-Forwarded-Host forged": lambda: [
            with_field(b"X-Forwarded-Host: evil", host=b"evil")
        ],
        "Content-Length twice, the same": lambda: [framed(LENGTH, LENGTH)],
        "Content-Length twice, differing": lambda: [framed(LENGTH, b"Content-Length: 3")],
        "Content-Length: -15, +15, 0xf, a list, empty": lambda: [
            framed(b"Content-Length:" + each) for each in (b"-15", b"+15", b"0xf", b"15, 15", b"")
        ],
        "Content-Length of 23 digits": lambda: [framed(b"Content-Length: " + b"9" * 23)],
        "Content-Length over the limit": lambda: [framed(b"Content-Length: %d" % (MOST_BODY + 1))],
        "a body over the limit, in chunks": lambda: [too_long_in_chunks()],
        "a header of 100 KB": lambda: [with_field(b"X: " + b"x" * 100_000)],
        "300 headers": lambda: [with_field(*(b"X-%d: y" % number for number in range(300)))],
        "a request line of 100 KB": lambda: [to(b"/shop/orders?" + b"x" * 100_000)],
        "/shop%2Forders, /%73hop/orders": lambda: [to(b"/shop%2Forders"), to(b"/%73hop/orders")],
        "/shop/./orders, /x/../shop/orders, %2e%2e": lambda: [
            to(each) for each in (b"/shop/./orders", b"/x/../shop/orders", b"/x/%2e%2e/shop/orders")
        ],
        "//shop/orders, /shop//orders, trailing /": lambda: [
            to(each) for each in (b"//shop/orders", b"/shop//orders", b"/shop/orders/")
        ],
        "/shop/orders;a=b": lambda: [to(b"/shop/orders;a=b")],
        "an absolute-form target": lambda: [to(b"http://hooks.example/shop/orders")],
        "a target with a fragment": lambda: [to(b"/shop/orders#fragment")],
        "the target *": lambda: [to(b"*")],
        "NUL in the target": lambda: [to(b"/shop/orders\0")],
        "webhook-id twice": lambda: [with_field(b"webhook-id: msg_2"), twice(b"webhook-id")],
        "webhook-signature twice, the same": lambda: [twice(b"webhook-signature")],
        "webhook_id for webhook-id": lambda: [delivery().replace(b"webhook-id", b"webhook_id")],
        "webhook-id : (space before the colon)": lambda: [with_field(b"webhook-id : msg_1")],
        "HTTP/1.0": lambda: [delivery(b"POST /shop/orders HTTP/1.0")],
        "HTTP/2.0 in the request line": lambda: [delivery(b"POST /shop/orders HTTP/2.0")],
        "RTSP/1.1": lambda: [delivery(b"POST /shop/orders RTSP/1.1")],
        "two spaces in the request line": lambda: [delivery(b"POST  /shop/orders HTTP/1.1")],
        "a CR or a LF before it": lambda: [b"\r" + delivery(), b"\n" + delivery()],
        "another request right after it": lambda: [delivery() + delivery(message="smuggled")],
        "garbage after it": lambda: [delivery() + b"\0\0 rubbish\r\n\r\n"],
        "Upgrade: h2c, with a request as the body": lambda: [
            with_field(b"Connection: Upgrade", b"Upgrade: h2c", body=delivery(message="smuggled"))
        ],
        "CONNECT": lambda: [delivery(b"CONNECT hooks.example:443 HTTP/1.1")],
        "Expect: 100-continue": lambda: [expecting(b"100-continue")],
        "Expect: anything else": lambda: [expecting(b"the-unexpected")],
        SILENCE: lambda: [
            delivery()[:40],
            delivery()[: -len(BODY) // 2],
        ],
        "Content-Encoding: gzip (a bomb)": lambda: [
            with_field(b"Content-Encoding: gzip", body=bomb())
        ],
        "its signature removed": lambda: [unsigned()],
    }


ATTACKS = _of()
"""By their names, each in one or more spellings, which are answered alike."""


async def row(name: str, tmp: Path, bare: int) -> list[str]:
    """Try one on both servers: its row of the table."""
    spellings = [each if isinstance(each, tuple) else (each,) for each in ATTACKS[name]()]

    async def act(stage: Stage) -> None:
        for parts in spellings:
            await stage.say(*parts)
        stage.heard[:] = dict.fromkeys(stage.heard)

    setting = {
        "endpoint": "shop/orders",
        "path": PATH,
        "keys": {"k1": secret_data()["key.k1"].decode()},
        "limits": {"body": MOST_BODY, "requestsPerSecond": 100_000},
    }
    with pytest.MonkeyPatch.context() as patch:
        if name == SILENCE:
            patch.setattr(timed, "REQUEST_WITHIN", 0.3)
        _, *seen = await observed(Attack(name, act, lambda _stack, _tmp: setting), tmp)
    by_itself = dict.fromkeys([await answers_of_bare(bare, *parts) for parts in spellings])
    return [name, ", ".join(by_itself), *seen]
