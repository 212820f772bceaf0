"""Time from the first create of a fleet to the last Ready, compared with the plain writes.

Troth is idle when the first identity is created. The floor creates the same objects, with a key and
a signature in each Secret, as fast as the API server accepts them.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median

from benchmarks.fleet.copies import WRITTEN, whole
from benchmarks.fleet.signing import signer
from benchmarks.fleet.topology import NAMESPACE, NEIGHBOURS, Manifest, declarations, path
from benchmarks.harness.client import CONNECTIONS, MERGE, Bare, Write
from benchmarks.harness.control_plane import Counted, api_server, apply, control_plane
from benchmarks.harness.operator import leading, running, settled
from benchmarks.harness.report import Comparison, Figure, Report
from benchmarks.harness.requests import writes
from sandbox import Sandbox
from troth.planning.owned_objects import policy_ref, secret_ref
from troth.resources.references import Ref

SIZES = (1000, 4000)
ROUNDS = 2
IDENTITY = "ServiceIdentity"
RATE = 0.7
"""Share of the floor's rate to reach."""
GROWTH = 4.5
"""Maximum ratio of the time for four times as many identities."""
NOTE = (
    "Troth and the floor take turns, on one control plane that is swept in between. A write more "
    "than 3 for an identity is about peers that were created after it."
)


@dataclass(frozen=True, slots=True)
class Whole:
    """The writes for one identity and its owned objects, in order."""

    declared: Write
    secret: Write
    policy: Write
    status: Write


def reports() -> Iterator[Report]:
    """Measure on a control plane of its own."""
    with control_plane(NAMESPACE) as sandbox:
        (domain, *_) = declarations(0)
        apply(sandbox, [domain])
        measured = asyncio.run(_measure(sandbox))
    yield Report("Convergence", [row for row, _ in measured], NOTE, [*_figures(measured)])


Measured = tuple[Comparison, float]
"""Times, and Troth's number of writes for each identity."""


def _figures(measured: Sequence[Measured]) -> Iterator[Figure]:
    for size, (row, written) in zip(SIZES, measured, strict=True):
        yield Figure(f"{size} identities: writes for each", written)
        share = median(row.floor) / median(row.troth)
        yield Figure(f"{size} identities: rate, of the floor's", share)
    first, last = (median(row.troth) for row, _ in (measured[0], measured[-1]))
    yield Figure(f"time for {SIZES[-1]}, times that for {SIZES[0]}", last / first, aim=GROWTH)


async def _measure(sandbox: Sandbox) -> list[Measured]:
    async with Bare.connect(sandbox.kubeconfig) as bare, api_server(sandbox) as counted:
        return [await _compare(bare, counted, size) for size in SIZES]


async def _compare(bare: Bare, counted: Counted, size: int) -> Measured:
    troth, floor, number = [], [], 0
    for _ in range(ROUNDS):
        async with running(counted.server) as operator:
            await leading(operator)
            counted.requests.clear()
            began = time.perf_counter()
            await bare.send(_declared(size))
            await settled(operator, size)
            troth.append(time.perf_counter() - began)
            number = writes(counted.requests)
        fleet = [each async for each in _fleet(bare)]
        await _sweep(bare)
        began = time.perf_counter()
        await _again(bare, fleet)
        floor.append(time.perf_counter() - began)
        await _sweep(bare)
    title = f"{size} identities, {NEIGHBOURS * size} edges"
    return Comparison(title, troth, floor, 1 / RATE), number / size


def _declared(size: int) -> Iterator[Write]:
    for manifest in declarations(size):
        if manifest["kind"] == IDENTITY:
            yield Write(path(IDENTITY, object_name=manifest["metadata"]["name"]), manifest)


async def _fleet(bare: Bare) -> AsyncIterator[Whole]:
    """Yield the writes that create the current fleet again."""
    children = {
        (kind, Ref.of(item)): whole(kind, item)
        for kind in WRITTEN
        for item in await bare.items(path(kind))
    }
    for item in await bare.items(path(IDENTITY)):
        ref = Ref.of(item)
        place = path(IDENTITY, object_name=ref.name)
        declared: Manifest = {
            **{part: item[part] for part in ("apiVersion", "kind", "spec")},
            "metadata": {"name": ref.name},
        }
        yield Whole(
            Write(place, declared),
            children["Secret", secret_ref(ref)],
            children["NetworkPolicy", policy_ref(ref)],
            Write(f"{place}/status", {"status": item["status"]}, MERGE),
        )


async def _again(bare: Bare, fleet: Sequence[Whole]) -> None:
    """Create a fleet: half of the connections declare it, and half make Troth's writes for it."""
    sign = signer()
    waiting = iter(fleet)
    declared: asyncio.Queue[Whole | None] = asyncio.Queue()

    async def declare() -> None:
        for each in waiting:
            await bare.write(each.declared)
            declared.put_nowait(each)

    async def follow() -> None:
        while (each := await declared.get()) is not None:
            body = each.secret.body
            files = sign(each.status.body["status"]["spiffeID"])
            secret = replace(each.secret, body={**body, "data": body["data"] | files})
            for write in (secret, each.policy, each.status):
                await bare.write(write)

    followers = [asyncio.create_task(follow()) for _ in range(CONNECTIONS)]
    await asyncio.gather(*(declare() for _ in range(CONNECTIONS)))
    for _ in followers:
        declared.put_nowait(None)
    await asyncio.gather(*followers)


async def _sweep(bare: Bare) -> None:
    """Delete every identity and its owned objects."""
    for kind in (IDENTITY, *WRITTEN):
        await bare.delete_all(path(kind))
