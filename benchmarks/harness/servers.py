"""Servers as processes on one core, and the load on them from another."""

import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.harness.cores import cores, on, processor_seconds
from benchmarks.harness.load import Load
from sandbox import SandboxError
from sandbox.control_plane import free_port
from sandbox.processes import Tether, tail

LOOPBACK = "127.0.0.1"
PATIENCE_SECONDS, GRACE_SECONDS = 30.0, 10.0

Connect = Callable[[int], AbstractContextManager[Load]]
"""A function that opens connections to a port."""


@dataclass(slots=True)
class Side:
    """A server and its load, and the seconds of its rounds: elapsed, and CPU time of each.

    The CPU time includes that of its workers.

    `requests` returns the requests of the next round.
    """

    pid: int
    connect: Callable[[], AbstractContextManager[Load]]
    requests: Callable[[], list[bytes]]
    clock: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    load: list[float] = field(default_factory=list)

    def take_turn(self) -> None:
        """Send a round and measure it."""
        requests = self.requests()
        with self.connect() as load:
            before, sent = _processor_seconds(self.pid), time.process_time()
            self.clock.append(load.take(requests))
            self.load.append(time.process_time() - sent)
            self.processor.append(_processor_seconds(self.pid) - before)

    def warm_up(self) -> None:
        """Send a round without measuring it."""
        with self.connect() as load:
            load.take(self.requests())

    def rate(self, requests: int) -> float:
        """Return the requests per second of the median round; each round has that many requests."""
        return requests / median(self.clock)

    @property
    def share(self) -> float:
        """Share of its core that the server used."""
        return sum(self.processor) / sum(self.clock)

    @property
    def load_share(self) -> float:
        """Share of its core that the load used."""
        return sum(self.load) / sum(self.clock)


def _family(pid: int) -> list[int]:
    """Return a process and the processes that it has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def _processor_seconds(pid: int) -> float:
    return sum(map(processor_seconds, _family(pid)))


def proportional_memory(pid: int) -> float:
    """Return the memory of a process and its workers in MB; shared pages count once."""
    rollups = (Path(f"/proc/{each}/smaps_rollup").read_text() for each in _family(pid))
    shares = (line.split()[1] for text in rollups for line in text.splitlines() if "Pss:" in line)
    return sum(map(int, shares)) * 1024 / 1e6


def alternate(rounds: int, floor: Side, others: Iterable[Side]) -> None:
    """Measure the floor and each other side in turns."""
    sides = tuple(others)
    for _ in range(rounds):
        for side in sides:
            floor.take_turn()
            side.take_turn()


@dataclass(frozen=True, slots=True)
class Servers:
    """The directory of the servers' files, the tether that ends them, and their core."""

    directory: Path
    tether: Tether
    core: int

    @contextmanager
    def running(
        self, name: str, module: str, connect: Connect, requests: Callable[[], list[bytes]]
    ) -> Iterator[Side]:
        """Run `python -m module NAME DIRECTORY PORT CORE` while the context lasts."""
        port = free_port()
        pid = self.start(name, module, name, str(self.directory), str(port), str(self.core))
        self.await_listening(name, port)
        yield Side(pid, lambda: connect(port), requests)
        self.tether.stop(name, grace=GRACE_SECONDS)

    def start(self, name: str, module: str, *arguments: str) -> int:
        """Start a module as a process; return its process ID."""
        argv = [sys.executable, "-m", module, *arguments]
        return self.tether.start(name, argv, log=self.directory / f"{name}.log")

    def await_listening(self, name: str, port: int) -> None:
        """Wait until a process listens; raises `SandboxError` if it does not."""
        deadline = time.perf_counter() + PATIENCE_SECONDS
        while True:
            try:
                socket.create_connection((LOOPBACK, port)).close()
            except ConnectionRefusedError:
                if self.tether.poll(name) is not None or time.perf_counter() > deadline:
                    log = tail(self.directory / f"{name}.log")
                    raise SandboxError(f"{name} does not listen; its log:\n{log}") from None
                time.sleep(0.1)
            else:
                return


@contextmanager
def servers() -> Iterator[Servers]:
    """Pin this process, the load, to its core while the context lasts, and end servers then."""
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        directory = Path(place)
        core, load = cores()  # once: a pinned process has one core left
        stack.enter_context(on(load))
        running = new_directory(directory / "running")
        yield Servers(directory, stack.enter_context(Tether(running)), core)


def new_directory(directory: Path) -> Path:
    """Create a directory and return it."""
    directory.mkdir()
    return directory


def write_secretly(file: Path, content: bytes | str) -> None:
    """Write a file that only this user can read."""
    file.touch(mode=0o600)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
