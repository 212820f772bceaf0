"""The supervisor of workers: health endpoints for all of them, signals, and their end."""

import asyncio
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import structlog

from troth.serving.exposition import exposition
from troth.serving.health import serve_health
from troth.serving.workers.link import WorkerLink, WorkerSilentError
from troth.serving.workers.metrics import Sum

log = structlog.get_logger()


@dataclass(slots=True)
class Child:
    """A worker. `code` is its exit code, None while it runs."""

    number: int
    pid: int
    link: WorkerLink
    code: int | None = None


class Supervisor:
    """Ends when all workers have ended. It restarts none: if one ends, it stops the others.

    A pod of which a part is missing would answer with less than its capacity, and nobody would
    notice. The kubelet restarts the pod, counts the restarts and delays them.
    """

    def __init__(self, children: Sequence[Child]) -> None:
        self._children = children
        self._stopping = False
        self._code = 0
        self._ended = asyncio.Event()

    async def run(self, health_listen: tuple[str, int]) -> int:
        """Supervise until the last worker has ended; return the exit code of the first to fail."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGCHLD, self._reap)
        self._reap()  # a worker that ended before
        try:
            async with serve_health(
                *health_listen, alive=self._alive, ready=self._ready, metrics=self._metrics
            ):
                await self._ended.wait()
        finally:
            self._stop()
            await self._ended.wait()
        return self._code

    def _running(self) -> Iterator[Child]:
        return (each for each in self._children if each.code is None)

    def _stop(self) -> None:
        """Let each worker answer its pending requests and end, as it does alone."""
        self._stopping = True
        for child in self._running():
            os.kill(child.pid, signal.SIGTERM)  # not reaped, so the process ID is still its own

    def _reap(self) -> None:
        """Record which workers have ended, and stop the others."""
        for child in list(self._running()):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                child.code = os.waitstatus_to_exitcode(status)
                self._end(child, child.code)
        if not any(self._running()):
            self._ended.set()

    def _end(self, child: Child, code: int) -> None:
        if self._stopping and code == -signal.SIGTERM:  # it had not begun to serve
            return
        self._code = self._code or (code if code >= 0 else 128 - code)  # as a shell says it
        if not self._stopping:
            log.error("worker ended", worker=child.number, pid=child.pid, code=code)
            self._stop()

    # The health endpoints

    async def _alive(self) -> bool | None:
        return None if None in await self._asked() else True

    async def _ready(self) -> bool | None:
        answers = await self._asked()
        if None in answers:
            return None
        return len(answers) == len(self._children) and all(answers)

    async def _asked(self) -> list[bool | None]:
        """Return whether each running worker is ready, None for one that does not answer."""
        return await asyncio.gather(*map(_ready, self._running()))

    async def _metrics(self) -> bytes | None:
        """Return the metrics of all workers; None if one is missing, as counters would fall."""
        try:
            found = await asyncio.gather(*(each.link.metrics() for each in self._children))
        except WorkerSilentError:
            return None
        return await exposition(Sum(found))


async def _ready(child: Child) -> bool | None:
    try:
        return await child.link.ready()
    except WorkerSilentError:
        return None
