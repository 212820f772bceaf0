"""The health port answers, whoever occupies it."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack

import aiohttp
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

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


class Slow(Collector):
    """Notes how many scrapes collect at once."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def collect(self) -> Iterator[Metric]:
        self.now += 1
        self.most = max(self.most, self.now)
        for number in range(20):
            yield GaugeMetricFamily(f"metric_{number}", "A value.", number)
        self.now -= 1


async def test_scrapes_at_once_are_answered_one_after_the_other() -> None:
    port, registry, slow = free_port(), CollectorRegistry(), Slow()
    registry.register(slow)
    slow.most = 0
    async with (
        health_server("127.0.0.1", port, ready=lambda: True, alive=lambda: True, registry=registry),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):

        async def scrape() -> str:
            async with session.get("/metrics") as answer:
                return await answer.text()

        pages = await asyncio.gather(*(scrape() for _ in range(10)))
    assert all("metric_19" in each for each in pages)
    assert slow.most == 1


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
