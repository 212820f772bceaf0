"""A faulty cluster in memory: its API server, and copies of the operator that watch it.

Every change of an object is an event. Each copy receives them kind by kind, in order, as from a
watch. A test may mute a copy, list from the past again, or start it with a stale list.
"""

import asyncio
import copy
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from tests.builders import OWN, Manifest, stamp
from tests.reconcile.serving import Crashed, Server
from troth.cluster.errors import ApiError
from troth.documents.gateway_report import LABEL as REPORT
from troth.planning.steps.step import BackgroundStep
from troth.reconcile.brokers.work import Background, BrokerWork
from troth.reconcile.loop.engine import Engine
from troth.reconcile.loop.handover import take_shards
from troth.reconcile.loop.informers import selections
from troth.reconcile.rehearsal import Place
from troth.reconcile.runtime.clock import MovableClock
from troth.resources.references import Ref
from troth.world.facts.objects import MANAGED_BY
from troth.world.keys import domain_key, identity_key
from troth.world.observation.webhook_secrets import GIVEN_LABEL
from troth.world.watch_class import SCHEMA, watch_class_of

LATENCY = 0.02
"""Seconds that a request takes, and a watch event."""
WORKERS = 3
KINDS = tuple(dict.fromkeys(each.kind for each in selections(OWN)))
SELECTED = ("ConfigMap", "NetworkPolicy", "Secret")
"""Kinds of which, outside Troth's own namespace, only owned and labelled objects are watched."""
LABELLED = {GIVEN_LABEL, REPORT, SCHEMA}

Refusal = Literal["403", "409", "500", "lost"]
"""Fault of a write. A lost one is carried out, but its answer never arrives."""
REASONS = {"403": "Forbidden", "409": "Conflict", "500": "InternalError", "lost": "Disconnected"}


@dataclass(frozen=True)
class Event:
    version: int
    place: Place
    manifest: Manifest | None
    """None once it is deleted."""


def ours(manifest: Manifest) -> bool:
    return (manifest["metadata"].get("labels") or {}).get(MANAGED_BY) == "troth"


def watched(manifest: Manifest) -> bool:
    own = manifest["kind"] == "Secret" and manifest["metadata"]["namespace"] == OWN
    labels = manifest["metadata"].get("labels") or {}
    labelled = bool(LABELLED & labels.keys())
    return manifest["kind"] not in SELECTED or own or labelled or ours(manifest)


class ApiServer(Server):
    """Keeps every event; rejects writes and loses answers on request."""

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[Event]] = defaultdict(list)
        self.refusals: list[Refusal] = []
        self.on_write: Callable[[Place, Manifest | None, Manifest | None], None] = lambda *_: None
        """Called with the place, the object before, and the object after."""
        self.watches: list[asyncio.Event] = []
        self.made: set[str] = set()
        """UIDs of the objects that the operator made."""

    @classmethod
    def like(cls, other: "ApiServer") -> "ApiServer":
        """Return a server with the same objects, and no history."""
        server = cls()
        server.objects = copy.deepcopy(other.objects)
        server._version = other._version
        for place, manifest in server.objects.items():
            event = Event(server._version, place, copy.deepcopy(manifest))
            server.history[place[0]].append(event)
        return server

    # Users and controllers

    def remove(self, place: Place) -> None:
        self._version += 1
        del self.objects[place]
        self._tell(Event(self._version, place, None))

    def let_go(self, place: Place, now: datetime) -> None:
        """Delete as kubectl does: an object with a finalizer only becomes terminating."""
        metadata = self.objects[place]["metadata"]
        if not metadata.get("finalizers"):
            self.remove(place)
        elif "deletionTimestamp" not in metadata:
            going = copy.deepcopy(self.objects[place])
            going["metadata"]["deletionTimestamp"] = stamp(now)
            self.put(going)

    def collect_garbage(self) -> None:
        """Remove the objects whose owner is gone."""
        uids = {each["metadata"]["uid"] for each in self.objects.values()}
        for place, manifest in list(self.objects.items()):
            owners = manifest["metadata"].get("ownerReferences") or []
            if owners and not any(owner["uid"] in uids for owner in owners):
                self.remove(place)

    # The operator

    async def apply(self, manifest: Manifest) -> Manifest:
        await asyncio.sleep(LATENCY)
        return await super().apply(manifest)

    async def apply_new(self, manifest: Manifest) -> Manifest:
        await asyncio.sleep(LATENCY)  # before the check for the object, not between check and write
        if (manifest["kind"], Ref.of(manifest)) in self.objects:
            raise ApiError(409, "Conflict", "the object exists")
        return await super().apply(manifest)

    async def merge_patch(
        self, kind: str, ref: Ref, patch: Manifest, subresource: str = ""
    ) -> Manifest:
        await asyncio.sleep(LATENCY)
        return await super().merge_patch(kind, ref, patch, subresource)

    async def json_patch(self, kind: str, ref: Ref, operations: list[Manifest]) -> Manifest:
        await asyncio.sleep(LATENCY)
        return await super().json_patch(kind, ref, operations)

    async def delete(self, kind: str, ref: Ref, uid: str) -> Manifest:
        await asyncio.sleep(LATENCY)
        found = self._get(kind, ref)
        if found["metadata"]["uid"] != uid:
            raise ApiError(409, "Conflict", "another object of that name")
        refusal = self._refuse()
        self.on_write((kind, ref), found, None)
        self.remove((kind, ref))
        self._answer((kind, ref), refusal)
        return found

    def _write(self, place: Place, stored: Manifest) -> Manifest:
        refusal = self._refuse()
        self.on_write(place, self.objects.get(place), stored)
        new = place not in self.objects
        answer = self._store(place, stored)
        if new:
            self.made.add(answer["metadata"]["uid"])
        self._answer(place, refusal)
        return answer

    def _refuse(self) -> Refusal | None:
        refusal = self.refusals.pop(0) if self.refusals else None
        if refusal in (None, "lost"):
            return refusal
        raise ApiError(int(refusal), REASONS[refusal], "as the test wants it")

    def _answer(self, place: Place, refusal: Refusal | None) -> None:
        self._written(place)
        if refusal == "lost":
            raise ApiError(0, REASONS["lost"], "the answer was lost")

    def _store(self, place: Place, stored: Manifest) -> Manifest:
        if place not in self.objects:  # an object created again is another object
            name = f"{place}/{self._version}"
            stored["metadata"]["uid"] = str(uuid.uuid5(uuid.NAMESPACE_URL, name))
        answer = super()._store(place, stored)
        there = place in self.objects  # otherwise its last finalizer was removed
        self._tell(Event(self._version, place, copy.deepcopy(answer) if there else None))
        return answer

    def _tell(self, event: Event) -> None:
        self.history[event.place[0]].append(event)
        for watch in self.watches:
            watch.set()


@dataclass
class LeaderFence:
    """Permission to write."""

    given: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def remaining(self) -> float:
        return 3600.0 if self.given.is_set() else 0.0

    async def gained(self) -> None:
        await self.given.wait()


@dataclass(frozen=True)
class ShardFence:
    """Permission to write the keys of one shard."""

    copy: "Copy"
    shard: int

    @property
    def remaining(self) -> float:
        return self.copy.leader_fence.remaining if self.shard in self.copy.led else 0.0

    async def gained(self) -> None:
        await self.copy.leader_fence.gained()


class Begun:
    """Background tasks, kept so that their errors are raised."""

    def __init__(self, background: Background) -> None:
        assert isinstance(background, BrokerWork)
        self._work = background
        self.tasks: list[asyncio.Task[None]] = []

    def begin(self, step: BackgroundStep) -> None:
        self._work.begin(step)
        self.tasks = [task for task in self.tasks if not task.done() or _failed(task)]
        self.tasks.append(self._work._tasks[step.broker])  # for a busy broker it is the same task

    def disconnect(self, broker: Ref) -> None:
        self._work.disconnect(broker)

    async def close(self) -> None:
        await self._work.close()


def _failed(task: asyncio.Task[None]) -> bool:
    return not task.cancelled() and task.exception() is not None


class Copy:
    """One copy of the operator, with its watches."""

    def __init__(self, server: ApiServer, clock: MovableClock, shards: int = 1) -> None:
        self._server = server
        self.leader_fence = LeaderFence()
        self.led: frozenset[int] = frozenset()
        """Shards whose keys it may write."""
        self._fences = [ShardFence(self, shard) for shard in range(shards)] if shards > 1 else []
        self.engine = Engine(
            server, OWN, clock=clock, leader_fence=self.leader_fence, shard_fences=self._fences
        )
        self._begun = self.engine.background = Begun(self.engine.background)
        self._muted: set[str] = set()
        self._told: dict[str, int] = {}
        """Number of events of a kind that it has received."""
        self._seen: dict[Place, str] = {}
        """Known objects, and the watch class of each."""
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, behind: Mapping[str, int]) -> None:
        """List each kind as it was some events ago, and start to work."""
        for kind in KINDS:
            self.list(kind, behind.get(kind, 0))
        self.look_at_everything()
        self._server.watches.append(self._news)
        work = [self.engine.work() for _ in range(WORKERS)]
        both = (self.engine.queue.run_due(), self._watch())
        self._tasks = [asyncio.create_task(each) for each in (*work, *both)]

    def lead(self, shards: Collection[int]) -> None:
        """Let it write the keys of these shards from now on, and no others."""
        self.led = frozenset(shards)
        if self.led:
            self.leader_fence.given.set()
        else:
            self.leader_fence.given.clear()
        if self._fences:
            take_shards(self.engine, self.led)

    async def kill(self) -> None:
        self._server.watches.remove(self._news)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.engine.close()

    @property
    def crashed(self) -> bool:
        """Whether the test made it crash; raises any other error."""
        tasks = [*self._tasks, *self._begun.tasks]
        over = [task for task in tasks if task.done() and not task.cancelled()]
        ends = [end for task in over if (end := task.exception()) is not None]
        for end in ends:
            if not isinstance(end, Crashed):
                raise end
        return bool(ends)

    def look_at_everything(self) -> None:
        registry = self.engine.world.registry
        self.engine.queue.add(identity_key(ref) for ref in registry.identities)
        self.engine.queue.add(domain_key(name) for name in registry.domains)
        self.engine.queue.add(self.engine.world.brokers.everything())
        self.engine.queue.add(self.engine.world.webhooks.everything())

    def mute(self, kind: str) -> None:
        self._muted.add(kind)

    def unmute(self, *kinds: str) -> None:
        self._muted.difference_update(kinds)
        self._news.set()

    def list(self, kind: str, behind: int = 0) -> None:
        """List a kind as it was some events ago, and watch from there."""
        history = self._server.history[kind]
        self._told[kind] = len(history) - behind
        past = history[: self._told[kind]]
        version = past[-1].version if past else 1
        latest = {event.place: event.manifest for event in past}
        there = {place: each for place, each in latest.items() if each and watched(each)}
        for place, manifest in there.items():
            self._observe(place, manifest)
        for place in [each for each in self._seen if each[0] == kind and each not in there]:
            self._forget(place, version)
        self._news.set()

    async def _watch(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            await asyncio.sleep(LATENCY)
            for kind in KINDS:
                history = self._server.history[kind]
                while kind not in self._muted and self._told[kind] < len(history):
                    self._told[kind] += 1
                    self._take(history[self._told[kind] - 1])

    def _take(self, event: Event) -> None:
        if event.manifest is not None and watched(event.manifest):
            self._observe(event.place, event.manifest)
        elif event.place in self._seen:  # deleted, or not selected any more
            self._forget(event.place, event.version)

    def _observe(self, place: Place, manifest: Manifest) -> None:
        before, now = self._seen.get(place), watch_class_of(manifest, OWN)
        self._seen[place] = now
        self.engine.observe(copy.deepcopy(manifest))
        if before not in (None, now):
            version = int(manifest["metadata"]["resourceVersion"])
            self.engine.forget(before, place[1], version)

    def _forget(self, place: Place, version: int) -> None:
        self.engine.forget(self._seen.pop(place), place[1], version)
