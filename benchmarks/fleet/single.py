"""Time from the create of one identity on an idle cluster until it is Ready.

The floor makes the same four writes with a plain client, one after the other: the declaration, a
Secret with a new key and signature, the NetworkPolicy and the status. It writes them to twins that
Troth does not observe, in turns with Troth.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from benchmarks.fleet import topology, twins
from benchmarks.fleet.copies import whole
from benchmarks.fleet.declare import declare
from benchmarks.fleet.signing import signer
from benchmarks.fleet.topology import NAMESPACE, Manifest, name, path
from benchmarks.harness.client import Bare, Write
from benchmarks.harness.control_plane import control_plane
from benchmarks.harness.process import Process
from benchmarks.harness.report import Comparison, Figure, Report, quantile
from benchmarks.harness.watch import Objects, Watch
from sandbox import Sandbox
from sandbox.progress import waiting

IDENTITIES = 1000
SAMPLES = 120
WARM_UP = 10
"""Identities that are created first and not counted."""
PAUSE_SECONDS = 0.1
KINDS = ("NetworkPolicy", "Secret", "ServiceIdentity")
Sign = Callable[[str], dict[str, str]]
"""Issues a key and certificate for a URI."""
MEDIAN_MS, SLOWEST_MS = 30.0, 80.0
NOTE = (
    "Troth's time ends when a watch shows Ready, the floor's when its last write is answered. The "
    "new identity has no edges, so Troth writes three objects for it."
)


@dataclass(slots=True)
class Times:
    """Seconds for each new identity."""

    troth: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)


def reports(identities: int = IDENTITIES, samples: int = SAMPLES) -> Iterator[Report]:
    """Measure on a control plane of its own."""
    with control_plane(NAMESPACE, twins.NAMESPACE) as sandbox:
        twins.make_known(sandbox)
        times = asyncio.run(_measure(sandbox, identities, samples))
    p50, p99 = (1000 * quantile(times.troth, share) for share in (0.5, 0.99))
    yield Report(
        f"One identity more: {samples} times on an idle cluster of {identities}",
        [Comparison("from its create until it is Ready", times.troth, times.floor)],
        NOTE,
        [
            Figure("until it is Ready: p50", p50, "ms", MEDIAN_MS),
            Figure("until it is Ready: p99", p99, "ms", SLOWEST_MS),
        ],
    )


async def _measure(sandbox: Sandbox, identities: int, samples: int) -> Times:
    times, sign = Times(), signer()
    async with Bare.connect(sandbox.kubeconfig) as bare, Process.run(sandbox) as process:
        await declare(bare, identities)
        await process.settled(identities)
        await process.still()
        with waiting(f"{samples} identities, one after the other") as beat:
            async with Watch.open(sandbox.kubeconfig, [path(kind) for kind in KINDS]) as watch:
                for number in range(identities, identities + WARM_UP + samples):
                    troth = await _by_troth(bare, watch, number)
                    await asyncio.sleep(PAUSE_SECONDS)
                    floor = await _by_the_floor(bare, watch.objects, number, sign)
                    await asyncio.sleep(PAUSE_SECONDS)
                    if number >= identities + WARM_UP:
                        times.troth.append(troth)
                        times.floor.append(floor)
                    beat()
    return times


async def _by_troth(bare: Bare, watch: Watch, number: int) -> float:
    """Create an identity; return the seconds until it is Ready."""
    declared = topology.alone(number)
    place = path("ServiceIdentity", object_name=name(number))
    ready = asyncio.create_task(
        watch.until(lambda objects: topology.is_ready(objects.get(place, {})))
    )
    began = time.perf_counter()
    await bare.write(Write(place, declared))
    return await ready - began


async def _by_the_floor(bare: Bare, objects: Objects, number: int, sign: Sign) -> float:
    """Make the same writes for a twin; return the seconds until the last is answered."""
    identity = objects[path("ServiceIdentity", object_name=name(number))]
    declared, secret, *others = _writes(objects, identity, number)
    began = time.perf_counter()
    await bare.write(declared)
    files = sign(identity["status"]["spiffeID"])
    await bare.write(replace(secret, body={**secret.body, "data": secret.body["data"] | files}))
    for write in others:
        await bare.write(write)
    return time.perf_counter() - began


def _writes(objects: Objects, identity: Manifest, number: int) -> list[Write]:
    """Return the writes that Troth and its user made for an identity, to its twin."""
    secret = objects[path("Secret", object_name=topology.secret(number))]
    policy = objects[path("NetworkPolicy", object_name=topology.policy(number))]
    return [
        twins.declared(identity),
        whole("Secret", secret, namespace=twins.NAMESPACE),
        whole("NetworkPolicy", policy, namespace=twins.NAMESPACE),
        twins.reported(identity),
    ]
