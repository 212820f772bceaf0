"""The server itself judges: what is granted succeeds with real clients, and nothing else does."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sandbox.brokers.kafka import KafkaServer
from tests.brokers.kafka.clients import (
    DENIED,
    DONE,
    Client,
    administered,
    becomes,
    make_topics,
    observed,
)
from troth.brokers.kafka import Kafka
from troth.brokers.protocol import Batch, Credential, Slot
from troth.planning.kafka_rules import rules
from troth.trust.grants import Action, Grant, Rule, Topic

REFUSED = "_AUTHENTICATION"

TOPICS = ("orders", "orders.eu", "stock")
GROUPS = ("packing", "billing")

grants = st.lists(
    st.tuples(
        st.sampled_from(Action),
        st.builds(Topic, st.sampled_from(TOPICS), prefix=st.booleans()),
        st.sampled_from(GROUPS),
    ),
    min_size=1,
    max_size=3,
    unique=True,
)


async def granted(kafka: Kafka, grants: list[Grant], *credentials: Credential) -> frozenset[Rule]:
    """Apply grants and credentials, and wait until the server has them."""
    wanted = rules(grants)
    batch = Batch(credentials=credentials, additions=tuple(sorted(wanted)))
    assert await kafka.apply(batch) == ()
    holders = {(each.principal, each.slot) for each in credentials}
    await observed(kafka, lambda seen: wanted <= seen.rules and holders <= seen.credentials)
    return wanted


# Two sets of grants, and none made smaller: each takes the server seconds.
@settings(max_examples=2, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(by_principal=st.tuples(grants, grants, grants))
async def test_what_is_granted_succeeds_and_nothing_else(
    server: KafkaServer, by_principal: tuple[list[tuple[Action, Topic, str]], ...]
) -> None:
    mine = f"t{time.monotonic_ns()}."
    topics = [mine + name for name in TOPICS]
    make_topics(server, topics)
    kafka = administered(server)
    clients = [Client(server, f"{mine}{index}", f"p{index}") for index in range(len(by_principal))]
    declared = {
        client.principal: [
            Grant(
                client.principal,
                action,
                Topic(mine + topic.name, topic.prefix),
                # Of each its own: members of one group would take each other's messages.
                f"{client.principal}.{group}",
            )
            for action, topic, group in of_one
        ]
        for client, of_one in zip(clients, by_principal, strict=True)
    }
    await granted(
        kafka,
        [grant for of_one in declared.values() for grant in of_one],
        *(Credential(client.principal, client.slot, client.password) for client in clients),
    )
    await kafka.close()

    def tried(client: Client) -> None:
        reached = {
            (grant.action, topic)
            for grant in declared[client.principal]
            for topic in topics
            if topic == grant.topic.name
            or (grant.topic.prefix and topic.startswith(grant.topic.name))
        }
        joined = {g.group for g in declared[client.principal] if g.action is Action.CONSUME}
        for topic in topics:
            outcome = client.publish(topic)
            assert outcome in ({DONE} if (Action.PUBLISH, topic) in reached else DENIED)
            for group in (f"{client.principal}.{name}" for name in GROUPS):
                may = (Action.CONSUME, topic) in reached and group in joined
                assert client.consume(topic, group) in ({DONE} if may else DENIED)

    with ThreadPoolExecutor() as pool:
        list(pool.map(tried, clients))


async def test_both_credentials_of_a_principal_work_at_once_until_one_is_revoked(
    server: KafkaServer, kafka: Kafka, mine: str
) -> None:
    topic = f"{mine}orders"
    make_topics(server, [topic])
    old = Client(server, mine, "old", Slot.FIRST)
    new = Client(server, mine, "new", Slot.SECOND)
    await granted(
        kafka,
        [Grant(mine, Action.PUBLISH, Topic(topic))],
        Credential(mine, Slot.FIRST, "old"),
        Credential(mine, Slot.SECOND, "new"),
    )
    assert await asyncio.to_thread(old.publish, topic) == DONE
    assert await asyncio.to_thread(new.publish, topic) == DONE

    assert await kafka.apply(Batch(revocations=((mine, Slot.FIRST),))) == ()

    async def refused() -> bool:
        return await asyncio.to_thread(old.publish, topic) == REFUSED

    await becomes(refused)
    assert await asyncio.to_thread(new.publish, topic) == DONE


async def test_a_credential_of_one_slot_is_none_of_the_other(
    server: KafkaServer, kafka: Kafka, mine: str
) -> None:
    await granted(kafka, [], Credential(mine, Slot.FIRST, "password"))
    other = Client(server, mine, "password", Slot.SECOND)
    assert await asyncio.to_thread(other.publish, "any") == REFUSED


async def test_a_replaced_password_works_and_the_one_before_does_not(
    server: KafkaServer, kafka: Kafka, mine: str
) -> None:
    topic = f"{mine}orders"
    make_topics(server, [topic])
    grant = Grant(mine, Action.PUBLISH, Topic(topic))
    await granted(kafka, [grant], Credential(mine, Slot.FIRST, "before"))
    await kafka.apply(Batch(credentials=(Credential(mine, Slot.FIRST, "after"),)))

    async def works() -> bool:
        return await asyncio.to_thread(Client(server, mine, "after").publish, topic) == DONE

    await becomes(works)
    assert await asyncio.to_thread(Client(server, mine, "before").publish, topic) == REFUSED


async def test_a_live_producer_is_denied_as_soon_as_its_acl_is_gone(
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


async def test_a_revoked_credential_ends_a_live_connection_when_it_must_log_in_again(
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
async def test_revoking_what_was_never_there_lets_nobody_in(
    server: KafkaServer, kafka: Kafka, mine: str, slot: Slot
) -> None:
    assert await kafka.apply(Batch(revocations=((mine, slot),))) == ()
    for password in ("x", mine):
        client = Client(server, mine, password, slot)
        assert await asyncio.to_thread(client.publish, "any") == REFUSED


async def test_what_is_both_given_and_revoked_is_revoked(
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
