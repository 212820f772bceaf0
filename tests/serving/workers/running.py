"""A program with workers as separate processes, and what it answers."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from sandbox.control_plane import free_port
from sandbox.processes import Tether
from tests.patience import PATIENCE
from tests.webhooks.gateway.attacks.wire import eventually

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
ROOT = Path(__file__).parents[3]


@dataclass
class Program:
    """A supervisor and its workers."""

    tether: Tether
    pid: int
    port: int
    health: int
    log: Path

    @property
    def code(self) -> int | None:
        return self.tether.poll("program")

    @property
    def threads(self) -> int:
        """Number of the supervisor's threads."""
        return len(list(Path(f"/proc/{self.pid}/task").iterdir()))

    @property
    def listens(self) -> bool:
        """Whether any worker accepts connections."""
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def output(self) -> str:
        return self.log.read_text()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The log, which has whole lines of JSON only."""
        return [json.loads(line) for line in self.output.splitlines()]

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    async def ended(self) -> int:
        """Return the exit code."""
        await eventually(lambda: self.code is not None)
        assert self.code is not None
        return self.code

    async def page(self, name: str) -> tuple[int, str]:
        """Return the status and text of a health page; status 0 while nothing answers."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self.health}/{name}") as answer,
            ):
                return answer.status, await answer.text()
        except aiohttp.ClientConnectionError:
            assert self.code is None, self.output
            return 0, ""

    async def becomes(self, name: str, *expected: int) -> None:
        """Wait until a health page has an expected status."""
        async with asyncio.timeout(PATIENCE):
            while (await self.page(name))[0] not in expected:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def samples(self) -> Samples:
        status, text = await self.page("metrics")
        assert status == 200
        return {
            (each.name, tuple(sorted(each.labels.items()))): each.value
            for family in text_string_to_metric_families(text)
            for each in family.samples
        }


@asynccontextmanager
async def running(
    directory: Path, command: Sequence[str], port: int, health: int
) -> AsyncIterator[Program]:
    """Run a program until the context ends, and wait until it answers."""
    place = directory / "processes"
    place.mkdir()
    log = directory / "log"
    with Tether(place) as tether:
        pid = tether.start("program", command, log=log, cwd=ROOT)
        program = Program(tether, pid, port, health, log)
        await program.becomes("healthz", 200)
        yield program


@asynccontextmanager
async def workers(directory: Path, count: int) -> AsyncIterator[Program]:
    """Run the small application with workers, all of them ready."""
    for number in range(1, count + 1):
        (directory / f"ready-{number}").touch()
    async with unready_workers(directory, count) as program:
        await program.becomes("readyz", 200)
        yield program


@asynccontextmanager
async def unready_workers(directory: Path, count: int) -> AsyncIterator[Program]:
    port, health = free_port(), free_port()
    command = program_command(directory, count, port, health)
    async with running(directory, command, port, health) as program:
        yield program


def program_command(directory: Path, count: int, port: int, health: int) -> list[str]:
    module = "tests.serving.workers.program"
    return [*python(module), str(count), str(port), str(health), str(directory)]


def python(module: str) -> list[str]:
    """Return the command for a module, which fails if it copies a process with threads."""
    return [sys.executable, "-W", "error::DeprecationWarning", "-m", module]


async def get(port: int, path: str) -> str:
    """Send a request on a connection of its own; return the body of its answer."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as answer,
    ):
        assert answer.status == 200
        return await answer.text()


async def get_from(port: int, worker: int, path: str) -> str:
    """Send a request to one worker: connections go to any, so try until one goes to it."""
    async with asyncio.timeout(PATIENCE):
        while True:
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
                async with session.get("/") as answer:
                    if await answer.text() != str(worker):
                        continue
                async with session.get(path) as answer:  # on the same connection
                    return await answer.text()


async def gone(pid: int) -> None:
    """Wait until a process has ended."""
    await eventually(lambda: not _exists(pid))


def _exists(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return state.rpartition(")")[2].split()[0] != "Z"
