"""A team's declarations about a topic on a real NATS: granted, denied, revoked."""

import pytest
from nats.errors import Error

from tests.brokers.nats.stage import Ears, Stage, sent
from tests.reconcile.brokers.at_work import (
    CHECKOUT,
    FULFILMENT,
    MAIN,
    ORDERS,
    TOPIC,
    at_work,
    market,
)


async def test_declared_access_works_and_other_access_is_denied(nats: Stage) -> None:
    async with at_work(nats, market(nats)) as it:
        assert it.condition_of("MessageBroker", MAIN, "Ready")[:2] == ("True", "InPlace")
        assert it.condition_of("TopicPolicy", ORDERS, "Ready")[:2] == ("True", "InPlace")
        publisher, consumer = await it.client(CHECKOUT), await it.client(FULFILMENT)
        ears = Ears(consumer)
        await ears.listen(TOPIC, "fulfilment")
        await ears.settle()
        await publisher.publish(TOPIC, b"one")
        await sent(publisher)
        await ears.settle()
        assert ears.heard[TOPIC, "fulfilment"] == {b"one"}
        await consumer.publish(TOPIC, b"two")
        await sent(consumer)
        await ears.settle()
        assert ears.heard[TOPIC, "fulfilment"] == {b"one"}


async def test_deleted_policy_revokes_its_credentials(nats: Stage) -> None:
    async with at_work(nats, market(nats)) as it:
        creds = it.data(CHECKOUT)
        client = await it.client(CHECKOUT)
        await it.delete("TopicPolicy", ORDERS)
        assert ("TopicPolicy", ORDERS) not in it.server.objects
        assert client.is_closed
        with pytest.raises(Error):
            await nats.enter(creds["user.creds"], creds["inbox.prefix"])
        assert ("Secret", ("shop", "checkout-main")) not in it.server.objects
