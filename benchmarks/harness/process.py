"""`troth run` as a separate process, with its metrics and its memory."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import aiohttp

from benchmarks.harness.cores import processor_seconds
from benchmarks.harness.requests import Requests, asked, samples
from sandbox import SandboxError
from sandbox.control_plane import free_port
from sandbox.demo.programs import NAMESPACE as SYSTEM
from sandbox.processes import Tether, tail

NAME = "troth"
GRACE_SECONDS = 10.0
LOOK_SECONDS = 0.02
SCRAPE_SECONDS = 0.25  # with thousands of identities, each scrape costs the measured process time
STILL_SECONDS = 1.0
PATIENCE_SECONDS = 1800.0
VISITS = "troth_reconcile_duration_seconds_count"


@dataclass(frozen=True, slots=True)
class Memory:
    """Current and peak memory of a process in MB of a million bytes."""

    resident: float
    peak: float


class Cluster(Protocol):
    """What a replica needs of a cluster: a directory for its files, and a kubeconfig."""

    @property
    def directory(self) -> Path:
        """A directory that is removed with the cluster."""

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig of an administrator."""


class Process:
    """One replica of the operator, from `run`; `started` is its start time, by `perf_counter`."""

    def __init__(
        self, tether: Tether, log: Path, session: aiohttp.ClientSession, pid: int, started: float
    ) -> None:
        self.started = started
        self._tether = tether
        self._log = log
        self._session = session
        self._pid = pid

    @classmethod
    @asynccontextmanager
    async def run(cls, cluster: Cluster, *options: str) -> AsyncIterator[Self]:
        """Run a replica while the context lasts; then end it with SIGTERM, as a kubelet does."""
        directory = cluster.directory / "operator"
        directory.mkdir()
        log, port = directory / "operator.log", free_port()
        with Tether(directory) as tether:
            started = time.perf_counter()
            pid = tether.start(
                NAME,
                [
                    *(sys.executable, "-m", "troth.cli", "run"),
                    f"--kubeconfig={cluster.kubeconfig}",
                    f"--namespace={SYSTEM}",
                    f"--listen=127.0.0.1:{port}",
                    "--log-level=warning",
                    *options,
                ],
                log=log,
                # The client library writes CA and keys to temporary files, which are removed with
                # the directory.
                env=os.environ | {"TMPDIR": str(directory)},
            )
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
                yield cls(tether, log, session, pid, started)
            tether.stop(NAME, grace=GRACE_SECONDS)  # releases its lease at once

    async def ready(self) -> float:
        """Wait until its caches are in sync; return the seconds since its start."""

        async def is_ready() -> bool:
            return await self._page("readyz") == "ok\n"

        return await self._until(is_ready, LOOK_SECONDS)

    async def settled(self, fleet: int, pause: float = SCRAPE_SECONDS) -> float:
        """Wait until it is idle and has reconciled every identity of a fleet of that size.

        All identities must be ready. Looks every `pause` seconds; returns the seconds since its
        start.
        """

        async def is_settled() -> bool:
            metrics = await self._page("metrics")
            ready = sum(
                sample.value
                for sample in samples(metrics, "troth_resources")
                if sample.labels["kind"] == "ServiceIdentity" and sample.labels["ready"] == "True"
            )
            (waiting,) = [sample.value for sample in samples(metrics, "troth_queue_depth")] or [1]
            return ready == fleet and not waiting and _visits(metrics) >= fleet

        return await self._until(is_settled, pause)

    async def still(self) -> None:
        """Wait until it has reconciled nothing for a while."""
        before, visits = -1.0, await self.visits()
        while visits != before:
            await asyncio.sleep(STILL_SECONDS)
            before, visits = visits, await self.visits()

    async def visits(self) -> float:
        """Return the number of its reconciliations."""
        return _visits(await self._page("metrics"))

    async def requests(self) -> Requests:
        """Return its requests to the API server."""
        return asked(await self._page("metrics"))

    async def metrics(self) -> str:
        """Return its metrics page."""
        return await self._page("metrics")

    def processor(self) -> float:
        """Return the processor time in seconds that it has used since its start."""
        return processor_seconds(self._pid)

    def memory(self) -> Memory:
        """Return its memory from the kernel's statistics."""
        status = dict(
            line.split(":", 1)
            for line in Path(f"/proc/{self._pid}/status").read_text().splitlines()
        )
        resident, peak = (int(status[each].split()[0]) * 1024 / 1e6 for each in ("VmRSS", "VmHWM"))
        return Memory(resident, peak)

    async def _until(self, holds: Callable[[], Awaitable[bool]], pause: float) -> float:
        deadline = time.perf_counter() + PATIENCE_SECONDS
        while not await holds():
            if self._tether.poll(NAME) is not None or time.perf_counter() > deadline:
                raise SandboxError(f"the operator did not get there; its log:\n{tail(self._log)}")
            await asyncio.sleep(pause)
        return time.perf_counter() - self.started

    async def _page(self, page: str) -> str:
        """Return a page, or an empty string while the process does not answer."""
        try:
            async with self._session.get(f"/{page}") as answer:
                return await answer.text()
        except aiohttp.ClientError:
            return ""


def _visits(metrics: str) -> float:
    return sum(sample.value for sample in samples(metrics, VISITS))
