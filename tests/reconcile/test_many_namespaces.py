"""Troth that watches 50 namespaces, over HTTP: no watch takes a connection that others need."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
from aiohttp import web

from benchmarks.simulation import server
from benchmarks.simulation.server import application
from benchmarks.simulation.store import Store
from tests.builders import OWN, accept, call, domain, identity, namespace
from tests.patience import PATIENCE
from troth.cluster.api import ApiServer
from troth.cluster.connection.connecting import CONNECTIONS
from troth.cluster.connection.library import Configuration
from troth.cluster.leases.lease import Timing
from troth.cluster.watching.pace import LISTS, Pace
from troth.planning.owned_objects import secret_ref
from troth.reconcile import operator as operators
from troth.reconcile.loop.freshness import UNREAD_AFTER
from troth.reconcile.operator import Operator, Settings
from troth.reconcile.runtime.clock import Clock
from troth.resources.references import Ref
from troth.trust.declarations.unlisted import UNLISTED
from troth.trust.declarations.unread import UNREAD

NAMESPACES = frozenset(f"shop-{number}" for number in range(50))
LIVE = "True", "AllLive"
IDENTITY = Ref("shop-49", "payments")
TIMING = Timing(duration=60.0, renew_every=0.5, margin=20.0)
"""Long, because the machine may be busy."""
PAIR = Ref("shop-0", "web"), Ref("shop-1", "payments")
QUICK = 3.0
"""Seconds after which a selection counts as unread, longer than two bookmarks are apart."""
FAST = 500.0
"""Rounds of informers that begin in a second: ten times as many as in production."""


class Cluster:
    """The simulated API server, which counts requests that it is answering."""

    def __init__(self) -> None:
        self.store = Store()
        self.busy: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.rejected = self.renewals = 0
        self._watches: list[tuple[web.Request, asyncio.Task[Any]]] = []
        self.rejects: Callable[[web.Request], bool] = lambda _: False
        for name in (OWN, *sorted(NAMESPACES)):
            self.store.put(namespace(name))

    @web.middleware
    async def count(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        verb = "watch" if request.query.get("watch") else "list" if _lists(request) else "other"
        if self.rejects(request):
            self.rejected += 1
            return web.json_response({"reason": "Forbidden"}, status=403)
        self.renewals += request.method == "PUT" and "leases" in request.path
        task = asyncio.current_task()
        if verb == "watch" and task is not None:
            self._watches.append((request, task))
        self.busy[verb] += 1
        self.most[verb] = max(self.most[verb], self.busy[verb])
        try:
            return await handler(request)
        finally:
            self.busy[verb] -= 1

    async def forbid(self, plural: str) -> None:
        """Reject all reads of a kind, and end its watches."""
        self.rejects = lambda request: request.path.endswith(plural) and request.method == "GET"
        ended = [task for request, task in self._watches if self.rejects(request)]
        while not all(task.done() for task in ended):
            for task in ended:  # again, because a watch with an event misses a cancellation
                task.cancel()
            await asyncio.sleep(0.01)

    def condition(self, ref: Ref, type_: str) -> tuple[str, str]:
        """Return the status and the reason of an identity's condition."""
        status = self.store.objects["ServiceIdentity", ref].get("status") or {}
        found = (each for each in status.get("conditions") or () if each["type"] == type_)
        return next(((each["status"], each["reason"]) for each in found), ("", ""))


def _lists(request: web.Request) -> bool:
    return request.method == "GET" and "limit" in request.query


@asynccontextmanager
async def running(
    cluster: Cluster,
    namespaces: frozenset[str],
    unread_after: float = UNREAD_AFTER,
    clock: Clock | None = None,
) -> AsyncIterator[Operator]:
    """Run an operator with the connections of `troth run`, which watches these namespaces."""
    app = application(cluster.store)
    app.middlewares.append(cluster.count)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    config = Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
    config.connection_pool_maxsize = CONNECTIONS
    try:
        async with ApiServer(config) as client:
            settings = Settings(
                OWN, "one", TIMING, namespaces=namespaces, unread_after=unread_after
            )
            operator = Operator(client, settings, clock)
            task = asyncio.create_task(operator.run())
            try:
                yield operator
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
    finally:
        await runner.cleanup()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - nothing tells of a change
            await asyncio.sleep(0.02)


def declare(cluster: Cluster, caller: Ref, callee: Ref) -> None:
    """Declare a trust domain, two namespaces, and a caller and a callee that consent."""
    cluster.store.put(domain())
    for each in (caller, callee):
        cluster.store.put(namespace(each.namespace, domain="production"))
    cluster.store.put(
        identity(
            caller.name, caller.namespace, calls=[call(callee.name, namespace=callee.namespace)]
        )
    )
    cluster.store.put(
        identity(
            callee.name,
            callee.namespace,
            ports=["https"],
            accepts=[accept(caller.name, namespace=caller.namespace)],
        )
    )


def inside(namespace: str, plural: str = "") -> Callable[[web.Request], bool]:
    """Return whether a request is in a namespace, for a kind if one is given."""
    place = f"/namespaces/{namespace}/{plural}"
    return lambda request: place in request.path


@pytest.fixture
async def cluster() -> Cluster:
    return Cluster()


async def test_50_namespaces_are_watched_and_the_lease_is_renewed(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operators, "Pace", partial(Pace, FAST))
    async with running(cluster, NAMESPACES) as operator:
        await until(lambda: operator.ready and operator.leadership.acting)
        assert cluster.busy["watch"] == len(operator.informers) > 600
        assert cluster.most["list"] <= LISTS < CONNECTIONS
        renewals = cluster.renewals
        await until(lambda: cluster.renewals >= renewals + 4)
        assert operator.leadership.acting
        cluster.store.put(identity(IDENTITY.name, IDENTITY.namespace))
        place = "ServiceIdentity", IDENTITY
        await until(lambda: bool(cluster.store.objects[place]["status"].get("conditions")))


async def test_operator_is_ready_only_with_a_watch_of_every_kind(cluster: Cluster) -> None:
    cluster.rejects = lambda request: "watch" in request.query and "services" in request.path
    async with running(cluster, frozenset()) as operator:
        await until(lambda: all(each.synced.is_set() for each in operator.informers))
        await until(lambda: cluster.rejected > 1)
        assert not operator.ready
        cluster.rejects = lambda _: False
        await until(lambda: operator.ready)


@pytest.mark.parametrize("plural", ["serviceidentities", "trustdomains", "namespaces"])
async def test_edge_is_suspended_while_its_declarations_are_forbidden(
    cluster: Cluster, plural: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "BOOKMARK_SECONDS", 1.0)
    caller, callee = PAIR
    declare(cluster, caller, callee)
    async with running(cluster, frozenset(), unread_after=QUICK) as operator:
        await until(lambda: cluster.condition(callee, "PeersAgree") == ("True", "AllLive"))
        await cluster.forbid(plural)
        await until(lambda: cluster.condition(callee, "PeersAgree") == ("False", UNREAD))
        await until(lambda: cluster.condition(caller, "PeersAgree") == ("False", UNREAD))
        assert not operator.ready
        cluster.rejects = lambda _: False
        await until(lambda: cluster.condition(callee, "PeersAgree") == ("True", "AllLive"))
        await until(lambda: operator.ready)


async def test_namespace_without_rights_is_suspended_and_the_others_go_on(cluster: Cluster) -> None:
    caller, callee = PAIR
    declare(cluster, caller, callee)
    alone = Ref(caller.namespace, "alone")
    cluster.store.put(identity(alone.name, alone.namespace))
    cluster.rejects = inside(callee.namespace)
    async with running(cluster, frozenset({caller.namespace, callee.namespace})) as operator:
        await until(lambda: operator.ready and operator.leadership.acting)
        await until(lambda: cluster.condition(caller, "PeersAgree") == ("False", UNLISTED))
        await until(lambda: cluster.condition(alone, "Ready")[0] == "True")
        assert cluster.condition(callee, "PeersAgree") == ("", "")
        assert ("Secret", secret_ref(callee)) not in cluster.store.objects
        cluster.rejects = lambda _: False
        await until(lambda: all(cluster.condition(each, "PeersAgree") == LIVE for each in PAIR))


async def test_namespace_that_appears_is_planned_after_its_caches_have_synced(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "BOOKMARK_SECONDS", 1.0)
    new, other = Ref("new", "payments"), Ref("shop-0", "other")

    def written() -> set[str]:
        found = {kind for kind, ref in cluster.store.objects if ref.namespace == new.namespace}
        return found - {"ServiceIdentity"}

    cluster.store.put(domain())
    cluster.rejects = inside(new.namespace, "services")
    async with running(cluster, frozenset({new.namespace, other.namespace})) as operator:
        await until(lambda: operator.ready and operator.leadership.acting)
        cluster.store.put(namespace(new.namespace, domain="production"))
        cluster.store.put(identity(new.name, new.namespace))
        known = operator.engine.world.registry.identities
        await until(lambda: new in known)
        cluster.store.put(namespace(other.namespace, domain="production"))
        cluster.store.put(identity(other.name, other.namespace))
        await until(lambda: cluster.condition(other, "Ready")[0] == "True")
        assert operator.ready
        assert cluster.condition(new, "Ready") == ("", "")
        assert written() == set()
        cluster.rejects = lambda _: False
        await until(lambda: cluster.condition(new, "Ready")[0] == "True")
        assert written() >= {"ConfigMap", "Secret", "NetworkPolicy"}
