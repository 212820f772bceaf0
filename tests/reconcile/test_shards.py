"""Two copies of the operator act at once on one cluster, each on its shards."""

import asyncio
import copy
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any
from unittest.mock import patch

import pytest

from tests import builders, messaging
from tests.builders import HOUR, NOW, OWN, Manifest, accept, call
from tests.campaign.broker import LATENCY, Adapter, ModelBroker
from tests.campaign.cluster import ApiServer, Copy
from tests.campaign.stages.brokers import MAIN
from tests.campaign.test_messaging import CONNECT, main
from tests.reconcile.brokers.at_work import secret
from tests.reconcile.outcome_reads import OutcomeReads
from tests.virtual_time import run
from tests.webhook_builders import endpoint
from tests.world.test_shards import OUTCOMES, RECORDS
from troth.cluster.errors import ApiError
from troth.documents.secret_keys import LEAF
from troth.planning import verdicts
from troth.planning.identity import edge_status
from troth.planning.identity import view as identity_view
from troth.planning.plan import Plan
from troth.reconcile.drift.applied_digests import AppliedDigests
from troth.reconcile.events.notice import REPAIRED
from troth.reconcile.rehearsal import Place
from troth.reconcile.runtime.clock import MovableClock
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.references import Ref
from troth.world.keys import Key, broker_key, identity_key
from troth.world.outcomes.brokers import BrokerTakenOver
from troth.world.shards import CENTRAL, shard_of

SHARDS = 3
NORTH, SOUTH, EAST = Ref("north", "payments"), Ref("south", "web"), Ref("east", "other")
DENIED = ApiError(403, "Forbidden", "admission denies it")
CENTRAL_ONES, OTHERS = {CENTRAL}, {1, 2}


class Server(ApiServer):
    """Refuses the writes of some objects."""

    def _write(self, place: Place, stored: Manifest) -> Manifest:
        refusal = self.refuses(place)
        if refusal is not None:
            raise refusal
        return super()._write(place, stored)


class Way:
    """The way of one copy to the server, which records what it writes."""

    def __init__(self, server: Server, wrote: dict[Place, set[str]], name: str) -> None:
        self._server = server
        self._wrote = wrote
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)

    async def apply(self, manifest: Manifest) -> Manifest:
        self._note((manifest["kind"], Ref.of(manifest)))
        return await self._server.apply(manifest)

    async def apply_new(self, manifest: Manifest) -> Manifest:
        self._note((manifest["kind"], Ref.of(manifest)))
        return await self._server.apply_new(manifest)

    async def merge_patch(
        self, kind: str, ref: Ref, patch: Manifest, subresource: str = ""
    ) -> Manifest:
        self._note((f"{kind}/{subresource}" if subresource else kind, ref))
        return await self._server.merge_patch(kind, ref, patch, subresource)

    def _note(self, place: Place) -> None:
        self._wrote[place].add(self._name)


class Cluster:
    def __init__(self, *manifests: Manifest) -> None:
        self.server = Server()
        self.clock = MovableClock(NOW)
        self.wrote: dict[Place, set[str]] = defaultdict(set)
        self.reads = OutcomeReads()
        for each in manifests:
            self.server.put(each)
        self.copies = [
            Copy(Way(self.server, self.wrote, name), self.clock, SHARDS)  # type: ignore[arg-type]
            for name in ("one", "other")
        ]
        for one in self.copies:
            self.reads.watch(one.engine.world)

    async def start(self) -> None:
        for each, shards in zip(self.copies, (CENTRAL_ONES, OTHERS), strict=True):
            await each.start({})
            each.lead(shards)
        await self.rest()

    async def rest(self) -> None:
        """Let everything settle, with all retries."""
        for each in self.copies:
            assert not each.crashed
        await asyncio.sleep(150)

    async def put(self, manifest: Manifest) -> None:
        self.server.put(manifest)
        await self.rest()

    def edge(self, of: Ref, peer: Ref) -> Manifest:
        edges = self.server.objects["ServiceIdentity", of]["status"]["edges"]
        found: Manifest = next(each for each in edges if each["peer"] == str(peer))
        return found

    def opens(self, of: Ref, side: str, peer: Ref) -> bool:
        policy = self.server.objects["NetworkPolicy", Ref(of.namespace, f"{of.name}-troth")]
        return peer.namespace in str(policy["spec"].get(side))


def assert_listed(reads: OutcomeReads) -> None:
    for name, outcome in ((name, each) for name, listed in RECORDS.items() for each in listed):
        known = OUTCOMES[outcome]
        assert reads.readers(name) <= known.readers, outcome
        elsewhere = {reader for reader, _ in reads.readers_elsewhere(name)}
        assert known.carried or elsewhere <= known.untold, outcome


def story(test: Callable[[Cluster], Awaitable[None]], *manifests: Manifest) -> None:
    async def told() -> None:
        cluster = Cluster(*manifests)
        try:
            with patch("troth.reconcile.loop.engine.make_plan", cluster.reads.plan):
                await cluster.start()
                await test(cluster)
            assert_listed(cluster.reads)
        finally:
            for each in cluster.copies:
                await each.kill()

    run(told())


def payments(**changes: Any) -> Manifest:
    entry = {"scopes": ["read", "write"]} | changes
    return builders.identity(
        "payments",
        "north",
        ports=["https"],
        accepts=[accept("web", "https", namespace="south", **entry)],
    )


def shop() -> list[Manifest]:
    calls = [call("payments", "https", namespace="north", scopes=["read", "write"])]
    return [
        *(builders.namespace(name, domain="production") for name in ("north", "south", "east")),
        builders.domain(),
        payments(),
        builders.identity("web", "south", calls=[*calls, call("other", namespace="east")]),
        builders.identity(
            "other", "east", ports=["https"], accepts=[accept("web", namespace="south")]
        ),
    ]


def test_identities_of_the_story_are_in_different_shards() -> None:
    assert [shard_of(identity_key(each), SHARDS) for each in (NORTH, SOUTH, EAST)] == [2, 0, 1]


def test_edge_across_shards_is_live_and_each_object_has_one_writer() -> None:
    async def test(cluster: Cluster) -> None:
        assert cluster.edge(NORTH, SOUTH)["state"] == cluster.edge(SOUTH, NORTH)["state"] == "Live"
        assert cluster.opens(NORTH, "ingress", SOUTH)
        assert cluster.opens(SOUTH, "egress", NORTH)
        writers = {place: names for place, names in cluster.wrote.items() if len(names) > 1}
        assert not writers
        assert {name for names in cluster.wrote.values() for name in names} == {"one", "other"}
        cluster.wrote.clear()
        for each in cluster.copies:
            each.look_at_everything()
        await cluster.rest()
        assert not cluster.wrote

    story(test, *shop())


@pytest.mark.parametrize("narrower", [payments(scopes=["read"]), payments(scopes=[])])
def test_narrowing_that_cannot_be_written_closes_the_edge_in_the_other_shard(
    narrower: Manifest,
) -> None:
    async def test(cluster: Cluster) -> None:
        document = "Secret", Ref("north", "payments-identity")
        cluster.server.refuses = lambda place: DENIED if place == document else None
        await cluster.put(narrower)
        for of, peer in ((NORTH, SOUTH), (SOUTH, NORTH)):
            told = cluster.edge(of, peer)
            assert (told["state"], told["reason"]) == ("Refused", "CalleeNotNarrowed")
        assert not cluster.opens(NORTH, "ingress", SOUTH)
        assert not cluster.opens(SOUTH, "egress", NORTH)
        assert cluster.opens(SOUTH, "egress", EAST), "another callee of the caller stays open"

        cluster.server.refuses = lambda _: None
        await cluster.rest()
        assert cluster.edge(SOUTH, NORTH)["state"] == "Live"
        assert cluster.opens(SOUTH, "egress", NORTH)
        assert not any(each.engine.world.registry.unapplied for each in cluster.copies)

    story(test, *shop())


@pytest.mark.faulty
@pytest.mark.parametrize(
    ("module", "part"),
    [
        (identity_view, "gather_readable"),
        (edge_status, "edge_statuses"),
        (verdicts, "conditions"),
    ],
    ids=["gather", "edge_statuses", "conditions"],
)
def test_identity_that_cannot_be_planned_closes_its_edges_in_the_other_shard(
    module: Any, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its Secret is refused. Nothing of it can be planned, or all but its status."""
    real = getattr(module, part)

    def failing(identity: ServiceIdentity, *rest: Any) -> Any:
        if identity.ref == NORTH:
            raise ValueError
        return real(identity, *rest)

    async def test(cluster: Cluster) -> None:
        unverified = {
            "unverified": {"cidrs": ["192.0.2.0/24"], "reason": "a probe"},
            "ports": ["https"],
        }
        changed = payments()
        changed["spec"]["accepts"].append(unverified)
        await cluster.put(changed)
        document = "Secret", Ref("north", "payments-identity")
        cluster.server.refuses = lambda place: DENIED if place == document else None
        with monkeypatch.context() as patched:
            patched.setattr(module, part, failing)
            narrower = payments(scopes=["read"])
            narrower["spec"]["accepts"].append(unverified)
            await cluster.put(narrower)
            for of, peer in ((NORTH, SOUTH), (SOUTH, NORTH)):
                told = cluster.edge(of, peer)
                assert (told["state"], told["reason"]) == ("Refused", "CalleeNotNarrowed")
            assert not cluster.opens(SOUTH, "egress", NORTH)
            assert cluster.opens(SOUTH, "egress", EAST)
            edges = cluster.server.objects["ServiceIdentity", NORTH]["status"]["edges"]
            assert [each["state"] for each in edges if each["peer"] == "192.0.2.0/24"] == ["Live"]
            cluster.wrote.clear()
            cluster.copies[1].look_at_everything()
            await cluster.rest()
            assert not {each for each in cluster.wrote if each != document}
        cluster.server.refuses = lambda _: None
        cluster.copies[1].look_at_everything()
        await cluster.rest()
        assert cluster.edge(NORTH, SOUTH)["state"] == cluster.edge(SOUTH, NORTH)["state"] == "Live"
        assert not any(each.engine.world.registry.unapplied for each in cluster.copies)

    story(test, *shop())


@pytest.mark.faulty
def test_reconcile_that_fails_after_a_narrowing_closes_its_edges_in_the_other_shard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other shard knows the narrowing only from the status, which then reports the fault."""
    real = AppliedDigests.remember

    def failing(self: AppliedDigests, plan: Plan) -> None:
        if plan.key.ref == NORTH:
            raise ValueError
        real(self, plan)

    async def test(cluster: Cluster) -> None:
        document = "Secret", Ref("north", "payments-identity")
        cluster.server.refuses = lambda place: DENIED if place == document else None
        with monkeypatch.context() as patched:
            patched.setattr(AppliedDigests, "remember", failing)
            await cluster.put(payments(scopes=["read"]))
            assert cluster.copies[1].engine.faults.count()
            for of, peer in ((NORTH, SOUTH), (SOUTH, NORTH)):
                told = cluster.edge(of, peer)
                assert (told["state"], told["reason"]) == ("Refused", "CalleeNotNarrowed")
            assert not cluster.opens(SOUTH, "egress", NORTH)
            assert cluster.opens(SOUTH, "egress", EAST)
        cluster.server.refuses = lambda _: None
        await cluster.rest()
        assert cluster.edge(NORTH, SOUTH)["state"] == cluster.edge(SOUTH, NORTH)["state"] == "Live"

    story(test, *shop())


def test_plans_read_outcomes_of_other_shards_only_as_listed() -> None:
    async def test(cluster: Cluster) -> None:
        refused = ("Secret", "NetworkPolicy", "ConfigMap")
        cluster.server.refuses = lambda place: DENIED if place[0] in refused else None
        await cluster.put(payments(scopes=["read"]))
        for kind, target in (("ServiceIdentity", "payments"), ("WebhookEndpoint", "charges")):
            await cluster.put(builders.rotation(kind, target, "north"))
        assert any(each.engine.refusals.count() for each in cluster.copies)
        found = {
            (reader, writer)
            for name in ("refused", "contested", "foreign")
            for reader, writer in cluster.reads.readers_elsewhere(name)
        }
        assert found == {
            ("CredentialRotation", "ServiceIdentity"),
            ("CredentialRotation", "WebhookEndpoint"),
        }

    hook = endpoint("charges", "north")
    story(test, *shop()[:3], builders.domain(tokens={}), *shop()[4:], hook)


def test_copy_that_loses_a_shard_forgets_what_came_of_its_own_writes() -> None:
    async def test(cluster: Cluster) -> None:
        one, other = cluster.copies
        document = "Secret", Ref("north", "payments-identity")
        cluster.server.refuses = lambda place: DENIED if place == document else None
        await cluster.put(payments(scopes=["read"]))
        assert other.engine.refusals.count()
        other.lead({1})
        assert not other.engine.refusals.count()
        one.lead({CENTRAL, 2})
        await cluster.rest()
        assert one.engine.refusals.count()["Secret"] == 1
        cluster.server.refuses = lambda _: None
        await cluster.rest()
        assert cluster.edge(SOUTH, NORTH)["state"] == "Live"
        assert not any(each.engine.world.registry.unapplied for each in cluster.copies)

    story(test, *shop())


def test_narrowing_that_was_never_reported_does_not_stay_closed_after_a_handover() -> None:
    """The first copy lost the shard before it wrote the status, and the second has no obstacle."""

    async def test(cluster: Cluster) -> None:
        one, other = cluster.copies
        document, status = ("Secret", Ref("north", "payments-identity")), ("ServiceIdentity", NORTH)
        refused = {document, status}
        cluster.server.refuses = lambda place: DENIED if place in refused else None
        await cluster.put(payments(scopes=["read"]))
        assert other.engine.world.registry.unapplied
        cluster.server.refuses = lambda _: None
        other.lead({1})
        one.lead({CENTRAL, 2})
        await cluster.rest()
        assert not any(each.engine.world.registry.unapplied for each in cluster.copies)
        assert cluster.edge(SOUTH, NORTH)["state"] == "Live"

    story(test, *shop())


def test_change_that_is_taken_back_during_a_handover_is_no_repair() -> None:
    """The other copy has applied it, and the first one knows what it applied before."""
    place = "ServiceIdentity", NORTH
    wide = payments()
    wide["spec"]["authentication"] = {"token": {}}

    async def test(cluster: Cluster) -> None:
        one, other = cluster.copies
        other.lead(())
        one.lead(range(SHARDS))
        await cluster.rest()
        before = copy.deepcopy(cluster.server.objects[place])
        after = copy.deepcopy(before)
        after["spec"]["accepts"] = []
        one.lead({1})
        other.lead({CENTRAL, 2})
        await cluster.put(after)
        await cluster.clock.move_to(NOW + HOUR)  # of the next issuer's view
        await cluster.rest()
        other.lead(())
        cluster.server.put(before)
        await cluster.rest()
        cluster.server.events.clear()
        one.lead(range(SHARDS))
        await cluster.rest()
        assert REPAIRED not in cluster.server.reasons()

    domain = builders.domain(tokens={})
    story(test, *shop()[:3], domain, wide, *shop()[5:])


def test_lapse_of_a_lease_opens_no_edge_whose_narrowing_was_never_reported() -> None:
    async def test(cluster: Cluster) -> None:
        one, other = cluster.copies
        other.lead(())
        one.lead(range(SHARDS))
        await cluster.rest()
        refused = {("Secret", Ref("north", "payments-identity")), ("ServiceIdentity", NORTH)}
        cluster.server.refuses = lambda place: DENIED if place in refused else None
        await cluster.put(payments(scopes=["read"]))
        assert not cluster.opens(SOUTH, "egress", NORTH)
        opened: list[Place] = []

        def watch(place: Place, _: Manifest | None, after: Manifest | None) -> None:
            if place[0] == "NetworkPolicy" and after and NORTH.namespace in str(after["spec"]):
                opened.append(place)

        cluster.server.on_write = watch
        one.lead(())
        await asyncio.sleep(1)
        one.lead(range(SHARDS))
        await cluster.rest()
        assert not opened

    story(test, *shop())


def test_copy_forgets_a_lost_shard_once_it_gets_another() -> None:
    """A lapse does not tell whether another replica takes the shards over."""

    async def test(cluster: Cluster) -> None:
        one, other = cluster.copies
        document = "Secret", Ref("north", "payments-identity")
        cluster.server.refuses = lambda place: DENIED if place == document else None
        await cluster.put(payments(scopes=["read"]))
        other.lead(())
        one.lead(range(SHARDS))
        await cluster.rest()
        assert other.engine.refusals.count()
        one.lead({CENTRAL, 2})
        other.lead({1})
        assert not other.engine.refusals.count()

    story(test, *shop())


def test_key_of_another_shard_waits_until_the_shard_is_gained() -> None:
    async def test(cluster: Cluster) -> None:
        one, other = cluster.copies
        other.lead({1})
        cluster.wrote.clear()
        await cluster.put(payments(scopes=["read"]))
        assert ("ServiceIdentity/status", NORTH) not in cluster.wrote
        one.lead({CENTRAL, 2})
        await cluster.rest()
        assert cluster.wrote["ServiceIdentity/status", NORTH] == {"one"}
        assert (
            cluster.server.objects["ServiceIdentity", NORTH]["status"]["observedGeneration"]
            == (cluster.server.objects["ServiceIdentity", NORTH]["metadata"]["generation"])
        )

    story(test, *shop())


@pytest.mark.parametrize("of", [NORTH, SOUTH])
def test_key_is_not_put_aside_while_a_replica_may_not_write_for_a_moment(of: Ref) -> None:
    """Its clock disagrees between two renewals, so that it is never told that it lost a shard."""

    async def test(cluster: Cluster) -> None:
        holder = cluster.copies[0 if of == SOUTH else 1]
        holder.leader_fence.given.clear()
        changed = copy.deepcopy(cluster.server.objects["ServiceIdentity", of])
        changed["spec"]["accepts" if of == NORTH else "calls"] = []
        cluster.server.put(changed)
        await asyncio.sleep(0.5)
        holder.leader_fence.given.set()
        await cluster.rest()
        identity = cluster.server.objects["ServiceIdentity", of]
        assert identity["status"]["observedGeneration"] == identity["metadata"]["generation"]
        assert not cluster.opens(NORTH, "ingress", SOUTH)
        assert not cluster.opens(SOUTH, "egress", NORTH)

    story(test, *shop())


def test_objects_of_an_identity_deleted_without_a_replica_for_its_shard_are_removed() -> None:
    async def test(cluster: Cluster) -> None:
        one, other = cluster.copies
        other.lead({1})
        cluster.server.remove(("ServiceIdentity", NORTH))
        await cluster.rest()
        one.lead({CENTRAL, 2})
        await cluster.rest()
        assert not cluster.opens(SOUTH, "egress", NORTH)

    story(test, *shop())


# Brokers


def messaging_shop() -> list[Manifest]:
    given = {"username": "admin", "password": "an administrator's", "ca.crt": "roots"}
    publishes = [{"policy": builders.reference("orders", "north")}]
    return [
        *(builders.namespace(name, domain="red") for name in ("north", "south", "east")),
        *(secret(name, given, MAIN.namespace) for name in ("kafka-admin", "kafka-ca")),
        builders.domain("red"),
        main(),
        builders.identity("shop", "east", publishes=publishes),
        messaging.policy(
            "orders",
            "north",
            at=(MAIN.namespace, MAIN.name),
            topic={"name": "prod.a"},
            producers=[{"identity": builders.reference("shop", "east")}],
            environment="red",
        ),
    ]


def test_identity_of_another_shard_than_its_broker_gets_its_credential_and_its_grant() -> None:
    broker = ModelBroker()

    async def test(cluster: Cluster) -> None:
        one, other = cluster.copies
        assert other.engine.world.brokers.observation(MAIN).observed is not None
        credential = "Secret", Ref("east", "shop-main")
        assert cluster.wrote[credential] == {"other"}
        policy = cluster.server.objects["TopicPolicy", Ref("north", "orders")]
        assert [each["state"] for each in policy["status"]["grants"]] == ["InSync"]
        assert broker.rules
        ledgers = [names for (kind, ref), names in cluster.wrote.items() if _is_ledger(kind, ref)]
        assert ledgers == [{"one"}]
        assert not one.engine.world.brokers.observation(MAIN).fault

    with patch(CONNECT, lambda *_: Adapter(broker)):
        story(test, *messaging_shop())


def test_copy_that_only_observes_a_broker_changes_nothing_there() -> None:
    broker = ModelBroker()

    async def test(cluster: Cluster) -> None:
        one, other = cluster.copies
        one.lead(())
        rules = set(broker.rules)
        cluster.server.remove(("TopicPolicy", Ref("north", "orders")))
        await cluster.rest()
        assert other.engine.sharding.only_observes(broker_key(MAIN))
        assert broker.rules == rules, "the copy of another shard revokes nothing"
        other.lead({CENTRAL, 1, 2})
        await cluster.rest()
        assert not broker.rules

    with patch(CONNECT, lambda *_: Adapter(broker)):
        story(test, *messaging_shop())


class Connection(Adapter):
    """A connection that is one of the open ones until it is closed."""

    def __init__(self, broker: ModelBroker, open_ones: list["Connection"]) -> None:
        super().__init__(broker)
        self._open_ones = open_ones
        open_ones.append(self)

    async def close(self) -> None:
        self._open_ones.remove(self)


def observe_again(cluster: Cluster) -> None:
    for each in cluster.copies:
        each.engine.queue.add(each.engine.world.observe_outcome(BrokerTakenOver(MAIN)))


def test_copy_has_one_connection_to_a_broker_whether_it_changes_it_or_only_observes_it() -> None:
    broker, open_ones = ModelBroker(), list[Connection]()

    async def test(cluster: Cluster) -> None:
        one, other = cluster.copies
        for first, second in ((OTHERS, CENTRAL_ONES), (CENTRAL_ONES, OTHERS)):
            one.lead(first)
            other.lead(second)
            await cluster.rest()
            observe_again(cluster)
            await cluster.rest()
            assert len(open_ones) == 2

    with patch(CONNECT, lambda *_: Connection(broker, open_ones)):
        story(test, *messaging_shop())


def test_connection_is_closed_after_the_work_that_is_under_way_when_its_shard_is_handed_over() -> (
    None
):
    broker, open_ones = ModelBroker(), list[Connection]()

    async def test(cluster: Cluster) -> None:
        one, other = cluster.copies
        observe_again(cluster)
        await asyncio.sleep(LATENCY / 2)
        assert all(each.engine.world.brokers.observation(MAIN).busy for each in cluster.copies)
        one.lead(OTHERS)
        other.lead(CENTRAL_ONES)
        await cluster.rest()
        observe_again(cluster)
        await cluster.rest()
        assert len(open_ones) == 2

    with patch(CONNECT, lambda *_: Connection(broker, open_ones)):
        story(test, *messaging_shop())


def test_copy_without_shards_keeps_no_connection_to_a_broker() -> None:
    broker, open_ones = ModelBroker(), list[Connection]()

    async def test(cluster: Cluster) -> None:
        one, other = cluster.copies
        observe_again(cluster)
        await cluster.rest()
        assert len(open_ones) == 2
        one.lead(())
        other.lead(range(SHARDS))
        await cluster.rest()
        assert len(open_ones) == 1

    with patch(CONNECT, lambda *_: Connection(broker, open_ones)):
        story(test, *messaging_shop())


def _is_ledger(kind: str, ref: Ref) -> bool:
    return kind == "ConfigMap" and ref.namespace == OWN


# Whole writes


def test_copies_issue_one_certificate_for_each_identity() -> None:
    async def test(cluster: Cluster) -> None:
        issued = {
            ref: copy.deepcopy(each["data"][LEAF])
            for (kind, ref), each in cluster.server.objects.items()
            if kind == "Secret" and ref.name.endswith("-identity")
        }
        assert len(issued) == 3
        one, other = cluster.copies
        other.lead(())
        one.lead(range(SHARDS))
        await cluster.rest()
        for ref, leaf in issued.items():
            assert cluster.server.objects["Secret", ref]["data"][LEAF] == leaf

    story(test, *shop())


def test_key_of_a_shard_names_its_kind() -> None:
    assert shard_of(Key("TrustDomain", Ref("", "production")), SHARDS) == CENTRAL
