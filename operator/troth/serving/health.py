"""`/healthz`, `/readyz` and `/metrics`."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from troth.serving.loop_stalls import stalls_measured


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
    try:
        async with stalls_measured(registry):
            await web.TCPSite(runner, host, port).start()
            yield
    finally:
        await runner.cleanup()
