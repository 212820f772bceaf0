"""Clients that begin a connection and do not go on."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


def client_hello() -> bytes:
    """The first bytes of a handshake, which the server answers with its certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    sent = ssl.MemoryBIO()
    handshake = context.wrap_bio(ssl.MemoryBIO(), sent)
    try:
        handshake.do_handshake()
    except ssl.SSLWantReadError:
        return sent.read()
    raise AssertionError("a handshake ended without a server")


class Silent:
    """One such client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.end = asyncio.create_task(self._read(reader))

    @property
    def closed(self) -> bool:
        """Whether the server has closed the connection."""
        return self.end.done()

    @staticmethod
    async def _read(reader: asyncio.StreamReader) -> None:
        try:
            while await reader.read(65536):
                pass
        except ConnectionError:
            pass


@asynccontextmanager
async def silent_clients(
    port: int, count: int, said: bytes, *, source: str = "127.0.0.1"
) -> AsyncIterator[list[Silent]]:
    """Open connections one after the other; each says the same and is then silent."""
    clients: list[Silent] = []
    try:
        for _ in range(count):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, local_addr=(source, 0)
            )
            writer.write(said)
            clients.append(Silent(reader, writer))
        yield clients
    finally:
        for each in clients:
            each.writer.close()
        for each in clients:
            await each.end
