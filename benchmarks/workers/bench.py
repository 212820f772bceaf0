"""Deliveries and tokens with one, two and four workers.

The rate with two workers is judged: it must be 1.8 times that with one, which needs cores for the
workers, the load and the store. On a machine with fewer it fails, and the processor time of a
request remains. Cores share caches and the kernel, so a second process makes each request of a bare
server dearer, too, and one load that feeds two workers gives each fewer requests in a turn of its
event loop. Without that, if a request costs the same with more workers, each further core adds as
much as the first. That is inferred, not measured.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from statistics import median

from benchmarks.harness.load import Load
from benchmarks.harness.report import Comparison, Figure, Report
from benchmarks.harness.servers import Servers, Side, proportional_memory, servers
from benchmarks.tokens import issuer as tokens
from benchmarks.webhooks import gateway as webhooks
from benchmarks.webhooks.sender import Post, connected
from benchmarks.workers import server
from benchmarks.workers.server import FLOORS, GATEWAY, ISSUER

ROUNDS = 6
REQUESTS = {GATEWAY: 2000, ISSUER: 1000}
"""Requests to each side in each round."""
CONNECTIONS = 32
"""Connections for each worker: several requests at once cost a process less than one by one."""
WORKERS = (1, 2, 4)
PAIR = (1, 2)
"""Numbers of workers of the floor."""
FLAT = 2 / 1.8
"""Maximum growth of a request's processor time with a second worker: at this growth two cores have
1.8 times the rate of one.
"""
RATE = 1 / 1.8
"""Maximum ratio of the time of a round with two workers to that with one."""
NOTES = {
    GATEWAY: "The replay store is in Valkey, appendfsync everysec; a target answers at once.",
    ISSUER: "Callers keep their connections, over mutual TLS.",
}
NOTE = (
    "Processor time is that of the supervisor and all workers. The rate is limited by the load and "
    "the store, which share the cores: the shares of a core are named. The bare server is the same "
    "one with an application that only answers."
)

Sides = Mapping[int, AbstractContextManager[Side]]
"""A program with some numbers of workers."""


def reports() -> Iterator[Report]:
    """Measure both programs."""
    with webhooks.prepared() as running:
        post = Post()
        started = partial(_sides, running, connected, lambda: post.signed(REQUESTS[GATEWAY]))
        yield _report(GATEWAY, started(GATEWAY, WORKERS), started(FLOORS[GATEWAY], PAIR))
    with servers() as running:
        connect = partial(tokens.connected, identity=tokens.prepare(running.directory))
        requests = [tokens.request()] * REQUESTS[ISSUER]
        started = partial(_sides, running, connect, lambda: requests)
        yield _report(ISSUER, started(ISSUER, WORKERS), started(FLOORS[ISSUER], PAIR))


def _sides(
    running: Servers,
    connect: Callable[..., AbstractContextManager[Load]],
    requests: Callable[[], list[bytes]],
    program: str,
    numbers: Iterable[int],
) -> Sides:
    return {
        workers: running.running(
            f"{program}-{workers}",
            server.__name__,
            partial(connect, connections=CONNECTIONS * workers),
            requests,
        )
        for workers in numbers
    }


def _report(program: str, sides: Sides, floors: Sides) -> Report:
    """Measure the sides in turns, after one round that does not count."""
    requests = REQUESTS[program]
    with ExitStack() as stack:
        found = {workers: stack.enter_context(side) for workers, side in sides.items()}
        bare = {workers: stack.enter_context(side) for workers, side in floors.items()}
        idle = {workers: proportional_memory(side.pid) for workers, side in found.items()}
        turns = (*found.values(), *bare.values())
        for side in turns:
            side.warm_up()
        for _ in range(ROUNDS):
            for side in turns:
                side.take_turn()
        used = {workers: proportional_memory(side.pid) for workers, side in found.items()}
    one = found[1]
    rows = [
        Comparison(f"{workers} workers: processor time", side.processor, one.processor)
        for workers, side in found.items()
        if side is not one
    ]
    rows.insert(0, Comparison("2 workers: time of a round", found[2].clock, one.clock, RATE))
    figures = [
        figure
        for workers, side in found.items()
        for figure in (
            Figure(f"{workers}: requests per second", side.rate(requests)),
            Figure(
                f"{workers}: processor time of a request",
                median(side.processor) / requests * 1e6,
                "µs",
            ),
            Figure(f"{workers}: cores that the processes used", side.share),
            Figure(f"{workers}: share of a core that the load used", side.load_share),
            Figure(f"{workers}: memory before the first request", idle[workers], "MB"),
            Figure(f"{workers}: memory at the end", used[workers], "MB"),
        )
    ]
    title = (
        f"Workers of the {program}: {requests} requests, {ROUNDS} times; "
        "rate measured, further cores inferred from processor time"
    )
    return Report(title, rows, f"{NOTE} {NOTES[program]}", [*growth(found, bare), *figures])


def growth(program: Mapping[int, Side], bare: Mapping[int, Side]) -> Iterator[Figure]:
    """Yield how much dearer a second worker makes a request, which is judged, and why.

    The growth of a bare server says how much of it the machine causes.
    """
    own, machine = (
        median(side[2].processor) / median(side[1].processor) for side in (program, bare)
    )
    yield Figure("growth of processor time with a second worker: Troth", own, "", FLAT)
    yield Figure("growth of processor time with a second worker: bare server", machine)
    yield Figure(
        "growth of processor time with a second worker, of the bare server's", own / machine
    )
