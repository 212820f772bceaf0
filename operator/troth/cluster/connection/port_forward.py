"""Connections to a port of a pod, through the API server and the kubelet.

The protocol is `v4.channel.k8s.io`, which every supported release of Kubernetes has: one WebSocket
for each connection. The first byte of a message is the channel. Channel 0 has the data and channel
1 the text of an error; the first message of each is the number of the port.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Self

import aiohttp

from troth.cluster.connection.client import Connection
from troth.cluster.connection.library import Configuration
from troth.cluster.resources import resource_of
from troth.resources.references import Ref

PROTOCOL = "v4.channel.k8s.io"
DATA, ERROR = 0, 1

_PORT_BYTES = 2
_PART = 32 * 1024
_CONNECT = 30.0
_CLOSE = 5.0
_LONGEST_ERROR = 500


class PortForward:
    """Listens on loopback and forwards each connection to a pod. Use it as a context manager.

    `failure` is why the last connection could not be forwarded, empty if none failed.
    """

    def __init__(self, config: Configuration, pod: Ref, port: int) -> None:
        """Create it without a request; `config` is that of the API server."""
        self._pod = pod
        self._port = port
        self._connection = Connection(config)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self.failure = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._connection.close()

    @property
    def local_port(self) -> int:
        """Port on 127.0.0.1 that is forwarded."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            async with self._connected() as socket:
                await self._carry(reader, writer, socket)
        except aiohttp.WSServerHandshakeError as error:
            self.failure = _denied(error.status, self._pod)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.failure = f"the API server cannot be reached: {type(error).__name__}"
        finally:
            self._open.discard(task)
            await _close(writer)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        path = resource_of("Pod").path(name=self._pod.name, namespace=self._pod.namespace)
        async with asyncio.timeout(_CONNECT) as connecting:
            socket = await self._connection.websocket(
                f"{path}/portforward?ports={self._port}",
                protocols=(PROTOCOL,),
                max_msg_size=0,
                heartbeat=_CONNECT,
            )
            async with socket:
                connecting.reschedule(None)
                yield socket

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        socket: aiohttp.ClientWebSocketResponse,
    ) -> None:
        """Carry data both ways until one side ends."""
        sending = asyncio.create_task(_send(reader, socket))
        try:
            started: set[int] = set()
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
                    continue
                channel, data = message.data[0], message.data[1:]
                if channel not in started and len(data) == _PORT_BYTES:
                    started.add(channel)
                elif channel == DATA:
                    writer.write(data)
                    await writer.drain()
                elif channel == ERROR and data:
                    text = data[:_LONGEST_ERROR].decode(errors="replace")
                    self.failure = f"Pod {self._pod}: port {self._port}: {text}"
        finally:
            sending.cancel()
            with suppress(asyncio.CancelledError, aiohttp.ClientError, OSError):
                await sending


async def _close(writer: asyncio.StreamWriter) -> None:
    """Close a connection once it has what was written, or at once if it does not take it."""
    writer.close()
    try:
        async with asyncio.timeout(_CLOSE):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        writer.transport.abort()
    except asyncio.CancelledError:
        writer.transport.abort()
        raise


async def _send(reader: asyncio.StreamReader, socket: aiohttp.ClientWebSocketResponse) -> None:
    while data := await reader.read(_PART):
        await socket.send_bytes(bytes([DATA]) + data)
    await socket.close()  # the protocol has no half-closed connections


def _denied(status: int, pod: Ref) -> str:
    if status == HTTPStatus.FORBIDDEN:
        return (
            "the API server denies the port-forward; ask for the verbs get and create on "
            f"pods/portforward in the namespace {pod.namespace}"
        )
    return f"the API server answered {status} to the port-forward to Pod {pod}"
