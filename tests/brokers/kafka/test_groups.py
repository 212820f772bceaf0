"""Kafka's answers about groups are read without a server."""

import pytest
from confluent_kafka import ConsumerGroupState, KafkaError, Node, TopicPartition
from confluent_kafka.admin import ConsumerGroupDescription, MemberAssignment, MemberDescription

from troth.brokers.clients import Client, Clients
from troth.brokers.kafka.groups import clients_in
from troth.trust.grants import Action


def described(*members: tuple[str | None, list[str]]) -> ConsumerGroupDescription:
    return ConsumerGroupDescription(
        "g",
        False,
        [
            MemberDescription("id", name, "/host", MemberAssignment(list(map(TopicPartition, on))))  # type: ignore[arg-type]
            for name, on in members
        ],
        "range",
        ConsumerGroupState.STABLE,
        Node(1, "host", 9092),
    )


def test_member_is_read_with_its_client_id_and_its_topics() -> None:
    found = clients_in({"g": described(("rdkafka", ["b", "a", "a"]), (None, []))})
    assert found.seen == {
        Client(group="g", name="rdkafka", topics=("a", "b"), actions=(Action.CONSUME,)),
        Client(group="g", actions=(Action.CONSUME,)),
    }


def test_groups_beyond_the_limit_are_hidden() -> None:
    found = clients_in({"g": described(("c", []))}, ["z"])
    assert {each.name for each in found.seen} == {"c"}
    assert found.hidden == {"z": "Troth describes only 1000 groups of a broker, and not group z"}


@pytest.mark.parametrize(
    "code",
    [
        KafkaError.GROUP_ID_NOT_FOUND,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_COORDINATOR,
    ],
)
def test_group_that_is_absent_or_moving_shows_no_members(code: int) -> None:
    assert clients_in({"g": KafkaError(code)}) == Clients()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (KafkaError.GROUP_AUTHORIZATION_FAILED, "allow it Describe on the group"),
        (KafkaError.INVALID_GROUP_ID, "answered INVALID_GROUP_ID"),
    ],
)
def test_group_with_an_error_is_hidden_and_the_others_are_shown(code: int, message: str) -> None:
    found = clients_in({"g": KafkaError(code, "\x1b quoted"), "h": described(("c", []))})
    assert found.hidden.keys() == {"g"}
    assert message in found.hidden["g"]
    assert "quoted" not in found.hidden["g"]
    assert {each.name for each in found.seen} == {"c"}
