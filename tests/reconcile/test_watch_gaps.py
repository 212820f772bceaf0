"""Changes during a broken watch, and late answers, leave no stale state."""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

import pytest

from tests import builders, virtual_time
from tests.builders import NOW, OWN, Manifest, accept, call, domain, identity, namespace
from tests.cluster_unit.listing import Listing
from tests.every_kind import EVERY_KIND, SAMPLES, cache_of, sample, selection_of
from tests.reconcile.serving import LeaderFence, Running, Server, running
from troth.cluster.api import ApiServer
from troth.cluster.watching.informer import Informer
from troth.planning.plan import Plan
from troth.planning.steps.objects import Apply
from troth.planning.steps.signing_keys import UpdateIssuer
from troth.reconcile.apply.keys.keyring import Keyring
from troth.reconcile.apply.writer import Writer
from troth.reconcile.drift.applied_digests import AppliedDigests
from troth.reconcile.drift.issuer_digests import IssuerDigests
from troth.reconcile.loop.cache import Cache
from troth.reconcile.loop.engine import Engine
from troth.reconcile.rehearsal import Place
from troth.reconcile.runtime.clock import MovableClock
from troth.resources.references import Ref
from troth.world.keys import identity_key
from troth.world.outcomes.writes import ForeignFound
from troth.world.world import World

SID, WEB = Ref("shop", "payments"), Ref("shop", "web")
SECRET = "Secret", Ref("shop", "payments-identity")
POLICY = "NetworkPolicy", Ref("shop", "payments-troth")
BUNDLE = "ConfigMap", Ref("shop", "trust-bundle")
AUTHORITY = Ref(OWN, "production-authority")
A_WHILE = 90.0


@dataclass
class Watched:
    """An engine that one informer feeds, and the answers to its own writes."""

    kind: str
    listing: Listing
    world: World
    answered: Callable[[Manifest], object]

    @property
    def known(self) -> bool:
        return self.world.knows(self.kind, Ref.of(SAMPLES[self.kind]))


@asynccontextmanager
async def watched(kind: str) -> AsyncIterator[Watched]:
    clock = MovableClock(NOW)
    engine = Engine(Server(), OWN, clock=clock, leader_fence=LeaderFence(), rollouts=True)
    listing = Listing()
    cache = cache_of(kind, engine)
    informer = Informer(cast("ApiServer", listing), selection_of(kind), cache)
    task = asyncio.create_task(informer.run())
    await informer.synced.wait()
    writer = Writer(Server(), engine.world, Keyring(OWN), clock)
    yield Watched(kind, listing, engine.world, writer.observe)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await engine.close()


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_object_made_and_deleted_in_a_watch_gap_is_forgotten(kind: str) -> None:
    """Troth's own write created it, so the informer has never seen it."""

    async def story() -> None:
        async with watched(kind) as it:
            it.answered(sample(kind, 10))
            assert it.known
            it.listing.version = 20
            it.listing.lose_history()
            await asyncio.sleep(A_WHILE)
            assert it.listing.lists == 2
            assert not it.known

    virtual_time.run(story())


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_answer_that_comes_after_the_gap_revives_nothing(kind: str) -> None:
    """No event reported the object, and no list included it."""

    async def story() -> None:
        async with watched(kind) as it:
            it.listing.version = 20
            it.listing.lose_history()
            await asyncio.sleep(A_WHILE)
            assert it.answered(sample(kind, 15)) == set()
            assert not it.known

    virtual_time.run(story())


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_answer_that_comes_after_the_deletion_revives_nothing(kind: str) -> None:
    async def story() -> None:
        async with watched(kind) as it:
            it.listing.tell("ADDED", sample(kind, 10))
            it.listing.tell("DELETED", sample(kind, 12))
            await asyncio.sleep(A_WHILE)
            assert it.answered(sample(kind, 10)) == set()
            assert not it.known

    virtual_time.run(story())


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_namesake_made_after_a_gap_is_known(kind: str) -> None:
    async def story() -> None:
        async with watched(kind) as it:
            it.answered(sample(kind, 10))
            it.listing.version = 20
            it.listing.lose_history()
            await asyncio.sleep(A_WHILE)
            it.listing.tell("ADDED", sample(kind, 25, "second"))
            await asyncio.sleep(A_WHILE)
            assert it.known

    virtual_time.run(story())


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_object_written_during_a_list_stays(kind: str) -> None:
    async def story() -> None:
        async with watched(kind) as it:
            it.answered(sample(kind, 25))
            it.listing.version = 20
            it.listing.lose_history()
            await asyncio.sleep(A_WHILE)
            assert it.listing.lists == 2
            assert it.known

    virtual_time.run(story())


async def test_list_of_one_selection_forgets_nothing_of_another() -> None:
    """One kind can have several selections: Secrets have two, ConfigMaps three."""
    engine = Engine(
        Server(), OWN, clock=MovableClock(NOW), leader_fence=LeaderFence(), rollouts=True
    )
    for kind in EVERY_KIND:
        engine.observe(sample(kind, 10))
    engine.observe({**sample("Secret", 10), "metadata": {"name": "ca", "namespace": OWN}})
    cache = Cache(engine)
    assert {kind: cache.known(selection_of(kind)) for kind in EVERY_KIND} == {
        kind: {Ref.of(SAMPLES[kind])} for kind in EVERY_KIND
    }
    await engine.close()


# Late answers in the engine


class Late(Server):
    """Answers the first write of an object only after its deletion has been observed."""

    def __init__(self, place: Place, *manifests: Manifest) -> None:
        super().__init__(manifests)
        self.place, self.late = place, True
        self.it: Running

    def _write(self, place: Place, stored: Manifest) -> Manifest:
        answer = super()._write(place, stored)
        if place == self.place and self.late:
            self.late = False
            self.it.engine.observe(copy.deepcopy(answer))
            gone = self.take_away(*place)
            version = int(gone["metadata"]["resourceVersion"])
            self.it.engine.forget(*place, version)
        return answer


def shop(*manifests: Manifest) -> list[Manifest]:
    return [namespace("shop", domain="production"), domain(), *manifests]


@pytest.mark.parametrize("place", [SECRET, POLICY, BUNDLE], ids=lambda place: place[0])
async def test_object_deleted_before_its_write_is_answered_is_written_again(place: Place) -> None:
    server = Late(place, *shop(identity()))
    async with running(server) as it:
        server.it = it
        await it.settle()
        assert not server.late
        assert place in server.objects
        assert server.condition("ServiceIdentity", SID, "NetworkEnforced")["status"] == "True"


async def test_identity_deleted_before_its_status_answer_has_no_edge_or_secret() -> None:
    server = Late(
        ("ServiceIdentity", WEB),
        *shop(
            identity(ports=["https"], accepts=[accept("web")]),
            identity("web", calls=[call("payments")]),
        ),
    )
    async with running(server) as it:
        server.it = it
        await it.settle()
        assert not server.late
        assert WEB not in it.engine.world.registry.identities
        assert server.condition("ServiceIdentity", SID, "PeersAgree")["reason"] == "PeerMissing"
        server.log.clear()
        secret = server.take_away("Secret", Ref("shop", "web-identity"))  # by the garbage collector
        it.engine.forget("Secret", Ref.of(secret), int(secret["metadata"]["resourceVersion"]))
        it.engine.queue.add([identity_key(WEB)])
        await it.settle()
        assert ("Secret", Ref("shop", "web-identity")) not in server.objects


class Succeeded(Server):
    """A user creates a policy of the same name before its deletion is answered."""

    it: Running

    async def delete(self, kind: str, ref: Ref, uid: str) -> Manifest:
        gone = await super().delete(kind, ref, uid)
        namesake = copy.deepcopy(gone)
        del namesake["metadata"]["uid"]
        self.it.engine.observe(self.put(namesake))
        return gone


async def test_namesake_of_what_troth_deleted_is_not_forgotten_with_it() -> None:
    server = Succeeded(shop(identity()))
    async with running(server) as it:
        server.it = it
        await it.settle()
        it.engine.queue.add([identity_key(SID)])
        it.engine.observe(server.put(identity(enforcement="Observe")))
        await asyncio.sleep(0.05)
        assert it.engine.world.knows(*POLICY) is (POLICY in server.objects)


class Held(Server):
    """A foreign finalizer holds every policy."""

    deletions = 0

    async def delete(self, kind: str, ref: Ref, uid: str) -> Manifest:
        assert self.objects[kind, ref]["metadata"]["uid"] == uid
        self.deletions += 1
        held = self.objects[kind, ref]
        held["metadata"] |= {
            "finalizers": ["example.com/audit"],
            "deletionTimestamp": builders.stamp(NOW),
        }
        return self._store((kind, ref), held)


def test_object_held_by_a_finalizer_is_deleted_once_and_stays_known() -> None:
    async def story() -> None:
        server = Held(shop(identity()))
        async with running(server) as it:
            await it.settle()
            it.engine.observe(server.put(identity(enforcement="Observe")))
            await asyncio.sleep(A_WHILE)
            assert server.deletions == 1
            assert it.engine.world.knows(*POLICY)

    virtual_time.run(story())


# State outside the world


def test_late_answer_restores_no_key_of_a_deleted_authority() -> None:
    world, keyring, clock = World(OWN), Keyring(OWN), MovableClock(NOW)
    secret = builders.authority_secret()
    secret["metadata"] = {**secret["metadata"], "uid": "first", "resourceVersion": "10"}
    world.forget("Secret", AUTHORITY, 12, uptime=0.0)
    assert Writer(Server(), world, keyring, clock).observe(secret) == set()
    assert keyring.signer(AUTHORITY, "production.example") is None


def test_applied_objects_of_a_namesake_are_not_remembered() -> None:
    manifest = {"kind": "NetworkPolicy", "metadata": {"name": POLICY[1].name, "namespace": "shop"}}
    step, memory = Apply(manifest), AppliedDigests(World(OWN))
    first, second = (
        Plan(identity_key(SID), uid, steps=(step,), status={}) for uid in ("first", "second")
    )
    memory.remember(first)
    assert memory.was_changed(step, first)
    assert not memory.was_changed(step, second)


def test_issuer_data_of_a_namesake_is_not_remembered() -> None:
    memory, ref = IssuerDigests(), Ref(OWN, "production-tokens")
    memory.keep(ref, "first", {"view": b"view"})
    assert memory.was_changed(UpdateIssuer(ref, "first", "1", {"view": b"view"}))
    assert not memory.was_changed(UpdateIssuer(ref, "second", "1", {"view": b"view"}))
    memory.keep(ref, "second", {"bundle": b"bundle"})
    assert not memory.was_changed(UpdateIssuer(ref, "first", "1", {"view": b"view"}))


def test_foreign_objects_are_forgotten_with_their_namespace() -> None:
    world = World(OWN)
    world.observe(sample("Namespace", 10), uptime=0.0)
    world.observe_outcome(ForeignFound(*POLICY, NOW))
    world.observe_outcome(ForeignFound("Secret", AUTHORITY, NOW))
    world.forget("Namespace", Ref("", "shop"), 12, uptime=0.0)
    assert world.foreign == {("Secret", AUTHORITY): NOW}


def test_written_view_is_forgotten_with_its_secret() -> None:
    world = World(OWN)
    secret = builders.tokens_secret()
    secret["metadata"] = {**secret["metadata"], "uid": "first", "resourceVersion": "10"}
    world.observe(secret, uptime=0.0)
    world.tokens.view_written["production-tokens"] = 1.0
    world.forget("Secret", Ref(OWN, "production-tokens"), 12, uptime=0.0)
    assert world.tokens.view_written == {}
