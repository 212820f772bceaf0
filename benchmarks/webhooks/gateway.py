"""Webhooks per second through the gateway on one core. The floor only answers 204.

Each side is a process on one core; the load and all other processes are on another. The sides take
turns. Except in the last case, the gateway does everything but forward: it reads and verifies the
request, claims and commits it in the replay store, and writes the log line and the metrics. Its
target answers in the next turn of the event loop, and no token is signed.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.harness.cores import processor_seconds, resident
from benchmarks.harness.domain import Domain
from benchmarks.harness.report import Comparison, Figure, Report, quantile
from benchmarks.harness.servers import Servers, alternate, new_directory, servers, write_secretly
from benchmarks.harness.servers import Side as Measured
from benchmarks.webhooks import server, target
from benchmarks.webhooks.schemes import schemes
from benchmarks.webhooks.sender import ENDPOINT, PATH, SECRET, Post, connected
from benchmarks.webhooks.server import COMPILED, MOUNTED, TOKEN_KEY, WINDOW, Side
from sandbox.control_plane import free_port
from sandbox.valkey import ValkeyServer
from troth.pki.keys.private import private_key_pem

ROUNDS = 8
DELIVERIES = 2000
"""Deliveries to each side in each round."""
CONNECTIONS = 32
RATES = {Side.MEMORY: 0.45, Side.EVERYSEC: 0.3}
"""Shares of the floor's rate to reach."""
LATENCY = 2.0
"""The highest ratio of the gateway's p99 to the floor's at half load."""
IDLE = 0.7
"""The share of its core that the load may use, so that no server waits for it."""
FEW, MANY = 60_000, 1_000_000
"""Deliveries of the memory benchmark: as part of `webhooks`, and of `webhook-memory`."""
WINDOWS = 8
"""Number of replay windows that pass meanwhile."""
FLAT = 0.02
"""Maximum share by which memory grows in the second half."""
NAMES = {
    Side.MEMORY: "store in memory",
    Side.VALKEY: "store in Valkey, appendfsync always",
    Side.EVERYSEC: "store in Valkey, appendfsync everysec",
    Side.WHOLE: "with a token, to a target over mTLS",
}
NOTE = (
    "The floor is the gateway's own server, which reads a request and answers 204. Processor time "
    "is that of the server's process only, whatever else the machine does. With appendfsync "
    "always, which is recommended, each delivery waits for the disk twice."
)
HALF_NOTE = (
    "Both sides get the same even load: half of the gateway's highest rate. Times are from when a "
    "delivery is due to its answer. The ratio compares each side's median p99 of all rounds, so "
    "that one pause of the machine does not count. At this rate deliveries come one at a time, "
    "which costs more processor time than many at once, so a core is more than half busy."
)
FLAT_NOTE = (
    "The replay window passes eight times. Once it is full, the store forgets one delivery for "
    "each new one. The allocator settles within the next windows, so the second half counts."
)


def reports(rounds: int = ROUNDS, *, rates_only: bool = False) -> Iterator[Report]:
    """Measure rates and latency, and then memory, and each scheme alone."""
    with prepared() as running:
        yield from _rates(running, rounds)
        if rates_only:
            return
        yield _memory(running, FEW)
    yield schemes()


def memory_reports() -> Iterator[Report]:
    """Measure memory over a million deliveries."""
    with prepared() as running:
        yield _memory(running, MANY)


def _rates(running: Servers, rounds: int) -> Iterator[Report]:
    post = Post()
    with ExitStack() as stack:
        sides = {
            side: stack.enter_context(_side(running, side, post))
            for side in (Side.FLOOR, Side.PLAIN, *NAMES)
        }
        for side in sides.values():
            side.warm_up()
        floor = sides[Side.FLOOR]
        alternate(rounds, floor, [sides[side] for side in (Side.PLAIN, *NAMES)])
        rows = [row for side in NAMES for row in _rows(side, sides[side], floor)]
        title = f"Webhooks: {DELIVERIES} deliveries, {rounds} times"
        yield Report(title, rows, NOTE, [*_figures(sides)])
        yield _half_load(sides[Side.MEMORY], floor, post, rounds)


def _rows(side: Side, found: Measured, floor: Measured) -> Iterator[Comparison]:
    aim = 1 / RATES[side] if side in RATES else None
    yield Comparison(NAMES[side], found.clock, floor.clock, aim)
    yield Comparison(f"{NAMES[side]}: processor time", found.processor, floor.processor, aim)


def _figures(sides: Mapping[Side, Measured]) -> Iterator[Figure]:
    names = {Side.PLAIN: "plain uvicorn that answers 204", Side.FLOOR: "the floor", **NAMES}
    for side, what in names.items():
        found = sides[side]
        yield Figure(f"deliveries per second: {what}", found.rate(DELIVERIES))
        each = median(found.processor) / DELIVERIES
        yield Figure(f"processor time of a delivery: {what}", each * 1e6, "µs")
    floor = sides[Side.FLOOR]
    yield Figure("share of its core: the floor", floor.share)
    yield Figure("share of its core: the load on the floor", floor.load_share, "", IDLE)


def _half_load(gateway: Measured, floor: Measured, post: Post, rounds: int) -> Report:
    rate = gateway.rate(DELIVERIES) / 2
    paced = [(_pace(gateway, post, rate), _pace(floor, post, rate)) for _ in range(rounds)]
    gateways, floors = ([*side] for side in zip(*paced, strict=True))
    middle = [median(quantile(each.times, 0.99) for each in side) for side in (gateways, floors)]
    title = f"Webhooks: latency at {rate:,.0f} deliveries per second"
    row = Comparison(NAMES[Side.MEMORY], _times(gateways), _times(floors))
    figures = [Figure("p99, times the floor's", middle[0] / middle[1], "x", LATENCY)]
    for name, side in (("the gateway", gateways), ("the floor", floors)):
        each = median(one.processor for one in side) / DELIVERIES
        figures.append(
            Figure(f"processor time of a delivery at this rate: {name}", each * 1e6, "µs")
        )
        figures.append(Figure(f"share of its core at this rate: {name}", each * rate))
    return Report(title, [row], HALF_NOTE, figures)


def _memory(running: Servers, deliveries: int) -> Report:
    """Measure the memory of a gateway while its replay window passes several times."""
    window = deliveries // WINDOWS
    (running.directory / WINDOW).write_text(str(window))
    with _side(running, Side.AGEING, Post()) as found:
        held = [resident(found.pid)]
        for _ in range(deliveries // DELIVERIES):
            found.warm_up()
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
        Figure("growth in the second half", max(held[-3:]) - full, "MB", FLAT * full),
    ]
    return Report(f"Webhooks: memory over {deliveries:,} deliveries", (), FLAT_NOTE, figures)


# The servers


@contextmanager
def prepared() -> Iterator[Servers]:
    """Write all files, and run the target and Valkey on the core of the load."""
    with servers() as running, ExitStack() as stack:
        directory = running.directory
        for side, fsync in {Side.VALKEY: "always", Side.EVERYSEC: "everysec"}.items():
            store = stack.enter_context(ValkeyServer.serving(appendfsync=fsync))
            write_secretly(directory / side, store.url)
        port = free_port()
        _prepare(directory, target.description(port))
        running.start("target", target.__name__, str(directory / "target"), str(port))
        running.await_listening("target", port)
        yield running


def _side(running: Servers, side: Side, post: Post) -> AbstractContextManager[Measured]:
    connect = partial(connected, connections=CONNECTIONS)
    return running.running(side, server.__name__, connect, lambda: post.signed(DELIVERIES))


@dataclass(frozen=True, slots=True)
class _Paced:
    """How long each request of a paced round took, and the server's processor time of it all."""

    times: list[float]
    processor: float


def _times(rounds: Iterable[_Paced]) -> list[float]:
    return [*chain.from_iterable(each.times for each in rounds)]


def _pace(side: Measured, post: Post, rate: float) -> _Paced:
    """Send a round evenly on connections that are in use."""
    with side.connect() as load:
        load.take(post.signed(CONNECTIONS))
        requests = post.signed(DELIVERIES)
        before = processor_seconds(side.pid)
        times = load.pace(requests, rate)
        return _Paced(times, processor_seconds(side.pid) - before)


def _prepare(directory: Path, destination: Mapping[str, Any]) -> None:
    domain = Domain.make()
    key = ec.generate_private_key(ec.SECP256R1())
    target.write_gateways(directory / MOUNTED, domain)
    target.write_targets(directory / "target", domain, key.public_key())
    write_secretly(directory / TOKEN_KEY, private_key_pem(key))
    compiled = new_directory(directory / COMPILED)
    (compiled / "endpoint.json").write_text(json.dumps(endpoint(destination)))
    (compiled / "key.k1").write_text(SECRET)


def endpoint(destination: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `endpoint.json` of the benchmark."""
    return {
        "version": "v1alpha1",
        "endpoint": ENDPOINT,
        "uid": "6f6c3c5e-6f43-4b8f-9d0c-3a0a2f5b9c11",
        "path": PATH,
        "signing": {"name": "StandardWebhooks", "url": f"https://hooks.bench.example{PATH}"},
        "tolerance": 300,
        "replayWindow": 3600,
        "target": destination,
        "limits": {"body": 65536, "requestsPerSecond": 100_000},
    }
