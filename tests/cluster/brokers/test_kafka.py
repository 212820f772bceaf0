"""A real Kafka, administered with the chart's RBAC: credentials issued, rotated and revoked."""

import asyncio
from datetime import timedelta

from sandbox.brokers.kafka import KafkaServer
from tests import builders
from tests.brokers.kafka.clients import DENIED, DONE, MECHANISM, Client, make_topics
from tests.builders import stamp
from tests.cluster.brokers.market import BROKER, POLICY, Market
from tests.cluster.crashes.comparison import data_of
from tests.cluster.stage import IDENTITY
from tests.cluster.witness import Witness
from troth.trust.grants import Slot
from troth.world.index.brokers import credential_ref

MINUTE = timedelta(minutes=1)


async def test_password_is_valid_for_declared_access_until_it_is_rotated(
    market: Market, kafka_server: KafkaServer
) -> None:
    stage, person = market.stage, market.stage.person
    mine, others = f"{stage.name}.bills", f"{stage.name}.others"
    await asyncio.to_thread(make_topics, kafka_server, [mine, others])
    await stage.run()
    await person.put(*market.accounts(kafka_server))
    await person.ready(BROKER, market.log)
    await person.ready(POLICY, market.bills)
    await person.ready(IDENTITY, market.billing)  # the policy is ready without a producer too
    old = await market.data(market.billing, market.log)
    assert await publish(kafka_server, old, mine) == DONE
    assert await publish(kafka_server, old, others) in DENIED

    secret = credential_ref(market.billing, market.log)
    async with Witness(stage.sandbox.kubeconfig, "Secret", stage.shop) as witness:
        asked = stamp(stage.clock.now() + timedelta(seconds=1))
        await person.put(builders.rotation(IDENTITY, "billing", stage.shop, requestedAt=asked))
        for _ in range(20):
            await stage.later(MINUTE)
            await stage.settled()
            new = await market.data(market.billing, market.log)
            if new["password"] != old["password"] and "retiring-password" not in new:
                break
        seen = [
            data_of(each.manifest)
            for each in await witness.everything()
            if each.name == secret.name
        ]
    assert new.keys() == old.keys(), "nothing of another one is left in it"
    assert {"next-password", "retiring-password"} <= {key for each in seen for key in each}
    assert len({each["password"] for each in seen}) == 2, "one was issued, once"
    assert await publish(kafka_server, new, mine) == DONE
    assert await publish(kafka_server, old, mine) == "_AUTHENTICATION"

    await market.kubectl("delete", "tp", "bills", "-n", stage.shop)
    await person.misses("Secret", secret)
    assert await publish(kafka_server, new, mine) == "_AUTHENTICATION"


async def publish(server: KafkaServer, data: dict[str, str], topic: str) -> str:
    """Publish with a Secret's credential; return the outcome."""
    slots = {mechanism: slot for slot, mechanism in MECHANISM.items()}
    slot: Slot = slots[data["sasl.mechanism"]]
    client = Client(server, data["username"], data["password"], slot)
    return await asyncio.to_thread(client.publish, topic)
