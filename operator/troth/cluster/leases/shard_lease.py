"""Shards that several replicas hold at once, in the annotations of one Lease.

The Lease is held by a layout, not by a replica: the number of shards and the duration of the Lease.
So replicas of another layout, or of a version without shards, wait until it is released or expires,
and two layouts never act at once.

A replica renews its own annotation with a patch that never conflicts; the answer has the whole
assignment. It may write the keys of the shards that the answer gives it, for the time that
`Leadership` allows, counted from before the patch was sent. It takes a shard over only once it has
seen the owner's annotation unchanged for the whole duration, and changes the assignment only over
the version that it has read. So a renewal and a takeover never both succeed, and no clock but the
process's own monotonic one matters.

A replica that has two shards more than another hands some over: it begins no more work there, waits
until its work has ended, and names the new owner, which acts from its next renewal on.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import structlog

from troth.cluster.api import ApiServer
from troth.cluster.errors import ApiError
from troth.cluster.leases.lease import NOT_FOUND, Leadership, Timing, renew_time
from troth.cluster.leases.shard_assignment import (
    REPLICA,
    Assignment,
    annotations_of,
    layout,
    other_annotations,
    renewal_of,
    shard_annotations,
    slot_of,
)
from troth.resources.references import Ref
from troth.world.facts.objects import Manifest

DRAIN = 1.0
"""Maximum seconds for which one renewal waits until the work in a shard has ended."""
POLL = 0.02
"""Seconds between two checks whether the work in a shard has ended."""
HASTE = 4
"""Factor by which a replica renews more often while it is about to get a shard."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ShardFence:
    """Fence of one shard."""

    leadership: "ShardLeadership"
    shard: int

    @property
    def remaining(self) -> float:
        """Seconds for which this replica may certainly write the keys of the shard."""
        return self.leadership.remaining_of(self.shard)

    @property
    def shares_lease(self) -> bool:
        """Whether this replica shares the Lease, so that it may get the shard."""
        return self.leadership.shares_lease


class ShardLeadership(Leadership):
    """The shards that this replica has. `acting` is True while it certainly has any."""

    def __init__(
        self,
        server: ApiServer,
        ref: Ref,
        identity: str,
        timing: Timing,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        shards: int,
        may_lead: Callable[[], bool] = lambda: True,
        is_idle: Callable[[int], bool] = lambda _: True,
        on_change: Callable[[frozenset[int]], None] = lambda _: None,
    ) -> None:
        """`is_idle` returns whether no work in a shard is under way.

        `on_change` gets the shards in which work may begin, when they change and after a handover.
        """
        shared = layout(shards, timing.duration)
        super().__init__(server, ref, shared, timing, monotonic, may_lead=may_lead)
        self._count = shards
        self._name = identity
        self._slot = slot_of(identity)
        self._is_idle = is_idle
        self._on_change = on_change
        self._joining = asyncio.Event()
        self.shares_lease = False
        """Whether this replica shares the Lease: not while another layout has it."""
        self._renewals = 0
        self._owned: frozenset[int] = frozenset()
        self._giving: Mapping[int, str] = {}
        self._reported: frozenset[int] = frozenset()
        self._logged: frozenset[int] = frozenset()
        self._replicas: dict[str, tuple[str, float]] = {}
        """Last renewal of each replica, and when it was first seen."""
        self.fences = tuple(ShardFence(self, shard) for shard in range(shards))

    @property
    def remaining(self) -> float:
        """Seconds for which the keys of any shard may certainly be written."""
        return super().remaining if self._owned else 0.0

    @property
    def held(self) -> frozenset[int]:
        """Shards in which work may begin."""
        return self._owned.difference(self._giving) if self.acting else frozenset()

    def remaining_of(self, shard: int) -> float:
        """Return the seconds for which the keys of a shard may certainly be written."""
        return self.remaining if shard in self._owned else 0.0

    def join(self) -> None:
        """Take shards from now on: this replica's caches are in sync."""
        self._joining.set()

    async def run(self) -> None:
        """Take shards once this replica has joined, until cancelled; then hand them over.

        Raises `StoreRestored` as `Leadership` does.
        """
        await self._joining.wait()
        try:
            await super().run()
        finally:
            self._owned = frozenset()
            self._report_change()

    # Attempts

    async def _attempt(self) -> bool:
        self._report_change()
        try:
            return await super()._attempt()
        finally:
            self._report_change()

    async def _renew(self, _: Manifest, at: float) -> bool:
        """Renew this replica's annotation, and then change the assignment if that is due."""
        answered = await self._join(at)
        if not answered or self._mine is None:
            return answered
        assignment, live = Assignment.of(self._mine, self._count), self._live()
        taken = assignment.to_take(live, self._count)
        self._giving = {} if taken else assignment.to_give(live, self._slot)
        self._report_change()
        owners = {shard: slot for shard, slot in taken.items() if slot == self._slot}
        await self._drain()
        given = {shard: to for shard, to in self._giving.items() if self._is_idle(shard)}
        owners |= given
        dead = (assignment.renewals.keys() | assignment.strangers) - live
        if not owners and not dead:
            return True
        self._owned = self._owned.difference(owners)  # before another may have them
        annotations = {**annotations_of(owners), **{f"{REPLICA}{slot}": None for slot in dead}}
        version = self._mine["metadata"]["resourceVersion"]
        answered = await self._write(
            self._patch, self._renewal(annotations, version), self._monotonic()
        )
        if given:  # the work in them has ended since the change was reported
            self._on_change(self.held)
        return answered

    async def _acquire(self, lease: Manifest, at: float) -> bool:
        """Join the replicas that share the Lease, or take it over from another layout."""
        if _holder(lease) == self._identity:
            return await self._join(at)
        return await super()._acquire(lease, at)

    async def _join(self, at: float) -> bool:
        return await self._write(self._patch, self._renewal({}), at)

    async def _patch(self, patch: Manifest) -> Manifest:
        return await self._server.merge_patch("Lease", self._ref, patch)

    async def _drain(self) -> None:
        """Wait until the work in the shards to hand over has ended, but not for long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN):
                while not all(map(self._is_idle, self._giving)):  # noqa: ASYNC110 - no event says so
                    await asyncio.sleep(POLL)

    def _pause(self) -> float:
        """Return the seconds until the next attempt: at most until a replica counts as gone."""
        pause = super()._pause()
        if self._mine is None:
            return pause
        if Assignment.of(self._mine, self._count).awaits(self._live(), self._slot):
            return pause / HASTE
        now, lasts = self._monotonic(), self._timing.duration
        ends = (since + lasts - now for _, since in self._replicas.values())
        return min((left + POLL for left in ends if 0 < left < pause), default=pause)

    # Answers

    def _take_answer(self, lease: Manifest, at: float) -> None:
        if _holder(lease) != self._identity:  # it expired, and another layout has it
            self._mine, self._owned, self.shares_lease = None, frozenset(), False
            return
        assignment = Assignment.of(lease, self._count)
        self._observe(assignment)
        if not self.acting:  # even for a moment, so keys may have been put aside
            self._report_change()
        self._runs_out = float("-inf")  # of another layout
        owned = assignment.owned(self._slot)
        self._giving = {shard: to for shard, to in self._giving.items() if shard in owned}
        if owned != self._logged:
            log.info("shards", replica=self._name, shards=sorted(owned), of=self._count)
        self._owned = self._logged = owned
        self.shares_lease = True
        super()._take_answer(lease, at)

    def _observe(self, assignment: Assignment) -> None:
        """Record when the last renewal of each replica was first seen."""
        now, known = self._monotonic(), self._replicas
        self._replicas = {
            slot: known[slot] if slot in known and known[slot][0] == renewal else (renewal, now)
            for slot, renewal in assignment.renewals.items()
        }

    def _live(self) -> frozenset[str]:
        """Return the replicas, this one included, whose last renewal was seen lately."""
        now, lasts = self._monotonic(), self._timing.duration
        live = {slot for slot, (_, since) in self._replicas.items() if now - since < lasts}
        return frozenset(live | {self._slot})

    def _report_change(self) -> None:
        """Report the shards in which work may begin, if they differ from those reported last."""
        held = self.held
        if held != self._reported:
            self._reported = held
            self._on_change(held)

    def _note_holder(self, holder: str) -> None:
        """Log when another layout holds the Lease, and when this replica has lost its shards."""
        if holder not in {"", self._identity}:
            self.shares_lease = False
            super()._note_holder(holder)
            return
        if not holder and self._owned:
            log.warning("lease lost", lease=str(self._ref), identity=self._name)
        self._holder = holder

    # Records

    def _renewal(
        self, annotations: Mapping[str, str | None], version: str | None = None
    ) -> Manifest:
        """Return the patch that renews this replica's annotation and sets others.

        It applies only to a version of the Lease, if that is given.
        """
        metadata: Manifest = {"annotations": {**annotations, **self._own_annotation()}}
        if version is not None:
            metadata |= {"resourceVersion": version}
        return {"metadata": metadata, "spec": {"renewTime": renew_time()}}

    def _record(self, previous: Manifest | None) -> Manifest:
        """Return the Lease of this layout with this replica alone, which has every shard."""
        record = super()._record(previous)
        owners = annotations_of(dict.fromkeys(range(self._count), self._slot))
        kept = other_annotations(previous) if previous is not None else {}
        annotations = {**kept, **owners, **self._own_annotation()}
        return {**record, "metadata": {**record["metadata"], "annotations": annotations}}

    def _own_annotation(self) -> dict[str, str]:
        """Return this replica's annotation with another value than before."""
        self._renewals += 1
        text = f"{self._renewals} {self._name}"
        return {f"{REPLICA}{self._slot}": renewal_of(self._identity, text)}

    async def _released(self, lease: Manifest | None) -> bool:
        """Hand the shards over to the other replicas, or release the Lease if there is none."""
        try:
            lease = lease or await self._server.get("Lease", self._ref)
            if _holder(lease) != self._identity:
                return True
            assignment = Assignment.of(lease, self._count)
            mine = assignment.owned(self._slot)
            if not mine and self._slot not in assignment.renewals:
                return True
            self._observe(assignment)  # others may have renewed since the last answer
            await self._patch(self._parting(lease, assignment))
        except ApiError as error:
            return error.status == NOT_FOUND
        return True

    def _parting(self, lease: Manifest, assignment: Assignment) -> Manifest:
        """Return the patch with which this replica leaves, over the version that was read."""
        metadata = {"resourceVersion": lease["metadata"]["resourceVersion"]}
        others = self._live() - {self._slot}
        if not others:
            nothing = dict.fromkeys(shard_annotations(lease))
            return {
                "metadata": {**metadata, "annotations": nothing},
                "spec": {"holderIdentity": ""},
            }
        owners = annotations_of(dict(assignment.to_take(others, self._count)))
        annotations = {**owners, f"{REPLICA}{self._slot}": None}
        return {"metadata": {**metadata, "annotations": annotations}}


def _holder(lease: Manifest) -> str:
    return (lease.get("spec") or {}).get("holderIdentity") or ""
