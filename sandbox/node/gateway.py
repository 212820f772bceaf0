"""The only connections between the node's network namespace and the machine's network.

Inwards, the API server is available at its advertised address, as on any node. Outwards, the API
server reaches kubelets and webhooks through a unix socket in the sandbox's directory. It uses its
egress selector with HTTP CONNECT. So the machine's network needs no link, no route and no port.
"""

import asyncio
import socket
from pathlib import Path

from sandbox.node.namespaces import NetworkNamespace

CHUNK = 256 * 1024
OK = b"HTTP/1.1 200 Connection established\r\n\r\n"
UNREACHABLE = b"HTTP/1.1 503 Service Unavailable\r\n\r\n"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def open_inwards(
    network: NetworkNamespace, listen: tuple[str, int], server: tuple[str, int]
) -> asyncio.Server:
    """Listen inside `network` and forward each connection to `server` outside."""
    with network.inside():
        listener = socket.create_server(listen)

    async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            outside = await asyncio.open_connection(*server)
        except OSError:
            writer.close()
            return
        await _join((reader, writer), outside)

    return await asyncio.start_server(passed, sock=listener)


async def open_outwards(network: NetworkNamespace, path: Path) -> asyncio.Server:
    """Serve CONNECT on a unix socket; open the requested connections inside `network`."""

    async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            host, _, port = head.split()[1].decode().rpartition(":")
            inside = await connect(network, host.strip("[]"), int(port))
        except (OSError, ValueError, IndexError, asyncio.IncompleteReadError):
            writer.write(UNREACHABLE)
            writer.close()
            return
        writer.write(OK)
        await _join((reader, writer), inside)

    return await asyncio.start_unix_server(passed, path)


async def connect(network: NetworkNamespace, host: str, port: int) -> Streams:
    """Open a connection from inside a namespace."""
    with network.inside():
        connection = socket.socket()
    connection.setblocking(False)  # noqa: FBT003  the socket's own signature
    try:
        await asyncio.get_running_loop().sock_connect(connection, (host, port))
    except BaseException:
        connection.close()
        raise
    return await asyncio.open_connection(sock=connection)


async def _join(one: Streams, other: Streams) -> None:
    try:
        await asyncio.gather(_copy(one[0], other[1]), _copy(other[0], one[1]))
    except OSError:
        pass  # one side is closed, so close the other too
    finally:
        one[1].close()
        other[1].close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(CHUNK):
        writer.write(chunk)
        await writer.drain()
    writer.write_eof()
