"""The server that receives webhooks, as a process: the gateway or a floor.

    python -m benchmarks.webhooks.server SIDE DIRECTORY PORT CORE

Each side but `plain` has the gateway's own server; `floor` and `plain` answer 204 to each request.
All set the garbage collector as `troth gateway` does.
"""

import asyncio
import signal
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.harness.cores import stay
from benchmarks.harness.domain import identity
from troth.documents.webhook_endpoint import Target
from troth.edge.identity.files import Identity
from troth.edge.inbound.asgi import Application, Receive, Scope, Send
from troth.pki.keys.private import load_private_key
from troth.pki.tokens.webhook import Signer, VerifiedDelivery
from troth.replay.memory import Memory
from troth.replay.store import Store
from troth.replay.url_file import StoreFile
from troth.serving.logs import LogFormat, configure
from troth.serving.process import prepare
from troth.webhooks.gateway.app import Gateway
from troth.webhooks.gateway.decisions import Decisions
from troth.webhooks.gateway.forwarding.client import Answer, TargetClient
from troth.webhooks.gateway.replay.key import CLOCK_SKEW
from troth.webhooks.gateway.routes import Routes, served
from troth.webhooks.gateway.serving import Server

GATEWAY = identity("gateway")
COMPILED, MOUNTED, TOKEN_KEY = "compiled", "mounted", "token.key"
WINDOW = "window"
"""Files: the endpoint's configuration, the gateway's mounts, the key that signs tokens, and the
length of `AGEING`'s replay window in deliveries. A side's Valkey address is in a file of its
name.
"""


class Side(StrEnum):
    """The servers."""

    FLOOR = "floor"
    PLAIN = "plain"
    MEMORY = "memory"
    AGEING = "ageing"
    VALKEY = "valkey"
    EVERYSEC = "everysec"
    WHOLE = "whole"


class ImmediateTarget:
    """A target that accepts and counts each delivery in the next turn of the event loop."""

    within = 20.0

    def __init__(self) -> None:
        self.accepted = 0

    async def __call__(
        self, target: Target, body: bytes, headers: Mapping[str, str], token: str
    ) -> Answer:
        """Accept the delivery."""
        del target, body, headers, token
        await asyncio.sleep(0)
        self.accepted += 1
        return Answer(204)


class NoToken(Signer):
    """Signs nothing, so that only verification is measured."""

    __slots__ = ()

    def __init__(self) -> None:
        """Take no key."""

    def token(
        self, target: str, delivery: VerifiedDelivery, *, transaction: str, now: float
    ) -> str:
        """Return a placeholder."""
        del target, delivery, transaction, now
        return "none"


async def floor(_scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 204 to each request."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def gateway(side: Side, directory: Path) -> Gateway:
    """Return the gateway as `troth gateway` runs it, with an endpoint from files."""
    configure(LogFormat.JSON, "info", direct=True)
    routes = Routes()
    compiled = {each.name: each.read_bytes() for each in (directory / COMPILED).iterdir()}
    endpoint = served(compiled)
    routes.put(endpoint.endpoint.endpoint, endpoint)
    if side is Side.WHOLE:
        mounted = directory / MOUNTED
        key = load_private_key((directory / TOKEN_KEY).read_bytes())
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        signer = Signer(key, GATEWAY)
        deliver = TargetClient(Identity(mounted, mounted))
        return Gateway(routes, Memory(), deliver, lambda: signer, Decisions())
    target, nothing = ImmediateTarget(), NoToken()
    store: Store = Memory()
    if side in {Side.VALKEY, Side.EVERYSEC}:
        store = StoreFile(directory / side).store
    elif side is Side.AGEING:
        store = _ageing(target, endpoint.endpoint.replay_window, directory)
    return Gateway(routes, store, target, lambda: nothing, Decisions())


def _ageing(target: ImmediateTarget, window: int, directory: Path) -> Memory:
    """Return a store whose clock counts deliveries, so that a window is a number of them."""
    second = int((directory / WINDOW).read_text()) / (window + CLOCK_SKEW)
    return Memory(clock=lambda: target.accepted / second)


async def serve(app: Application, side: Side, port: int) -> None:
    """Serve until SIGTERM."""
    host, loop = "127.0.0.1", asyncio.get_running_loop()
    if side is Side.PLAIN:
        plain = uvicorn.Config(
            app,
            host,
            port,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            proxy_headers=False,
        )
        await uvicorn.Server(plain).serve()
        return
    server = Server(app, host, port, lifetime=3600.0)
    loop.add_signal_handler(signal.SIGTERM, server.stop)
    await server.serve()


def main(side: Side, directory: Path, port: int, core: int) -> None:
    """Serve on one core if the machine allows it."""
    stay(core)

    async def run() -> None:
        prepare()
        app = floor if side in {Side.FLOOR, Side.PLAIN} else gateway(side, directory)
        await serve(app, side, port)

    asyncio.run(run())


if __name__ == "__main__":
    main(Side(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
