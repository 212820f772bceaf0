"""Calls with aiohttp."""

from pathlib import Path
from typing import Any

import aiohttp
import pytest

pytest.register_assert_rewrite("tests.edge.behaviours")

from tests.edge.behaviours import Behaviour  # noqa: E402
from tests.edge.carriers import AIOHTTP  # noqa: E402
from tests.edge.loopback import Reply  # noqa: E402
from tests.edge.shop import LEDGER, Shop, opened, server_context  # noqa: E402
from tests.pki import builders as pki  # noqa: E402
from troth.edge.outbound.aiohttp import Middleware  # noqa: E402


class TestMiddleware(Behaviour):
    kind = AIOHTTP


def session(shop: Shop, **options: Any) -> aiohttp.ClientSession:
    middleware = Middleware(shop.identity(), shop.callees)
    return aiohttp.ClientSession(middlewares=[middleware], **options)


async def test_verification_cannot_be_turned_off(tmp_path: Path) -> None:
    with opened(tmp_path) as shop:
        foreign = pki.own_root(which="foreign")
        shop.ledger.context = server_context(tmp_path, LEDGER, authority=foreign)
        connector = aiohttp.TCPConnector(ssl=False)
        async with session(shop, connector=connector) as client:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await client.get(shop.ledger.url, ssl=False)
        assert not shop.ledger.seen


async def test_error_of_aiohttp_shows_no_token(tmp_path: Path) -> None:
    with opened(tmp_path) as shop:
        shop.ledger.respond = lambda _: Reply(500)
        async with session(shop, raise_for_status=True) as client:
            with pytest.raises(aiohttp.ClientResponseError) as caught:
                await client.get(shop.ledger.url)
        token = shop.ledger.seen[0].token
        assert token
        assert token not in repr(caught.value)
        assert token not in str(caught.value)
        assert token not in repr(caught.value.request_info.headers)


async def test_connections_are_not_shared_between_certificates(
    tmp_path: Path,
) -> None:
    with opened(tmp_path) as shop:
        async with session(shop) as client:
            for _ in range(2):
                for _ in range(3):
                    async with client.get(shop.ledger.url) as response:
                        assert response.status == 200
                        await response.read()
                shop.rotate()
        assert [seen.connection for seen in shop.ledger.seen] == [1, 1, 1, 2, 2, 2]
