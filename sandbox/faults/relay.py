"""A relay of connections, below TLS and HTTP, that can pause them and cut them anywhere.

`FaultyPath` sees requests; a relay sees bytes. So it can stand between an API server and etcd, and
cut a connection in the middle of a TLS record.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from sandbox.components import LOOPBACK

CHUNK = 2**16

Endpoint = Path | int
"""A Unix socket, or a port of the loopback interface; port 0 is a free one."""


@dataclass
class Relay:
    """The relay from one endpoint to another. Use it as an async context manager."""

    here: Endpoint
    there: Endpoint
    length: Callable[[], int | None] = lambda: None
    """Called for each connection: the bytes, both ways, after which it is cut; None is never."""
    opened: int = 0
    """Number of connections so far."""
    cuts: int = 0
    """Number of connections that were cut so far."""
    _flows: asyncio.Event = field(default_factory=asyncio.Event)
    _connections: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._flows.set()
        if isinstance(self.here, Path):
            self._server = await asyncio.start_unix_server(self._accept, self.here)
        else:
            self._server = await asyncio.start_server(self._accept, LOOPBACK, self.here)
            self.here = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def pause(self) -> None:
        """Deliver nothing until `resume`; connections stay open, and new ones are accepted."""
        self._flows.clear()

    def resume(self) -> None:
        """Deliver what waits, and everything that follows."""
        self._flows.set()

    def cut(self) -> None:
        """Cut every connection."""
        for connection in self._connections:
            connection.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self.opened += 1
        writers = [writer]
        try:
            await self._flows.wait()
            if isinstance(self.there, Path):
                answers, upstream = await asyncio.open_unix_connection(self.there)
            else:
                answers, upstream = await asyncio.open_connection(LOOPBACK, self.there)
            writers.append(upstream)
            rest = _Rest(self.length())
            ways = [
                asyncio.ensure_future(self._copy(reader, upstream, rest)),
                asyncio.ensure_future(self._copy(answers, writer, rest)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for each in writers:
                each.transport.abort()
            self._connections.discard(task)

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rest: "_Rest"
    ) -> None:
        """Copy until either side closes the connection, or until it is cut."""
        with suppress(OSError):
            while chunk := await reader.read(CHUNK):
                await self._flows.wait()
                part = rest.take(chunk)
                writer.write(part)
                await writer.drain()
                if len(part) < len(chunk):
                    self.cuts += 1
                    return


@dataclass
class _Rest:
    """The bytes that a connection may still carry; None is no limit."""

    length: int | None

    def take(self, chunk: bytes) -> bytes:
        """Return the part of a chunk that the connection still carries."""
        if self.length is None:
            return chunk
        part = chunk[: self.length]
        self.length -= len(part)
        return part
