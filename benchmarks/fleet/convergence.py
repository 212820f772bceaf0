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
RATE = 0.85
"""Share of the floor's rate to reach."""
GROWTH = 4.2
"""Maximum ratio of the time for four times as many identities."""
CERT_MANAGER = 31.0
"""Certificates a second that cert-manager issues on this API server with its best settings."""
DECLARED_ALONE = 200
"""Identities that the client declares without Troth, to know its own processor time for each."""
NOTE = (
    "Troth and the floor take turns, on one control plane that is swept in between. A write more "
    "than 3 for an identity is about peers that were created after it. The processor time is that "
    "of Troth's process, without what the client in it takes to declare the identities; the API "
    "server's is not in it. A busy machine makes it longer. cert-manager's rate was measured on "
    f"this API server with its best settings: {CERT_MANAGER:.0f} certificates a second, without "
    "edges and policies; 4 times that is the aim."
)


@dataclass(frozen=True, slots=True)
class Whole:
    """The writes for one identity and its owned objects, in order."""

    declared: Write
    secret: Write
    policy: Write
    status: Write


def reports(sizes: Sequence[int] = SIZES, rounds: int = ROUNDS) -> Iterator[Report]:
    """Measure on a control plane of its own."""
    with control_plane(NAMESPACE) as sandbox:
        (domain, *_) = declarations(0)
        apply(sandbox, [domain])
        measured = asyncio.run(_measure(sandbox, sizes, rounds))
    yield Report("Convergence", [each.times for each in measured], NOTE, [*_figures(measured)])


@dataclass(frozen=True, slots=True)
class Measured:
    """Results for a fleet of one size: times, and for each identity Troth's writes and CPU."""

    size: int
    times: Comparison
    writes: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Identities a second."""
        return self.size / median(self.times.troth)

    def figures(self) -> Iterator[Figure]:
        """Yield what the times do not show."""
        yield Figure(f"{self.size} identities: writes for each", self.writes)
        share = median(self.times.floor) / median(self.times.troth)
        yield Figure(f"{self.size} identities: rate, of the floor's", share)
        yield Figure(f"{self.size} identities: rate", self.rate, "a second")
        over = self.rate / CERT_MANAGER
        yield Figure(f"{self.size} identities: rate, times cert-manager's best", over)
        cpu = 1000 * self.cpu_seconds
        yield Figure(f"{self.size} identities: Troth's processor time for each", cpu, "ms")


def _figures(measured: Sequence[Measured]) -> Iterator[Figure]:
    for each in measured:
        yield from each.figures()
    if tuple(each.size for each in measured) == SIZES:
        first, last = (median(each.times.troth) for each in (measured[0], measured[-1]))
        yield Figure(f"time for {SIZES[-1]}, times that for {SIZES[0]}", last / first, aim=GROWTH)


async def _measure(sandbox: Sandbox, sizes: Sequence[int], rounds: int) -> list[Measured]:
    async with Bare.connect(sandbox.kubeconfig) as bare, api_server(sandbox) as counted:
        declaring = await _declare_alone(bare)
        return [await _compare(bare, counted, size, rounds, declaring) for size in sizes]


async def _declare_alone(bare: Bare) -> float:
    """Return the client's processor time in seconds to declare one identity."""
    began = time.process_time()
    await bare.send(_declared(DECLARED_ALONE))
    spent = time.process_time() - began
    await _sweep(bare)
    return spent / DECLARED_ALONE


async def _compare(
    bare: Bare, counted: Counted, size: int, rounds: int, declaring: float
) -> Measured:
    troth, floor, spent, number = [], [], [], 0
    for _ in range(rounds):
        async with running(counted.server) as operator:
            await leading(operator)
            counted.requests.clear()
            began, worked = time.perf_counter(), time.process_time()
            await bare.send(_declared(size))
            await settled(operator, size)
            troth.append(time.perf_counter() - began)
            spent.append((time.process_time() - worked) / size - declaring)
            number = writes(counted.requests)
        fleet = [each async for each in _fleet(bare)]
        await _sweep(bare)
        began = time.perf_counter()
        await _again(bare, fleet)
        floor.append(time.perf_counter() - began)
        await _sweep(bare)
    title = f"{size} identities, {NEIGHBOURS * size} edges"
    times = Comparison(title, troth, floor, 1 / RATE)
    return Measured(size, times, number / size, median(spent))


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
