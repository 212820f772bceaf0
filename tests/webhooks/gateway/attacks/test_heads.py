"""Request line and headers: strict parsing.

Every delivery here is signed as it must be.
"""

import pytest

from tests.webhooks.gateway.attacks.scene import BODY, Scene, delivery, signed
from tests.webhooks.gateway.attacks.wire import head
from troth.edge.inbound.connections.heads import MAX_HEAD, MAX_HEADERS

POST = b"POST /shop/orders HTTP/1.1"


def to(target: bytes) -> bytes:
    return delivery(b"POST %b HTTP/1.1" % target)


# The path


@pytest.mark.parametrize(
    "path",
    [
        b"/shop%2Forders",
        b"/shop%2forders",
        b"/shop/order%73",
        b"/%73hop/orders",
        b"/%73hop/orders".upper(),
        b"/shop//orders",
        b"//shop/orders",
        b"/shop/orders/",
        b"/shop/./orders",
        b"/shop/x/../orders",
        b"/shop/%2e/orders",
        b"/shop/x/%2E%2e/orders",
        b"/shop/orders;a=b",
        b"/shop;a=b/orders",
        b"/shop/orders%00",
        b"/shop/orders%20",
        b"/shop/orders%3Fa=b",
        b"/shop\\orders",
        b"/Shop/orders",
        b"/shop/%C3%B6rders",
        b"/shop%252Forders",
        b"//hooks.example/shop/orders",
        b"/",
        b"/healthz",
        b"/metrics",
    ],
)
async def test_other_spelling_of_a_path_is_another_path(scene: Scene, path: bytes) -> None:
    assert await scene.refuses(to(path)) == 404


@pytest.mark.parametrize(
    "target",
    [
        b"http://hooks.example/shop/orders",
        b"https://hooks.example/shop/orders",
        b"hooks.example/shop/orders",
        b"hooks.example:443",
        b"*",
        b"shop/orders",
        b"/shop/orders#fragment",
        b"/shop/orders?a#b",
        b"/shop/orders\0",
        b"/shop/orders\t",
        b"/shop/ orders",
        b"/shop/orders\xc3\xb6",
        b"/shop/orders\x7f",
        b"",
    ],
)
async def test_target_must_be_a_path(scene: Scene, target: bytes) -> None:
    assert await scene.refuses(to(target)) == 400


async def test_query_is_no_part_of_the_path(scene: Scene) -> None:
    assert (await scene.hears(to(b"/shop/orders?a=/b?c"))).status == 200


# The line


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"POST /shop/orders HTTP/1.0", 505),
        (b"POST /shop/orders HTTP/2.0", 505),
        (b"POST /shop/orders HTTP/0.9", 505),
        (b"POST /shop/orders", 505),
        (b"POST /shop/orders HTTP/1.2", 400),
        (b"POST /shop/orders HTTP/1.10", 400),
        (b"POST /shop/orders http/1.1", 400),
        (b"POST /shop/orders RTSP/1.1", 400),
        (b"SOURCE /shop/orders ICE/1.1", 400),
        (b"post /shop/orders HTTP/1.1", 400),
        (b"POST  /shop/orders HTTP/1.1", 400),
        (b"POST /shop/orders  HTTP/1.1", 400),
        (b"POST\t/shop/orders\tHTTP/1.1", 400),
        (b" POST /shop/orders HTTP/1.1", 400),
        (b"POST /shop/orders HTTP/1.1 ", 400),
        (b"CONNECT hooks.example:443 HTTP/1.1", 400),
        (b"CONNECT /shop/orders HTTP/1.1", 400),
        (b"PRI * HTTP/2.0", 400),
        (b"POSTER /shop/orders HTTP/1.1", 400),
        (b"GET /shop/orders HTTP/1.1", 405),
        (b"PUT /shop/orders HTTP/1.1", 405),
        (b"TRACE /shop/orders HTTP/1.1", 405),
        (b"OPTIONS /shop/orders HTTP/1.1", 405),
    ],
)
async def test_request_must_be_post_with_http_1_1(scene: Scene, line: bytes, status: int) -> None:
    assert await scene.refuses(delivery(line)) == status


async def test_answer_to_head_has_no_body(scene: Scene) -> None:
    heard = await scene.hears(delivery(b"HEAD /shop/orders HTTP/1.1"))
    assert heard.status == 405
    assert heard.raw.endswith(b"\r\n\r\n")


async def test_chunked_body_with_http_1_0_is_rejected(scene: Scene) -> None:
    """RFC 9112 section 6.1; a proxy that speaks 1.0 would see the body end elsewhere."""
    message = head(b"POST /shop/orders HTTP/1.0", *signed(), b"Transfer-Encoding: chunked")
    assert await scene.refuses(message + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)) == 505


async def test_empty_lines_before_a_request_are_ignored(scene: Scene) -> None:
    """RFC 9112 section 2.2."""
    assert (await scene.hears(b"\r\n\r\n" + delivery())).status == 200


# Host


@pytest.mark.parametrize(
    ("host", "more"),
    [
        (None, ()),
        (b"", ()),
        (b"hooks.example", (b"Host: hooks.example",)),
        (b"hooks.example", (b"host: elsewhere",)),
        (b"", (b"Host: hooks.example",)),
        (b"hooks.example", (b"Host:",)),
    ],
    ids=["none", "empty", "twice the same", "two", "empty first", "empty second"],
)
async def test_request_must_have_exactly_one_host(
    scene: Scene, host: bytes | None, more: tuple[bytes, ...]
) -> None:
    assert await scene.refuses(delivery(POST, *more, host=host)) == 400
    assert scene.refused == ["host"]


async def test_value_of_host_does_not_matter(scene: Scene) -> None:
    """URLs that are signed come from the endpoint."""
    forged = (b"X-Forwarded-Host: evil", b"Forwarded: host=evil", b"X-Original-URL: /shop/other")
    assert (await scene.hears(delivery(POST, *forged, host=b"evil"))).status == 200


# Sizes


def padded(size: int, name: bytes = b"X") -> bytes:
    """A delivery of which the head has so many bytes, of which one header is most."""
    bare = len(delivery(POST, name + b": ")) - len(BODY)
    return delivery(POST, name + b": " + b"x" * (size - bare))


async def test_head_size_is_bounded(scene: Scene) -> None:
    assert (await scene.hears(padded(MAX_HEAD))).status == 200
    scene.target.received.clear()
    assert await scene.refuses(padded(MAX_HEAD + 1)) == 431
    assert await scene.refuses(padded(200_000)) == 431
    assert await scene.refuses(padded(1_000_000)) == 431


async def test_endless_head_is_not_kept(scene: Scene) -> None:
    parts = [padded(10_000_000)[start : start + 10_000] for start in range(0, 50_000, 10_000)]
    assert await scene.refuses(*parts) == 431


@pytest.mark.parametrize("size", [MAX_HEAD, 100_000])
async def test_request_line_is_bounded(scene: Scene, size: int) -> None:
    assert await scene.refuses(to(b"/shop/orders?" + b"x" * size)) in {400, 431}


async def test_header_name_is_bounded(scene: Scene) -> None:
    message = head(POST, *signed())[:-2] + b"x" * 100_000
    assert await scene.refuses(message) == 431


@pytest.mark.parametrize("count", [MAX_HEADERS + 1, 300, 5_000])
async def test_number_of_headers_is_bounded(scene: Scene, count: int) -> None:
    ours = len(signed()) + len([b"Host", b"Content-Length"])
    many = [b"X-%d: y" % number for number in range(count - ours)]
    assert await scene.refuses(delivery(POST, *many)) == 431
    assert scene.refused == ["too-many-headers"]
    enough = [b"X-%d: y" % number for number in range(MAX_HEADERS - ours)]
    assert (await scene.hears(delivery(POST, *enough))).status == 200


# Names and values


@pytest.mark.parametrize(
    "field",
    [
        b"webhook-id : msg_1",
        b" webhook-id: msg_1",
        b"webhook-id\t: msg_1",
        b": msg_1",
        b"webhook-id",
        b"webhook id: msg_1",
        b"webhook-id\0: msg_1",
        "webhook-\u00efd: msg_1".encode(),
        b"(webhook-id): msg_1",
    ],
)
async def test_header_name_must_be_a_token_and_a_colon(scene: Scene, field: bytes) -> None:
    assert await scene.refuses(delivery(POST, field)) == 400


async def test_underscore_in_a_header_name_is_no_hyphen(scene: Scene) -> None:
    message = delivery().replace(b"webhook-id", b"webhook_id")
    assert await scene.refuses(message) == 401


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize("value", ["the same", "another"])
async def test_repeated_signature_header_is_rejected(scene: Scene, name: str, value: str) -> None:
    (own,) = (each for each in signed() if each.startswith(name.encode()))
    more = own.title() if value == "the same" else name.encode() + b": msg_2"
    assert await scene.refuses(delivery(POST, more)) == 401


@pytest.mark.parametrize("name", [b"Content-Type", b"Content-Encoding"])
async def test_repeated_body_header_is_rejected(scene: Scene, name: bytes) -> None:
    assert await scene.refuses(delivery(POST, name + b": a/b", name + b": c/d")) == 400


# Expectations


async def test_expect_100_continue_is_answered(scene: Scene) -> None:
    whole = delivery(POST, b"Expect: 100-continue")
    heard = await scene.hears(whole[: -len(BODY)], BODY)
    assert heard.statuses == [100, 200]


async def test_rejected_expectation_gets_no_100_continue(scene: Scene) -> None:
    message = delivery(b"POST /shop/nothing HTTP/1.1", b"Expect: 100-continue")
    heard = await scene.hears(message[: -len(BODY)])
    assert (heard.statuses, heard.ended) == ([404], True)


@pytest.mark.parametrize("expected", [b"the-unexpected", b"100-continue, x", b""])
async def test_other_expectations_are_rejected(scene: Scene, expected: bytes) -> None:
    assert await scene.refuses(delivery(POST, b"Expect: " + expected)) == 417
