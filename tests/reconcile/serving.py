"""In-memory API server that records, refuses and crashes, and an engine that runs against it."""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from tests.builders import NOW, OWN, Manifest
from tests.patience import PATIENCE
from troth.cluster.errors import ApiError
from troth.reconcile.loop.engine import Engine
from troth.reconcile.rehearsal import Place, Rehearsal
from troth.reconcile.runtime.clock import MovableClock
from troth.reconcile.runtime.instrumentation import Instrumentation
from troth.reconcile.status.stall_delay import StallDelay
from troth.resources.references import Ref
from troth.trust.declarations.watched import EVERYWHERE, Watched
from troth.world.watch_class import watch_class_of


class Crashed(BaseException):
    """Stands for the end of the process."""


class Server(Rehearsal):
    """Records writes, refuses those that `refuses` selects, crashes after write `crash_after`."""

    def __init__(self, objects: Iterable[Manifest] = (), crash_after: int = 0) -> None:
        super().__init__(objects)
        self.writes = 0
        self.log: list[Place] = []
        self.events: list[Manifest] = []
        self.refuses: Callable[[Place], ApiError | None] = lambda _: None
        self.crash_after = crash_after

    def _write(self, place: Place, stored: Manifest) -> Manifest:
        refusal = self.refuses(place)
        if refusal is not None:
            raise refusal
        if place[0] == "NetworkPolicy":  # the API server does not store empty lists
            stored["spec"] = {key: value for key, value in stored["spec"].items() if value != []}
        answer = super()._write(place, stored)
        self._written(place)
        return answer

    async def delete(self, kind: str, ref: Ref, uid: str) -> Manifest:
        answer = await super().delete(kind, ref, uid)
        self._written((kind, ref))
        return answer

    def take_away(self, kind: str, ref: Ref) -> Manifest:
        """Delete an object as a user does; return it with the resourceVersion of its deletion."""
        gone = self.objects.pop((kind, ref))
        self._version += 1
        gone["metadata"]["resourceVersion"] = str(self._version)
        return gone

    async def create(self, manifest: Manifest) -> Manifest:
        self.events.append(manifest)
        return manifest

    def _written(self, place: Place) -> None:
        self.log.append(place)
        if len(self.log) == self.crash_after:
            raise Crashed

    def reasons(self) -> list[str]:
        return [event["reason"] for event in self.events]

    def condition(self, kind: str, ref: Ref, type_: str) -> Manifest:
        listed = self.objects[kind, ref]["status"]["conditions"]
        found: Manifest = next(each for each in listed if each["type"] == type_)
        return found


@dataclass
class LeaderFence:
    """Leader fence whose remaining time a test sets."""

    remaining: float = 3600.0

    async def gained(self) -> None:
        while self.remaining <= 0:  # noqa: ASYNC110 - tests set `remaining` directly
            await asyncio.sleep(0.001)


@dataclass
class Running:
    """An engine that runs against a server and observes changes as from an informer."""

    server: Server
    engine: Engine
    clock: MovableClock
    worker: asyncio.Task[None]

    async def settle(self) -> None:
        """Wait until nothing is left to do; raise what ended the worker."""
        settled = asyncio.create_task(self.engine.queue.settled())
        done, _ = await asyncio.wait(
            {self.worker, settled}, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE
        )
        settled.cancel()
        if self.worker in done:
            self.worker.result()
        assert settled in done, "does not settle"
        await self.engine.event_recorder.flush()
        if len(self.engine.queue):  # keys were queued while Events were posted
            await self.settle()

    async def live(self, length: timedelta) -> None:
        """Advance the clock and finish the work due by then.

        Needs an engine started with `due=True`.
        """
        await self.clock.move_to(self.clock.now() + length)
        for _ in range(8):  # another task queues keys that are due
            await asyncio.sleep(0)
        await self.settle()

    async def put(self, manifest: Manifest) -> None:
        self.engine.observe(self.server.put(manifest))
        await self.settle()

    async def drop(self, kind: str, ref: Ref) -> None:
        gone = self.server.take_away(kind, ref)
        version = int(gone["metadata"]["resourceVersion"])
        self.engine.forget(watch_class_of(gone, OWN), ref, version)
        await self.settle()

    async def collect(self, uid: str) -> None:
        """Delete the objects that an owner's UID owned, as the garbage collector does."""
        owned = [
            place
            for place, each in self.server.objects.items()
            if any(one["uid"] == uid for one in each["metadata"].get("ownerReferences") or [])
        ]
        for kind, ref in owned:
            await self.drop(kind, ref)


@asynccontextmanager
async def running(
    server: Server,
    now: datetime = NOW,
    leader_fence: LeaderFence | None = None,
    *,
    due: bool = False,
    rollouts: bool = False,
    instrumentation: Instrumentation | None = None,
    own: str = OWN,
    stall_delay: StallDelay | None = None,
    watched: Watched = EVERYWHERE,
) -> AsyncIterator[Running]:
    """Start an engine in the namespace `own` that has just listed all objects."""
    clock = MovableClock(now)
    engine = Engine(
        server,
        own,
        clock=clock,
        leader_fence=leader_fence or LeaderFence(),
        rollouts=rollouts,
        instrumentation=instrumentation,
        stall_delay=stall_delay,
        watched=watched,
    )
    for manifest in list(server.objects.values()):
        engine.observe(copy.deepcopy(manifest))
    worker = asyncio.create_task(engine.work())
    coming = asyncio.create_task(engine.queue.run_due()) if due else None
    try:
        yield Running(server, engine, clock, worker)
    finally:
        tasks = [task for task in (worker, coming) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def converge(server: Server, now: datetime = NOW) -> None:
    """Run an engine until nothing is left to do."""
    async with running(server, now) as it:
        await it.settle()
