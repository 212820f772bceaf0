"""Time from sending a changed edge until packets, and the files in pods, conform to it.

The floor sends the same bytes, two policies and two Secrets just as Troth wrote them, with a plain
client for pods of a namespace that Troth does not govern. Each change is made twice in succession
in the same cluster, so that the difference is the cost of Troth.
"""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.fleet import topology
from benchmarks.fleet.copies import WRITTEN, whole
from benchmarks.fleet.pairs import Pair
from benchmarks.fleet.probes import Sight, becomes
from benchmarks.fleet.topology import NAMESPACE, PORT, PORT_NAME, Manifest, declarations, name, path
from benchmarks.harness.client import Bare, Write
from benchmarks.harness.control_plane import apply, control_plane
from benchmarks.harness.report import Comparison, Report
from sandbox import Sandbox, SandboxError, Tier, unavailable
from sandbox.demo.programs import run_operator
from sandbox.node.manifests import workload_pod
from sandbox.node.node import Node
from sandbox.processes import Tether
from sandbox.progress import waiting

IDENTITIES = 40
FLOOR = "floor"
SETTLE_SECONDS = 0.4
"""Seconds between changes: the firewall may have to synchronize once more."""
READY_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Trial:
    """A measurement on one kind of node: each round adds and removes each pair's edge."""

    tier: Tier
    pairs: int
    rounds: int
    spread: float = 0.0
    """Maximum of the random delay before a change, in seconds.

    Without it, the time of a change would depend on the one before, and periodic work would follow
    the changes in lockstep.
    """
    note: str = ""

    @property
    def title(self) -> str:
        """Title of the report."""
        changes = 2 * self.pairs * self.rounds
        return (
            f"Time to effect on {self.tier.value}: {changes} changes of an edge "
            f"among {IDENTITIES} identities and {4 * self.pairs} pods"
        )


TRIALS = (
    Trial(Tier.PROCESS_PODS, pairs=10, rounds=6),
    Trial(
        Tier.NODE,
        pairs=6,
        rounds=4,
        spread=2.0,
        note="A kubelet looks at mounted Secrets every one to two syncFrequencies, here 1 s, by "
        "default 1 min: for Troth and the floor alike, identity.json mostly waits for that.",
    ),
)


def reports() -> Iterator[Report]:
    """Measure on every kind of node that this machine supports."""
    for trial in TRIALS:
        if reason := unavailable(trial.tier):
            yield Report(trial.title, note=f"Not measured: {reason}.")
            continue
        with control_plane(NAMESPACE, FLOOR, tier=trial.tier) as sandbox:
            tethered = sandbox.directory / "operator"
            tethered.mkdir()
            with Tether(tethered) as tether:
                apply(sandbox, declarations(IDENTITIES))
                run_operator(tether, sandbox.kubeconfig, tethered / "operator.log")
                yield Report(trial.title, asyncio.run(_measure(sandbox, trial)), trial.note)


async def _measure(sandbox: Sandbox, trial: Trial) -> list[Comparison]:
    pairs = [Pair(each, each + IDENTITIES // 2, IDENTITIES) for each in range(trial.pairs)]
    async with Bare.connect(sandbox.kubeconfig) as bare:
        await _ready(bare)
        for kind in WRITTEN:
            items = await bare.items(path(kind))
            await bare.send([whole(kind, item, namespace=FLOOR) for item in items])
        addresses = await _pods(sandbox, bare, [each for pair in pairs for each in pair.pods])
        measurement = Measurement(sandbox.node, bare, addresses, trial.spread)
        with waiting(trial.title) as beat:
            for live in (True, False) * trial.rounds:
                for pair in pairs:
                    await measurement.change(pair, live=live)
                    beat()
        return measurement.comparisons()


async def _ready(bare: Bare) -> None:
    """Wait until Troth reports every identity as ready."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        found = await bare.items(path("ServiceIdentity"))
        if len(found) == IDENTITIES and all(map(topology.is_ready, found)):
            return
        if time.monotonic() > deadline:
            raise SandboxError(f"not every identity was ready after {READY_SECONDS:.0f} s")
        await asyncio.sleep(0.1)


Addresses = Mapping[tuple[str, str], str]
"""Addresses of pods, by namespace and name."""


async def _pods(sandbox: Sandbox, bare: Bare, numbers: Sequence[int]) -> Addresses:
    """Start the pods of identities in both namespaces, and return their addresses."""
    pods = [
        workload_pod(
            namespace,
            name(number),
            labels=topology.labels(number),
            ports={PORT_NAME: PORT},
            identity=topology.secret(number),
        )
        for namespace in (NAMESPACE, FLOOR)
        for number in numbers
    ]
    apply(sandbox, pods)
    addresses = {}
    for namespace in (NAMESPACE, FLOOR):
        ready = ("--for=condition=Ready", f"--timeout={READY_SECONDS:.0f}s")
        sandbox.kubectl("wait", "pods", "--all", "-n", namespace, *ready)
        for pod in await bare.items(path("Pod", namespace)):
            addresses[namespace, pod["metadata"]["name"]] = pod["status"]["podIP"]
    sandbox.node.caught_up()
    return addresses


class Measurement:
    """Changes edges and records the times."""

    def __init__(self, node: Node, bare: Bare, addresses: Addresses, spread: float) -> None:
        self._node = node
        self._bare = bare
        self._addresses = addresses
        self._spread = spread
        self._times: dict[tuple[str, bool, str], list[float]] = defaultdict(list)

    async def change(self, pair: Pair, *, live: bool) -> None:
        """Declare the change of an edge to Troth; then make Troth's writes as the floor."""
        await self._change(NAMESPACE, pair, pair.declared(live=live), live=live)
        children = await self._written(pair, live=live)
        await self._change(FLOOR, pair, pair.copied(children, FLOOR), live=live)

    async def _change(
        self, namespace: str, pair: Pair, writes: Sequence[Write], *, live: bool
    ) -> None:
        await asyncio.sleep(SETTLE_SECONDS + random.uniform(0, self._spread))  # noqa: S311
        sight = self._sight(namespace, pair)
        if await asyncio.to_thread(sight.passes) is live:
            raise SandboxError("what the change before brought about did not last")
        packets, files = (
            asyncio.create_task(asyncio.to_thread(becomes, look, wanted=live))
            for look in (sight.passes, sight.names_the_caller)
        )
        await asyncio.sleep(0)  # both probes have started
        sent = time.perf_counter()
        await self._bare.send(writes)
        self._times[namespace, live, "packets"].append(await packets - sent)
        self._times[namespace, live, "files"].append(await files - sent)

    async def _written(self, pair: Pair, *, live: bool) -> list[Manifest]:
        """Return the objects that Troth wrote for a change; raises `TimeoutError`."""
        async with asyncio.timeout(READY_SECONDS):
            while True:
                children = [await self._bare.get(each) for each in pair.children()]
                if pair.is_in(children, live=live):
                    return children
                await asyncio.sleep(0.01)

    def _sight(self, namespace: str, pair: Pair) -> Sight:
        caller, callee = (self._node.workload(f"{namespace}/{name(each)}") for each in pair.pods)
        address = self._addresses[namespace, name(pair.callee)]
        return Sight(caller, callee, f"{address}:{PORT}", pair.caller)

    def comparisons(self) -> list[Comparison]:
        """Return the results."""
        return [
            Comparison(what, self._times[NAMESPACE, live, where], self._times[FLOOR, live, where])
            for what, live, where in (
                ("edge added, until packets pass", True, "packets"),
                ("edge removed, until packets are refused", False, "packets"),
                ("edge added, until identity.json names the caller", True, "files"),
                ("edge removed, until identity.json does not", False, "files"),
            )
        ]
