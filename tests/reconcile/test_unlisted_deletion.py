"""Deletions end in namespaces of which Troth reads only metadata, and nothing else is taken in."""

import copy
from datetime import timedelta

import pytest
from aiohttp import web
from structlog.testing import capture_logs
from structlog.typing import EventDict

from benchmarks.simulation import server
from tests.builders import NOW, OWN, Manifest, namespace, stamp
from tests.messaging import broker, policy
from tests.reconcile import test_many_namespaces as operators
from tests.reconcile.serving import Running, Server, running
from tests.reconcile.test_many_namespaces import Cluster, inside, until
from troth.cluster.errors import ApiError
from troth.planning.grants.finalizer import FINALIZER, PATIENCE
from troth.reconcile.loop.cache import MetadataCache
from troth.reconcile.runtime.clock import MovableClock
from troth.resources.references import Ref
from troth.trust.declarations.watched import Watched
from troth.world.keys import METADATA_OF

SHOP = Watched.of(OWN, ["shop"])
LEGAL = Ref("legal", "main")
FOREIGN = "example.com/backup"
SECOND = timedelta(seconds=1)
KINDS = ("MessageBroker", "TopicPolicy")


def deleted(kind: str, *finalizers: str, at: Ref = LEGAL) -> Manifest:
    """Return a resource that is being deleted, by default where Troth does not watch."""
    make = broker if kind == "MessageBroker" else policy
    made = make(at.name, at.namespace)
    made["metadata"] |= {"finalizers": list(finalizers), "deletionTimestamp": stamp(NOW)}
    return made


def observe(it: Running, kind: str) -> None:
    """Take in a resource as the informer of metadata does, with its spec."""
    MetadataCache(it.engine).observe(copy.deepcopy(it.server.objects[kind, LEGAL]))


def declared(it: Running) -> set[str]:
    """Return the kinds of the resources that the world knows, except by metadata."""
    world = it.engine.world
    return {key.kind for key in world.everything() - world.deletions.keys()}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


async def test_deletion_ends_after_the_patience(kind: str) -> None:
    async with running(Server(), due=True, watched=SHOP) as it:
        it.server.put(deleted(kind, FINALIZER))
        observe(it, kind)
        await it.settle()
        await it.live(PATIENCE - SECOND)
        assert it.server.objects[kind, LEGAL]["metadata"]["finalizers"] == [FINALIZER]
        await it.live(SECOND)
        assert (kind, LEGAL) not in it.server.objects
        assert it.server.log == [(kind, LEGAL)]
        assert it.engine.world.everything() == set()


async def test_operator_that_starts_later_ends_the_deletion_at_once(kind: str) -> None:
    """`running` takes in what exists at its start as a whole, so the object comes afterwards."""
    async with running(Server(), NOW + PATIENCE, watched=SHOP) as it:
        it.server.put(deleted(kind, FINALIZER))
        observe(it, kind)
        await it.settle()
        assert (kind, LEGAL) not in it.server.objects


async def test_foreign_finalizers_stay_and_nothing_else_is_taken_in(kind: str) -> None:
    async with running(Server(), NOW + PATIENCE, watched=SHOP) as it:
        it.server.put(deleted(kind, FOREIGN, FINALIZER))
        observe(it, kind)
        await it.settle()
        assert it.server.objects[kind, LEGAL]["metadata"]["finalizers"] == [FOREIGN]
        assert it.server.log == [(kind, LEGAL)]
        assert declared(it) == set()
        assert not it.engine.world.knows(kind, LEGAL)
        assert not it.engine.world.quarantined


async def test_changed_object_is_not_overwritten(kind: str) -> None:
    async with running(Server(), NOW + PATIENCE, watched=SHOP) as it:
        it.server.put(deleted(kind, FINALIZER))
        observe(it, kind)
        it.server.put(deleted(kind, FOREIGN, FINALIZER))
        await it.settle()
        assert it.server.objects[kind, LEGAL]["metadata"]["finalizers"] == [FOREIGN, FINALIZER]
        observe(it, kind)
        await it.settle()
        assert it.server.objects[kind, LEGAL]["metadata"]["finalizers"] == [FOREIGN]


async def test_log_names_what_may_stay_if_no_event_can_be_created() -> None:
    refusing = Server()

    async def create(manifest: Manifest) -> Manifest:
        del manifest
        raise ApiError(403, "Forbidden", "no right to create events")

    refusing.create = create  # type: ignore[method-assign]
    with capture_logs() as lines:
        async with running(refusing, NOW + PATIENCE, watched=SHOP) as it:
            refusing.put(deleted("TopicPolicy", FINALIZER))
            observe(it, "TopicPolicy")
            await it.settle()
    (line,) = (each for each in lines if each["event"] == "event lost")
    assert (line["kind"], line["name"]) == ("TopicPolicy", "main")
    assert line["lost"].startswith("LeftBehind: all grants that TopicPolicy legal/main declares ")


async def test_event_is_about_the_resource() -> None:
    async with running(Server(), NOW + PATIENCE, watched=SHOP) as it:
        it.server.put(deleted("TopicPolicy", FINALIZER))
        uid = it.server.objects["TopicPolicy", LEGAL]["metadata"]["uid"]
        observe(it, "TopicPolicy")
        await it.settle()
        (event,) = it.server.events
    assert event["reason"] == "LeftBehind"
    about = event["regarding"]
    assert (about["kind"], about["namespace"]) == ("TopicPolicy", "legal")
    assert about["uid"] == uid  # `kubectl describe` selects Events by it


# The whole operator, at the simulated API server


PAIR = Ref("shop-0", "web"), Ref("shop-0", "payments")


@pytest.fixture
async def cluster() -> Cluster:
    made = Cluster()
    made.store.put(namespace(LEGAL.namespace))
    operators.declare(made, *PAIR)
    return made


def finalizers(cluster: Cluster, kind: str, ref: Ref) -> list[str]:
    """Return the finalizers of a resource, none if it does not exist."""
    stored = cluster.store.objects.get((kind, ref), {"metadata": {}})
    return list(stored["metadata"].get("finalizers") or ())


def released(lines: list[EventDict]) -> set[str]:
    """Return the keys of the logged steps about brokers and policies."""
    steps = {str(line["key"]) for line in lines if line["event"] == "step"}
    return {each for each in steps if each.endswith("/main")}


def reads_all(request: web.Request) -> bool:
    """Return whether a request lists or watches brokers or policies of all namespaces."""
    cluster_wide = ("/v1alpha1/messagebrokers", "/v1alpha1/topicpolicies")
    return request.method == "GET" and request.path.endswith(cluster_wide)


async def test_deletions_end_where_the_operator_does_not_list(cluster: Cluster) -> None:
    """It may not list namespace `shop-1`, and does not watch `legal`."""
    listed, unlisted = Ref("shop-0", "main"), Ref("shop-1", "main")
    ending = [(kind, ref) for kind in KINDS for ref in (unlisted, LEGAL)]
    for kind, ref in (*ending, *((kind, listed) for kind in KINDS)):
        cluster.store.put(deleted(kind, FOREIGN, FINALIZER, at=ref))
    within = inside(unlisted.namespace)
    cluster.rejects = lambda request: request.method == "GET" and within(request)
    clock, namespaces = MovableClock(NOW), frozenset({listed.namespace, unlisted.namespace})
    with capture_logs() as lines:
        async with operators.running(cluster, namespaces, clock=clock) as operator:
            await until(lambda: operator.ready and operator.leadership.acting)
            await until(lambda: len(operator.engine.world.deletions) == 3 * len(KINDS))
            await until(lambda: finalizers(cluster, "MessageBroker", listed) == [FOREIGN])
            assert all(FINALIZER in finalizers(cluster, *each) for each in ending)
            await clock.move_to(NOW + PATIENCE)
            await until(lambda: all(finalizers(cluster, *each) == [FOREIGN] for each in ending))
            # the log follows the answer, which follows the change
            await until(lambda: len(released(lines)) == 3 * len(KINDS))
            assert operator.engine.world.brokers.leaving_brokers.keys() == {listed}
    assert released(lines) == {
        *(f"{kind} shop-0/main" for kind in KINDS),
        *(f"{METADATA_OF[kind]} {ref}" for kind, ref in ending),
    }


async def test_operator_without_the_right_to_read_metadata_works(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with the ClusterRole of an older chart. Nothing is suspended because of it."""
    monkeypatch.setattr(server, "BOOKMARK_SECONDS", 1.0)
    cluster.rejects = reads_all
    cluster.store.put(deleted("MessageBroker", FINALIZER))
    namespaces = frozenset({PAIR[0].namespace})
    clock = MovableClock(NOW + PATIENCE)
    async with operators.running(cluster, namespaces, operators.QUICK, clock) as operator:
        await until(lambda: operator.ready and operator.leadership.acting)
        await until(lambda: cluster.condition(PAIR[1], "PeersAgree") == operators.LIVE)
        ages = operator.of_metadata
        assert len(ages) == len(KINDS)
        await until(lambda: all(each.age > 2 * operators.QUICK for each in ages))
        assert operator.ready
        unread = operator.engine.world.registry.unread
        assert unread.about_grant(*3 * (PAIR[0].namespace,)) == ""
        assert cluster.condition(PAIR[1], "PeersAgree") == operators.LIVE
        cluster.rejects = lambda _: False
        await until(lambda: ("MessageBroker", LEGAL) not in cluster.store.objects)
