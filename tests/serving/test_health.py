"""The health port answers, whoever occupies it."""

import asyncio
from contextlib import AsyncExitStack

import aiohttp
from prometheus_client import CollectorRegistry

from sandbox.control_plane import free_port
from tests.edge.silence import silent_clients
from tests.webhooks.gateway.attacks.wire import eventually
from troth.serving.health import MOST_CONNECTIONS, health_server

_SILENT = b"GET /healthz"


async def test_silent_connections_are_bounded_and_probes_are_answered() -> None:
    port = free_port()
    async with (
        health_server(
            "127.0.0.1",
            port,
            ready=lambda: False,
            alive=lambda: True,
            registry=CollectorRegistry(),
        ),
        silent_clients(port, MOST_CONNECTIONS + 40, _SILENT) as clients,
    ):
        await eventually(lambda: sum(each.closed for each in clients) >= 40)
        assert [each.closed for each in clients] == [True] * 40 + [False] * MOST_CONNECTIONS
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            for path, status in (("/healthz", 200), ("/readyz", 503), ("/metrics", 200)):
                async with session.get(path) as answer:
                    assert answer.status == status


async def test_silent_connections_that_begin_at_once_are_bounded() -> None:
    port, bursts, size = free_port(), 4, MOST_CONNECTIONS
    async with (
        health_server(
            "127.0.0.1",
            port,
            ready=lambda: True,
            alive=lambda: True,
            registry=CollectorRegistry(),
        ),
        AsyncExitStack() as stack,
    ):
        opened = [
            await asyncio.gather(
                *(stack.enter_async_context(silent_clients(port, 1, _SILENT)) for _ in range(size))
            )
            for _ in range(bursts)
        ]
        last = await stack.enter_async_context(silent_clients(port, 1, _SILENT))
        clients = [each for burst in opened for (each,) in burst]
        await eventually(lambda: sum(not each.closed for each in clients) < MOST_CONNECTIONS)
        assert not last[0].closed
