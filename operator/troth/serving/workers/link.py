"""The link between the supervisor and a worker: a pair of sockets without a name.

The supervisor sends lines with a number and a question, and the worker answers each with a line of
JSON. The end of the link tells either side that the other one is gone.
"""

import asyncio
import json
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry

from troth.serving.workers.metrics import Families, families

WITHIN = 5.0
"""Seconds in which a worker must answer. A probe of the kubelet gives up sooner."""
_LONGEST = 256 * 1024 * 1024
"""Maximum size in bytes of an answer, far more than the metrics of all endpoints."""
_STATE, _METRICS = "state", "metrics"


class WorkerSilentError(Exception):
    """A worker does not answer."""


@dataclass(frozen=True, slots=True)
class Link:
    """A worker's side."""

    worker: int
    """Number of the worker, from 1."""
    socket: socket.socket

    async def answer(
        self, *, ready: Callable[[], bool], registry: CollectorRegistry, on_lost: Callable[[], None]
    ) -> None:
        """Answer the supervisor until it is gone; then call `on_lost`."""
        reader, writer = await asyncio.open_unix_connection(sock=self.socket)
        with suppress(OSError):  # a supervisor that leaves an answer unread resets the link
            while line := await reader.readline():
                number, question = line.decode().split()
                found = families(registry) if question == _METRICS else ready()
                writer.write(json.dumps({"number": int(number), "answer": found}).encode() + b"\n")
                await writer.drain()
        writer.close()
        on_lost()


class WorkerLink:
    """The supervisor's side of the link to one worker."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._asking = asyncio.Lock()
        self._asked = 0

    async def ready(self) -> bool:
        """Return whether the worker is ready; raises `WorkerSilentError`."""
        return bool(await self._ask(_STATE))

    async def metrics(self) -> Families:
        """Return the metrics of the worker; raises `WorkerSilentError`."""
        found: Families = await self._ask(_METRICS)
        return found

    async def _ask(self, question: str) -> Any:  # noqa: ANN401 - JSON
        try:
            async with asyncio.timeout(WITHIN), self._asking:
                if self._streams is None:
                    self._streams = await asyncio.open_unix_connection(
                        sock=self.socket, limit=_LONGEST
                    )
                reader, writer = self._streams
                self._asked += 1
                writer.write(f"{self._asked} {question}\n".encode())
                await writer.drain()
                while line := await reader.readline():
                    found = json.loads(line)
                    if found["number"] == self._asked:  # else it answers what nobody waits for
                        return found["answer"]
        except OSError:  # TimeoutError is one
            pass
        raise WorkerSilentError
