"""Revocation on a NATS when a policy, an identity, a namespace or the broker is deleted."""

from datetime import timedelta

import pytest

from tests.broker_builders import orders, publisher
from tests.brokers.nats.stage import Ears, Stage, sent
from tests.builders import namespace
from tests.messaging import consumer, policy, producer
from tests.reconcile.brokers.at_work import (
    CHECKOUT,
    CONSUMER,
    EVERY,
    FULFILMENT,
    LEDGER,
    MAIN,
    ORDERS,
    PUBLISHER,
    TOPIC,
    AtWork,
    at_work,
    market,
)
from troth.resources.references import Ref

TWIN = Ref("shop", "twin")
SECRET = ("Secret", Ref("shop", "checkout-main"))


async def nothing_left(it: AtWork, *data: dict[str, str]) -> None:
    seen = await it.stage.broker.observe()
    assert not seen.rules
    assert not seen.credentials
    for each in data:
        assert not await it.enters(each["user.creds"], each["inbox.prefix"])


async def publishes(it: AtWork, data: dict[str, str]) -> bool:
    """Return whether a message published with a credential arrives."""
    witness = await it.stage.witness()
    ears = Ears(witness)
    await ears.listen(TOPIC)
    await ears.settle()
    client = await it.stage.enter(data["user.creds"], data["inbox.prefix"])
    await client.publish(TOPIC, b"one")
    await sent(client)
    await ears.settle()
    await client.close()
    await witness.close()
    return ears.heard[TOPIC, ""] == {b"one"}


async def test_grant_of_two_policies_stays_until_both_are_deleted(nats: Stage) -> None:
    twice = publisher("checkout", "orders", "twin")
    twin = policy("twin", producers=[producer("checkout")])
    async with at_work(nats, market(nats, twin, twice)) as it:
        data, client = it.data(CHECKOUT), await it.client(CHECKOUT)
        await it.delete("TopicPolicy", ORDERS)
        assert ("TopicPolicy", ORDERS) not in it.server.objects
        assert {rule.principal for rule in it.ledger.rules} == {PUBLISHER}
        assert it.data(CHECKOUT) == data
        assert client.is_connected
        assert await publishes(it, data)
        assert {each[2] for each in it.grants(TWIN)} == {"InSync"}
        await it.delete("TopicPolicy", TWIN)
        assert client.is_closed
        await nothing_left(it, data)


async def test_retained_grant_ends_when_the_broker_evicts_the_namespace(nats: Stage) -> None:
    async with at_work(nats, market(nats, orders(onDelete="Retain"), retention="Allow")) as it:
        data, client = it.data(CHECKOUT), await it.client(CHECKOUT)
        await it.delete("TopicPolicy", ORDERS)
        assert client.is_connected
        elsewhere = {"matchLabels": {"domain": "elsewhere"}}
        await it.edit("MessageBroker", MAIN, allowedNamespaces=elsewhere)
        await nothing_left(it, data)


async def test_deleted_identity_is_disconnected(nats: Stage) -> None:
    async with at_work(nats, market(nats)) as it:
        data, client, other = (
            it.data(CHECKOUT),
            await it.client(CHECKOUT),
            await it.client(FULFILMENT),
        )
        await it.delete("ServiceIdentity", CHECKOUT)
        assert client.is_closed
        assert other.is_connected
        assert not await it.enters(data["user.creds"], data["inbox.prefix"])
        assert {rule.principal for rule in it.ledger.rules} == {CONSUMER}
        assert {place[0] for place in it.ledger.credentials} == {CONSUMER}
        states = {each[0]: each[2:] for each in it.grants()}
        assert states["shop/checkout"] == ("AwaitingIdentity", "IdentityMissing")
        assert states["shop/fulfilment"] == ("InSync", "")


async def test_recreated_identity_gets_another_credential(nats: Stage) -> None:
    async with at_work(nats, market(nats)) as it:
        data = it.data(CHECKOUT)
        await it.delete("ServiceIdentity", CHECKOUT)
        await it.put(publisher())
        assert it.data(CHECKOUT)["user.creds"] != data["user.creds"]
        assert await publishes(it, it.data(CHECKOUT))
        assert not await it.enters(data["user.creds"], data["inbox.prefix"])


async def test_broker_deleted_before_its_policies_has_everything_revoked(
    nats: Stage,
) -> None:
    async with at_work(nats, market(nats)) as it:
        data = [it.data(CHECKOUT), it.data(FULFILMENT)]
        await it.delete("MessageBroker", MAIN)
        assert ("MessageBroker", MAIN) not in it.server.objects
        assert ("ConfigMap", LEDGER) not in it.server.objects
        await nothing_left(it, *data)
        assert SECRET not in it.server.objects
        assert not it.notes("LeftBehind")
        assert {each[3] for each in it.grants()} == {"BrokerMissing"}
        await it.delete("TopicPolicy", ORDERS)
        assert ("TopicPolicy", ORDERS) not in it.server.objects


async def test_recreated_broker_gets_everything_again(nats: Stage) -> None:
    declared = market(nats)
    async with at_work(nats, declared) as it:
        data = it.data(CHECKOUT)
        await it.delete("MessageBroker", MAIN)
        (recreated,) = (each for each in market(nats) if each["kind"] == "MessageBroker")
        await it.put(recreated)
        assert it.condition_of("MessageBroker", MAIN, "Ready")[:2] == ("True", "InPlace")
        assert await publishes(it, it.data(CHECKOUT))
        assert not await it.enters(data["user.creds"], data["inbox.prefix"])


@pytest.mark.parametrize("with_broker", [False, True])
async def test_retained_grant_stays_and_works(nats: Stage, with_broker: bool) -> None:
    kept = orders(onDelete="Retain")
    async with at_work(nats, market(nats, kept, retention="Allow")) as it:
        data, client = it.data(CHECKOUT), await it.client(CHECKOUT)
        if with_broker:
            await it.delete("MessageBroker", MAIN)
        await it.delete("TopicPolicy", ORDERS)
        assert ("TopicPolicy", ORDERS) not in it.server.objects
        assert client.is_connected
        assert await publishes(it, data)
        if with_broker:
            assert ("MessageBroker", MAIN) not in it.server.objects
            return
        await it.later(EVERY)
        assert it.data(CHECKOUT) == data
        assert it.ledger.retained == it.ledger.rules
        await it.delete("ServiceIdentity", CHECKOUT)  # revokes the retained grants of this identity
        assert client.is_closed
        assert {rule.principal for rule in it.ledger.rules} == {CONSUMER}
        await it.put(orders())  # covers the rest, which is revoked with it
        await it.delete("TopicPolicy", ORDERS)
        await nothing_left(it, data)


async def test_namespace_no_longer_allowed_at_the_broker_loses_everything(
    nats: Stage,
) -> None:
    async with at_work(nats, market(nats)) as it:
        data, client = it.data(CHECKOUT), await it.client(CHECKOUT)
        nobody = {"matchLabels": {"domain": "elsewhere"}}
        before = it.server.objects["MessageBroker", MAIN]["spec"]["allowedNamespaces"]
        await it.edit("MessageBroker", MAIN, allowedNamespaces=nobody)
        assert client.is_closed
        await nothing_left(it, data)
        assert it.condition_of("TopicPolicy", ORDERS, "GrantsInSync")[0] == "False"
        await it.edit("MessageBroker", MAIN, allowedNamespaces=before)
        assert await publishes(it, it.data(CHECKOUT))


async def test_namespace_of_another_environment_loses_everything(nats: Stage) -> None:
    async with at_work(nats, market(nats)) as it:
        data, client = it.data(CHECKOUT), await it.client(CHECKOUT)
        await it.put(namespace("shop", domain="none"))
        await it.later(timedelta(seconds=5))
        assert client.is_closed
        assert not await it.enters(data["user.creds"], data["inbox.prefix"])


async def test_withdrawn_consent_of_one_side_ends_only_its_grant(nats: Stage) -> None:
    async with at_work(nats, market(nats)) as it:
        data, other = it.data(CHECKOUT), await it.client(FULFILMENT)
        await it.put(orders(producers=[], consumers=[consumer("fulfilment", "fulfilment")]))
        assert not await it.enters(data["user.creds"], data["inbox.prefix"])
        assert other.is_connected
        assert {rule.principal for rule in it.ledger.rules} == {CONSUMER}
