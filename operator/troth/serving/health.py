"""`/healthz`, `/readyz` and `/metrics`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from troth.serving.loop_stalls import stalls_measured

MOST_CONNECTIONS = 64
"""Maximum number of connections; the oldest are closed for another. Probes and scrapes need few,
and silent ones must not use up the files of the process.
"""


@asynccontextmanager
async def health_server(
    host: str,
    port: int,
    *,
    ready: Callable[[], bool],
    alive: Callable[[], bool],
    registry: CollectorRegistry,
) -> AsyncIterator[None]:
    """Serve while the context is open. Leader and standby are ready once their caches are in sync.

    Also exports the longest stall of the running event loop.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if alive() else web.Response(status=503, text="ended\n")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if ready() else web.Response(status=503, text="syncing\n")

    async def metrics(_: web.Request) -> web.Response:
        body = generate_latest(registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes(
        [
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/metrics", metrics),
        ]
    )
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    handlers = runner.server
    assert handlers is not None

    def accepted() -> asyncio.BaseProtocol:
        # a burst of clients is accepted before the first of them is counted
        for oldest in handlers.connections[: -(MOST_CONNECTIONS - 1)]:
            oldest.force_close()
        return handlers()

    loop = asyncio.get_running_loop()
    try:
        async with stalls_measured(registry):
            server = await loop.create_server(accepted, host, port)
            try:
                yield
            finally:
                server.close()  # without waiting for connections, which `cleanup` closes
    finally:
        await runner.cleanup()
