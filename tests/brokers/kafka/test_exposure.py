"""Kafka shows its listeners, that it has super users, and the members of groups."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from sandbox.brokers.kafka import KafkaServer
from tests.audit.broker_scene import found as judged
from tests.audit.broker_scene import observed_broker
from tests.brokers.kafka.clients import Client, access, administered, joined, make_topics
from tests.brokers.kafka.serving import skip_without_java
from tests.brokers.waiting import becomes, observed
from tests.messaging import KAFKA
from troth.audit.rules.brokers import anonymous_access, plaintext_listener
from troth.brokers.errors import BrokerError
from troth.brokers.kafka.admin import Scram
from troth.brokers.kafka.driver import Kafka
from troth.brokers.kafka.exposure import exposure_of
from troth.brokers.kafka.rules import rules
from troth.brokers.protocol import Batch, Credential
from troth.resources.messaging.observed_broker import Aspect, Exposure, ObservedClient
from troth.trust.grants import Action, Grant, Rule, Slot, Topic

PRINCIPALS = "Kafka's admin API shows the members of consumer groups, and no principals"


@pytest.fixture(scope="module")
def open_server() -> Iterator[KafkaServer]:
    """Run a server with a listener without TLS, and one without credentials."""
    skip_without_java()
    listeners = {"PLAIN": "SASL_PLAINTEXT", "LEGACY": "PLAINTEXT", "ANY": "SSL"}
    properties = {
        "listener.name.any.ssl.client.auth": "requested",
        "listener.name.plain.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
        "listener.name.plain.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "allow.everyone.if.no.acl.found": "",
    }
    with KafkaServer.start(listeners=listeners, properties=properties) as started:
        yield started


def listeners(found: Exposure) -> dict[str, tuple[str, str]]:
    return {each.name: (str(each.encryption), str(each.authentication)) for each in found.listeners}


def reasons(found: Exposure) -> dict[Aspect, str]:
    return {each.aspect: each.reason for each in found.hidden}


async def test_closed_server_requires_tls_and_credentials(kafka: Kafka) -> None:
    found = await kafka.exposure(())
    assert listeners(found) == dict.fromkeys(
        ("ADMIN", "CLIENTS", "IDENTITIES"), ("Required", "Required")
    )
    assert found.super_users == ("super.users",)
    assert found.clients == ()


async def test_property_whose_value_kafka_hides_is_said(kafka: Kafka) -> None:
    """The server sets allow.everyone.if.no.acl.found to false, and Kafka does not say to what."""
    found = reasons(await kafka.exposure(()))
    assert found[Aspect.PRINCIPALS] == PRINCIPALS
    assert "allow.everyone.if.no.acl.found" in found[Aspect.RIGHTS]
    assert found.keys() == {Aspect.PRINCIPALS, Aspect.RIGHTS}


@pytest.mark.long
async def test_listeners_without_tls_or_credentials_are_shown(open_server: KafkaServer) -> None:
    kafka = administered(open_server)
    found = await kafka.exposure(())
    await kafka.close()
    assert listeners(found) == {
        "ADMIN": ("Required", "Required"),
        "CLIENTS": ("Required", "Required"),
        "PLAIN": ("None", "Required"),
        "LEGACY": ("None", "None"),
        "ANY": ("Required", "None"),
    }
    assert reasons(found) == {Aspect.PRINCIPALS: PRINCIPALS}
    shown = observed_broker(described=KAFKA, **found.manifest())
    assert {each.about for each in judged(plaintext_listener.RULE, shown).findings} == {
        *("PLAIN", "LEGACY")
    }
    assert {each.about for each in judged(anonymous_access.RULE, shown).findings} == {
        *("ANY", "LEGACY")
    }


async def test_members_of_groups_are_shown_with_their_addresses(
    server: KafkaServer, kafka: Kafka, mine: str
) -> None:
    make_topics(server, [f"{mine}t"])
    grant = Grant(mine, Action.CONSUME, Topic(f"{mine}t"), f"{mine}g")
    batch = Batch((Credential(mine, Slot.FIRST, "password"),), tuple(rules([grant])))
    assert await kafka.apply(batch) == ()
    await observed(kafka, lambda seen: set(batch.additions) <= seen.rules)
    client = Client(server, mine, "password")
    async with joined(client, f"{mine}t", f"{mine}g", "one", "two"):
        found = await kafka.exposure([f"{mine}g", f"{mine}none", "a\0b"])
    assert found.clients == (
        ObservedClient(group=f"{mine}g", names=("one", "two"), addresses=("127.0.0.1",)),
    )
    assert Aspect.CLIENTS not in reasons(found)


async def test_groups_beyond_the_limit_are_said(
    kafka: Kafka, mine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("troth.brokers.kafka.driver.MOST_CLIENTS", 2)
    found = await kafka.exposure([f"{mine}{number}" for number in range(3)])
    assert Aspect.CLIENTS in reasons(found)


async def test_administrator_without_describe_configs_is_shown_nothing_of_the_servers(
    server: KafkaServer, kafka: Kafka, mine: str
) -> None:
    admin = f"{mine}admin"
    allowed = tuple(
        Rule(admin, "CLUSTER", "LITERAL", "kafka-cluster", operation, host="*")
        for operation in ("ALTER", "DESCRIBE")
    )
    batch = Batch((Credential(admin, Slot.SECOND, "right"),), allowed)
    assert await kafka.apply(batch) == ()
    await observed(kafka, lambda seen: set(allowed) <= seen.rules)
    login = Scram(admin, "right")
    limited = Kafka(replace(access(server), servers=(server.client_address,), login=login))

    async def answers() -> bool:
        try:
            return bool((await limited.observe()).rules)
        except BrokerError:
            return False

    await becomes(answers)
    found = await limited.exposure([f"{mine}g"])
    await limited.close()
    assert await kafka.apply(Batch(removals=allowed)) == ()
    assert found.listeners == ()
    assert reasons(found).keys() == set(Aspect)
    assert "DescribeConfigs" in reasons(found)[Aspect.LISTENERS]
    assert "Describe on the groups" in reasons(found)[Aspect.CLIENTS]


@pytest.mark.parametrize(
    "configuration",
    [
        {},
        {"listeners": None, "listener.security.protocol.map": None},
        {"listeners": ",, ,"},
    ],
)
def test_odd_configuration_is_read_without_an_error(configuration: dict[str, str | None]) -> None:
    found = exposure_of([configuration], {}, has_more=False)
    assert found.listeners == ()
    assert reasons(found)[Aspect.LISTENERS] == "a server of the cluster does not show its listeners"


def test_server_that_is_only_a_controller_hides_no_listener() -> None:
    controller = {"listeners": "controller://:1", "controller.listener.names": "CONTROLLER"}
    found = exposure_of([controller], {}, has_more=False)
    assert found.listeners == ()
    assert Aspect.LISTENERS not in reasons(found)


def test_listener_with_an_unknown_protocol_is_unknown_and_said() -> None:
    found = exposure_of([{"listeners": "NEW://:1,SSL://:2"}], {}, has_more=False)
    assert listeners(found) == {"NEW": ("Unknown", "Unknown"), "SSL": ("Required", "None")}
    says = "the broker does not show whether listener NEW requires TLS and credentials"
    assert reasons(found)[Aspect.LISTENERS] == says


@pytest.mark.parametrize(
    "protocols", ["INTERNAL:PLAINTEXT", "internal:plaintext", " Internal : Plaintext "]
)
def test_listeners_and_protocols_are_read_in_any_case(protocols: str) -> None:
    server = {"listeners": "internal://:1", "listener.security.protocol.map": protocols}
    found = exposure_of([server], {}, has_more=False)
    assert listeners(found) == {"INTERNAL": ("None", "None")}
    assert Aspect.LISTENERS not in reasons(found)


def test_server_that_does_not_answer_hides_aspects() -> None:
    found = exposure_of([{"listeners": "SSL://:1"}, None], {}, has_more=False)
    assert reasons(found).keys() == {
        *(Aspect.LISTENERS, Aspect.SUPER_USERS, Aspect.RIGHTS, Aspect.PRINCIPALS)
    }
