"""The socket by which other processes control a node from outside its namespaces.

Requests and responses are one JSON object a line. For a connection to a pod's workload, the socket
passes a file descriptor, so that its traffic does not pass through this process.
"""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from sandbox.errors import SandboxError

Answer = dict[str, Any]
Action = Callable[..., Awaitable[Answer | socket.socket]]

LONGEST_REQUEST = 64 * 1024


async def serve(path: Path, actions: Mapping[str, Action]) -> None:
    """Answer requests on a unix socket; `do` names the action, and the rest are its arguments."""
    loop = asyncio.get_running_loop()
    connections: set[asyncio.Task[None]] = set()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(128)
        listener.setblocking(False)  # noqa: FBT003  the socket's own signature
        while True:
            connection, _ = await loop.sock_accept(listener)
            task = asyncio.create_task(_answer(connection, actions))
            connections.add(task)
            task.add_done_callback(connections.discard)


async def _answer(connection: socket.socket, actions: Mapping[str, Action]) -> None:
    loop = asyncio.get_running_loop()
    with connection:
        pending = b""
        while chunk := await loop.sock_recv(connection, LONGEST_REQUEST):
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                answer = await _done(json.loads(line), actions)
                if isinstance(answer, socket.socket):
                    with answer:
                        socket.send_fds(connection, [b"{}\n"], [answer.fileno()])
                else:
                    await loop.sock_sendall(connection, json.dumps(answer).encode() + b"\n")


async def _done(request: Answer, actions: Mapping[str, Action]) -> Answer | socket.socket:
    try:
        return await actions[request.pop("do")](**request)
    except (SandboxError, OSError, aiohttp.ClientError) as error:
        return {"error": str(error) or type(error).__name__}
