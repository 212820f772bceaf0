"""A policy is deleted even if its broker is gone for good; an Event lists what remains there."""

from datetime import timedelta

from tests.broker_builders import MAIN, ORDERS, PUBLISHER, orders, publisher, subscriber
from tests.builders import NOW, OWN, Manifest, domain, namespace, stamp
from tests.messaging import broker
from tests.reconcile.serving import Running, Server, running
from troth.planning.grants.finalizer import FINALIZER, PATIENCE
from troth.reconcile.brokers.work import BrokerWork
from troth.resources.messaging.message_broker import MessageBroker
from troth.trust.grants import Rule
from troth.world.facts.broker import Ledger
from troth.world.observation.ledger import ledger_manifest

WRITE = Rule(PUBLISHER, "TOPIC", "LITERAL", "prod.orders.v1", "WRITE", host="*")
SECOND = timedelta(seconds=1)


def scene(*finalizers: str) -> Server:
    """Return a server with a broker without admin Secret, and its policy in deletion."""
    policy = orders()
    policy["metadata"] |= {"finalizers": list(finalizers), "deletionTimestamp": stamp(NOW)}
    ledger = ledger_manifest(OWN, MessageBroker.parse(broker()), Ledger(frozenset({WRITE})))
    shop: list[Manifest] = [namespace("shop", domain="production"), domain()]
    return Server([*shop, broker(), publisher(), subscriber(), policy, ledger])


async def settle(it: Running) -> None:
    """Wait until neither keys nor brokers have work."""
    work = it.engine.background
    assert isinstance(work, BrokerWork)
    await it.settle()
    while work.busy:
        await work.settled()
        await it.settle()


async def test_policy_is_released_after_ten_minutes_with_an_event() -> None:
    server = scene(FINALIZER)
    async with running(server) as it:
        await settle(it)
    assert server.condition("TopicPolicy", ORDERS, "Ready")["reason"] == "BrokerUnreachable"
    async with running(server, NOW + PATIENCE - SECOND) as it:
        await settle(it)
    assert server.objects["TopicPolicy", ORDERS]["metadata"]["finalizers"] == [FINALIZER]
    assert "LeftBehind" not in server.reasons()
    uid = server.objects["TopicPolicy", ORDERS]["metadata"]["uid"]
    async with running(server, NOW + PATIENCE) as it:
        await settle(it)
    assert ("TopicPolicy", ORDERS) not in server.objects
    (event,) = (each for each in server.events if each["reason"] == "LeftBehind")
    assert event["type"] == "Warning"
    assert event["regarding"]["kind"] == "TopicPolicy"
    assert event["regarding"]["name"] == "orders"
    assert event["regarding"]["uid"] == uid
    assert "Publish prod.orders.v1 by shop/checkout" in event["note"]
    assert ("ConfigMap", (OWN, f"troth-ledger-{MAIN.namespace}.{MAIN.name}")) in server.objects


async def test_foreign_finalizers_hold_the_policy_longer() -> None:
    server = scene("example.com/backup", FINALIZER)
    async with running(server, NOW + PATIENCE) as it:
        await settle(it)
    metadata = server.objects["TopicPolicy", ORDERS]["metadata"]
    assert metadata["finalizers"] == ["example.com/backup"]
    ready = server.condition("TopicPolicy", ORDERS, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "Deleting")
    assert server.reasons().count("LeftBehind") == 1
