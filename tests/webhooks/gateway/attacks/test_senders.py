"""Claims of a sender about its address or identity have no effect."""

import pytest

from tests.webhooks.gateway.attacks.scene import (
    BODY,
    Scene,
    claims,
    delivery,
    digest_of,
    gateway,
    secret_data,
)
from troth.webhooks.gateway.connection.source import Proxies
from troth.webhooks.gateway.routes import served

POST = b"POST /shop/orders HTTP/1.1"
FORGED = (
    b"Txn-Token: eyJhbGciOiJub25lIn0.e30.",
    b"X-Forwarded-Client-Cert: URI=spiffe://prod.example/ns/shop/sa/checkout",
    b"X-SSL-Client-Verify: SUCCESS",
    b"Authorization: Bearer eyJhbGciOiJub25lIn0.e30.",
    b"Cookie: session=admin",
    b"baggage: user=alice",
    b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    b"X-User: alice",
    b"X-Tenant: acme",
    b"X-SPIFFE-ID: spiffe://prod.example/ns/shop/sa/checkout",
    b"X-Request-Id: 1",
    b"X-Forwarded-For: 192.0.2.1",
    b"X-Forwarded-Host: evil",
    b"X-Forwarded-Proto: http",
    b"Forwarded: for=192.0.2.1;host=evil",
    b"X-Real-IP: 192.0.2.1",
    b"X-HTTP-Method-Override: DELETE",
    b"Connection: close, webhook-id",
    b"Trailer: webhook-id",
    b"X_Forwarded_Client_Cert: x",
)


async def test_forged_headers_do_not_reach_the_target(scene: Scene) -> None:
    message = delivery(POST, *FORGED, b"Content-Type: application/json")
    assert (await scene.hears(message)).status == 200
    (received,) = scene.target.received
    assert set(received.headers) == {"Content-Type", "X-Request-Id"}
    said = claims(received.token)
    assert received.headers["X-Request-Id"] == said["txn"] != "1"
    assert said["rctx"]["body_sha256"] == digest_of(BODY)
    assert said["tctx"]["endpoint"] == "shop/orders"


async def test_forged_headers_do_not_replace_a_signature(scene: Scene) -> None:
    unsigned = delivery(POST, *FORGED).replace(b"webhook-signature", b"x-webhook-signature")
    assert await scene.refuses(unsigned) == 401


PINNED = secret_data(source={"cidrs": ["192.0.2.0/24"]})


@pytest.mark.parametrize(
    "forged",
    [
        (),
        (b"X-Forwarded-For: 192.0.2.1",),
        (b"Forwarded: for=192.0.2.1",),
        (b"X-Real-IP: 192.0.2.1",),
        (b"True-Client-IP: 192.0.2.1",),
    ],
)
async def test_source_is_the_address_of_the_connection(
    scene: Scene, forged: tuple[bytes, ...]
) -> None:
    scene.routes.put("shop.orders", served(PINNED))
    assert await scene.refuses(delivery(POST, *forged)) == 403


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ((b"X-Forwarded-For: 192.0.2.1",), 200),
        ((b"X-Forwarded-For: 198.51.100.1, 192.0.2.1",), 200),
        ((b"X-Forwarded-For: 198.51.100.1", b"X-Forwarded-For: 192.0.2.1"), 200),
        ((b"X-Forwarded-For: 192.0.2.1, 198.51.100.1",), 403),
        ((b"X-Forwarded-For: 192.0.2.1", b"X-Forwarded-For: 198.51.100.1"), 403),
        ((b"X-Forwarded-For: 192.0.2.1, unknown",), 403),
        ((b"X-Forwarded-For: 192.0.2.1,",), 403),
        ((b"X-Forwarded-For: 192.0.2.1, 127.0.0.1",), 200),
        ((), 403),
    ],
)
async def test_trusted_proxy_adds_only_the_last_address(
    said: tuple[bytes, ...], status: int
) -> None:
    async with gateway(proxies=Proxies(["127.0.0.0/8"])) as scene:
        scene.routes.put("shop.orders", served(PINNED))
        assert (await scene.hears(delivery(POST, *said))).status == status
