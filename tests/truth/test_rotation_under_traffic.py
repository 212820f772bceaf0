"""Root rotation while twenty pairs constantly open new connections: none of them fails.

The operator runs as in production, by `troth run`, and is killed in every phase.
"""

import asyncio
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import pairwise, product
from typing import Any

import pytest
from cryptography import x509

from sandbox import Sandbox
from sandbox.node.api import Api
from sandbox.node.workload import Files, Tally
from sandbox.processes import Tether
from tests.cluster.person import LONG, Manifest, Refused, until
from tests.cluster.stage import DOMAIN, Stage
from tests.truth.crowd import ROTATION, Crowd, Mortal, key_id
from tests.truth.scene import files_of
from troth.cluster.resources import RESOURCES
from troth.documents.event_bundles import FILE as EVENTS_BUNDLE_MAP
from troth.planning.owned_objects import secret_ref
from troth.resources.references import Ref
from troth.world.observation.objects import NEXT_LEAF, RETIRING
from troth.world.observation.retired import RETIRED

log = logging.getLogger(__name__)  # see the figures with --log-cli-level=INFO

PROPAGATION, LATE = 6.0, 3.0
"""Seconds that a pod may take, and takes at most, to have a changed Secret on its disk.

Each pod has its own delay, as on real nodes.
"""
CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")
FOR_EVENTS = {RETIRED, EVENTS_BUNDLE_MAP}
CALLS = 5_000  # lower limit for a whole rotation, on any machine

Holds = Callable[[Manifest], bool]
Moment = tuple[str, str, Holds]
"""Its name, the kind of object that shows it, and a predicate of that object."""
Watch = Callable[[str, Ref, Holds], Coroutine[Any, Any, Manifest]]
"""Waits until an object satisfies a predicate, and returns it."""


def holds_slot(slot: str) -> Holds:
    return lambda secret: slot in secret.get("data", {})


def in_phase(phase: str) -> Holds:
    return lambda domain: bool(domain.get("status", {}).get("rotation", {}).get("phase") == phase)


MOMENTS: list[Moment] = [
    ("a root is prepared", "Secret", holds_slot(NEXT_LEAF)),
    ("Distributing", DOMAIN, in_phase("Distributing")),
    ("it signs", "Secret", holds_slot(RETIRING)),
    ("Reissuing", DOMAIN, in_phase("Reissuing")),
    ("Retiring", DOMAIN, in_phase("Retiring")),
]
"""The writes that advance a rotation, and its visible phases, in order."""


class Timeline:
    """Times of events, and the number of calls until then."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._began = time.monotonic()
        self.marks: list[tuple[str, float, dict[str, Tally]]] = []

    async def mark(self, what: str) -> None:
        elapsed = time.monotonic() - self._began
        self.marks.append((what, elapsed, await self._crowd.by_pod()))

    def spans(self) -> dict[str, list[Tally]]:
        """Return the calls of each pair from one mark to the next, by the name of the first."""
        return {
            what: [after[pod].since(before[pod]) for pod in before]
            for (what, _, before), (_, _, after) in pairwise(self.marks)
        }

    def __str__(self) -> str:
        rows = []
        spans: dict[str, list[Tally]] = {**self.spans(), self.marks[-1][0]: []}
        for what, elapsed, _ in self.marks:
            total = sum(spans[what], Tally())
            rows.append(f"{elapsed:6.1f} s  {what:22} {total.calls:6} calls, {total.failed} failed")
        (_, began, first), (_, ended, last) = self.marks[0], self.marks[-1]
        calls = sum(last.values(), Tally()).since(sum(first.values(), Tally()))
        mixed = sum(count for (one, other), count in calls.answered.items() if one != other)
        rate = f"{calls.calls / (ended - began):.0f} handshakes a second"
        return "\n".join([*rows, f"{rate}; {mixed} between an old certificate and a new one"])


async def talking(stage: Stage) -> tuple[Crowd, Timeline]:
    """Start the pairs in a trust domain with a propagation delay of seconds."""
    await stage.domain(bundle={"propagation": f"{PROPAGATION:.0f}s"})
    crowd = await Crowd.gathered(stage)
    timeline = Timeline(crowd)
    await timeline.mark("before")
    return crowd, timeline


def assert_nobody_was_refused(tally: Tally, timeline: Timeline) -> None:
    """Assert that each pair called from each mark to the next, and that no call failed."""
    log.info("\n%s", timeline)
    assert tally.failures == ()
    assert tally.failed == 0
    for what, span in timeline.spans().items():
        assert all(each.calls for each in span), what


@asynccontextmanager
async def watching(stage: Stage) -> AsyncIterator[Watch]:
    """Yield a function that waits until an object satisfies a predicate, and returns at once."""
    api = Api.of(stage.sandbox.kubeconfig)

    async def seen(kind: str, ref: Ref, holds: Holds) -> Manifest:
        path = RESOURCES[kind].path(namespace=ref.namespace or None)
        async with asyncio.timeout(LONG):
            async for _, found in api.follow(path, fields=f"metadata.name={ref.name}"):
                if holds(dict(found)):
                    return dict(found)
        raise AssertionError("a watch goes on for ever")

    try:
        yield seen
    finally:
        await api.close()


async def completed(stage: Stage, rotation: Ref) -> None:
    """Wait until a root rotation is complete, and no status mentions the old root."""

    def over(found: Manifest) -> bool:
        status = found["status"]
        alone = [each["state"] for each in status["authorities"]] == ["Active"]
        return alone and bool(status["rotation"] == {"phase": "Idle"})

    await stage.person.sees(DOMAIN, Ref("", stage.name), over, LONG)
    await stage.person.ready(ROTATION, rotation)


@pytest.fixture(autouse=True)
def files_come_late(process_pods: Sandbox) -> Iterator[None]:
    process_pods.node.delay_projections(0, LATE)
    yield
    process_pods.node.delay_projections(0)
    process_pods.node.close()  # connections to pods would keep their networks alive


@pytest.fixture
async def mortal(stage: Stage, tether: Tether) -> Mortal:
    """Return the operator, running."""
    operator = Mortal(stage, tether)
    await operator.live()
    return operator


@pytest.mark.long
async def test_no_handshake_fails_though_the_operator_is_killed_in_every_phase(
    stage: Stage, mortal: Mortal
) -> None:
    crowd, timeline = await talking(stage)
    await crowd.renew()
    await timeline.mark("leaves renewed")
    await crowd.talk()
    old, shown = await crowd.root(), await crowd.certificates()

    async with watching(stage) as seen:

        async def dead_at(kind: str, holds: Holds) -> None:
            await seen(kind, crowd.authority if kind == "Secret" else Ref("", stage.name), holds)
            mortal.die()

        rotation = await crowd.ask_for_a_root()
        for what, kind, holds in MOMENTS:
            await crowd.unharmed(dead_at(kind, holds))
            await timeline.mark(what)
            await mortal.live()
        await crowd.renew()
        await timeline.mark("leaves renewed again")
        await crowd.unharmed(completed(stage, rotation))
    await crowd.talk()  # the rotation may have been complete when the last leaf was renewed
    await timeline.mark("after")
    await crowd.talk()
    await timeline.mark("the end")
    tally = await crowd.fall_silent()
    assert_nobody_was_refused(tally, timeline)
    new = await crowd.root()
    signers = key_id(old), key_id(new)
    # pods with the new root and pods with the old one called each other, in both directions
    assert tally.answered.keys() == set(product(signers, signers))
    assert tally.calls > CALLS
    await the_old_root_verifies_nowhere(crowd, old, new, shown)


@pytest.mark.long
async def test_unreachable_namespace_blocks_the_rotation_and_breaks_nothing(
    stage: Stage, mortal: Mortal
) -> None:
    crowd, timeline = await talking(stage)
    old, shown = await crowd.root(), await crowd.certificates()
    domain, deaf = Ref("", stage.name), stage.namespaces[0]
    silent = [f"Secret {secret_ref(ref)}" for ref in in_namespace(crowd, deaf)]
    named = [*silent, f"the bundle of namespace {deaf}"]

    async with watching(stage) as seen, muted(stage, deaf):
        rotation = await crowd.ask_for_a_root()
        await crowd.unharmed(seen(DOMAIN, domain, in_phase("Distributing")))
        await timeline.mark("Distributing")
        assert await crowd.unharmed(blocked(stage)) == named
        await timeline.mark("blocked")
        await asyncio.sleep(2 * PROPAGATION)
        mortal.die()
        await timeline.mark("still blocked")
        await mortal.live()
        await mortal.lead()
        await asyncio.sleep(2 * PROPAGATION)
        assert await blocked(stage) == named
        assert await crowd.root() == old
        status = (await stage.person.the(ROTATION, rotation))["status"]
        assert (status["phase"], list(map(awaited, status["blockers"]))) == ("Prepared", named)
    await timeline.mark("unmuted")
    await crowd.unharmed(completed(stage, rotation))
    await crowd.talk()
    await timeline.mark("after")
    assert_nobody_was_refused(await crowd.fall_silent(), timeline)
    await the_old_root_verifies_nowhere(crowd, old, await crowd.root(), shown)


@asynccontextmanager
async def muted(stage: Stage, namespace: str) -> AsyncIterator[None]:
    """Let the API server reject every write to the ConfigMaps and Secrets of a namespace."""
    name = stage.name
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE", "DELETE"],
        "resources": ["configmaps", "secrets"],
    }
    here = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    api = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    policy = {
        "kind": "ValidatingAdmissionPolicy",
        "spec": {
            "matchConstraints": {"namespaceSelector": here, "resourceRules": [rule]},
            "validations": [{"expression": "false", "message": "nothing reaches this namespace"}],
        },
    }
    binding = {
        "kind": "ValidatingAdmissionPolicyBinding",
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": [api | policy, api | binding]})
    kubectl = stage.sandbox.kubectl
    await asyncio.to_thread(kubectl, "apply", "-f", "-", stdin=text)
    try:
        await until(lambda: refuses_writes(stage, namespace), bool)
        yield
    finally:
        await asyncio.to_thread(kubectl, "delete", "-f", "-", stdin=text)
    await until(lambda: refuses_writes(stage, namespace), lambda refuses: not refuses)


async def refuses_writes(stage: Stage, namespace: str) -> bool:
    """Return whether the API server rejects a write to the bundle there."""
    patch = {"metadata": {"labels": {"tried": "yes"}}}
    try:
        await stage.person.edit("ConfigMap", Ref(namespace, "trust-bundle"), patch, dryRun="All")
    except Refused:
        return True
    return False


async def blocked(stage: Stage) -> list[str]:
    """Wait until the rotation has blockers; return what it waits for."""
    domain = await stage.person.sees(
        DOMAIN, Ref("", stage.name), lambda found: found["status"]["rotation"].get("blockers")
    )
    return [awaited(each) for each in domain["status"]["rotation"]["blockers"]]


def awaited(blocker: str) -> str:
    """Return what a blocker waits for; it must wait for the new root and give a deadline."""
    said = re.fullmatch(
        r"(.*) does not have the new root yet; Troth waits until [\d-]+ [\d:]+ UTC", blocker
    )
    assert said, blocker
    return said[1]


def in_namespace(crowd: Crowd, namespace: str) -> list[Ref]:
    return sorted(ref for ref in crowd.identities if ref.namespace == namespace)


async def the_old_root_verifies_nowhere(
    crowd: Crowd, old: x509.Certificate, new: x509.Certificate, shown: dict[Ref, Files]
) -> None:
    """Assert that every leaf is from the new root, and that the old root's are rejected.

    No object may hold the old root any more, except to verify events of its time.
    """
    assert old != new
    now = datetime.now(UTC)
    for ref, leaf in (await crowd.leaves()).items():
        leaf.verify_directly_issued_by(new)
        before = x509.load_pem_x509_certificate(shown[ref]["tls.crt"].encode())
        before.verify_directly_issued_by(old)
        assert before.not_valid_after_utc > now, "it is refused for its root, not for its age"
    await until(lambda: holders(crowd.stage, old), lambda found: not found)
    everybody = len(crowd.identities) + len(crowd.stage.namespaces) + 1  # and the authority
    assert len(await holders(crowd.stage, new)) == everybody
    await crowd.scene.obeyed()
    for pair in crowd.pairs:
        ends = pair.caller.name, pair.callee.name
        said = await crowd.scene.call(*ends, present=shown[pair.caller])
        assert said == "handshake by server: unknown certificate authority", pair
        callee = crowd.scene.workload(pair.callee.name)
        await asyncio.to_thread(callee.pose, shown[pair.callee])
        said = await crowd.scene.call(*ends)
        assert said == "handshake by client: unknown certificate authority", pair
        await asyncio.to_thread(callee.pose, None)
        assert await crowd.scene.call(*ends) == "answered"


def certificates_in(texts: Iterable[str]) -> Iterator[x509.Certificate]:
    """Yield the certificates in PEM of some files."""
    for text in texts:
        for block in CERTIFICATE.findall(text):
            yield x509.load_pem_x509_certificate(block.encode())


async def holders(stage: Stage, root: x509.Certificate) -> list[str]:
    """Return the Secrets and ConfigMaps of the stage that hold a root, other than for events.

    A root has two certificates of one key, of which workloads of its trust domain have another than
    its own Secret.
    """
    found = []
    for namespace in (stage.own, *stage.namespaces):
        for kind in ("Secret", "ConfigMap"):
            for item in await stage.person.all(kind, namespace):
                files = files_of(item) if kind == "Secret" else item.get("data", {})
                texts = (text for name, text in files.items() if name not in FOR_EVENTS)
                if key_id(root) in set(map(key_id, certificates_in(texts))):
                    found.append(f"{kind} {Ref.of(item)}")
    return found
