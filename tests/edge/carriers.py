"""One interface to the three client libraries, so that all of them run the same tests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import aiohttp
import httpx
import pytest
import requests

import troth.edge.outbound.aiohttp
import troth.edge.outbound.httpx
import troth.edge.outbound.requests
from tests.edge.shop import Shop
from tests.patience import PATIENCE
from troth.edge.outbound.calls import Calls

T = TypeVar("T")


@dataclass(frozen=True)
class Answered:
    status: int
    body: bytes


class Carrier(Protocol):
    """A client of one library."""

    errors: type[Exception]
    """What the library raises for connections that fail."""

    @property
    def calls(self) -> Calls[Any]: ...

    def send(
        self,
        url: str,
        method: str = "GET",
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterator[bytes] | None = None,
        follow: bool = False,
    ) -> Answered: ...

    def start(self, **what: Any) -> Any: ...

    def narrow(self, **what: Any) -> Any: ...

    def close(self) -> None: ...


class Loop:
    """An event loop in a thread, for tests that block."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def close(self) -> None:
        async def settle() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await asyncio.sleep(0.01)

        self.run(settle())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class HTTPX:
    errors = httpx.TransportError

    def __init__(self, shop: Shop, **options: Any) -> None:
        self.transport = troth.edge.outbound.httpx.Transport(
            shop.identity(), shop.callees, **options
        )
        shop.tidy(self.transport)
        self.client = httpx.Client(transport=self.transport, timeout=PATIENCE)
        self.start = self.transport.start_transaction
        self.narrow = self.transport.narrow_transaction

    @property
    def calls(self) -> Calls[Any]:
        return self.transport._calls

    def send(
        self,
        url: str,
        method: str = "GET",
        *,
        headers: Any = None,
        body: Any = None,
        follow: bool = False,
    ) -> Answered:
        answer = self.client.request(
            method, url, headers=headers, content=body, follow_redirects=follow
        )
        return Answered(answer.status_code, answer.content)

    def close(self) -> None:
        self.client.close()


class AsyncHTTPX:
    errors = httpx.TransportError

    def __init__(self, shop: Shop, **options: Any) -> None:
        self.loop = Loop()
        self.transport = troth.edge.outbound.httpx.AsyncTransport(
            shop.identity(), shop.callees, **options
        )
        shop.tidy(self.transport)
        self.client = httpx.AsyncClient(transport=self.transport, timeout=PATIENCE)

    @property
    def calls(self) -> Calls[Any]:
        return self.transport._calls

    def start(self, **what: Any) -> Any:
        return self.loop.run(self.transport.start_transaction(**what))

    def narrow(self, **what: Any) -> Any:
        return self.loop.run(self.transport.narrow_transaction(**what))

    def send(
        self,
        url: str,
        method: str = "GET",
        *,
        headers: Any = None,
        body: Any = None,
        follow: bool = False,
    ) -> Answered:
        async def once() -> Answered:
            content = _streamed(body) if isinstance(body, Iterator) else body
            answer = await self.client.request(
                method, url, headers=headers, content=content, follow_redirects=follow
            )
            return Answered(answer.status_code, answer.content)

        return self.loop.run(once())

    def close(self) -> None:
        self.loop.run(self.client.aclose())
        self.loop.close()


class AIOHTTP:
    errors = aiohttp.ClientError

    def __init__(self, shop: Shop, **options: Any) -> None:
        self.loop = Loop()
        self.middleware = troth.edge.outbound.aiohttp.Middleware(
            shop.identity(), shop.callees, **options
        )
        shop.tidy(self.middleware)
        self.session = self.loop.run(self._session())

    async def _session(self) -> aiohttp.ClientSession:
        timeout = aiohttp.ClientTimeout(total=10)
        return aiohttp.ClientSession(middlewares=[self.middleware], timeout=timeout)

    @property
    def calls(self) -> Calls[Any]:
        return self.middleware._calls

    def start(self, **what: Any) -> Any:
        return self.loop.run(self.middleware.start_transaction(**what))

    def narrow(self, **what: Any) -> Any:
        return self.loop.run(self.middleware.narrow_transaction(**what))

    def send(
        self,
        url: str,
        method: str = "GET",
        *,
        headers: Any = None,
        body: Any = None,
        follow: bool = False,
    ) -> Answered:
        async def once() -> Answered:
            data = _streamed(body) if isinstance(body, Iterator) else body
            async with self.session.request(
                method, url, headers=headers, data=data, allow_redirects=follow
            ) as answer:
                return Answered(answer.status, await answer.read())

        return self.loop.run(once())

    def close(self) -> None:
        self.loop.run(self.session.close())
        self.loop.close()


class Requests:
    errors = requests.RequestException

    def __init__(self, shop: Shop, **options: Any) -> None:
        self.adapter = troth.edge.outbound.requests.Adapter(
            shop.identity(), shop.callees, **options
        )
        shop.tidy(self.adapter)
        self.session = requests.Session()
        self.adapter.mount(self.session)
        self.start = self.adapter.start_transaction
        self.narrow = self.adapter.narrow_transaction

    @property
    def calls(self) -> Calls[Any]:
        return self.adapter._calls

    def send(
        self,
        url: str,
        method: str = "GET",
        *,
        headers: Any = None,
        body: Any = None,
        follow: bool = False,
    ) -> Answered:
        answer = self.session.request(
            method, url, headers=headers, data=body, allow_redirects=follow, timeout=10
        )
        return Answered(answer.status_code, answer.content)

    def close(self) -> None:
        self.session.close()


async def _streamed(parts: Iterator[bytes]) -> Any:
    for part in parts:
        yield part


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every library give the issuer half a second.

    In asyncio the limit for all of it is longer: httpcore leaves a socket open that is cancelled
    within its handshake.
    """
    for seconds in ("CONNECT_SECONDS", "ANSWER_SECONDS"):
        monkeypatch.setattr(f"troth.edge.outbound.requests.{seconds}", 0.5)
    monkeypatch.setattr("troth.edge.outbound.driving.ANSWER_SECONDS", 1.5)
    monkeypatch.setattr("troth.edge.outbound.httpx._TIMEOUT", httpx.Timeout(0.5))
    monkeypatch.setattr("troth.edge.outbound.aiohttp._TIMEOUT", aiohttp.ClientTimeout(total=0.5))
