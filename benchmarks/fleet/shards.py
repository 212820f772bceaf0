"""Convergence of a fleet with two shards in two processes, compared with one process.

The API server is not the limit: each process has one in memory, and each write of it takes
`LATENCY` seconds. What one process writes reaches the other as an event, as from a watch, so each
takes in the whole cluster and plans and writes its part.

A process that fails, ends or does not get ready in time ends the benchmark with its reason.
"""

import asyncio
import json
import multiprocessing as mp
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from statistics import median
from threading import BrokenBarrierError
from typing import Any

from benchmarks.fleet.topology import declarations, is_ready
from benchmarks.harness.report import Comparison, Figure, Report
from troth.planning.planner import PLANNERS
from troth.reconcile.loop.engine import Engine
from troth.reconcile.loop.handover import take_shards
from troth.reconcile.operator import WORKERS
from troth.reconcile.rehearsal import Place, Rehearsal
from troth.reconcile.runtime.clock import SystemClock
from troth.resources.references import Ref
from troth.serving.logs import LogFormat, configure
from troth.world.facts.objects import Manifest
from troth.world.keys import Key, identity_key
from troth.world.shards import shard_of

IDENTITIES, NAMESPACES = 240, 60
LATENCY = 0.02
"""Seconds until a write is answered."""
ROUNDS = 3
AIM = 1 / 1.6
PATIENCE_SECONDS = 300.0
"""Seconds that a process gets to be ready, and to wait for the other one."""
TERM = 7.0
"""Seconds that the lease has left after a renewal."""
OWN = "troth-system"
LABEL = {"troth.dev/bench": "bench"}
NOTE = (
    "Two processes with a shard each, compared with one process, in turns. The processor time is "
    "that of the busier of the two, as a share of that of the one."
)


class ShardError(Exception):
    """A process of a shard has no result."""


@dataclass(frozen=True, slots=True)
class Ring:
    """A ring of identities, each in one of many namespaces."""

    identities: int
    namespaces: int

    def namespace(self, identity: str) -> str:
        """Return the namespace of an identity."""
        return f"bench-{int(identity.removeprefix('s')) % self.namespaces}"


@dataclass(frozen=True, slots=True)
class Part:
    """What one process does: a shard of a fleet, within `patience` seconds."""

    fleet: Ring
    shards: int
    shard: int
    patience: float

    def has(self, identity: Ref) -> bool:
        """Return whether an identity is in this shard."""
        return shard_of(identity_key(identity), self.shards) == self.shard


@dataclass(frozen=True, slots=True)
class _Fence:
    """Fence of a shard whose lease is renewed in time, or that another process has."""

    remaining: float

    @property
    def accepts(self) -> bool:
        return self.remaining > 0

    async def gained(self) -> None:
        return


@dataclass(frozen=True, slots=True)
class Taken:
    """Seconds until all identities of a process were ready, and its processor time."""

    wall: float
    processor: float


class _Slow(Rehearsal):
    """API server whose writes take a while, and reach the other process."""

    def __init__(self, objects: Iterator[Manifest], peer: Connection | None) -> None:
        super().__init__(objects)
        self.ready: set[Ref] = set()
        self._peer = peer

    async def apply(self, manifest: Manifest) -> Manifest:
        await asyncio.sleep(LATENCY)
        return await super().apply(manifest)

    async def merge_patch(
        self, kind: str, ref: Ref, patch: Manifest, subresource: str = ""
    ) -> Manifest:
        await asyncio.sleep(LATENCY)
        return await super().merge_patch(kind, ref, patch, subresource)

    def _write(self, place: Place, stored: Manifest) -> Manifest:
        answer = super()._write(place, stored)
        if self._peer is not None:
            self._peer.send_bytes(json.dumps(answer).encode())
        if is_ready(answer):
            self.ready.add(place[1])
        return answer


def reports(
    identities: int = IDENTITIES, namespaces: int = NAMESPACES, rounds: int = ROUNDS
) -> Iterator[Report]:
    """Measure in turns."""
    fleet = Ring(identities, namespaces)
    one, two = list[Taken](), list[Taken]()
    for _ in range(rounds):
        one.append(measured(fleet, 1))
        two.append(measured(fleet, 2))
    shared, alone = ([each.wall for each in taken] for taken in (two, one))
    shares = [some.processor / whole.processor for some, whole in zip(two, one, strict=True)]
    share = Figure("processor time of the busier process", median(shares), "", AIM)
    title = (
        f"Shards: {identities} identities in {namespaces} namespaces, {LATENCY * 1000:.0f} ms a "
        "write"
    )
    yield Report(title, [Comparison("all ready", shared, alone, AIM)], NOTE, [share])


def measured(fleet: Ring, shards: int, patience: float = PATIENCE_SECONDS) -> Taken:
    """Run a process for each shard; return the longest times.

    Raises `ShardError` if a process fails, ends, or is not ready within `patience` seconds.
    """
    spawning = mp.get_context("spawn")
    peers: tuple[Any, Any] = spawning.Pipe() if shards > 1 else (None, None)
    gate = spawning.Barrier(shards, timeout=PATIENCE_SECONDS)
    processes, results = [], []
    for shard in range(shards):
        result, told = spawning.Pipe(duplex=False)
        part = Part(fleet, shards, shard, patience)
        process = spawning.Process(target=_process, args=(part, peers[shard], gate, told))
        process.start()
        told.close()  # so that the end of the process is the end of its result
        processes.append(process)
        results.append(result)
    found = list(map(_result, results))
    for each in processes:
        each.join()
    if faults := [each for each in found if isinstance(each, str)]:
        raise ShardError("; ".join(faults))
    taken = [each for each in found if isinstance(each, Taken)]
    return Taken(max(each.wall for each in taken), max(each.processor for each in taken))


def _result(result: Connection) -> Taken | str:
    """Return the times of a process, or why it has none."""
    try:
        found: Taken | str = result.recv()
    except EOFError:
        return "a process ended without a result"
    return found


def _process(part: Part, peer: Connection | None, gate: Barrier, result: Connection) -> None:
    configure(LogFormat.CONSOLE, "warning")
    try:
        result.send(asyncio.run(_troth(part, peer, gate)))
    except Exception as error:  # noqa: BLE001 - `measured` raises what it says
        gate.abort()  # or the other process waits for this one
        result.send(f"shard {part.shard}: {type(error).__name__}: {error}")


async def _troth(part: Part, peer: Connection | None, gate: Barrier) -> Taken:
    server = _Slow(_declarations(part.fleet), peer)
    fences = [_Fence(TERM if each == part.shard else 0.0) for each in range(part.shards)]
    engine = Engine(
        server,
        OWN,
        clock=SystemClock(),
        leader_fence=_Fence(TERM),
        shard_fences=fences if part.shards > 1 else (),
    )
    for manifest in list(server.objects.values()):
        engine.observe(manifest)
    identities = [Ref.of(each) for (kind, _), each in server.objects.items() if kind in PLANNERS]
    mine = {each for each in identities if each.namespace and part.has(each)}
    await asyncio.to_thread(gate.wait)
    began, spent = time.perf_counter(), time.process_time()
    if peer is not None:
        loop = asyncio.get_running_loop()
        threading.Thread(target=_listen, args=(peer, server, engine, loop), daemon=True).start()
    take_shards(engine, frozenset({part.shard}))  # as the lease does; without it nothing begins
    workers = [asyncio.create_task(engine.work()) for _ in range(WORKERS)]
    while not mine <= server.ready:
        if gate.broken or time.perf_counter() > began + part.patience:
            raise ShardError(f"{len(mine - server.ready)} of {len(mine)} identities are not ready")
        await asyncio.sleep(LATENCY)
    taken = Taken(time.perf_counter() - began, time.process_time() - spent)
    with suppress(BrokenBarrierError):  # the other process says why
        await asyncio.to_thread(gate.wait)  # the other still waits for what this one writes
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    await engine.close()
    return taken


def _listen(
    peer: Connection, server: _Slow, engine: Engine, loop: asyncio.AbstractEventLoop
) -> None:
    """Take in what the other process writes, until it ends."""

    def take(manifest: Manifest) -> None:
        server.objects[Key(manifest["kind"], Ref.of(manifest))] = manifest
        engine.observe(manifest)

    try:
        while True:
            loop.call_soon_threadsafe(take, json.loads(peer.recv_bytes()))
    except (EOFError, OSError, RuntimeError):  # the other has ended, or this one
        return


def _declarations(fleet: Ring) -> Iterator[Manifest]:
    """Yield the ring of the benchmarks, with each identity in one of many namespaces."""
    for number in range(fleet.namespaces):
        name = f"bench-{number}"
        metadata = {"name": name, "labels": {"kubernetes.io/metadata.name": name, **LABEL}}
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    for manifest in declarations(fleet.identities, propagation=timedelta(minutes=3)):
        spec = manifest["spec"]
        if manifest["kind"] == "TrustDomain":
            spec["namespaceSelector"] = {"matchLabels": LABEL}
        else:
            manifest["metadata"]["namespace"] = fleet.namespace(manifest["metadata"]["name"])
            for peer in [each["from"] for each in spec["accepts"]] + [
                each["to"] for each in spec["calls"]
            ]:
                peer["namespace"] = fleet.namespace(peer["name"])
        yield manifest
