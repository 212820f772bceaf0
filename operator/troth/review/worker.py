"""The worker: a Lease, informers, and one worker for each policy that its identity reviews.

Only the replica that has the Lease reads topics, decides and writes. If it loses the Lease, it ends
everything that is under way; the next one goes on, and counts what was perhaps repeated.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import structlog

from troth.cluster.api import ApiServer
from troth.cluster.denials import logged
from troth.cluster.errors import ApiError, StoreRestored
from troth.cluster.leases.lease import Leadership, Timing
from troth.cluster.selection import Selection
from troth.cluster.watching.backoff import Backoff
from troth.cluster.watching.informer import Informer
from troth.cluster.watching.pace import Pace
from troth.documents.identity.document import Messages
from troth.edge.events.rejection import Rejection
from troth.edge.identity.files import Identity
from troth.edge.identity.snapshot import IdentityError
from troth.resources.references import Ref
from troth.review.brokers import BrokerUnavailableError, DeadLetterTopic
from troth.review.connecting import connect
from troth.review.four_eyes import Admission, admission_of
from troth.review.index.store import LetterIndex
from troth.review.objects.cache import POLICY, REVIEW, ReviewCache
from troth.review.objects.events import Recorder
from troth.review.objects.finalizers import Finalizers
from troth.review.objects.statuses import StatusWriter
from troth.review.orphans import Orphans
from troth.review.parts import Parts
from troth.review.policy_worker import PolicyWorker
from troth.review.ports import Audit
from troth.world.facts.objects import Manifest
from troth.world.origin import origin

FIELD_MANAGER = "troth-review"
"""Field manager of everything that the worker writes."""
LEASE = "troth-review"
"""Name of the Lease."""
LOOK_SECONDS = 1.0
"""Time between two looks at the identity's files."""
ADMISSION_SECONDS = 10.0
"""Time for which what the cluster has of the admission policy is remembered."""
STOP_SECONDS = 10.0
"""Time for running reviews to end their batch when the worker ends."""
NOT_FOUND = 404

log = structlog.get_logger()


class NotLeading(Exception):  # noqa: N818 - what happened, not what failed
    """Another replica has the Lease, or may have it."""


class Fence(Protocol):
    """Whether this replica may act."""

    @property
    def acting(self) -> bool:
        """Whether it may act now."""

    async def gained(self) -> None:
        """Wait until it may act."""

    async def run(self) -> None:
        """Acquire and renew the Lease until cancelled."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a worker. `namespaces` are those that it watches, all if empty."""

    namespace: str
    instance: str
    credentials: Path
    admission_policy: str
    namespaces: frozenset[str] = frozenset()
    timing: Timing = field(default_factory=Timing)


class Worker:
    """Carries out the reviews of all policies that this workload's identity reviews."""

    def __init__(
        self,
        server: ApiServer,
        settings: Settings,
        identity: Identity,
        index: LetterIndex,
        audit: Audit,
        *,
        connect: Callable[[Messages, Path], DeadLetterTopic] = connect,
        fence: Fence | None = None,
        unreadable: Callable[[Ref], Callable[[Rejection], None]] = lambda _: lambda _: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._server = server
        self._settings = settings
        self._identity = identity
        self._fence = fence or Leadership(
            server,
            Ref(settings.namespace, LEASE),
            settings.instance,
            settings.timing,
            may_lead=lambda: server.clock.agrees,
        )
        self.cache = ReviewCache()
        self._statuses = StatusWriter(server)
        self._admission: tuple[float, Admission] | None = None
        self._parts = Parts(
            identity=identity,
            credentials=settings.credentials,
            connect=connect,
            index=index,
            audit=audit,
            cache=self.cache,
            statuses=self._statuses,
            finalizers=Finalizers(server),
            recorder=Recorder(server, settings.instance),
            admission=self.admission,
            require=self._require,
            unreadable=unreadable,
            now=now,
        )
        self._orphans = Orphans(self._parts, self.served)
        self.policies: dict[Ref, PolicyWorker] = {}
        """Workers of the policies that are reviewed now."""
        self._tasks: dict[Ref, tuple[object, asyncio.Task[None]]] = {}
        places = sorted(settings.namespaces) or [""]
        self._selections = [Selection(kind, each) for kind in (REVIEW, POLICY) for each in places]

    @property
    def ready(self) -> bool:
        """Whether reviews and policies are known."""
        return self.cache.is_listed(self._selections)

    def served(self) -> Collection[Ref]:
        """Return the policies that the identity reviews now."""
        return self._entries().keys()

    async def run(self) -> None:
        """Work until cancelled; then end running reviews between two batches."""
        pace = Pace()
        informers = [
            Informer(self._server, each, self.cache, _failed, pace=pace)
            for each in self._selections
        ]
        async with asyncio.TaskGroup() as tasks:
            for informer in informers:
                tasks.create_task(informer.run())
            tasks.create_task(self._renew())
            leading = tasks.create_task(self._lead_for_ever())
            try:
                await asyncio.Event().wait()
            finally:  # before the Lease is released
                leading.cancel()
                await asyncio.wait({leading})

    async def admission(self) -> Admission:
        """Return what the cluster has of the admission policy; raises `ApiError`."""
        now = asyncio.get_running_loop().time()
        if self._admission is None or now - self._admission[0] > ADMISSION_SECONDS:
            name = Ref("", self._settings.admission_policy)
            policy = await self._found("ValidatingAdmissionPolicy", name)
            binding = await self._found("ValidatingAdmissionPolicyBinding", name)
            self._admission = now, admission_of(policy, binding)
        return self._admission[1]

    # Parts

    async def _renew(self) -> None:
        """Hold the Lease; the store's restoration ends nothing here but the Lease."""
        while True:
            try:
                await self._fence.run()
            except StoreRestored:
                log.warning("the API server's store was restored; acquiring the Lease again")

    async def _lead_for_ever(self) -> None:
        while True:
            await self._fence.gained()
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._until_lost())
                    tasks.create_task(self._statuses.run())
                    tasks.create_task(self._wake())
                    tasks.create_task(self._follow_orphans())
                    tasks.create_task(self._follow_identity())
            except* NotLeading:
                log.warning("the Lease is lost; reviews are not carried out here")
            finally:
                await self._end_policies()
                self._statuses.clear()

    async def _until_lost(self) -> None:
        while True:
            self._require()
            await asyncio.sleep(LOOK_SECONDS / 4)

    async def _wake(self) -> None:
        """Let each policy look at its reviews after a change."""
        while True:
            await self.cache.changed.wait()
            self.cache.changed.clear()
            for each in self.policies.values():
                each.wake()
            self._orphans.wake()

    async def _follow_orphans(self) -> None:
        """Follow reviews without a worker, once it is known which policies there are."""
        while True:
            if self.ready:
                await self._orphans.run()
            await asyncio.sleep(LOOK_SECONDS / 4)

    async def _follow_identity(self) -> None:
        """Start and end the workers of policies, as the identity's files say."""
        while True:
            if self.ready:
                self._statuses.keep(self.cache.uids())
                entries = self._entries()
                for policy, (key, task) in list(self._tasks.items()):
                    if policy not in entries or _key(entries[policy]) != key or task.done():
                        await self._end(policy)
                for policy, entry in entries.items():
                    if policy not in self._tasks:
                        self._start(policy, entry)
            await asyncio.sleep(LOOK_SECONDS)

    def _entries(self) -> Mapping[Ref, Messages]:
        try:
            messages = self._identity.current.document.messages
        except IdentityError:
            return {}
        return {Ref.parse(each.policy): each for each in messages if each.action == "Review"}

    def _start(self, policy: Ref, entry: Messages) -> None:
        worker = PolicyWorker(entry, self._parts)
        task = asyncio.create_task(self._run(worker), name=f"reviews of {policy}")
        self.policies[policy] = worker
        self._tasks[policy] = _key(entry), task

    async def _run(self, worker: PolicyWorker) -> None:
        """Run the worker of a policy, and again after every failure."""
        backoff = Backoff(first=1.0, most=60.0)
        leading = True
        while leading:
            try:
                await worker.run()
            except* NotLeading:
                leading = False
            except* BrokerUnavailableError as group:
                error = group.exceptions[0]
                log.warning("broker not usable", policy=str(worker.policy), error=str(error))
            except* Exception as group:  # noqa: BLE001 - other policies go on
                log.error("reviews failed", policy=str(worker.policy), error=origin(group))  # noqa: TRY400
            await asyncio.sleep(backoff.next())

    async def _end(self, policy: Ref) -> None:
        """End the worker of a policy between two batches, if that is soon."""
        worker, (_, task) = self.policies.pop(policy), self._tasks.pop(policy)
        if self._fence.acting:
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await worker.stop()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _end_policies(self) -> None:
        await asyncio.gather(*(self._end(each) for each in list(self._tasks)))

    def _require(self) -> None:
        if not self._fence.acting:
            raise NotLeading

    async def _found(self, kind: str, ref: Ref) -> Manifest | None:
        try:
            return await self._server.get(kind, ref)
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise
            return None


def _key(entry: Messages) -> object:
    """Return what of an entry needs another connection if it changes."""
    letters = entry.dead_letter
    assert letters is not None
    retries = tuple(each.retry for each in entry.consumers)
    topics = (entry.stream, letters.topic, letters.stream)
    return (entry.broker, entry.type, entry.principal, topics, retries)


def _failed(selection: Selection, error: ApiError) -> None:
    log.warning("watch failed", kind=selection.kind, **logged(error))
