"""The operator as one thing to run: informers, barrier, leadership, workers.

The kopf shell around it is in `troth.cli.run.shell`; tests run this very thing without the shell.
"""

import asyncio
import gc
from dataclasses import dataclass, field

import structlog

from troth.cluster.api import ApiServer, Selection
from troth.cluster.errors import ApiError
from troth.cluster.informer import Informer
from troth.cluster.lease import Leadership, Timing
from troth.cluster.resync import INTERVAL, Resync
from troth.reconcile.loop.cache import Cache
from troth.reconcile.loop.clock import Clock, SystemClock
from troth.reconcile.loop.engine import Engine
from troth.reconcile.loop.informers import selections
from troth.reconcile.loop.instrumentation import Instrumentation
from troth.resources.references import Ref
from troth.world.keys import domain_key, identity_key, view_key

LEASE = "troth-operator"
WORKERS = 8
YOUNG = 50_000
"""Objects made before Python looks for cycles among them, in place of its 700."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Settings:
    """How an operator runs: where, under which name, and how its lease is timed."""

    own_namespace: str
    instance: str
    timing: Timing = field(default_factory=Timing)
    workers: int = WORKERS
    rollouts: bool = False
    """Whether the workloads that identities name may be restarted."""
    resync: float = INTERVAL
    """Seconds between two comparisons of one selection with the API server, on average."""


class Operator:
    """One copy of Troth. `run` it; `ready` tells when its caches are in sync."""

    def __init__(
        self,
        server: ApiServer,
        settings: Settings,
        clock: Clock | None = None,
        instrumentation: Instrumentation | None = None,
    ) -> None:
        self._settings = settings
        self.leadership = Leadership(
            server, Ref(settings.own_namespace, LEASE), settings.instance, settings.timing
        )
        server.fence.may_write = lambda: self.leadership.acting
        self.engine = Engine(
            server,
            settings.own_namespace,
            clock=clock or SystemClock(),
            leader_fence=self.leadership,
            instance=settings.instance,
            instrumentation=instrumentation,
            rollouts=settings.rollouts,
        )
        cache = Cache(self.engine)
        self.informers = [
            Informer(server, selection, cache, _failed)
            for selection in selections(settings.own_namespace, rollouts=settings.rollouts)
        ]
        differed = (instrumentation or Instrumentation()).cache_differed
        self.resyncs = [
            Resync(server, informer, cache, interval=settings.resync, on_difference=differed)
            for informer in self.informers
        ]

    @property
    def ready(self) -> bool:
        """Whether every cache has been in sync, so that the world can be trusted."""
        return all(informer.synced.is_set() for informer in self.informers)

    async def run(self) -> None:
        """Run until cancelled, or until a part fails, which ends the whole.

        The process is the operator's: Python's search for cycles is made rarer, and leaves out what
        was listed. All that lasts here is trees, and going over them was half the work of a start.
        """
        gc.set_threshold(YOUNG)
        try:
            await self._run()
        finally:
            await self.engine.close()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for informer in self.informers:
                tasks.create_task(informer.run())
            tasks.create_task(self.leadership.run())
            for informer in self.informers:
                await informer.synced.wait()
            gc.freeze()
            log.info("caches in sync", identities=len(self.engine.world.registry.identities))
            # children whose owner went while nobody watched are found by their owners' keys
            registry = self.engine.world.registry
            self.engine.queue.add(identity_key(ref) for ref in registry.claimants)
            self.engine.queue.add(domain_key(name) for name in registry.domains)
            self.engine.queue.add(view_key(name) for name in registry.domains)
            self.engine.queue.add(self.engine.world.brokers.everything())
            self.engine.queue.add(self.engine.world.webhooks.everything())
            tasks.create_task(self.engine.queue.run_due())
            for resync in self.resyncs:
                tasks.create_task(resync.run())
            for _ in range(self._settings.workers):
                tasks.create_task(self.engine.work())


def _failed(selection: Selection, error: ApiError) -> None:
    log.warning("watch failed", kind=selection.kind, status=error.status, reason=error.reason)
