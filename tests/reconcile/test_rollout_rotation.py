"""Root rotation with programs that read their files only at start.

At every moment every pod's certificate must verify against every pod's roots. Pods of some
workloads keep the files that their kubelet had at start, which may be `bundle.propagation` old.
Replaced pods go on serving for as long.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import pytest

from tests import builders
from tests.reconcile.rotating import (
    IDENTITIES,
    PROPAGATION,
    START,
    STEP,
    SYSTEM,
    Files,
    Manifest,
    Permitted,
    Scene,
    identity,
)
from tests.workloads import budget, rolled, workload
from troth.reconcile.loop.engine import Engine
from troth.resources.references import Ref

STUBBORN = IDENTITIES[::2]
"""Identities whose programs cannot reload."""
PODS = 2
LAG = PROPAGATION // STEP - 1
"""Steps after which a kubelet surely has a changed Secret."""


@dataclass(frozen=True)
class Pod:
    """Pod of a program that cannot reload: its template's generation, and the files it read."""

    generation: int
    files: Files


class StubbornScene(Scene):
    """Scene with a controller manager that replaces one pod of each workload in every step."""

    def __init__(self, *, rollouts: bool = True) -> None:
        self._rollouts = rollouts
        self._pods: dict[Ref, list[Pod]] = {ref: [] for ref in STUBBORN}
        self._kubelets: list[dict[Ref, Files]] = []
        super().__init__(*self._declared())
        self._histories.append(self._kubelets)

    def _declared(self) -> Iterator[Manifest]:
        for ref in STUBBORN:
            declared = identity(ref)
            declared["spec"]["onRotation"] = {"restart": [{"kind": "Deployment", "name": ref.name}]}
            yield declared
            yield workload(
                ref.name,
                namespace=ref.namespace,
                app=ref.name,
                replicas=PODS,
                created=START - builders.DAY,
            )

    def _engine(self) -> Engine:
        leader_fence, rollouts = Permitted(), self._rollouts
        return Engine(
            self.server, SYSTEM, clock=self.clock, leader_fence=leader_fence, rollouts=rollouts
        )

    def files(self) -> Iterator[tuple[Ref, Files]]:
        for ref, files in super().files():
            if not self._is_stubborn(ref):
                yield ref, files
        for ref, pods in self._pods.items():
            for number, pod in enumerate(pods):
                yield Ref(ref.namespace, f"{ref.name}-pod-{number}"), pod.files

    def _look(self) -> None:
        super()._look()
        self._kubelets.append(dict(super().files()))
        for ref in STUBBORN:
            self._control(ref)

    def _control(self, ref: Ref) -> None:
        """Start missing pods, or replace one pod of an older template."""
        manifest = self.server.objects["Deployment", ref]
        generation, pods = manifest["metadata"]["generation"], self._pods[ref]
        late = self._kubelets[max(0, len(self._kubelets) - 1 - LAG)]
        fresh = Pod(generation, late[Ref(ref.namespace, f"{ref.name}-identity")])
        old = [pod for pod in pods if pod.generation < generation]
        if not pods:
            pods += [fresh] * PODS
        elif old:
            pods[pods.index(old[0])] = fresh
        updated = sum(pod.generation == generation for pod in pods)
        after = rolled(manifest, updated=updated)
        if after != manifest:
            self.engine.observe(self.server.put(after))

    @staticmethod
    def _is_stubborn(secret: Ref) -> bool:
        return Ref(secret.namespace, secret.name.removesuffix("-identity")) in STUBBORN

    def restarts(self, ref: Ref) -> int:
        return int(self.server.objects["Deployment", ref]["metadata"]["generation"]) - 1


@asynccontextmanager
async def scene(*, rollouts: bool = True) -> AsyncIterator[StubbornScene]:
    it = StubbornScene(rollouts=rollouts)
    await it.start()
    try:
        yield it
    finally:
        await it.kill()


async def test_certificate_renewal_rejects_no_peer() -> None:
    async with scene() as it:
        await it.live(timedelta(hours=1))
        assert [it.restarts(ref) for ref in STUBBORN] == [0, 0, 0], "the first enrolment"
        await it.live(timedelta(hours=8))
        assert [it.restarts(ref) for ref in STUBBORN] == [2, 2, 2]
        assert it.broken == []


async def test_root_rotation_rejects_no_peer() -> None:
    async with scene() as it:
        first = it.active
        await it.until("Distributing")
        before = {ref: it.restarts(ref) for ref in STUBBORN}
        await it.until("Idle")
        assert it.phases == ["Idle", "Distributing", "Reissuing", "Retiring", "Idle"]
        assert it.active != first
        assert it.broken == []
        since = {ref: it.restarts(ref) - before[ref] for ref in STUBBORN}
        assert since == dict.fromkeys(STUBBORN, 2), "with the new root, and with a leaf of it"
        await it.live(timedelta(hours=1))
        assert since == {ref: it.restarts(ref) - before[ref] for ref in STUBBORN}
        assert it.broken == []


@pytest.mark.parametrize("phase", ["Distributing", "Reissuing", "Retiring"])
async def test_operator_killed_in_any_phase_continues(phase: str) -> None:
    async with scene() as it:
        await it.until(phase)
        await it.live(2 * STEP)
        await it.kill()
        await it.start()
        await it.until("Idle")
        assert it.broken == []


@pytest.mark.parametrize("phase", ["Distributing", "Reissuing"])
async def test_disruption_budget_of_zero_delays_rotation_and_rejects_no_peer(phase: str) -> None:
    async with scene() as it:
        await it.until(phase)
        ref = STUBBORN[0]
        labels = {"matchLabels": {"app": ref.name}}
        held = budget(ref.name, ref.namespace, selector=labels)
        await it.user_puts(held)
        await it.live(timedelta(minutes=30))
        assert it.phase == phase
        (blocker,) = it.blockers
        assert blocker.startswith(f"Deployment {ref} has not been restarted with")
        await it.user_puts({**held, "status": {**held["status"], "disruptionsAllowed": 1}})
        await it.until("Idle")
        assert it.broken == []


async def test_blockers_name_the_chart_value_if_rollouts_are_disabled() -> None:
    async with scene(rollouts=False) as it:
        await it.until("Distributing")
        await it.live(timedelta(minutes=30))
        assert it.phase == "Distributing"
        assert len(it.blockers) == len(STUBBORN)
        for blocker in it.blockers:
            assert "set the chart value rollouts.enabled to true" in blocker
        assert all(it.restarts(ref) == 0 for ref in STUBBORN)


async def test_program_without_the_new_root_is_detected() -> None:
    """The scene can detect a failure."""
    async with scene() as it:
        await it.until("Reissuing")
        for ref in STUBBORN:
            pods = it._pods[ref]
            pods[0] = Pod(pods[0].generation, pods[0].files._replace(roots={}))
        await it.live(STEP)
        assert it.broken
