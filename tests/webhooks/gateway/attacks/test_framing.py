"""Framing of requests: everything ambiguous is rejected.

Every delivery here is signed as it must be, and would be taken if it were framed as it must be.
"""

import asyncio
import gzip

import pytest

from tests.webhooks.gateway.attacks.scene import (
    BODY,
    MOST_BODY,
    Scene,
    delivery,
    delivery_in_chunks,
    signed,
)
from tests.webhooks.gateway.attacks.wire import chunked, head, listen

POST = b"POST /shop/orders HTTP/1.1"
CHUNKED = b"Transfer-Encoding: chunked"
LENGTH = b"Content-Length: %d" % len(BODY)


def framed(*fields: bytes, body: bytes = BODY) -> bytes:
    """A signed delivery of which these headers say where it ends."""
    return head(POST, *signed(), *fields) + body


@pytest.mark.parametrize("message", [delivery(), delivery_in_chunks()], ids=["length", "chunks"])
async def test_valid_framing_is_accepted(scene: Scene, message: bytes) -> None:
    heard = await scene.hears(message)
    assert (heard.status, heard.ended) == (200, False)
    assert [each.body for each in scene.target.received] == [BODY]
    assert scene.refused == []


# Fields after the body


async def test_trailer_adds_no_header(scene: Scene) -> None:
    """uvicorn would append it to the headers: a delivery could be signed by its trailer."""
    fields = signed()
    message = head(POST, *fields[1:], CHUNKED) + chunked(BODY, trailer=fields[:1])
    assert await scene.refuses(message) == 400
    assert await scene.refuses(message[:-4], message[-4:]) == 400
    assert scene.refused == ["trailer", "trailer"]


@pytest.mark.parametrize("trailer", [b"webhook-id: msg_2", b"x: y", b"host: elsewhere"])
async def test_trailer_is_rejected(scene: Scene, trailer: bytes) -> None:
    assert await scene.refuses(delivery_in_chunks(trailer=[trailer])) == 400
    assert scene.refused == ["trailer"]


# Two lengths, or none that can be understood


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ((LENGTH, CHUNKED), 400),
        ((CHUNKED, LENGTH), 400),
        ((CHUNKED, CHUNKED), 400),
        ((b"Transfer-Encoding: chunked, chunked",), 400),
        ((b"Transfer-Encoding: chunked, identity",), 400),
        ((b"Transfer-Encoding: identity, chunked",), 400),
        ((b"Transfer-Encoding: gzip, chunked",), 400),
        ((b"Transfer-Encoding: xchunked",), 400),
        ((b"Transfer-Encoding: chunked;q=1",), 400),
        ((b'Transfer-Encoding: "chunked"',), 400),
        ((b"Transfer-Encoding: \x0bchunked",), 400),
        ((b"Transfer-Encoding:\r\n chunked",), 400),
        ((b"Transfer-Encoding : chunked",), 400),
        ((b"Transfer-Encoding: identity", LENGTH), 400),
    ],
    ids=lambda each: b" | ".join(each).decode() if isinstance(each, tuple) else None,
)
async def test_other_spellings_of_chunked_are_rejected(
    scene: Scene, fields: tuple[bytes, ...], status: int
) -> None:
    assert await scene.refuses(framed(*fields, body=chunked(BODY))) == status
    assert await scene.refuses(framed(*fields)) == status


@pytest.mark.parametrize("coding", [b"identity, chunked", b"gzip, chunked"])
async def test_additional_transfer_codings_are_rejected_unread(scene: Scene, coding: bytes) -> None:
    assert await scene.refuses(framed(b"Transfer-Encoding: " + coding, body=chunked(BODY))) == 400
    assert scene.refused == ["transfer-encoding"]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ((LENGTH, LENGTH), 400),
        ((LENGTH, b"Content-Length: 3"), 400),
        ((b"Content-Length: %d, %d" % (len(BODY), len(BODY)),), 400),
        ((b"Content-Length: -%d" % len(BODY),), 400),
        ((b"Content-Length: +%d" % len(BODY),), 400),
        ((b"Content-Length: 0x%x" % len(BODY),), 400),
        ((b"Content-Length: %d.0" % len(BODY),), 400),
        ((b"Content-Length:",), 400),
        ((b"Content-Length: 99999999999999999999999",), 400),
        ((b"Content-Length: 18446744073709551615",), 400),
        ((b"Content-Length: 999999999999999",), 413),
        ((b"Content-Length: %d" % (MOST_BODY + 1),), 413),
    ],
    ids=lambda each: b" | ".join(each).decode() if isinstance(each, tuple) else None,
)
async def test_content_length_must_be_one_number_within_the_limit(
    scene: Scene, fields: tuple[bytes, ...], status: int
) -> None:
    assert await scene.refuses(framed(*fields)) == status


async def test_request_without_length_has_no_body(scene: Scene) -> None:
    """And so it is not what was signed; what follows is not read as a request."""
    assert await scene.refuses(framed()) == 401


# Chunks


@pytest.mark.parametrize(
    "body",
    [
        b"-f\r\n" + BODY + b"\r\n0\r\n\r\n",
        b"0xf\r\n" + BODY + b"\r\n0\r\n\r\n",
        b"1000000000000000f\r\n" + BODY + b"\r\n0\r\n\r\n",
        b" f\r\n" + BODY + b"\r\n0\r\n\r\n",
        b"f \r\n" + BODY + b"\r\n0\r\n\r\n",
        b"f\n" + BODY + b"\n0\n\n",
        b"f\r\n" + BODY + b"0\r\n\r\n",
        b"e\r\n" + BODY + b"\r\n0\r\n\r\n",
        b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    ],
    ids=["minus", "0x", "overflow", "before", "after", "bare LF", "no end", "too short", "no size"],
)
async def test_invalid_chunk_is_rejected(scene: Scene, body: bytes) -> None:
    assert await scene.refuses(framed(CHUNKED, body=body)) == 400


async def test_framing_of_chunks_is_bounded(scene: Scene) -> None:
    """An extension has no end, and counts as no body."""
    begun = framed(CHUNKED, body=b"1;" + b"x" * 20_000)
    assert await scene.refuses(begun, *[b"x" * 20_000] * 4) == 431
    assert scene.refused == ["head-too-large"]


async def test_chunks_of_one_byte_are_accepted(scene: Scene) -> None:
    """Up to what a sender does that writes so."""
    body = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n"
    assert (await scene.hears(framed(CHUNKED, body=body))).status == 200


# Ends of lines


@pytest.mark.parametrize(
    "spoiled",
    [
        delivery().replace(b"\r\n", b"\n"),
        delivery().replace(b"\r\nHost", b"\nHost"),
        delivery().replace(b"\r\n\r\n", b"\r\n\n"),
        delivery().replace(b"\r\n\r\n", b"\n\r\n"),
        delivery().replace(b"\r\n\r\n", b"\n\n"),
        delivery(POST, b"X: a\nwebhook-id: msg_1"),
        delivery(POST, b"X: a\rwebhook-id: msg_1"),
        delivery(POST, b"X: a\r\n folded"),
        delivery(POST, b"X: a\r\n\tfolded"),
        delivery(POST, b"X: a\0b"),
        delivery().replace(b"\r\nHost", b"\rHost"),
    ],
    ids=[
        *("all bare LF", "first bare LF", "last bare LF", "LF CRLF", "two bare LF"),
        *("LF in a value", "CR in a value", "folded", "folded by a tab", "NUL", "first bare CR"),
    ],
)
async def test_lines_must_end_with_crlf(scene: Scene, spoiled: bytes) -> None:
    assert await scene.refuses(spoiled) == 400


# More than one request


async def test_pipelined_request_is_ignored(scene: Scene) -> None:
    """A sender waits; who does not may be a proxy that was deceived about where a body ends."""
    heard = await scene.hears(delivery() + delivery(message="smuggled"))
    assert (heard.statuses, heard.ended) == ([200], True)
    assert [each.body for each in scene.target.received] == [BODY]
    assert scene.refused == ["pipelined"]


async def test_pipelined_request_in_its_own_segment_is_ignored(scene: Scene) -> None:
    scene.target.open.clear()
    waiting = scene.hears(delivery(), delivery(message="smuggled"), b"rubbish")
    asyncio.get_running_loop().call_later(0.3, scene.target.open.set)
    heard = await waiting
    assert (heard.statuses, heard.ended) == ([200], True)
    assert len(scene.target.received) == 1


async def test_invalid_input_after_a_request_does_not_change_its_answer(scene: Scene) -> None:
    heard = await scene.hears(delivery() + b"\0\0 rubbish\r\n\r\n")
    assert (heard.statuses, heard.ended) == ([200], True)
    assert len(scene.target.received) == 1


async def test_connection_is_reused_sequentially(scene: Scene) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", scene.port)
    for number in range(3):
        writer.write(delivery(message=f"msg_{number}"))
        heard = await listen(reader)
        assert (heard.status, heard.ended) == (200, False)
    writer.close()
    assert len(scene.target.received) == 3


async def test_connection_closes_after_a_rejection(scene: Scene) -> None:
    heard = await scene.hears(framed(LENGTH, CHUNKED) + delivery())
    assert (heard.statuses, heard.ended) == ([400], True)
    assert scene.target.received == []


@pytest.mark.parametrize("upgrade", [b"h2c", b"websocket", b"TLS/1.0"])
async def test_upgrade_is_rejected(scene: Scene, upgrade: bytes) -> None:
    """The parser would take the body for what follows the upgrade, and the next for a request."""
    inner = delivery(message="smuggled")
    wanted = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: " + upgrade)
    assert await scene.refuses(delivery(POST, *wanted, body=inner)) == 400
    assert await scene.refuses(delivery(POST, *wanted, body=inner)[: -len(inner)], inner) == 400
    assert scene.refused == ["upgrade", "upgrade"]


# How much


async def test_body_is_counted_while_it_arrives(scene: Scene) -> None:
    begun = framed(CHUNKED, body=b"")
    chunks = [b"2000\r\n" + b"x" * 0x2000 + b"\r\n"] * 9
    heard = await scene.hears(begun, *chunks)
    assert (heard.statuses, heard.ended) == ([413], True)
    assert scene.target.received == []


async def test_body_of_exactly_the_limit_is_accepted(scene: Scene) -> None:
    assert (await scene.hears(delivery(body=b"x" * MOST_BODY))).status == 200
    assert (await scene.hears(delivery(body=b"x" * (MOST_BODY + 1)))).status == 413


@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"br", b"identity, gzip", b"x-gzip"])
async def test_compressed_body_is_not_unpacked(scene: Scene, coding: bytes) -> None:
    bomb = gzip.compress(b"\0" * 10_000_000)
    message = delivery(POST, b"Content-Encoding: " + coding, body=bomb)
    assert await scene.refuses(message) == 415
