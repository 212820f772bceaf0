"""Webhooks a second through the gateway on one core, beside the same server that only answers 204.

Each side is a process on one core; the sender, and whatever else there is, are on another. Sides
take turns. Verification is all that the gateway does until it has the replay store's word and after
it has the target's: the head, the body, the signature, the claim and the mark, the line in the log
and the metrics; its target answers in the next turn of the event loop, and no token is signed.
"""

import json
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks import receiving, taking
from benchmarks.cores import cores, on, processor_seconds, resident
from benchmarks.domain import Domain
from benchmarks.figures import Comparison, Figure, Report, quantile
from benchmarks.receiving import COMPILED, MOUNTED, TOKEN_KEY, WINDOW, Side
from benchmarks.sending import ENDPOINT, LOOPBACK, PATH, SECRET, Post, connected
from benchmarks.verifying import schemes
from sandbox import SandboxError
from sandbox.control_plane import free_port
from sandbox.processes import Tether, tail
from sandbox.valkey import ValkeyServer
from troth.pki.keys import private_key_pem

ROUNDS = 8
DELIVERIES = 2000
"""To each side in each round."""
CONNECTIONS = 32
RATES = {Side.MEMORY: 0.5, Side.VALKEY: 0.35, Side.EVERYSEC: 0.35}
"""The parts of the floor's rate to be reached."""
LATENCY = 2.0
"""Times the floor's p99 that the gateway's may be at half load."""
IDLE = 0.7
"""The part of its core that the sender may need, so that nobody waits for it."""
FEW, MANY = 60_000, 1_000_000
"""Deliveries while memory is watched: among all that is measured, and by `webhook-memory`."""
WINDOWS = 8
"""How often the store's window passes meanwhile."""
FLAT = 0.02
"""The share by which memory may be more at the end than half way."""
PATIENCE_SECONDS, GRACE_SECONDS = 30.0, 10.0

SAID = {
    Side.MEMORY: "store in memory",
    Side.VALKEY: "store in Valkey, appendfsync always",
    Side.EVERYSEC: "store in Valkey, appendfsync everysec",
    Side.WHOLE: "with a token, to a target by mTLS",
}
NOTE = (
    "The floor is the gateway's own server, which reads a request and answers 204. Processor time "
    "is that of the server's process alone, whatever else the machine does. With appendfsync "
    "always, as is recommended, a delivery waits for the disk twice: its rate is the disk's too."
)
HALF_NOTE = (
    "Both are sent as much, evenly: half of what the gateway takes at most. From when a delivery "
    "was due to its answer. The ratio is of each side's middle p99 among the rounds, so that what "
    "stops the machine once does not stand for the gateway."
)
FLAT_NOTE = (
    "The store's window passes eight times. Once it is full the store forgets a delivery for each "
    "that comes; the allocator settles within the next windows, so that the second half counts."
)


@dataclass(slots=True)
class Running:
    """A server and its sender, and the seconds that rounds took: by the clock, of either's core."""

    pid: int
    port: int
    post: Post
    clock: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    sending: list[float] = field(default_factory=list)

    def take_turn(self) -> None:
        """Send a round."""
        requests = self.post.signed(DELIVERIES)
        with connected(self.port, CONNECTIONS) as senders:
            before, sent = processor_seconds(self.pid), time.process_time()
            self.clock.append(senders.take(requests))
            self.sending.append(time.process_time() - sent)
            self.processor.append(processor_seconds(self.pid) - before)

    def take(self) -> None:
        """Send as much, and measure nothing."""
        with connected(self.port, CONNECTIONS) as senders:
            senders.take(self.post.signed(DELIVERIES))

    def pace(self, rate: float) -> list[float]:
        """Send as much evenly on connections that were used before; return how long each took."""
        with connected(self.port, CONNECTIONS) as senders:
            senders.take(self.post.signed(CONNECTIONS))
            return senders.pace(self.post.signed(DELIVERIES), rate)

    @property
    def rate(self) -> float:
        """Deliveries a second."""
        return DELIVERIES / median(self.clock)


def reports() -> Iterator[Report]:
    """Measure rates, latency, memory, and schemes by themselves."""
    with _stage() as stage:
        yield from _rates(stage)
        yield _memory(stage, FEW)
    yield schemes()


def memory_reports() -> Iterator[Report]:
    """Watch memory over very many deliveries."""
    with _stage() as stage:
        yield _memory(stage, MANY)


def _rates(stage: "_Stage") -> Iterator[Report]:
    post = Post()
    with ExitStack() as stack:
        sides = {
            side: stack.enter_context(stage.running(side, post))
            for side in (Side.FLOOR, Side.PLAIN, *SAID)
        }
        for running in sides.values():
            running.take()
        floor = sides[Side.FLOOR]
        for _ in range(ROUNDS):
            for side in (Side.PLAIN, *SAID):
                floor.take_turn()
                sides[side].take_turn()
        rows = [row for side in SAID for row in _rows(side, sides[side], floor)]
        title = f"Webhooks: {DELIVERIES} deliveries, {ROUNDS} times"
        yield Report(title, rows, NOTE, [*_figures(sides)])
        yield _half_load(sides[Side.MEMORY], floor)


def _rows(side: Side, found: Running, floor: Running) -> Iterator[Comparison]:
    aim = 1 / RATES[side] if side in RATES else None
    yield Comparison(SAID[side], found.clock, floor.clock, aim)
    yield Comparison(f"{SAID[side]}: processor time", found.processor, floor.processor, aim)


def _figures(sides: Mapping[Side, Running]) -> Iterator[Figure]:
    said = {Side.PLAIN: "uvicorn as it is, answering 204", Side.FLOOR: "the floor", **SAID}
    for side, what in said.items():
        found = sides[side]
        yield Figure(f"deliveries a second: {what}", found.rate)
        each = median(found.processor) / DELIVERIES
        yield Figure(f"processor time of a delivery: {what}", each * 1e6, "µs")
    floor = sides[Side.FLOOR]
    yield Figure("of its core: the floor", sum(floor.processor) / sum(floor.clock))
    sending = sum(floor.sending) / sum(floor.clock)
    yield Figure("of its core: who sends to the floor", sending, "", IDLE)


def _half_load(gateway: Running, floor: Running) -> Report:
    rate = gateway.rate / 2
    rounds = [(gateway.pace(rate), floor.pace(rate)) for _ in range(ROUNDS)]
    gateways, floors = zip(*rounds, strict=True)
    middle = [median(quantile(each, 0.99) for each in side) for side in (gateways, floors)]
    title = f"Webhooks: latency at {rate:,.0f} deliveries a second"
    row = Comparison(SAID[Side.MEMORY], [*chain(*gateways)], [*chain(*floors)])
    figures = [Figure("p99, times the floor's", middle[0] / middle[1], "x", LATENCY)]
    return Report(title, [row], HALF_NOTE, figures)


def _memory(stage: "_Stage", deliveries: int) -> Report:
    """Watch the memory of a gateway whose store's window passes several times."""
    window = deliveries // WINDOWS
    (stage.directory / WINDOW).write_text(str(window))
    with stage.running(Side.AGEING, Post()) as found:
        held = [resident(found.pid)]
        for _ in range(deliveries // DELIVERIES):
            found.take()
            held.append(resident(found.pid))
    half, tenth = len(held) // 2, len(held) // 10
    full = max(held[half : half + 3])
    figures = [
        Figure("at the start", held[0], "MB"),
        *(
            Figure(f"after {part * tenth * DELIVERIES:,}", held[part * tenth], "MB")
            for part in range(1, 11)
        ),
        Figure(f"half way, with a full window of {window:,} deliveries", full, "MB"),
        Figure("more at the end", max(held[-3:]) - full, "MB", FLAT * full),
    ]
    return Report(f"Webhooks: memory over {deliveries:,} deliveries", (), FLAT_NOTE, figures)


# The servers


@dataclass(frozen=True, slots=True)
class _Stage:
    """What there is besides servers: their files, and what ends with the measurement."""

    directory: Path
    tether: Tether

    @contextmanager
    def running(self, side: Side, post: Post) -> Iterator[Running]:
        """Run one of the servers; yield it once it listens."""
        port = free_port()
        arguments = [side, str(self.directory), str(port), str(cores()[0])]
        pid = self.start(side, receiving.__name__, *arguments)
        self.await_up(side, port)
        yield Running(pid, port, post)
        self.tether.stop(side, grace=GRACE_SECONDS)

    def start(self, name: str, module: str, *arguments: str) -> int:
        """Start a module as a process."""
        argv = [sys.executable, "-m", module, *arguments]
        return self.tether.start(name, argv, log=self.directory / f"{name}.log")

    def await_up(self, name: str, port: int) -> None:
        """Wait until a process listens."""
        deadline = time.perf_counter() + PATIENCE_SECONDS
        while True:
            try:
                socket.create_connection((LOOPBACK, port)).close()
            except ConnectionRefusedError:
                if self.tether.poll(name) is not None or time.perf_counter() > deadline:
                    log = tail(self.directory / f"{name}.log")
                    raise SandboxError(f"no server; its log:\n{log}") from None
                time.sleep(0.1)
            else:
                return


@contextmanager
def _stage() -> Iterator[_Stage]:
    """Write all files, and run the target and Valkey, on the sender's core."""
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        directory = Path(place)
        stack.enter_context(on(cores()[1]))
        for side, fsync in {Side.VALKEY: "always", Side.EVERYSEC: "everysec"}.items():
            store = stack.enter_context(ValkeyServer.serving(appendfsync=fsync))
            (directory / side).touch(mode=0o600)
            (directory / side).write_text(store.url)
        tether = stack.enter_context(Tether(_made(directory / "running")))
        stage = _Stage(directory, tether)
        port = free_port()
        _prepare(directory, taking.described(port))
        stage.start("target", taking.__name__, str(directory / "target"), str(port))
        stage.await_up("target", port)
        yield stage


def _prepare(directory: Path, target: Mapping[str, Any]) -> None:
    domain = Domain.make()
    key = ec.generate_private_key(ec.SECP256R1())
    taking.write_gateways(directory / MOUNTED, domain)
    taking.write_targets(directory / "target", domain, key.public_key())
    (directory / TOKEN_KEY).touch(mode=0o600)
    (directory / TOKEN_KEY).write_bytes(private_key_pem(key))
    compiled = _made(directory / COMPILED)
    (compiled / "endpoint.json").write_text(json.dumps(endpoint(target)))
    (compiled / "key.k1").write_text(SECRET)


def endpoint(target: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `endpoint.json` that is served."""
    return {
        "version": "v1alpha1",
        "endpoint": ENDPOINT,
        "uid": "6f6c3c5e-6f43-4b8f-9d0c-3a0a2f5b9c11",
        "path": PATH,
        "signing": {"name": "StandardWebhooks", "url": f"https://hooks.bench.example{PATH}"},
        "tolerance": 300,
        "replayWindow": 3600,
        "target": target,
        "limits": {"body": 65536, "requestsPerSecond": 100_000},
    }


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory
