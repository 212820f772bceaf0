"""What is declared works, what is not declared fails: between pods, for topologies by chance."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from sandbox import Sandbox
from sandbox.node.tiers import Tier, unavailable
from tests.cluster.stage import Stage, staged
from tests.truth.probing import Pods, Sampling, Tally, Truth
from tests.truth.topology import Topology

IDENTITIES = 64
ROUNDS = 2
"""How often the declarations of one topology are changed and everything is tried again."""
PROBES = 20_000

TALLIES: list[Tally] = []


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    reason = unavailable(Tier.PROCESS_PODS)
    if reason:
        pytest.skip(reason)
    with Sandbox.start(tier=Tier.PROCESS_PODS) as started:
        started.kubectl("apply", "--server-side", "-f", "crds")
        started.kubectl("wait", "--for=condition=Established", "crd", "--all")
        yield started


async def declare(stage: Stage, topology: Topology) -> None:
    text = "\n---\n".join(json.dumps(manifest) for manifest in topology.manifests())
    await asyncio.to_thread(stage.sandbox.kubectl, "apply", "-f", "-", stdin=text)


async def converged(stage: Stage, truth: Truth) -> None:
    await stage.settled()
    await truth.on_disk()
    await asyncio.to_thread(stage.sandbox.node.caught_up)


async def everything_as_declared(stage: Stage, truth: Truth) -> None:
    await converged(stage, truth)
    tally = await asyncio.to_thread(truth.probe_all)
    TALLIES.append(tally)
    assert not tally.errors, f"{len(tally.errors)} of {tally.total}: " + "\n".join(
        tally.errors[:20]
    )


async def test_every_pair_is_as_declared_and_nothing_else_opens_on_the_way(
    sandbox: Sandbox,
) -> None:
    topology = Topology(seed=20261125, size=IDENTITIES, now=datetime.now(UTC))
    async with staged(sandbox) as stage:
        sandbox.kubectl("scale", "deployment", "--all", "--replicas=0", "-n", stage.own)
        await stage.run()
        await declare(stage, topology)
        await stage.settled()
        pods = Pods(sandbox, topology)
        await asyncio.to_thread(pods.start, topology)
        truth = Truth(sandbox, topology, pods)
        await everything_as_declared(stage, truth)
        for _ in range(ROUNDS):
            before, truth = truth, Truth(sandbox, truth.topology.mutated(), pods)
            sampling = Sampling(truth)
            with sampling.going_on():
                await declare(stage, truth.topology)
                await converged(stage, truth)
            allowed_by_neither = [
                f"{source} → {to}:{number} {outcome}"
                for (source, to, number), outcome in sampling.seen.items()
                if not before.opens(source, to, number) and not truth.opens(source, to, number)
            ]
            assert not allowed_by_neither
            assert sampling.count
            await everything_as_declared(stage, truth)
    total = sum(tally.total for tally in TALLIES)
    layers = sum((tally.probes for tally in TALLIES), start=type(TALLIES[0].probes)())
    print(f"{total} probes, none wrong: {dict(layers)}")  # noqa: T201 - a figure for the reader
    assert total >= PROBES
    assert min(layers[layer] for layer in ("network", "handshake", "scope", "answered")) > 0
