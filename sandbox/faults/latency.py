"""A path to the API server that delays everything, as a network does.

    async with DistantPath(kubeconfig, directory) as path:
        ...  # run the operator with path.kubeconfig

It forwards bytes in their order and does not end TLS, so handshakes take their round trips, too.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import yaml

from sandbox.kubeconfig import write_kubeconfig

LOOPBACK = "127.0.0.1"
CHUNK = 2**16


@dataclass
class DistantPath:
    """The proxy. Use it as an async context manager, then give `kubeconfig` to the operator."""

    original: Path
    """Kubeconfig for the API server."""
    directory: Path
    """Directory for the proxy's own files."""
    shortest: float = 0.05
    longest: float = 0.2
    """Round trip in seconds, drawn for each piece of data."""
    _connections: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        config = yaml.safe_load(self.original.read_text())
        cluster = config["clusters"][0]["cluster"]
        address = urlsplit(cluster["server"])
        self._place = address.hostname, address.port
        self._listener = await asyncio.start_server(self._accept, LOOPBACK, 0)
        port = self._listener.sockets[0].getsockname()[1]
        self.directory.mkdir(parents=True, exist_ok=True)
        self.kubeconfig = write_kubeconfig(
            self.directory / "distant.kubeconfig",
            cluster={**cluster, "server": f"https://{LOOPBACK}:{port}"},
            user=config["users"][0]["user"],
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        for each in self._connections:
            each.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        with suppress(OSError, asyncio.CancelledError):
            async with _closed(writer), _connected(self._place) as (answers, requests):
                there = asyncio.ensure_future(self._carry(reader, requests))
                back = asyncio.ensure_future(self._carry(answers, writer))
                try:
                    await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    there.cancel()
                    back.cancel()
                    await asyncio.gather(there, back, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward a direction of a connection, each piece half a round trip late."""
        now = asyncio.get_running_loop().time
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def receive() -> None:
            due = 0.0
            with suppress(OSError):
                while data := await reader.read(CHUNK):
                    half = random.uniform(self.shortest, self.longest) / 2  # noqa: S311 - no secret
                    due = max(due, now() + half)
                    pieces.put_nowait((due, data))
            pieces.put_nowait((due, b""))

        receiving = asyncio.ensure_future(receive())
        try:
            while True:
                due, data = await pieces.get()
                await asyncio.sleep(due - now())
                if not data:
                    return
                writer.write(data)
                await writer.drain()
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)


@asynccontextmanager
async def _connected(
    place: tuple[str | None, int | None],
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*place)
    async with _closed(writer):
        yield reader, writer


@asynccontextmanager
async def _closed(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    """Close a connection at the end, without waiting for the other side."""
    try:
        yield
    finally:
        writer.close()
