"""Calls with httpx."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.register_assert_rewrite("tests.edge.behaviours")

from tests.edge.behaviours import Behaviour  # noqa: E402
from tests.edge.carriers import HTTPX, AsyncHTTPX  # noqa: E402
from tests.edge.shop import Shop, opened, until  # noqa: E402
from troth.edge.outbound.httpx import AsyncTransport  # noqa: E402


class TestTransport(Behaviour):
    kind = HTTPX

    def test_body_is_read_through_rotations_and_then_its_connection_closes(
        self, shop: Shop, carrier: HTTPX
    ) -> None:
        closed = _closings(carrier.transport)
        with carrier.client.stream("GET", shop.ledger.url) as response:
            for _ in range(3):
                shop.rotate()
                assert carrier.send(shop.ledger.url).status == 200
            assert len(closed) == 1, "of the second; the third is the one before"
            assert response.read()
        assert len(closed) == 2

    def test_request_object_is_not_modified(self, shop: Shop, carrier: HTTPX) -> None:
        response = carrier.client.get(shop.ledger.url)
        assert response.status_code == 200
        assert "Authorization" not in response.request.headers


class TestAsyncTransport(Behaviour):
    kind = AsyncHTTPX


async def test_cancelled_request_does_not_cancel_others(tmp_path: Path) -> None:
    with opened(tmp_path) as shop:
        shop.issuer.gate.clear()
        transport = AsyncTransport(shop.identity(), shop.callees)
        async with httpx.AsyncClient(transport=transport) as client:
            first = asyncio.create_task(client.get(shop.ledger.url))
            await asyncio.to_thread(until, shop.issuer.arrived.is_set)
            second = asyncio.create_task(client.get(shop.ledger.url))
            await asyncio.sleep(0.05)
            first.cancel()
            await asyncio.sleep(0.05)
            shop.issuer.gate.set()
            assert (await second).status_code == 200
            with pytest.raises(asyncio.CancelledError):
                await first
        assert len(shop.fetches) == 1


def _closings(transport: Any) -> list[httpx.HTTPTransport]:
    """Have a transport tell which of its connections it closes."""
    closed: list[httpx.HTTPTransport] = []
    driver = transport._driver
    close = driver._close

    def closing(connection: httpx.HTTPTransport) -> None:
        closed.append(connection)
        close(connection)

    driver._close = closing
    return closed
