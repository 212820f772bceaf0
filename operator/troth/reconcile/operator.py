"""The operator process: check of the CRDs, informers, startup barrier, leader election and workers.

`troth.cli.run.shell` wraps it in kopf; tests run it without that shell.

If the API server's store is restored from a snapshot, the operator drops everything that it knows
and begins again as after a restart. What it remembers is of a future that did not happen: versions,
deletions, private keys, and what was seen to be in use.
"""

import asyncio
import gc
from dataclasses import dataclass, field

import structlog

from troth.cluster.api import ApiServer
from troth.cluster.crds import NOT_FOUND, CRDCheck
from troth.cluster.denials import FORBIDDEN, logged
from troth.cluster.errors import ApiError, StoreRestored
from troth.cluster.leases.claim import Claim
from troth.cluster.leases.lease import Leadership, Timing
from troth.cluster.leases.shard_lease import ShardFence, ShardLeadership
from troth.cluster.selection import Selection
from troth.cluster.watching.informer import GONE, Informer
from troth.cluster.watching.pace import Pace
from troth.cluster.watching.resync import INTERVAL, Resync
from troth.reconcile.loop.cache import REVIEWS, Cache, MetadataCache
from troth.reconcile.loop.engine import Engine
from troth.reconcile.loop.freshness import UNREAD_AFTER, Freshness
from troth.reconcile.loop.handover import is_idle, take_shards
from troth.reconcile.loop.informers import metadata_selections, selections
from troth.reconcile.loop.namespace_lists import NamespaceLists
from troth.reconcile.runtime.clock import Clock, SystemClock
from troth.reconcile.runtime.instrumentation import Instrumentation
from troth.reconcile.runtime.lease_fence import may_write
from troth.resources.references import Ref
from troth.serving.cancellation import raise_if_cancelled
from troth.serving.garbage import collect_seldom
from troth.trust.declarations.watched import Watched
from troth.world.keys import domain_key, identity_key, view_key

LEASE = "troth-operator"
WORKERS = 8
BARRIER_POLL = 0.02
"""Time in seconds between two checks at startup whether every cache has synced."""
UNREADABLE = (FORBIDDEN, NOT_FOUND)
"""Statuses with which the API server says that it serves no such kind, or forbids it."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of an operator: namespace, instance name, lease timing, and number of workers."""

    own_namespace: str
    instance: str
    timing: Timing = field(default_factory=Timing)
    workers: int = WORKERS
    shards: int = 1
    """Number of shards, which replicas share. With one, a single replica acts."""
    rollouts: bool = False
    """Whether Troth may restart the workloads that identities name."""
    namespaces: frozenset[str] = frozenset()
    """Namespaces that Troth watches besides its own; if empty, it watches all."""
    resync: float = INTERVAL
    """Mean number of seconds between two comparisons of a selection with the API server."""
    unread_after: float = UNREAD_AFTER
    """Number of seconds without a read after which a selection counts as unread."""


class Operator:
    """One replica of Troth. `run` runs it; `ready` is true once all caches are in sync."""

    def __init__(
        self,
        server: ApiServer,
        settings: Settings,
        clock: Clock | None = None,
        instrumentation: Instrumentation | None = None,
    ) -> None:
        self._server = server
        self._settings = settings
        self._clock = clock or SystemClock()
        self._instrumentation = instrumentation or Instrumentation()
        server.clock.elects = True
        self.claim = Claim(server, settings.own_namespace, settings.timing, is_gone=self._is_gone)
        server.fence.may_write = lambda: may_write(self.leadership)
        self._know_nothing()

    def _know_nothing(self) -> None:
        """Make all parts that remember something about the cluster."""
        server, settings = self._server, self._settings
        watched = Watched.of(settings.own_namespace, settings.namespaces)
        self._restored = asyncio.Event()
        self.leadership, self.shard_fences = self._election()
        self.engine = Engine(
            server,
            settings.own_namespace,
            clock=self._clock,
            leader_fence=self.leadership,
            shard_fences=self.shard_fences,
            instance=settings.instance,
            instrumentation=self._instrumentation,
            rollouts=settings.rollouts,
            watched=watched,
        )
        self.engine.world.registry.unlisted.expect(self._apart)
        self.crds = CRDCheck(server)
        self._cache = cache = Cache(self.engine)
        metadata, pace = MetadataCache(self.engine), Pace()
        listed = selections(settings.own_namespace, rollouts=settings.rollouts, watched=watched)
        self.informers = [
            Informer(
                server,
                selection,
                metadata if selection.metadata_only else cache,
                self._failed,
                list_after=(GONE, *UNREADABLE) if selection.kind == REVIEWS else (GONE,),
                may_continue=self.crds.confirm,
                on_restored=self._restored.set,
                pace=pace,
            )
            for selection in (*listed, *metadata_selections(watched))
        ]
        self._namespace_lists = NamespaceLists(
            self.engine.world.registry, self._in_namespace, cache.note_listed
        )
        self._freshness = Freshness(
            lambda: self.watching,
            lambda: server.answered_at,
            cache.note_unread,
            settings.unread_after,
        )
        self.resyncs = [
            Resync(
                server,
                informer,
                metadata if informer.selection.metadata_only else cache,
                interval=settings.resync,
                on_difference=self._instrumentation.cache_differed,
                on_restored=self._restored.set,
            )
            for informer in self.informers
        ]

    def _election(self) -> tuple[Leadership, tuple[ShardFence, ...]]:
        """Return the election, and the fences of the shards if several replicas act at once."""
        server, settings = self._server, self._settings
        lease = Ref(settings.own_namespace, LEASE)
        if settings.shards == 1:
            alone = Leadership(
                server,
                lease,
                settings.instance,
                settings.timing,
                may_lead=self._may_lead,
            )
            return alone, ()
        leadership = ShardLeadership(
            server,
            lease,
            settings.instance,
            settings.timing,
            shards=settings.shards,
            may_lead=self._may_lead,
            is_idle=lambda shard: is_idle(self.engine, shard),
            on_change=lambda held: take_shards(self.engine, held),
        )
        return leadership, leadership.fences

    def _may_lead(self) -> bool:
        return self._server.clock.agrees and self.claim.holds

    def _is_gone(self, namespace: str) -> bool:
        """Return whether a namespace certainly does not exist."""
        return self._knows_namespaces and namespace not in self.engine.world.registry.namespaces

    @property
    def clock_skew(self) -> float:
        """Seconds by which this process's clock is ahead of the API server's, at least."""
        return self._server.clock.ahead.total_seconds()

    @property
    def ready(self) -> bool:
        """Whether every cache has synced, so that the world is complete, and is kept in step.

        A cache is in step if its changes are followed, and its selection is not unread. An operator
        beside that of another installation is never ready.
        """
        return self.claim.is_own and self._is_in_sync

    @property
    def _is_in_sync(self) -> bool:
        return self._knows_namespaces and all(
            each.synced.is_set() and self._is_followed(each) and self._is_young(each)
            for each in self.required
        )

    @staticmethod
    def _is_followed(informer: Informer) -> bool:
        """Return whether changes are seen. Reviews that may only be listed are listed again."""
        return informer.established.is_set() or informer.selection.kind == REVIEWS

    def _is_young(self, informer: Informer) -> bool:
        return informer.age <= self._settings.unread_after

    @property
    def _knows_namespaces(self) -> bool:
        synced = [each.selection for each in self.informers if each.synced.is_set()]
        return any(each.kind == "Namespace" for each in synced)

    @property
    def _apart(self) -> frozenset[str]:
        """Namespaces that are listed by themselves, and of which no one may stop the others."""
        return self._settings.namespaces - {self._settings.own_namespace}

    @property
    def required(self) -> list[Informer]:
        """Informers without which Troth writes nothing anywhere.

        If one namespace cannot be read, nothing is planned there, and all others go on.
        """
        return [
            each
            for each in self.watching
            if not (each.is_hindered and each.selection.namespace in self._apart)
        ]

    @property
    def watching(self) -> list[Informer]:
        """Informers without which the world is incomplete.

        A namespace that does not exist has no objects, and one that is being deleted opens none.
        Its Role was deleted with it, so it cannot be listed. DeadLetterReviews that the API server
        does not serve or forbids are not required either. Nor is metadata, which only ends
        deletions.
        """
        world, gone = self.engine.world, frozenset[str]()
        if self._knows_namespaces:
            existing = world.registry.namespaces.keys() - world.terminating
            gone = self._apart - existing
        return [
            each
            for each in self.informers
            if each.selection.namespace not in gone
            and not self._is_denied(each)
            and not each.selection.metadata_only
        ]

    @property
    def of_metadata(self) -> list[Informer]:
        """Informers of metadata, without which deletions in unlisted namespaces do not end."""
        return [each for each in self.informers if each.selection.metadata_only]

    def _in_namespace(self, namespace: str) -> list[Informer]:
        """Return the informers of a namespace's objects without which its state is unknown."""
        found = (each for each in self.informers if each.selection.namespace == namespace)
        return [each for each in found if not self._is_denied(each)]

    def _is_denied(self, informer: Informer) -> bool:
        """Return whether an informer is of reviews and was told that it cannot read them."""
        selection, messaging = informer.selection, self.engine.world.brokers.messaging
        return selection.kind == REVIEWS and messaging.reviews.are_hidden(selection.namespace)

    async def run(self) -> None:
        """Run until cancelled. A failure of any part ends the operator.

        It begins once the installed CRDs have every field that it knows. Until then it does not
        compete for the lease, so that another replica continues.

        The lease is renewed until all work has ended and is released last. The next leader must not
        meet calls to a broker that this one has begun.

        Python's cycle collector runs less often, and skips the objects of the initial lists.
        Long-lived objects here form trees, and traversing them took half of the startup time.
        """
        collect_seldom()
        while True:
            await self.crds.wait()
            # A task of its own, so that only a stop from outside counts as a cancellation of this
            # one. Task groups cancel their own task when they fail, and may hide a stop.
            life = asyncio.create_task(self._live(), name="life")
            try:
                await life
            except* StoreRestored:
                log.warning(
                    "the API server's store was restored from an earlier state, or the Lease was "
                    "deleted; dropping everything known and starting again"
                )
            self._instrumentation.store_restored()
            self._know_nothing()
            gc.unfreeze()
            gc.collect()
            raise_if_cancelled()

    async def _live(self) -> None:
        """Run until cancelled. Raises a group with `StoreRestored` if the store was restored."""
        async with asyncio.TaskGroup() as tasks:
            claiming = tasks.create_task(self.claim.run())
            holding = tasks.create_task(self.leadership.run())
            try:
                await self._run()
            finally:
                await self.engine.close()
                holding.cancel()
                claiming.cancel()

    async def _until_restored(self) -> None:
        await self._restored.wait()
        raise StoreRestored

    async def _until_ready(self) -> None:
        while True:
            if self._is_in_sync:
                return
            await asyncio.sleep(BARRIER_POLL)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._until_restored())
            for informer in self.informers:
                tasks.create_task(informer.run())
            await self._until_ready()
            self._namespace_lists.look(starting=True)
            for namespace in self.engine.world.registry.unlisted_ones():
                log.error("namespace unread; nothing is planned there", namespace=namespace)
            gc.freeze()
            log.info("caches in sync", identities=len(self.engine.world.registry.identities))
            # reconciling the owners finds owned objects whose owner was deleted while Troth was
            # down
            registry = self.engine.world.registry
            self.engine.queue.add(identity_key(ref) for ref in registry.claimants)
            self.engine.queue.add(identity_key(ref) for ref in registry.trust_records)
            self.engine.queue.add(domain_key(name) for name in registry.domains)
            self.engine.queue.add(view_key(name) for name in registry.domains)
            self.engine.queue.add(self.engine.world.brokers.everything())
            self.engine.queue.add(self.engine.world.webhooks.everything())
            self.leadership.join()
            tasks.create_task(self._freshness.run())
            tasks.create_task(self._namespace_lists.run())
            tasks.create_task(self.engine.queue.run_due())
            for resync in self.resyncs:
                tasks.create_task(resync.run())
            for _ in range(self._settings.workers):
                tasks.create_task(self.engine.work())

    def _failed(self, selection: Selection, error: ApiError) -> None:
        """Log a failure; a kind that may be missing is logged when it becomes unreadable."""
        told = "watch failed"
        if selection.kind == REVIEWS and error.status in UNREADABLE:
            reviews = self.engine.world.brokers.messaging.reviews
            known = reviews.are_hidden(selection.namespace)
            if self._cache.denied(selection):
                told = "reviews cannot be read; no redrive is granted"
                if known:
                    return
        log.warning(told, kind=selection.kind, **logged(error))
