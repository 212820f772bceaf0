"""Random topologies: declared connections between pods work, and all others fail."""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from sandbox import Sandbox
from sandbox.node.tiers import Tier, unavailable
from tests.cluster.stage import Stage, staged
from tests.patience import PATIENCE
from tests.truth.mixing import step
from tests.truth.probing import Pods, Sampling, Tally, Truth
from tests.truth.topology import Topology


@dataclass(frozen=True)
class Scale:
    """Number of identities, of changes to the declarations, and of probes to reach."""

    tier: Tier
    identities: int
    rounds: int
    probes: int


SCALES = [
    pytest.param(
        Scale(Tier.PROCESS_PODS, identities=64, rounds=2, probes=20_000),
        marks=pytest.mark.long,
        id="process_pods",
    ),
    pytest.param(Scale(Tier.NODE, identities=14, rounds=1, probes=1_000), id="node"),
]


async def declare(stage: Stage, topology: Topology) -> None:
    text = "\n---\n".join(json.dumps(manifest) for manifest in topology.manifests())
    await asyncio.to_thread(stage.sandbox.kubectl, "apply", "-f", "-", stdin=text)


async def converged(stage: Stage, truth: Truth) -> None:
    await stage.settled()
    await truth.on_disk()
    await asyncio.to_thread(stage.sandbox.node.caught_up)


async def everything_as_declared(stage: Stage, truth: Truth) -> Tally:
    await converged(stage, truth)
    tally = await asyncio.to_thread(truth.probe_all)
    assert not tally.errors, f"{len(tally.errors)} of {tally.total}: " + "\n".join(
        tally.errors[:20]
    )
    return tally


@pytest.mark.parametrize("scale", SCALES)
async def test_every_pair_is_as_declared_and_no_change_opens_anything_else(scale: Scale) -> None:
    if reason := unavailable(scale.tier):
        pytest.skip(reason)
    topology = Topology(seed=20261125, size=scale.identities, now=datetime.now(UTC))
    with Sandbox.start(tier=scale.tier) as sandbox:
        sandbox.kubectl("apply", "--server-side", "-f", "crds")
        sandbox.await_crds(within=PATIENCE)
        async with staged(sandbox) as stage:
            await stage.run()
            layers, sampled = await play(stage, topology, scale.rounds)
    print(f"{layers.total()} probes and {sampled} samples, none wrong: {dict(layers)}")  # noqa: T201 - figures for the reader
    assert layers.total() >= scale.probes
    assert min(layers[layer] for layer in ("network", "handshake", "scope", "answered")) > 0


async def play(stage: Stage, topology: Topology, rounds: int) -> tuple[Counter[str], int]:
    """Probe everything, then change it and probe again; return the probes by layer, and samples."""
    await declare(stage, topology)
    await stage.settled()
    pods = Pods(stage.sandbox, topology)
    await asyncio.to_thread(pods.start, topology)
    truth = Truth(stage.sandbox, topology, pods)
    layers, sampled = (await everything_as_declared(stage, truth)).probes, 0
    for _ in range(rounds):
        before, truth = truth, Truth(stage.sandbox, step(truth), pods)
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
        sampled += sampling.count
        layers += (await everything_as_declared(stage, truth)).probes
    return layers, sampled
