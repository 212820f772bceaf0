"""`/healthz`, `/readyz` and `/metrics`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from troth.serving.exposition import exposition
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
    obstacle: Callable[[], str] = lambda: "",
) -> AsyncIterator[None]:
    """Serve while the context is open. Leader and standby are ready once their caches are in sync.

    While not ready, `/readyz` shows the sentence that `obstacle` returns, if any. Also exports the
    longest stall of the running event loop.
    """

    async def is_alive() -> bool:
        return alive()

    async def is_ready() -> bool:
        return ready()

    async with (
        stalls_measured(registry),
        serve_health(
            host,
            port,
            alive=is_alive,
            ready=is_ready,
            metrics=partial(exposition, registry),
            obstacle=obstacle,
        ),
    ):
        yield


@asynccontextmanager
async def serve_health(
    host: str,
    port: int,
    *,
    alive: Callable[[], Awaitable[bool | None]],
    ready: Callable[[], Awaitable[bool | None]],
    metrics: Callable[[], Awaitable[bytes | None]],
    obstacle: Callable[[], str] = lambda: "",
) -> AsyncIterator[None]:
    """Serve the endpoints while the context is open.

    `alive` and `ready` return None if a worker runs and does not respond, and `metrics` returns
    None if a part is missing.
    """

    async def healthz(_: web.Request) -> web.Response:
        return _page("ended", ok=await alive())

    async def readyz(_: web.Request) -> web.Response:
        return _page(obstacle() or "syncing", ok=await ready())

    scraping = asyncio.Lock()

    async def scrape(_: web.Request) -> web.Response:
        async with scraping:  # each needs memory for every sample while it is written
            body = await metrics()
        if body is None:
            return web.Response(status=503, text="incomplete\n")
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes(
        [
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/metrics", scrape),
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
        server = await loop.create_server(accepted, host, port)
        try:
            yield
        finally:
            server.close()  # without waiting for connections, which `cleanup` closes
    finally:
        await runner.cleanup()


def _page(otherwise: str, *, ok: bool | None) -> web.Response:
    if ok:
        return web.Response(text="ok\n")
    text = "not responding" if ok is None else otherwise
    return web.Response(status=503, text=f"{text}\n")
