"""A gateway or an issuer with workers, as `troth gateway` and `troth issue` run them.

    python -m benchmarks.workers.server PROGRAM-WORKERS DIRECTORY PORT CORE

They run on all cores, so CORE is not used. The gateway has a replay store in Valkey with
`appendfsync everysec`. The floor of a program is its server with an application that answers 200.
"""

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from benchmarks.harness.servers import LOOPBACK
from benchmarks.tokens import server as tokens
from benchmarks.webhooks import server as webhooks
from sandbox.control_plane import free_port
from troth.edge.inbound.asgi import Receive, Scope, Send
from troth.issuer.serving import LIMITS
from troth.issuer.serving import Server as IssuerServer
from troth.issuer.tls import IssuerTLS
from troth.serving.http_server import HTTPServer
from troth.serving.process import prepare, serve
from troth.serving.workers.start import start_workers
from troth.webhooks.gateway.serving import Server as GatewayServer

GATEWAY, ISSUER = "gateway", "issuer"
FLOORS = {GATEWAY: "bare_gateway", ISSUER: "bare_issuer"}
"""Names of the floors."""
MANY_CALLERS = replace(LIMITS, per_peer=None)
"""Limits of the issuer: all connections have one address here, and callers have their own."""


def server(program: str, workers: int, directory: Path, port: int) -> HTTPServer:
    """Return the server of one process."""
    shared: dict[str, Any] = {"workers": workers, "lifetime": 3600.0}
    if program in {ISSUER, FLOORS[ISSUER]}:
        app: Any = tokens.issuer(directory) if program == ISSUER else bare
        files = IssuerTLS(directory)
        return IssuerServer(app, files, LOOPBACK, port, limits=MANY_CALLERS, **shared)
    app = webhooks.gateway(webhooks.Side.EVERYSEC, directory) if program == GATEWAY else bare
    return GatewayServer(app, LOOPBACK, port, **shared)


async def bare(_scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 200 without a body to each request."""
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def main(name: str, directory: Path, port: int) -> None:
    """Serve until SIGTERM."""
    program, _, workers = name.partition("-")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    health = LOOPBACK, free_port()
    link = start_workers(int(workers), health) if int(workers) > 1 else None

    async def run() -> None:
        prepare()
        await serve(
            server(program, int(workers), directory, port),
            {},
            ready=lambda: True,
            health_listen=health,
            registry=CollectorRegistry(),
            on_start=lambda: None,
            link=link,
        )

    asyncio.run(run())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
