"""The ledger of Troth's grants at a broker, if it is lost, corrupted or foreign."""

import base64
from datetime import timedelta

import pytest

from tests.brokers.nats.stage import Stage, publish
from tests.builders import OWN, Manifest
from tests.messaging import broker as a_broker
from tests.reconcile.brokers.at_work import (
    CHECKOUT,
    EVERY,
    LEDGER,
    MAIN,
    ORDERS,
    PUBLISHER,
    TOPIC,
    AtWork,
    at_work,
    market,
    on,
)
from tests.reconcile.serving import Server
from troth.brokers.nats.rules import rules
from troth.brokers.protocol import Batch
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.references import Ref
from troth.world.facts.broker import Ledger
from troth.world.observation.ledger import ledger_manifest, ledger_ref

LEFT = publish("troth-shop.gone", "prod.other")
"""Former grant of Troth that is no longer declared."""


async def leave_behind(nats: Stage) -> None:
    assert not await nats.broker.apply(Batch((nats.issue(LEFT.principal),), tuple(rules([LEFT]))))


async def lose(it: AtWork) -> None:
    await it.delete("ConfigMap", LEDGER)


async def test_first_ledger_is_not_reported_as_lost(nats: Stage) -> None:
    async with at_work(nats, market(nats)) as it:
        assert it.ledger.rules
        assert it.server.reasons().count("LedgerLost") == 0


async def test_lost_ledger_is_reported_and_nothing_is_removed(nats: Stage) -> None:
    async with at_work(nats, market(nats)) as it:
        before, issued = it.ledger, it.data(CHECKOUT)
        await leave_behind(nats)
        client = await it.client(CHECKOUT)
        await lose(it)
        seen = await nats.broker.observe()
        assert rules([LEFT]) <= seen.rules
        assert it.ledger == before  # the declared grants are adopted
        assert it.data(CHECKOUT) == issued
        assert client.is_connected
        (note,) = it.notes("LedgerLost")
        assert "removed nothing for it" in note
        await it.later(EVERY)
        assert rules([LEFT]) <= (await nats.broker.observe()).rules
        status, reason, message = it.condition_of("MessageBroker", MAIN, "InSync")
        assert (status, reason) == ("False", "Unaccounted")
        assert LEFT.principal in message
        assert len(it.notes("LedgerLost")) == 1


async def test_undeclared_grants_of_troths_principals_survive_a_lost_ledger(
    nats: Stage,
) -> None:
    """Troth cannot know whether it made them, so the status reports them to the broker's owner."""
    more = publish(PUBLISHER, "prod.retained")
    server = Server(market(nats))
    async with on(server, nats) as it:
        await it.settle()
        del server.objects["ConfigMap", LEDGER]
        assert not await nats.broker.apply(Batch(additions=tuple(sorted(rules([more])))))
    async with on(server, nats) as it:
        await it.later(EVERY)
        assert rules([more]) <= (await nats.broker.observe()).rules
        assert it.condition_of("MessageBroker", MAIN, "InSync")[1] == "Unaccounted"
        gone = tuple(sorted(rules([more]) - rules([publish(PUBLISHER, TOPIC)])))
        assert not await nats.broker.apply(Batch(removals=gone))
        await it.later(EVERY)
        await it.later(EVERY)
        assert it.condition_of("MessageBroker", MAIN, "InSync")[0] == "True"
        assert not it.ledger.left


async def test_policy_deleted_while_its_ledger_is_lost_reports_what_stays(nats: Stage) -> None:
    server = Server(market(nats))
    async with on(server, nats) as it:
        await it.settle()
        stored = server.objects["TopicPolicy", ORDERS]
        stored["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        server.put(stored)
        del server.objects["ConfigMap", LEDGER]
    async with on(server, nats) as it:
        assert ("TopicPolicy", ORDERS) not in server.objects
        assert {rule.principal for rule in (await nats.broker.observe()).rules} > {PUBLISHER}
        assert it.condition_of("MessageBroker", MAIN, "InSync")[1] == "Unaccounted"
        assert it.notes("LedgerLost")


def spoilt(data: str) -> Manifest:
    broker = MessageBroker.parse(a_broker())
    manifest = ledger_manifest(OWN, broker, Ledger())
    return {**manifest, "binaryData": {"ledger.json.gz": data}}


@pytest.mark.parametrize("data", ["", "no base64", base64.b64encode(b"no gzip").decode()])
async def test_unreadable_ledger_stops_all_changes(nats: Stage, data: str) -> None:
    async with at_work(nats, market(nats)) as it:
        good = it.server.objects["ConfigMap", LEDGER]
        pushes = await nats.pushes()
        await it.put(spoilt(data))
        await it.delete("TopicPolicy", ORDERS)
        await it.later(EVERY)
        status, reason, message = it.condition_of("MessageBroker", MAIN, "InSync")
        assert (status, reason) == ("False", "LedgerUnreadable")
        assert str(LEDGER) in message
        assert it.condition_of("TopicPolicy", ORDERS, "GrantsInSync")[1] == "LedgerUnreadable"
        assert await pushes() == 0
        await it.put(good)  # restored
        assert ("TopicPolicy", ORDERS) not in it.server.objects
        assert not (await nats.broker.observe()).rules


async def test_deletion_of_a_broker_with_an_unreadable_ledger_reports_what_stays(
    nats: Stage,
) -> None:
    async with at_work(nats, market(nats)) as it:
        await it.put(spoilt(""))
        await it.delete("MessageBroker", MAIN)
        await it.later(timedelta(minutes=11))
        assert ("MessageBroker", MAIN) not in it.server.objects
        (note,) = (each for each in it.notes("LeftBehind") if "principals" in each)
        assert "all grants and credentials of principals troth-* stay" in note
        assert "0 rules" not in note


async def test_ledger_of_another_namespace_is_ignored(nats: Stage) -> None:
    """Otherwise a user who may write ConfigMaps anywhere could have foreign rules removed."""
    foreign = publish("stranger", "prod.orders.v1")
    assert not await nats.broker.apply(Batch((nats.issue("stranger"),), tuple(rules([foreign]))))
    forged = ledger_manifest(OWN, MessageBroker.parse(a_broker()), Ledger(rules([foreign])))
    forged["metadata"]["namespace"] = "shop"
    async with at_work(nats, market(nats, forged)) as it:
        await it.later(EVERY)
        assert rules([foreign]) <= (await nats.broker.observe()).rules
        assert it.server.objects["MessageBroker", MAIN]["status"]["foreignGrants"] == len(
            rules([foreign])
        )
        assert it.server.objects["ConfigMap", Ref("shop", ledger_ref(OWN, MAIN).name)] == {
            **forged,
            "metadata": it.server.objects["ConfigMap", Ref("shop", LEDGER.name)]["metadata"],
        }


async def test_foreign_object_in_the_ledgers_place_stops_all_changes(
    nats: Stage,
) -> None:
    """Troth could not record its grants and so could never revoke them."""
    taken = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": LEDGER.name, "namespace": LEDGER.namespace},
        "data": {"mine": "yes"},
    }
    server = Hiding(market(nats), taken)
    pushes = await nats.pushes()
    async with on(server, nats) as it:
        await it.later(EVERY)
        assert await pushes() == 0
        status, reason, message = it.condition_of("MessageBroker", MAIN, "Reachable")
        assert (status, reason) == ("False", "Conflict")
        assert str(LEDGER) in message
        assert server.objects["ConfigMap", LEDGER]["data"] == {"mine": "yes"}
        del server.objects["ConfigMap", LEDGER]
        await it.later(EVERY)
        assert it.condition_of("MessageBroker", MAIN, "Ready")[:2] == ("True", "InPlace")


class Hiding(Server):
    """Server with an object that the informers' selectors hide from the engine."""

    def __init__(self, objects: list[Manifest], hidden: Manifest) -> None:
        super().__init__(objects)
        self.hidden = hidden

    async def apply_new(self, manifest: Manifest) -> Manifest:
        if self.hidden:
            self.put(self.hidden)
            self.hidden = {}
        return await super().apply_new(manifest)
