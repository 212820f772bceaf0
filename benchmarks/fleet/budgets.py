"""The cost of changes in requests: changes of owned objects by others, and of declarations."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.fleet import topology
from benchmarks.fleet.declare import declare
from benchmarks.fleet.topology import NAMESPACE, Manifest, path
from benchmarks.harness.client import MERGE, Bare, Write
from benchmarks.harness.control_plane import control_plane
from benchmarks.harness.process import Process
from benchmarks.harness.report import Figure, Report
from benchmarks.harness.requests import LEASES, READS, Requests, served, writes
from sandbox import Sandbox, SandboxError
from troth.documents.secret_keys import IDENTITY_JSON, LEAF, ROOTS
from troth.resources.trust_domain.spec import Bundle
from troth.world.facts.objects import MANAGED_BY, OWNER_NAME

IDENTITIES = 100
TIMES = 20
"""Number of objects to which each change is made at once."""
DAMAGE = "bm8gUEVN"
EVENTS = "events"
TITLE = f"Requests for each of {TIMES} changes, among {IDENTITIES} identities"
NOTE = (
    "Writes are counted by the API server, less the changes themselves. A child without the label "
    "by which Troth knows its own looks deleted to it, so one write is refused, and one look tells."
)


@dataclass(frozen=True, slots=True)
class Change:
    """A change of objects, and its expected cost for Troth; without a patch, they are deleted."""

    what: str
    kind: str
    names: Sequence[str]
    patch: Manifest | None
    writes: int
    events: int = 1

    @property
    def mended(self) -> bool:
        """Whether Troth must restore the objects."""
        return self.kind != "ServiceIdentity"


POLICIES = [topology.policy(number) for number in range(TIMES)]
SECRETS = [topology.secret(number) for number in range(TIMES)]
NAMES = [topology.name(number) for number in range(TIMES)]
ANNOTATED = {"metadata": {"annotations": {"note": "looked at"}}}
BUNDLES = [Bundle().config_map_name]
CHANGES = (
    Change("a policy opened by hand", "NetworkPolicy", POLICIES, {"spec": {"ingress": [{}]}}, 1),
    Change("a policy deleted", "NetworkPolicy", POLICIES, None, 1),
    Change(
        "its peers replaced in a Secret", "Secret", SECRETS, {"data": {IDENTITY_JSON: DAMAGE}}, 1
    ),
    Change("the roots replaced in a Secret", "Secret", SECRETS, {"data": {ROOTS: DAMAGE}}, 1),
    Change("a label replaced", "Secret", SECRETS, {"metadata": {"labels": {OWNER_NAME: "x"}}}, 1),
    Change("the label taken", "Secret", SECRETS, {"metadata": {"labels": {MANAGED_BY: None}}}, 2),
    Change("a certificate damaged", "Secret", SECRETS, {"data": {LEAF: DAMAGE}}, 2),
    Change("a Secret deleted", "Secret", SECRETS, None, 2),
    Change("a trust bundle replaced", "ConfigMap", BUNDLES, {"data": {ROOTS: "nobody's"}}, 1),
    Change("an identity annotated", "ServiceIdentity", NAMES, ANNOTATED, 0, events=0),
)
LOOKS = TIMES
"""Expected reads for all these changes: one for each removed label."""


def reports() -> Iterator[Report]:
    """Measure on a control plane of its own."""
    with control_plane(NAMESPACE) as sandbox:
        yield Report(TITLE, note=NOTE, figures=asyncio.run(_measure(sandbox)))


async def _measure(sandbox: Sandbox) -> list[Figure]:
    figures: list[Figure] = []
    async with Bare.connect(sandbox.kubeconfig) as bare, Process.run(sandbox) as process:
        await declare(bare, IDENTITIES)
        await process.settled(IDENTITIES)
        await process.still()
        begun = await process.requests()
        counted = Requests()
        for change in CHANGES:
            before = served(sandbox)
            await _make(sandbox, bare, change)
            await process.still()
            await _check(bare, change)
            made = served(sandbox) - before
            counted += made
            figures += _figures(change, made)
        asked = await process.requests() - begun
    looks = sum(number for (verb, _), number in asked.items() if verb in READS)
    own = sum(len(change.names) for change in CHANGES)
    difference = abs(writes(counted) - own - writes(asked))
    return [
        *figures,
        Figure("reads for all of these", looks, aim=LOOKS),
        Figure("writes that Troth counts otherwise", difference, aim=0),
    ]


async def _make(sandbox: Sandbox, bare: Bare, change: Change) -> None:
    if change.patch is None:
        sandbox.kubectl("delete", change.kind, "-n", NAMESPACE, "--wait=false", *change.names)
        return
    places = (path(change.kind, object_name=name) for name in change.names)
    await bare.send([Write(place, change.patch, MERGE) for place in places])


async def _check(bare: Bare, change: Change) -> None:
    """Raise `SandboxError` if Troth has not restored an object."""
    there = {item["metadata"]["name"]: item for item in await bare.items(path(change.kind))}
    for name in change.names if change.mended else ():
        if name not in there or (change.patch and bears(there[name], change.patch)):
            raise SandboxError(f"{change.what}: {name} was not put right")


def bears(item: Manifest, patch: Manifest) -> bool:
    """Return whether an object still has the values of a merge patch."""
    return all(
        bears(item.get(key) or {}, value) if isinstance(value, dict) else item.get(key) == value
        for key, value in patch.items()
    )


def _figures(change: Change, made: Requests) -> Iterator[Figure]:
    times = len(change.names)
    wrote = writes(made, but=(LEASES, EVENTS)) - times
    events = sum(number for (_, resource), number in made.items() if resource == EVENTS)
    yield Figure(f"{change.what}: writes", wrote / times, aim=change.writes)
    yield Figure(f"{change.what}: Events", events / times, aim=change.events)
