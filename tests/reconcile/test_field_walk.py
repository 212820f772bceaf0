"""Every field of every resource is changed and changed back.

The change takes effect in the part that `tests/reconcile/fields.py` names, or is rejected with a
message. After the field is changed back, the account equals that of an undisturbed cluster, except
for a record that outlives the change by design. So one cluster serves all fields, except those
whose change needs time to show or leaves a record. The fields are those of the generated CRDs.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

import pytest
from pydantic import ValidationError

from tests import builders, virtual_time
from tests.builders import NOW, OWN, Manifest, stamp
from tests.reconcile.accounts import Account, Part, account
from tests.reconcile.fields import (
    CHANGES,
    DECLARED,
    NOTHING,
    REFUSED_THERE,
    ROTATION,
    Change,
    Field,
    changed,
    fields,
)
from tests.reconcile.memory_brokers import MemoryBrokers, in_memory
from tests.reconcile.refused import REFUSED
from tests.reconcile.serving import Running, Server, running
from tests.reconcile.walk_judge import Judge
from tests.workloads import rolled
from troth.reconcile.brokers.work import BrokerWork
from troth.reconcile.rehearsal import Place
from troth.reconcile.runtime.clock import MovableClock
from troth.reconcile.status.stall_delay import StallDelay
from troth.resources.kinds import KIND_BY_NAME
from troth.resources.references import Ref
from troth.resources.schema.model import immutable_changes

FIELDS = fields()
SHARED_FOR = timedelta(seconds=90)
"""Shorter than the propagation delay, after which webhook targets accept gateways' new keys."""


class JudgedServer(Server):
    """Has every change of a declaration and every write judged."""

    def __init__(self, objects: Iterable[Manifest]) -> None:
        self.judge = Judge()
        self.clock: MovableClock | None = None
        super().__init__(objects)

    def put(self, manifest: Manifest) -> Manifest:
        stored = super().put(manifest)
        if self.clock:
            self.judge.declare((manifest["kind"], Ref.of(manifest)), stored, self.clock.now())
        return stored

    def take_away(self, kind: str, ref: Ref) -> Manifest:
        gone = super().take_away(kind, ref)
        assert self.clock
        self.judge.declare((kind, ref), None, self.clock.now())
        return gone

    def _write(self, place: Place, stored: Manifest) -> Manifest:
        before = self.objects.get(place)
        answer = super()._write(place, stored)
        self.judge.see(before, answer)
        return answer


@dataclass
class Walk:
    """A cluster with all declarations, and the steps that make a change show."""

    it: Running
    server: JudgedServer
    brokers: MemoryBrokers
    change: Change

    async def settle(self) -> None:
        """Wait until neither keys nor brokers have work."""
        work = self.it.engine.background
        assert isinstance(work, BrokerWork)
        await self.it.settle()
        while work.busy:
            await work.settled()
            await self.it.settle()
        assert self.server.judge.faults == []
        self.server.judge.rest(self.server.objects, self.it.clock.now())

    async def declare(self, before: Manifest, after: Manifest) -> None:
        """Change a resource; delete it and create it again if the change is immutable."""
        parse: Any = KIND_BY_NAME[before["kind"]].model.parse
        specs: list[Any] = []
        with suppress(ValidationError):  # some values can only be rejected
            specs += [parse(each).spec for each in (before, after)]
        if len(specs) == 2 and immutable_changes(*specs):
            uid = self.it.server.objects[before["kind"], Ref.of(before)]["metadata"]["uid"]
            await self.it.drop(before["kind"], Ref.of(before))
            await self.it.collect(uid)
        await self.it.put(after)
        await self.settle()

    async def refuses(self, of: Field, change: Change) -> None:
        """Make a change that Troth refuses or waits for, assert that it says so, and undo it."""
        before, after = changed(of, change, self.server.objects)
        known = self._faults()
        await self.declare(before, after)
        faults = self._faults() - known
        assert change.refused in {reason for _, reason, _ in faults}, sorted(faults)
        assert all(message for _, _, message in faults), sorted(faults)
        await self.declare(after, before)

    def _faults(self) -> set[tuple[str, str, str]]:
        """Return where a condition other than its summaries is not True, with its reason."""
        return {
            (f"{kind} {ref} {each['type']}", each["reason"], each["message"])
            for (kind, ref), manifest in self.server.objects.items()
            for each in manifest.get("status", {}).get("conditions", ())
            if each["status"] != "True" and each["type"] not in ("Reconciling", "Stalled")
            if "reason" in each
        }

    async def outcome(self, *, times: bool) -> Account:
        """Return the account after the change has had time to show."""
        if self.change.shows == "tokens":
            await self.catch_up()
        if not self.change.rotated:
            await self._live(self.change.lives)
            return account(self.it, self.brokers, times=times)
        now = stamp(self.it.clock.now() + timedelta(seconds=1))
        await self.it.put(
            builders.rotation("TrustDomain", self.change.rotated, OWN, requestedAt=now)
        )
        pace = await self._live(ROTATION)
        return account(self.it, self.brokers, times=times) | {("pace", self.change.rotated): pace}

    async def catch_up(self) -> None:
        """Advance the clock until the issuers' views, which follow once a second, are current."""
        await self.it.clock.move_to(self.it.clock.now() + timedelta(seconds=2))
        await asyncio.sleep(60)
        await self.settle()

    async def _live(self, length: timedelta) -> list[tuple[str, timedelta]]:
        """Advance the clock; return when a root rotation reached each phase."""
        step = timedelta(seconds=30) if length <= ROTATION else timedelta(minutes=30)
        began, phases = self.it.clock.now(), [("Idle", timedelta(0))]
        while (passed := self.it.clock.now() - began) < length:
            await self.it.clock.move_to(began + passed + step)
            await asyncio.sleep(60)  # virtual time, for due keys and retries
            await self.settle()
            await self._roll_out()
            domain = self.it.server.objects[
                "TrustDomain", Ref("", self.change.rotated or "production")
            ]
            phase = domain["status"].get("rotation", {}).get("phase", "Idle")
            if phase != phases[-1][0]:
                phases.append((phase, passed))
        return phases

    async def _roll_out(self) -> None:
        """Roll workloads out as their controllers do."""
        for (kind, _), manifest in list(self.it.server.objects.items()):
            seen = manifest.get("status", {}).get("observedGeneration")
            if kind == "Deployment" and seen != manifest["metadata"]["generation"]:
                await self.it.put(rolled(manifest))


@asynccontextmanager
async def walk(change: Change) -> AsyncIterator[Walk]:
    with in_memory() as brokers:
        at_once = StallDelay(0)  # whether a field takes effect does not depend on the delay
        server = JudgedServer(DECLARED)
        server.judge.rest(server.objects, NOW)
        async with running(server, due=True, rollouts=True, stall_delay=at_once) as it:
            server.clock = it.clock
            walking = Walk(it, server, brokers, change)
            await asyncio.sleep(60)
            await walking.settle()
            yield walking
            await it.engine.close()


Story = Callable[[Walk], Coroutine[Any, Any, None]]


class Clusters:
    """Runs stories in virtual time, most of them on one cluster."""

    def __init__(self) -> None:
        self._runner = virtual_time.runner()
        self._stack = AsyncExitStack()
        self._shared: Walk | None = None

    def run(self, change: Change, story: Story) -> None:
        """Run a story on the shared cluster, or on one of its own.

        A story needs its own cluster if its change needs time to show or leaves a record.

        A story that fails may leave a trace, so the next one gets a new cluster.
        """
        if change.lives or change.rotated or change.leaves:
            virtual_time.run(self._alone(change, story))
            return
        try:
            self._runner.run(self._together(change, story))
        except BaseException:
            self._discard()
            raise

    def close(self) -> None:
        self._discard()
        self._runner.close()

    async def _alone(self, change: Change, story: Story) -> None:
        async with walk(change) as it:
            await story(it)

    async def _together(self, change: Change, story: Story) -> None:
        if self._shared and self._shared.it.clock.now() - NOW > SHARED_FOR:
            await self._stack.aclose()
            self._shared = None
        if self._shared is None:
            self._shared = await self._stack.enter_async_context(walk(change))
        self._shared.change = change
        await story(self._shared)

    def _discard(self) -> None:
        self._shared = None
        self._runner.run(self._stack.aclose())


@pytest.fixture(scope="module")
def clusters() -> Iterator[Clusters]:
    shared = Clusters()
    yield shared
    shared.close()


@cache
def undisturbed(lives: timedelta, *, rotated: str) -> Account:
    """Return the account of a cluster without changes."""

    async def story() -> Account:
        async with walk(Change("", lives=lives, rotated=rotated)) as it:
            return await it.outcome(times=False)

    return virtual_time.run(story())


def parts_that_differ(one: Account, other: Account) -> dict[Part, tuple[Any, Any]]:
    return {
        part: (one.get(part), other.get(part))
        for part in sorted(one.keys() | other.keys())
        if one.get(part) != other.get(part)
    }


@pytest.mark.long
@pytest.mark.parametrize("field", FIELDS, ids=str)
def test_field_takes_effect_and_leaves_no_trace(field: Field, clusters: Clusters) -> None:
    change = CHANGES[str(field)]
    at_once = not change.lives and not change.rotated  # then times must match too
    as_ever = undisturbed(change.lives, rotated=change.rotated)

    async def story(it: Walk) -> None:
        start = await it.outcome(times=at_once)
        before, after = changed(field, change, it.it.server.objects)
        if str(field) in REFUSED:
            await it.refuses(field, REFUSED[str(field)])
        await it.declare(before, after)
        there = await it.outcome(times=at_once)
        effect = parts_that_differ(start, there)
        if change.shows == NOTHING:
            assert {part for part in effect if part[0] != "due"} == set()
        else:
            assert change.shows in {what for what, _ in effect}, sorted(effect)
        if change.refused:
            assert change.refused in str(there["status", f"{field.kind} {Ref.of(after)}"])
        await it.declare(after, before)
        await it.catch_up()
        trace = parts_that_differ(as_ever, await it.outcome(times=False))
        # a change of roots or token keys leaves records of the replaced ones, for events
        expected = {"key", "retired", change.leaves}
        assert {part: found for part, found in trace.items() if part[0] not in expected} == {}
        if change.leaves:
            assert change.leaves in {what for what, _ in trace}

    clusters.run(change, story)


def test_every_field_has_its_change_and_every_change_its_field() -> None:
    assert {str(each) for each in FIELDS} == CHANGES.keys()


def test_declared_objects_are_ready() -> None:
    """Otherwise a field may show no effect because its resource is not ready."""

    async def story() -> None:
        async with walk(Change("")) as it:
            await it.it.clock.move_to(it.it.clock.now() + timedelta(minutes=2))
            await asyncio.sleep(60)  # until the targets know what was distributed
            await it.settle()
            for (kind, ref), manifest in it.it.server.objects.items():
                if "status" in manifest and kind != "Deployment" and ref.name not in REFUSED_THERE:
                    ready = it.it.server.condition(kind, ref, "Ready")
                    assert ready["status"] == "True", (kind, ref, ready)

    virtual_time.run(story())
