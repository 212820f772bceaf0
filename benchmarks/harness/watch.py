"""A watch on the API server: the time at which a change becomes visible."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Self

import aiohttp

from benchmarks.fleet.topology import Manifest
from benchmarks.harness.client import credentials

Objects = Mapping[str, Manifest]
"""Objects by their paths."""
PATIENCE_SECONDS = 30.0


class Watch:
    """The newest version of each object that has changed since the watch was opened."""

    def __init__(self) -> None:
        self.objects: dict[str, Manifest] = {}
        self._news = asyncio.Condition()

    @classmethod
    @asynccontextmanager
    async def open(cls, kubeconfig: Path, collections: Sequence[str]) -> AsyncIterator[Self]:
        """Watch the collections at some paths while the context lasts."""
        context, server = credentials(kubeconfig)
        watch = cls()
        async with AsyncExitStack() as stack:
            connector = aiohttp.TCPConnector(ssl=context)
            unlimited = aiohttp.ClientTimeout(total=None)
            session = await stack.enter_async_context(
                aiohttp.ClientSession(server, connector=connector, timeout=unlimited)
            )
            tasks = []
            for collection in collections:
                async with session.get(f"{collection}?limit=1") as answer:
                    version = (await answer.json())["metadata"]["resourceVersion"]
                stream = await stack.enter_async_context(
                    session.get(f"{collection}?watch=true&resourceVersion={version}")
                )
                tasks.append(asyncio.create_task(watch._take(collection, stream)))
            try:
                yield watch
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def until(self, holds: Callable[[Objects], bool]) -> float:
        """Wait until a condition holds for the objects; return the time, by `perf_counter`.

        Raises `TimeoutError` if it does not become true.
        """
        async with asyncio.timeout(PATIENCE_SECONDS), self._news:
            await self._news.wait_for(lambda: holds(self.objects))
            return time.perf_counter()

    async def _take(self, collection: str, stream: aiohttp.ClientResponse) -> None:
        async for line in stream.content:
            item = json.loads(line)["object"]
            async with self._news:
                self.objects[f"{collection}/{item['metadata']['name']}"] = item
                self._news.notify_all()
