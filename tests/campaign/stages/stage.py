"""A cluster and copies of the operator, with every write judged at once."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

from tests.builders import NOW, OWN, Manifest
from tests.campaign.cluster import KINDS, SELECTED, ApiServer, Copy, ours
from tests.campaign.judges.at_rest import AtRest
from tests.campaign.judges.declared import DECLARED, History, view_of
from tests.campaign.judges.reach import opened_undeclared, removed_guard
from tests.campaign.judges.secrets import (
    BACKDATE,
    accepted_undeclared,
    reissued_early,
    removed_keys,
    removed_secret,
)
from troth.documents.secret_keys import LEAF
from troth.reconcile.rehearsal import Place
from troth.reconcile.runtime.clock import MovableClock
from troth.resources.references import Ref
from troth.world.facts.objects import FIGHTING

MINUTE = timedelta(minutes=1)
A_WHILE = 70.0
"""Seconds in which every rejected write is retried."""
QUIET = 3
"""Minutes without a write after which the cluster is at rest."""
ROTATIONS = ("rotation", "tokenRotation")
"""Status fields of a trust domain for the rotations of its root and of its token key."""
PATIENCE = 45
"""Minutes after which a rotation must be complete or blocked, and a contest over."""


class Stage:
    shards = 1

    def __init__(self) -> None:
        self.server = ApiServer()
        self.server.on_write = self._judge
        self.clock = MovableClock(NOW)
        self.history = History()
        self.copies: list[Copy] = []
        self.squatters: dict[Place, Manifest] = {}
        self.wrong: list[str] = []
        self._latest = NOW
        self._quiet_at: dict[str, int] = {}

    # Events

    async def put(self, manifest: Manifest) -> None:
        stored = self.server.put(manifest)
        self.history.note((stored["kind"], Ref.of(stored)), stored)
        await self.work()

    async def drop(self, *places: Place, collected: bool = True) -> None:
        for place in places:
            if place in self.server.objects:
                self.server.let_go(place, self.clock.now())
                self.history.note(place, None)
                self.squatters.pop(place, None)
        if collected:
            self.server.collect_garbage()
        await self.work()

    async def tamper(self, manifest: Manifest) -> None:
        """Put an object where one of Troth's is or could be; perhaps a foreign one."""
        stored = self.server.put(manifest)
        if stored["metadata"]["uid"] not in self.server.made:
            self.squatters[stored["kind"], Ref.of(stored)] = stored
        await self.work()

    async def work(self, seconds: float = 1) -> None:
        """Let so little time pass that clocks do not show it, and restart copies that crash."""
        await asyncio.sleep(seconds)
        for each in self.copies:
            if each.crashed:
                self.server.crash_after = 0
                await self.replace(each)
                await asyncio.sleep(seconds)
        assert not self.wrong, "\n".join(self.wrong)

    async def live(self, length: timedelta, steps: int = 1) -> None:
        for _ in range(steps):
            await self.clock.move_to(self.clock.now() + length / steps)
            self.history.passed(self.clock.now())
            await self.work(A_WHILE)

    async def set_clock(self, by: timedelta) -> None:
        """Set the clock; back no further than certificates are backdated."""
        now = self.clock.now()
        self._latest = max(self._latest, now)
        await self.clock.jump_to(max(now + by, self._latest - BACKDATE))
        self.history.passed(self.clock.now())
        await self.work()

    async def begin_copy(self) -> None:
        one = Copy(self.server, self.clock, self.shards)
        self.copies.append(one)
        await one.start({})
        first = self.copies[0]
        mine = set(range(self.shards)[1::2]) if one is not first else range(self.shards)
        first.lead(first.led.difference(mine))
        one.lead(mine)

    async def replace(self, one: Copy, behind: int = 0) -> None:
        await one.kill()
        another = Copy(self.server, self.clock, self.shards)
        self.copies[self.copies.index(one)] = another
        await another.start({kind: self.behind(kind, behind) for kind in KINDS})
        another.lead(one.led)

    async def take_over(self, *, overlap: bool) -> None:
        """Let each copy write what the other did; with an overlap both do for a while."""
        first, second = self.copies
        swapped = second.led, first.led
        if overlap:
            for each in self.copies:
                each.lead(first.led | second.led)
                each.look_at_everything()
            await self.work()
        for each, shards in zip(self.copies, swapped, strict=True):
            each.lead(shards)
        self.copies.reverse()
        await self.work()

    async def end(self) -> None:
        for each in self.copies:
            await each.kill()

    def behind(self, kind: str, events: int) -> int:
        """Limit how stale a list may be: no list is older than the last rest."""
        return min(events, len(self.server.history[kind]) - self._quiet_at.get(kind, 0))

    # Judging writes

    def _judge(self, place: Place, before: Manifest | None, after: Manifest | None) -> None:
        try:
            self.wrong += self._faults(place, before, after)
        except Exception as error:  # noqa: BLE001 - otherwise the operator would handle it as its own
            self.wrong.append(f"cannot judge {place}: {error!r}")

    def _faults(
        self, place: Place, before: Manifest | None, after: Manifest | None
    ) -> Iterator[str]:
        kind, _ = place
        if kind in DECLARED and _without_ours(before) != _without_ours(after):
            yield f"{place} was changed beyond its status and its finalizers"
        if kind in SELECTED and before and before["metadata"]["uid"] not in self.server.made:
            yield f"{place} is not Troth's and was written"
        yield from self._faults_of_write(place, before, after)

    def _faults_of_write(
        self, place: Place, before: Manifest | None, after: Manifest | None
    ) -> Iterator[str]:
        kind, ref = place
        match kind, before, after:
            case "NetworkPolicy", dict(), None:
                yield from removed_guard(self.history, before)
            case "NetworkPolicy", _, dict():
                yield from opened_undeclared(self.history, before, after)
            case "Secret", dict(), None if ref.namespace == OWN:
                yield from removed_keys(self.history, before)
            case "Secret", dict(), None:
                yield from removed_secret(self.history, before)
            case "Secret", _, dict() if ref.namespace != OWN:
                yield from accepted_undeclared(self.history, before, after)
                if before and before.get("data", {}).get(LEAF) != after["data"].get(LEAF):
                    now = self.clock.now()
                    yield from reissued_early(self.history, self.server.objects, before, now)

    # Rest

    async def calm(self) -> None:
        """End all faults, wait for rest, and assert that everything is as declared."""
        self.server.refusals.clear()
        self.server.crash_after = 0
        for each in self.copies:
            each.unmute(*KINDS)
        await self._until_quiet()
        for place, manifest in self.squatters.items():
            assert self.server.objects[place] == manifest, f"{place} was written"
        in_the_way = [*self.squatters, *self._given_away()]
        if in_the_way:
            await self.drop(*in_the_way)
            await self._until_quiet()
        faults = list(self._faults_at_rest())
        assert not faults, "\n".join(faults)
        await self._nothing_left()
        self.history.begin(self.server.objects, self.clock.now())
        self._quiet_at = {kind: len(events) for kind, events in self.server.history.items()}

    def _faults_at_rest(self) -> Iterator[str]:
        """Yield the faults of the cluster at rest."""
        objects = self.server.objects
        declared = [each for (kind, _), each in objects.items() if kind in DECLARED]
        yield from AtRest(objects, view_of(declared, self.clock.now())).faults()

    async def _until_quiet(self) -> None:
        quiet = minutes = 0
        while quiet < QUIET or (self._unfinished() and minutes < PATIENCE):
            before = len(self.server.log)
            self.server.collect_garbage()
            await self.live(MINUTE)
            minutes += 1
            quiet = quiet + 1 if len(self.server.log) == before else 0
            # a certificate may be renewed in the last minutes
            assert minutes < PATIENCE + 5 * QUIET, f"still writes {self.server.log[-8:]}"
        assert not self._contested(), f"still contested: {self._contested()}"
        for place in self._rotating():
            status = self.server.objects[place]["status"]
            told = [each for part in ROTATIONS for each in status.get(part, {}).get("blockers", ())]
            assert told, f"{place} does not say why it waits: {status}"

    def _unfinished(self) -> list[Place]:
        return [*self._rotating(), *self._contested()]

    def _contested(self) -> list[Place]:
        """Return the resources whose status says that somebody changes their objects.

        An object that was tampered with repeatedly is contested until it stays as written.
        """
        return [
            place
            for place, manifest in self.server.objects.items()
            if place[0] in DECLARED
            and any(
                each["reason"] == FIGHTING
                for each in manifest.get("status", {}).get("conditions", ())
            )
        ]

    def _rotating(self) -> list[Place]:
        return [
            place
            for place, manifest in self.server.objects.items()
            if place[0] == "TrustDomain"
            and any(
                manifest["status"].get(part, {}).get("phase", "Idle") != "Idle"
                for part in ROTATIONS
            )
        ]

    def _given_away(self) -> list[Place]:
        """Return the objects that lost Troth's labels and their owner: a user must remove them."""
        return [
            place
            for place, manifest in self.server.objects.items()
            if manifest["metadata"]["uid"] in self.server.made
            and not ours(manifest)
            and not manifest["metadata"].get("ownerReferences")
        ]

    async def _nothing_left(self) -> None:
        """Assert that an operator that starts now writes nothing."""
        there = ApiServer.like(self.server)
        one = Copy(there, MovableClock(self.clock.now()))
        one.lead({0})
        await one.start({})
        await asyncio.sleep(A_WHILE)
        await one.kill()
        left = [place for place in there.log if not self._is_waiting(place)]
        told = [f"{place}: {_told(self.server, place)} -> {_told(there, place)}" for place in left]
        assert not left, "an operator that begins now writes " + "\n".join(told)

    def _is_waiting(self, place: Place) -> bool:
        """Return whether a rotation waits there for evidence that a new operator has not seen."""
        if place[0] in ("TrustDomain", "CredentialRotation") and self._rotating():
            return True
        status = self.server.objects.get(place, {}).get("status", {})
        reasons = [each["reason"] for each in status.get("conditions", ())]
        return bool(status.get("blockers")) or "RotationWaits" in reasons


def _told(server: ApiServer, place: Place) -> object:
    """Return the most informative part of an object."""
    manifest = server.objects.get(place, {})
    return manifest.get("status") or manifest


def _without_ours(manifest: Manifest | None) -> Manifest | None:
    if manifest is None:
        return None
    metadata = {**manifest["metadata"], "resourceVersion": "", "finalizers": None}
    return {**manifest, "metadata": metadata, "status": None}
