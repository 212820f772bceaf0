"""Kafka shows the members of the consumer groups that the operator may describe."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from sandbox.brokers.kafka import KafkaServer
from sandbox.control_plane import free_port
from tests.brokers.kafka.clients import Client, access, joined, make_topics
from tests.brokers.waiting import becomes, observed
from troth.brokers.clients import Client as Seen
from troth.brokers.errors import BrokerError, UnreachableError
from troth.brokers.kafka.admin import Scram
from troth.brokers.kafka.driver import Kafka
from troth.brokers.kafka.rules import rules
from troth.brokers.protocol import Batch, Credential
from troth.documents.client_name import client_name
from troth.trust.grants import Action, Grant, Rule, Slot, Topic

GUARDED = client_name(["shop/orders"])
CONSUMES = (Action.CONSUME,)


@pytest.fixture(scope="module")
def topics(server: KafkaServer) -> tuple[str, ...]:
    names = ("seen.a", "seen.b")
    make_topics(server, names)
    return names


@pytest.fixture
async def consumer(
    server: KafkaServer, kafka: Kafka, mine: str, topics: tuple[str, ...]
) -> AsyncIterator[Client]:
    """Return a principal that may consume both topics in any of its groups."""
    grants = [
        Grant(mine, Action.CONSUME, Topic(topic), f"{mine}{group}")
        for topic in topics
        for group in ("g", "h")
    ]
    batch = Batch((Credential(mine, Slot.FIRST, "password"),), tuple(rules(grants)))
    assert await kafka.apply(batch) == ()
    await observed(kafka, lambda seen: set(batch.additions) <= seen.rules)
    yield Client(server, mine, "password")
    assert await kafka.apply(Batch(removals=batch.additions)) == ()


async def test_members_of_a_group_are_shown_with_their_topics(
    kafka: Kafka, mine: str, consumer: Client
) -> None:
    group = f"{mine}g"
    async with joined(consumer, "seen.a", group, GUARDED, "rdkafka"):
        found = await kafka.clients([group, f"{mine}h"])
    assert not found.hidden
    names = {(each.policies, each.name) for each in found.seen}
    assert names == {(("shop/orders",), ""), (None, "rdkafka")}
    # The topic has one partition, so one of the two has none.
    assert sorted(each.topics for each in found.seen) == [(), ("seen.a",)]
    assert {each.group for each in found.seen} == {group}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\u202eevil\n", "\\u202eevil\\n"),
        ("x" * 10_000, "x" * 61 + "..."),
        (f"{GUARDED}\n", f"{GUARDED}\\n"),
    ],
)
async def test_hostile_client_id_is_escaped_and_shortened(
    kafka: Kafka, mine: str, consumer: Client, name: str, text: str
) -> None:
    group = f"{mine}g"
    async with joined(consumer, "seen.a", group, name):
        found = await kafka.clients([group])
    assert found.seen == {Seen(group=group, name=text, topics=("seen.a",), actions=CONSUMES)}


async def test_group_that_does_not_exist_has_no_members(kafka: Kafka, mine: str) -> None:
    found = await kafka.clients([f"{mine}none", "", "a\0b"])
    assert not found.seen
    assert not found.hidden
    assert not (await kafka.clients([])).seen


async def test_many_groups_are_described_in_several_calls(
    kafka: Kafka, mine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("troth.brokers.kafka.driver.GROUPS_AT_ONCE", 2)
    found = await kafka.clients([f"{mine}{number}" for number in range(5)])
    assert not found.hidden


async def test_groups_beyond_the_limit_are_not_described(
    kafka: Kafka, mine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("troth.brokers.kafka.driver.MOST_GROUPS", 2)
    found = await kafka.clients([f"{mine}{number}" for number in range(3)])
    assert found.hidden.keys() == {f"{mine}2"}


async def test_group_that_the_operator_may_not_describe_is_hidden_with_what_to_do(
    server: KafkaServer, kafka: Kafka, mine: str, consumer: Client
) -> None:
    """An administrator that is no super user may describe only what it is allowed to."""
    admin = f"{mine}admin"
    allowed = [
        *(
            Rule(admin, "CLUSTER", "LITERAL", "kafka-cluster", operation, host="*")
            for operation in ("ALTER", "DESCRIBE")
        ),
        Rule(admin, "GROUP", "LITERAL", f"{mine}g", "DESCRIBE", host="*"),
    ]
    batch = Batch((Credential(admin, Slot.SECOND, "right"),), tuple(allowed))
    assert await kafka.apply(batch) == ()
    await observed(kafka, lambda seen: set(allowed) <= seen.rules)
    login = Scram(admin, "right")
    limited = Kafka(replace(access(server), servers=(server.client_address,), login=login))

    async def answers() -> bool:
        try:
            return bool((await limited.observe()).rules)
        except BrokerError:
            return False

    async with joined(consumer, "seen.a", f"{mine}g", "rdkafka"):
        await becomes(answers)
        found = await limited.clients([f"{mine}g", f"{mine}h"])
    await limited.close()
    assert await kafka.apply(Batch(removals=tuple(allowed))) == ()
    assert {each.name for each in found.seen} == {"rdkafka"}
    assert found.hidden == {
        f"{mine}h": (
            f"Kafka does not allow the operator to describe group {mine}h; allow it Describe on "
            "the group"
        )
    }


async def test_unreachable_broker_raises(server: KafkaServer) -> None:
    away = Kafka(replace(access(server), servers=(f"127.0.0.1:{free_port()}",)), timeout=1)
    with pytest.raises(UnreachableError, match="describe consumer groups"):
        await away.clients(["g"])
    await away.close()


async def test_member_of_the_new_protocol_is_shown(
    kafka: Kafka, mine: str, consumer: Client
) -> None:
    group = f"{mine}g"
    async with joined(consumer, "seen.b", group, GUARDED, protocol="consumer"):
        found = await kafka.clients([group])
    assert found.seen == {
        Seen(group=group, policies=("shop/orders",), topics=("seen.b",), actions=CONSUMES)
    }
