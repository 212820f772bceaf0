"""The longest stall of the event loop while a tenant names every port of other teams' identities.

Nobody consents to these edges, so they open nothing. But each identity that they name has them in
its status, and the tenant may change them as often as the API server accepts.
"""

import asyncio
import time
from collections.abc import Iterator

from benchmarks.fleet.declare import declare
from benchmarks.fleet.topology import NAMESPACE, Manifest, alone, name, path
from benchmarks.harness.client import Bare, Write
from benchmarks.harness.control_plane import control_plane
from benchmarks.harness.process import Process
from benchmarks.harness.report import Figure, Report
from benchmarks.harness.requests import samples
from sandbox import Sandbox
from sandbox.progress import waiting

TENANT = "tenant"
VICTIMS = 64
PORTS = 16
HOSTILE = 1000
STALL_SECONDS = 0.25
"""Aim: a fraction of the time in which the Lease must be renewed."""
STALL = "troth_event_loop_longest_stall_seconds"
NOTE = (
    f"Each hostile identity calls {VICTIMS} identities of another namespace on {PORTS} ports. Then "
    "each changes the names of all ports."
)


def reports(hostile: int = HOSTILE) -> Iterator[Report]:
    """Measure beside a fleet that is ready, on one control plane."""
    with (
        control_plane(NAMESPACE, TENANT) as sandbox,
        waiting(f"{hostile} hostile identities"),
    ):
        figures = asyncio.run(_measure(sandbox, hostile))
    yield Report(f"{hostile} hostile identities", note=NOTE, figures=figures)


async def _measure(sandbox: Sandbox, hostile: int) -> list[Figure]:
    figures = []
    async with (
        Bare.connect(sandbox.kubeconfig) as bare,
        Process.run(sandbox) as process,
    ):
        await process.ready()
        await declare(bare, VICTIMS)
        await process.settled(VICTIMS)
        await process.still()
        figures.append(Figure("longest stall before", await _stall(process), "s"))
        for what, prefix in (("declared", "a"), ("all ports changed", "b")):
            began = time.perf_counter()
            await bare.send(_hostile(number, prefix) for number in range(hostile))
            await process.still()
            figures += [
                Figure(f"{what}, until nothing is planned", time.perf_counter() - began, "s"),
                Figure(f"{what}, longest stall", await _stall(process), "s", STALL_SECONDS),
            ]
    return figures


def _hostile(number: int, prefix: str) -> Write:
    ports = [f"{prefix}{each}" for each in range(PORTS)]
    victims = ({"name": name(each), "namespace": NAMESPACE} for each in range(VICTIMS))
    declared: Manifest = alone(number)
    declared["metadata"]["namespace"] = TENANT
    declared["spec"]["calls"] = [{"to": each, "ports": ports} for each in victims]
    place = path("ServiceIdentity", TENANT, declared["metadata"]["name"])
    return Write(place, declared)


async def _stall(process: Process) -> float:
    (found,) = samples(await process.metrics(), STALL)
    return float(found.value)
