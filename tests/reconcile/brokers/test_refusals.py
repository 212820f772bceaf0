"""A change that the broker rejects delays no other change and is retried."""

import json
from datetime import timedelta

from tests.broker_builders import subscriber
from tests.brokers.nats.stage import Stage
from tests.messaging import consumer, policy
from tests.reconcile.brokers.at_work import (
    CHECKOUT,
    CONSUMER,
    MAIN,
    PUBLISHER,
    AtWork,
    at_work,
    market,
)
from troth.brokers.nats.jwt import Key, Kind
from troth.resources.references import Ref

NO_KEY = Key.generate(Kind.OPERATOR).public
"""Key that the broker does not accept as a signing key."""


async def spoil(it: AtWork) -> None:
    """Change the namespace's own credential to one that the broker rejects."""
    current = json.loads(it.data(CHECKOUT)["troth.json"])["current"]
    await it.put(it.secret_saying(CHECKOUT, current={**current, "fingerprint": NO_KEY}))


async def test_rejected_change_is_reported_and_delays_no_other(nats: Stage) -> None:
    refunds = policy("refunds", topic={"name": "prod.refunds"}, consumers=[consumer("fulfilment")])
    async with at_work(nats, market(nats)) as it:
        await spoil(it)
        status, reason, message = it.condition_of("MessageBroker", MAIN, "InSync")
        assert (status, reason) == ("False", "ChangeRefused")
        assert PUBLISHER in message
        states = {each[0]: each[2:] for each in it.grants()}
        assert states["shop/checkout"] == ("Live", "BrokerRefused")
        assert states["shop/fulfilment"] == ("InSync", "")
        await it.later(timedelta(minutes=3))  # the backoff is long by now
        await it.put(refunds)
        await it.put(subscriber("fulfilment", "orders", "refunds"))
        assert {each[2] for each in it.grants(Ref("shop", "refunds"))} == {"InSync"}
        assert any(
            rule.principal == CONSUMER and "prod.refunds" in rule.name
            for rule in (await nats.broker.observe()).rules
        )


async def test_rejected_change_is_retried_with_backoff(nats: Stage) -> None:
    async with at_work(nats, market(nats)) as it:
        pushes = await nats.pushes()
        await spoil(it)
        looks, brokers = [], it.running.engine.world.brokers
        for _ in range(40):
            looks.append(brokers.observation(MAIN).attempts)
            await it.later(timedelta(seconds=1))
        assert looks == sorted(looks)
        assert 5 <= looks[-1] <= 7  # after 1, 3, 7, 15 and 31 seconds
        assert await pushes() == 0
        writes = it.server.writes
        await it.later(timedelta(seconds=60))
        assert it.server.writes == writes


async def test_corrected_change_is_applied(nats: Stage) -> None:
    async with at_work(nats, market(nats)) as it:
        await spoil(it)
        await it.delete("Secret", Ref("shop", "checkout-main"))
        await it.later(timedelta(seconds=61))
        assert it.condition_of("MessageBroker", MAIN, "Ready")[:2] == ("True", "InPlace")
        assert {each[2] for each in it.grants()} == {"InSync"}
        await (await it.client(CHECKOUT)).close()
