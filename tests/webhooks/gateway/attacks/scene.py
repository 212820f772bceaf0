"""A gateway on loopback with one endpoint, and a target that records its requests."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec

from tests.webhooks.gateway.attacks.wire import Answers, chunked, eventually, head, send_parts
from troth.documents.webhook_endpoint import DOCUMENT, KEY_PREFIX, Target
from troth.edge.inbound.asgi import Application
from troth.pki.tokens.webhook import Signer
from troth.replay.memory import Memory
from troth.serving.connection import Connection
from troth.webhooks.gateway.app import Gateway
from troth.webhooks.gateway.connection.source import Proxies
from troth.webhooks.gateway.decisions import Decisions
from troth.webhooks.gateway.forwarding.client import Answer
from troth.webhooks.gateway.routes import Routes, served
from troth.webhooks.gateway.serving import Server

SECRET = b"\x07" * 32
PATH = "/shop/orders"
BODY = b'{"order": 1001}'
MOST_BODY = 64 * 1024
TOLERANCE = 3600
"""Seconds, the most that an endpoint may have: parameters are signed when pytest collects a module,
which may be many minutes before the test runs. Tests of the tolerance itself have their own clock.
"""
GATEWAY_ID = "spiffe://prod.example/ns/troth-gateway/sa/troth-gateway"
TARGET_ID = "spiffe://prod.example/ns/shop/sa/settlement"


def document(name: str = "orders", **changes: Any) -> bytes:
    """An endpoint.json of Standard Webhooks."""
    return json.dumps(
        {
            "version": "v1alpha1",
            "endpoint": f"shop/{name}",
            "uid": f"uid-{name}",
            "path": f"/shop/{name}",
            "signing": {"name": "StandardWebhooks", "url": f"https://hooks.example/shop/{name}"},
            "tolerance": TOLERANCE,
            "replayWindow": 86400,
            "target": {
                "callee": "shop/settlement",
                "spiffeID": TARGET_ID,
                "host": "settlement.shop.svc",
                "port": 8444,
                "path": "/events",
                "workflow": "settle-charge",
            },
            "limits": {"body": MOST_BODY, "requestsPerSecond": 100_000},
            **changes,
        }
    ).encode()


def secret_data(name: str = "orders", **changes: Any) -> dict[str, bytes]:
    """What the compiled Secret of an endpoint has."""
    key = b"whsec_" + base64.b64encode(SECRET)
    return {DOCUMENT: document(name, **changes), f"{KEY_PREFIX}k1": key}


def signature(body: bytes, message: str, timestamp: int) -> bytes:
    """The value of webhook-signature."""
    signed = b"%b.%d.%b" % (message.encode(), timestamp, body)
    return b"v1," + base64.b64encode(hmac.digest(SECRET, signed, "sha256"))


def signed(body: bytes = BODY, message: str = "msg_1") -> list[bytes]:
    """The headers of a delivery that the gateway must take."""
    now = int(time.time())
    return [
        b"webhook-id: " + message.encode(),
        b"webhook-timestamp: %d" % now,
        b"webhook-signature: " + signature(body, message, now),
    ]


def delivery(
    line: bytes = b"POST /shop/orders HTTP/1.1",
    *more: bytes,
    body: bytes = BODY,
    message: str = "msg_1",
    host: bytes | None = b"hooks.example",
) -> bytes:
    """A whole signed delivery, with Content-Length."""
    length = b"Content-Length: %d" % len(body)
    return head(line, *signed(body, message), *more, length, host=host) + body


def delivery_in_chunks(*more: bytes, **options: Any) -> bytes:
    """A whole signed delivery, in one chunk."""
    coding = b"Transfer-Encoding: chunked"
    return head(b"POST /shop/orders HTTP/1.1", *signed(), *more, coding) + chunked(BODY, **options)


@dataclass
class Received:
    """What the target was given once."""

    target: Target
    body: bytes
    headers: Mapping[str, str]
    token: str = field(repr=False)


class Recorder:
    """A target that takes everything."""

    within = 5.0

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(
        self, target: Target, body: bytes, headers: Mapping[str, str], token: str
    ) -> Answer:
        self.received.append(Received(target, body, headers, token))
        await self.open.wait()
        return Answer(204)


@dataclass
class Scene:
    """A gateway that serves."""

    server: Server
    target: Recorder
    routes: Routes
    refused: list[str]

    @property
    def port(self) -> int:
        return port_of(self.server)

    async def hears(self, *parts: bytes, leave: bool = False) -> Answers:
        """Say something on a new connection."""
        return await send_parts(self.port, *parts, leave=leave)

    async def refuses(self, *parts: bytes) -> int:
        """Say something that must reach nobody; return the answer's status, 0 for none."""
        heard = await self.hears(*parts)
        assert self.target.received == []
        assert all(status >= 400 for status in heard.statuses if status != 100), heard.raw
        return heard.statuses[-1] if heard.statuses else 0


def port_of(server: uvicorn.Server) -> int:
    """Where a server listens."""
    port: int = server.servers[0].sockets[0].getsockname()[1]
    return port


@asynccontextmanager
async def serving(app: Application, **options: Any) -> AsyncIterator[Server]:
    """Serve an application until the context ends, and then end at once.

    It stops as it does by itself where a test has told it to stop.
    """
    server = Server(app, "127.0.0.1", 0, **options)
    task = asyncio.create_task(server.serve())
    try:
        await eventually(lambda: server.started)
        yield server
    finally:
        if not server.should_exit:
            server.servers[0].close()
            for connection in list(server.server_state.connections):
                assert isinstance(connection, Connection)
                connection.transport.abort()
            task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def gateway(
    routes: Routes | None = None, *, proxies: Proxies | None = None, **options: Any
) -> AsyncIterator[Scene]:
    """Serve `shop/orders` until the context ends."""
    routes = Routes() if routes is None else routes
    target, refused = Recorder(), list[str]()
    routes.put("shop.orders", served(secret_data()))
    signer = Signer(ec.generate_private_key(ec.SECP256R1()), GATEWAY_ID)
    app = Gateway(
        routes, Memory(), target, lambda: signer, Decisions(), proxies=proxies or Proxies()
    )
    async with serving(app, on_refused=refused.append, **options) as server:
        yield Scene(server, target, routes, refused)
    await app.close()


def digest_of(body: bytes) -> str:
    """The digest that a token has of a body."""
    return base64.urlsafe_b64encode(sha256(body).digest()).rstrip(b"=").decode()


def claims(token: str) -> dict[str, Any]:
    """What a token says, unverified."""
    payload = token.split(".")[1]
    read: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return read
