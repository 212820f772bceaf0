"""A gateway on loopback with real targets, real TLS, and senders."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
from cryptography.hazmat.primitives.asymmetric import ec

from tests.edge import shop
from tests.edge.loopback import ReceivedRequest, Reply, Server, serving
from tests.patience import PATIENCE
from tests.webhooks.gateway.attacks.scene import port_of
from tests.webhooks.gateway.attacks.scene import serving as listening
from troth.edge.identity.files import Identity
from troth.edge.inbound.connections.limits import Refused
from troth.pki.keys.jwk import key_id
from troth.pki.tokens.webhook import Signer, WebhookToken, verify_webhook_token
from troth.replay.memory import Memory
from troth.replay.store import Store
from troth.serving.tracing import Tracer
from troth.webhooks.gateway.app import Gateway
from troth.webhooks.gateway.certificates import Certificates
from troth.webhooks.gateway.connection.source import Proxies
from troth.webhooks.gateway.decisions import Decisions
from troth.webhooks.gateway.forwarding.client import TargetClient
from troth.webhooks.gateway.routes import Routes, served
from troth.webhooks.gateway.serving import Server as GatewayServer
from troth.webhooks.schemes.delivery import Delivery
from troth.webhooks.schemes.scheme import Stamp

GATEWAY = f"spiffe://{shop.DOMAIN}/ns/troth-gateway/sa/troth-gateway"
LEDGER = f"spiffe://{shop.DOMAIN}/ns/shop/sa/ledger"
STRANGER = f"spiffe://{shop.DOMAIN}/ns/shop/sa/stranger"
SIGNING_KEY = ec.generate_private_key(ec.SECP256R1())
BODY = b'{"amount": 42}'


def secret(number: int = 1) -> str:
    """A sender's secret; another for each number."""
    return "whsec_" + base64.b64encode(bytes([number]) * 32).decode()


SECRET, OTHER_SECRET = secret(1), secret(2)


def endpoint(name: str = "shop/stripe", **changed: Any) -> dict[str, Any]:
    """An `endpoint.json`; without a target until one is given."""
    document: dict[str, Any] = {
        "version": "v1alpha1",
        "endpoint": name,
        "uid": f"uid-of-{name}",
        "path": f"/{name}",
        "signing": {"name": "StandardWebhooks", "url": f"https://hooks.example/{name}"},
        "tolerance": 300,
        "replayWindow": 3600,
        "target": None,
        "limits": {"body": 4096, "requestsPerSecond": 100_000},
    }
    return document | changed


def target(port: int, **changed: Any) -> dict[str, Any]:
    return {
        "callee": "shop/ledger",
        "spiffeID": LEDGER,
        "host": "localhost",
        "port": port,
        "path": "/events/stripe",
        "workflow": "settle-charge",
    } | changed


def compiled(document: Mapping[str, Any], **keys: str) -> dict[str, bytes]:
    """The data of a compiled Secret; with a key, unless it is that of SNS."""
    usual = {} if document["signing"]["name"] == "SNS" else {"k1": SECRET}
    named = {f"key.{name}": text.encode() for name, text in (keys or usual).items()}
    return {"endpoint.json": json.dumps(document).encode(), **named}


@dataclass
class Clock:
    """The time of day, with what a test adds to it; or one that stands still."""

    ahead: float = 0.0
    still: float | None = None

    def __call__(self) -> float:
        return (time.time() if self.still is None else self.still) + self.ahead


@dataclass(frozen=True)
class Answer:
    """What a sender hears."""

    status: int
    body: bytes
    headers: Mapping[str, str]


@dataclass
class Sender:
    """Signs as a sender does, and sends again as it came what it has signed."""

    url: str
    session: aiohttp.ClientSession
    document: Mapping[str, Any]
    key: str = SECRET
    clock: Clock = field(default_factory=Clock)
    numbers: Iterator[int] = field(default_factory=count)

    def signed(self, body: bytes = BODY, *, age: float = 0.0, name: str | None = None) -> Delivery:
        data = served(compiled(self.document, k1=self.key))
        path = str(self.document["path"]).encode()
        headers = ((b"content-type", b"application/json"),)
        stamp = Stamp(int(self.clock() - age), name or f"msg_{next(self.numbers)}_{uuid4().hex}")
        return data.scheme.sign(Delivery("POST", path, headers, body), data.keys[0], stamp)

    async def send(self, delivery: Delivery, url: str | None = None) -> Answer:
        headers = [(name.decode(), value.decode()) for name, value in delivery.headers]
        async with self.session.request(
            delivery.method,
            (url or self.url) + delivery.target.decode(),
            data=delivery.body,
            headers=headers,
        ) as response:
            return Answer(response.status, await response.read(), response.headers)

    async def sent(self, body: bytes = BODY, *, age: float = 0.0) -> Answer:
        """Sign and send a new one."""
        return await self.send(self.signed(body, age=age))


@dataclass
class Ledger:
    """The target: takes what comes, or does what a test wants it to. `gate` holds answers up."""

    server: Server
    replies: list[Reply] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    @property
    def seen(self) -> list[ReceivedRequest]:
        return self.server.seen

    def token(self, at: int = -1, now: float | None = None) -> WebhookToken:
        """What the token of a delivery says, verified as a target would."""
        return verify_webhook_token(
            str(self.seen[at].headers["Txn-Token"]),
            keys={key_id(SIGNING_KEY.public_key()): SIGNING_KEY.public_key()},
            gateway=GATEWAY,
            target=LEDGER,
            now=time.time() if now is None else now,
        )


@contextmanager
def ledger(tmp: Path, spiffe_id: str = LEDGER) -> Iterator[Ledger]:
    """A target with mutual TLS."""
    replies: list[Reply] = []
    gate = threading.Event()
    gate.set()

    def respond(_: ReceivedRequest) -> Reply:
        gate.wait(PATIENCE)
        return replies.pop(0) if replies else Reply(204, (), b"")

    with serving(respond, shop.server_context(tmp, spiffe_id)) as server:
        try:
            yield Ledger(server, replies, gate)
        finally:
            gate.set()


def write_identity(tmp: Path, **callees: str) -> Identity:
    """The gateway's mounted files, which name the callees it may call: the ledger, or these."""
    named = callees or {"ledger": LEDGER}
    document = {
        "version": "v1alpha1",
        "spiffeID": GATEWAY,
        "accepts": [],
        "calls": [
            {"name": f"shop/{name}", "spiffeID": each, "ports": ["webhooks"]}
            for name, each in named.items()
        ],
        "requires": {"context": []},
    }
    shop.write_identity(tmp / "identity", document, "gateway")
    if not (tmp / "bundle").exists():
        shop.write_bundle(tmp / "bundle")
    looks = count(0.0, 10.0)
    return Identity(tmp / "identity", tmp / "bundle", clock=lambda: next(looks))


@dataclass
class RunningGateway:
    """A gateway that stands, its target, and a sender to its first endpoint."""

    url: str
    server: GatewayServer
    routes: Routes
    gateway: Gateway
    ledger: Ledger
    sender: Sender
    clock: Clock
    document: dict[str, Any]
    deliver: TargetClient

    def put(self, document: Mapping[str, Any], **keys: str) -> None:
        self.routes.put(str(document["endpoint"]), served(compiled(document, **keys)))

    def sends(self, document: Mapping[str, Any], key: str = SECRET) -> Sender:
        """Another sender."""
        return Sender(self.url, self.sender.session, document, key, self.clock)


@asynccontextmanager
async def running_gateway(
    tmp: Path,
    store: Store | None = None,
    *,
    within: float = 10.0,
    target_is: str = LEDGER,
    proxies: Proxies | None = None,
    signs: bool = True,
    keys: Mapping[str, str] | None = None,
    on: Ledger | None = None,
    certificates: Certificates | None = None,
    on_refused: Refused = lambda _: None,
    tracer: Tracer | None = None,
    **changed: Any,
) -> AsyncIterator[RunningGateway]:
    """A gateway with one endpoint, changed as asked, before a ledger of its own or `on` another."""
    with ExitStack() as stack:
        behind = on or stack.enter_context(ledger(tmp, target_is))
        clock = Clock()
        document = endpoint(**{"target": target(behind.server.port)} | changed)
        routes = Routes()
        routes.put(document["endpoint"], served(compiled(document, **(keys or {}))))
        deliver = TargetClient(write_identity(tmp), within=within)
        gateway = Gateway(
            routes,
            Memory() if store is None else store,
            deliver,
            lambda: Signer(SIGNING_KEY, GATEWAY) if signs else None,
            Decisions(),
            clock=clock,
            proxies=proxies or Proxies(),
            certificates=certificates,
            tracer=tracer,
        )
        async with (
            listening(gateway, on_refused=on_refused) as server,
            aiohttp.ClientSession() as session,
        ):
            url = f"http://127.0.0.1:{port_of(server)}"
            sender = Sender(url, session, document, SECRET, clock)
            yield RunningGateway(
                url, server, routes, gateway, behind, sender, clock, document, deliver
            )
        await gateway.close()
        await deliver.close()


async def until(condition: Any, seconds: float = PATIENCE) -> None:
    """Wait for what happens elsewhere."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.005)


async def raw(url: str, request: bytes, *, half_close: bool = False) -> bytes:
    """Send bytes as they are; return what comes until the other side closes, or is done."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    await writer.drain()
    if half_close:
        writer.write_eof()
    answer = await asyncio.wait_for(reader.read(65536), PATIENCE)
    writer.close()
    await writer.wait_closed()
    return answer


def head_of(delivery: Delivery, *more: tuple[str, str], length: int | None = None) -> bytes:
    """A request's head as bytes, with more headers."""
    lines = [f"{delivery.method} {delivery.target.decode()} HTTP/1.1", "Host: hooks.example"]
    lines += [f"{name.decode()}: {value.decode()}" for name, value in delivery.headers]
    lines += [f"{name}: {value}" for name, value in more]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
