"""A cluster with every field declared on a real API server, its operator, and witnesses."""

import copy
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from sandbox import Sandbox
from tests import builders
from tests.builders import NOW, OWN, Manifest
from tests.cluster.person import Person, Refused, until
from tests.cluster.stage import Stage
from tests.cluster.witness import Sight, Witness
from tests.reconcile.accounts import Account, account
from tests.reconcile.memory_brokers import MemoryBrokers, in_memory
from tests.reconcile.walk_judge import Judge
from troth.planning.grants.edges_validated import EDGES_VALIDATED
from troth.reconcile.rehearsal import Place
from troth.reconcile.runtime.clock import MovableClock
from troth.resources.kinds import KIND_BY_NAME
from troth.resources.references import Ref

WRITTEN = ("Secret", "ConfigMap", "NetworkPolicy")
WATCHED = ("Namespace", *KIND_BY_NAME, *WRITTEN)
THEIRS = ("kubernetes", "kube-root-ca.crt")
"""Names of objects of the control plane itself."""


@dataclass
class _Objects:
    """Objects in the form in which `account` reads them."""

    objects: dict[Place, Manifest]


@dataclass
class _Seen:
    server: _Objects
    engine: Any
    clock: MovableClock


@dataclass
class Walk:
    """The stage, with witnesses of every declaration and every write."""

    stage: Stage
    brokers: MemoryBrokers
    witnesses: list[Witness] = field(default_factory=list)
    judge: Judge = field(default_factory=Judge)
    _heard: Counter[Witness] = field(default_factory=Counter)
    _objects: dict[Place, Manifest] = field(default_factory=dict)

    async def declare(self, manifests: Iterable[Manifest]) -> None:
        """Create the declared objects, namespaces first."""
        for each in sorted(manifests, key=lambda one: one["kind"] != "Namespace"):
            if each["metadata"]["name"] not in THEIRS:
                await self.stage.person.put(_as_written(each))

    async def change(self, before: Manifest, after: Manifest, *, immutable: bool) -> None:
        """Apply a change; delete and create the resource if the change is immutable."""
        person, ref = self.stage.person, Ref.of(after)
        if immutable:
            old = await person.the(before["kind"], ref)
            with pytest.raises(Refused, match="cannot change; create a new"):
                await person.put(after)
            await person.delete(before["kind"], ref)
            await person.misses(before["kind"], ref)
            await until(lambda: self._owned_by(old["metadata"]["uid"]), lambda found: not found)
        await person.put(after)
        await self.observed(after["kind"], ref)

    async def _owned_by(self, uid: str) -> list[str]:
        return [
            each["metadata"]["name"]
            for kind in WRITTEN
            for each in await self.stage.person.all(kind)
            if any(one["uid"] == uid for one in each["metadata"].get("ownerReferences") or ())
        ]

    async def observed(self, kind: str, ref: Ref) -> Manifest:
        """Wait until a resource's status is of its current spec, and nothing is left to do."""

        def is_current(found: Manifest) -> bool:
            told = (found.get("status") or {}).get("observedGeneration")
            return bool(told == found["metadata"]["generation"])

        seen = await self.stage.person.sees(kind, ref, is_current)
        await self.stage.settled()
        return seen

    # Observations

    async def objects(self) -> dict[Place, Manifest]:
        """Return all objects of users and of Troth."""
        found: dict[Place, Manifest] = {}
        for kind in WATCHED:
            for each in await self.stage.person.all(kind):
                each["kind"] = kind
                if each["metadata"]["name"] not in THEIRS:
                    found[kind, Ref.of(each)] = each
        return found

    async def account(self) -> Account:
        engine = self.stage.operator.operator.engine
        seen: Any = _Seen(_Objects(await self.objects()), engine, self.stage.clock)
        found = account(seen, self.brokers, times=False)
        return {part: _without_clients(told) for part, told in found.items()}

    async def faults(self) -> set[tuple[str, str, str]]:
        """Return where a condition is not True, with its reason and message."""
        return {
            (f"{kind} {ref} {each['type']}", each["reason"], each["message"])
            for (kind, ref), manifest in (await self.objects()).items()
            if kind in KIND_BY_NAME
            for each in (manifest.get("status") or {}).get("conditions", ())
            if each["status"] != "True" and each["type"] not in ("Reconciling", "Stalled")
        }

    def begin(self, objects: dict[Place, Manifest]) -> None:
        """Take these objects as the state before the first judged write."""
        self._objects = objects
        self.judge.rest(objects, self.stage.clock.now())

    async def judged(self) -> list[str]:
        """Judge every write since the last call, and take the declarations as settled."""
        new = [sight for each in self.witnesses for sight in await self._news(each)]
        for sight in sorted(new, key=lambda one: one.version):
            self._judge(sight)
        faults, self.judge.faults = self.judge.faults, []
        self.judge.rest(self._objects, self.stage.clock.now())
        return faults

    def _judge(self, sight: Sight) -> None:
        kind, place = sight.manifest["kind"], (sight.manifest["kind"], Ref.of(sight.manifest))
        before = self._objects.pop(place, None)
        gone = sight.type == "DELETED"
        if not gone:
            self._objects[place] = sight.manifest
        if kind not in WRITTEN:
            changed = before is None or gone or before.get("spec") != sight.manifest.get("spec")
            if changed or kind == "Namespace":
                after = None if gone else sight.manifest
                self.judge.declare(place, after, self.stage.clock.now())
        elif not gone:
            self.judge.see(before, sight.manifest)

    async def _news(self, witness: Witness) -> list[Sight]:
        seen = await witness.everything()
        new = seen[self._heard[witness] :]
        self._heard[witness] = len(seen)
        return new


def _without_clients(told: Any) -> Any:
    """Return a status without why a broker's clients are unknown, which time alone changes."""
    if not isinstance(told, dict) or "conditions" not in told:
        return told
    conditions = [
        each
        if each["type"] != EDGES_VALIDATED or each["status"] != "Unknown"
        else {**each, "reason": "", "message": ""}
        for each in told["conditions"]
    ]
    return {**told, "conditions": conditions}


def _as_written(manifest: Manifest) -> Manifest:
    """Return a declared object as a user applies it to an API server."""
    written = copy.deepcopy(manifest)
    written.pop("status", None)
    written["metadata"].pop("creationTimestamp", None)
    if written["kind"] == "Deployment":
        template = written["spec"]["template"]
        written["spec"] |= {
            "replicas": 0,  # no node runs pods here
            "selector": {"matchLabels": template["metadata"]["labels"]},
        }
        template["spec"] = {"containers": [{"name": "main", "image": "example.com/main"}]}
    return written


@asynccontextmanager
async def walking(sandbox: Sandbox, declared: list[Manifest]) -> AsyncIterator[Walk]:
    """Install Troth under the name of the pure tests, and declare everything.

    The control plane is the test's own, so nothing is cleaned up.
    """
    async with AsyncExitStack() as stack:
        brokers = stack.enter_context(in_memory())
        person = await stack.enter_async_context(Person(sandbox.kubeconfig))
        name = OWN.removeprefix("troth-")
        stage = Stage(sandbox, person, name, MovableClock(NOW), rollouts=True)
        await person.put(builders.namespace(OWN))
        await stage.install()
        await stage.kubeconfig_of(Ref(OWN, OWN))
        await stage.run()
        stack.push_async_callback(stage.operator.stop)
        walk = Walk(stage, brokers)
        await walk.declare(declared)
        await stage.settled()
        for kind in WATCHED:
            walk.witnesses.append(
                await stack.enter_async_context(Witness(sandbox.kubeconfig, kind, ""))
            )
        walk.begin(await walk.objects())
        yield walk
