"""Open connections after a revocation, and revocations that Kafka could misinterpret."""

import asyncio

import pytest

from sandbox.brokers.kafka import KafkaServer
from tests.brokers.kafka.clients import DENIED, DONE, REFUSED, Client, make_topics
from tests.brokers.waiting import becomes, observed
from troth.brokers.kafka.driver import Kafka
from troth.brokers.kafka.rules import rules
from troth.brokers.protocol import Batch, Credential
from troth.trust.grants import Action, Grant, Rule, Slot, Topic


async def granted(kafka: Kafka, grants: list[Grant], *credentials: Credential) -> frozenset[Rule]:
    """Apply grants and credentials, and wait until the server shows them; return the rules."""
    wanted = rules(grants)
    batch = Batch(credentials=credentials, additions=tuple(sorted(wanted)))
    assert await kafka.apply(batch) == ()
    holders = {(each.principal, each.slot) for each in credentials}
    await observed(kafka, lambda seen: wanted <= seen.rules and holders <= seen.credentials)
    return wanted


async def test_connected_producer_is_denied_once_its_acl_is_removed(
    server: KafkaServer, kafka: Kafka, mine: str
) -> None:
    topic = f"{mine}orders"
    make_topics(server, [topic])
    grant = Grant(mine, Action.PUBLISH, Topic(topic))
    wanted = await granted(kafka, [grant], Credential(mine, Slot.FIRST, "password"))
    producer = Client(server, mine, "password").producer()
    assert await asyncio.to_thread(producer.publish, topic) == DONE

    assert await kafka.apply(Batch(removals=tuple(wanted))) == ()

    async def denied() -> bool:
        return await asyncio.to_thread(producer.publish, topic) in DENIED

    await becomes(denied)


async def test_revoked_credential_ends_an_open_connection_at_reauthentication(
    server: KafkaServer, kafka: Kafka, mine: str
) -> None:
    topic = f"{mine}orders"
    make_topics(server, [topic])
    grant = Grant(mine, Action.PUBLISH, Topic(topic))
    await granted(kafka, [grant], Credential(mine, Slot.FIRST, "password"))
    producer = Client(server, mine, "password").producer()
    assert await asyncio.to_thread(producer.publish, topic) == DONE

    await kafka.apply(Batch(revocations=((mine, Slot.FIRST),)))
    await kafka.disconnect([mine])

    async def refused() -> bool:
        return await asyncio.to_thread(producer.publish, topic) == REFUSED

    await becomes(refused)


@pytest.mark.parametrize("slot", Slot)
async def test_revoking_a_missing_credential_creates_no_login(
    server: KafkaServer, kafka: Kafka, mine: str, slot: Slot
) -> None:
    assert await kafka.apply(Batch(revocations=((mine, slot),))) == ()
    for password in ("x", mine):
        client = Client(server, mine, password, slot)
        assert await asyncio.to_thread(client.publish, "any") == REFUSED


async def test_credential_both_added_and_revoked_is_revoked(
    server: KafkaServer, kafka: Kafka, mine: str
) -> None:
    given, also = Credential(mine, Slot.FIRST, "password"), Credential(mine, Slot.SECOND, "another")
    await kafka.apply(Batch(credentials=(given, also), revocations=((mine, Slot.FIRST),)))
    await observed(
        kafka,
        lambda seen: {slot for name, slot in seen.credentials if name == mine} == {Slot.SECOND},
    )
    client = Client(server, mine, "password")
    assert await asyncio.to_thread(client.publish, "any") == REFUSED
