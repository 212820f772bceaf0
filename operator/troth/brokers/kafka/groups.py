"""Members of consumer groups, as Kafka's admin API describes them.

Kafka shows the client ID of a member and the topics that the member is assigned, but no principal.
It shows no producers, and no consumers without a group.
"""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient, ConsumerGroupDescription

from troth.brokers.clients import Client, Clients, bounded, client_of
from troth.trust.grants import Action

MOST_GROUPS = 1000
"""Maximum number of groups of a broker that are described in one observation."""
AT_ONCE = 100
"""Maximum number of groups in a call; librdkafka finds the coordinator of each one first."""
NO_MEMBERS = frozenset(
    {
        KafkaError.GROUP_ID_NOT_FOUND,
        # The coordinator has just moved; the next observation shows its groups again.
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
    }
)
"""Errors of groups that have no members that could be shown."""


def describe_groups(
    admin: AdminClient, groups: list[str], timeout: float
) -> Mapping[str, Future[Any]]:
    """Ask for the members of groups."""
    return admin.describe_consumer_groups(groups, request_timeout=timeout)


def clients_in(
    answers: Mapping[str, ConsumerGroupDescription | KafkaError], left: Iterable[str] = ()
) -> Clients:
    """Return the members of groups, and why those of other groups are hidden.

    `left` are groups that were not described.
    """
    members: list[Client] = []
    too_many = f"Troth describes only {MOST_GROUPS} groups of a broker"
    hidden = {group: f"{too_many}, and not group {group}" for group in left}
    for group, answer in answers.items():
        if not isinstance(answer, KafkaError):
            members.extend(_members(group, answer))
        elif answer.code() not in NO_MEMBERS:
            hidden[group] = _why(group, answer)
    return Clients(bounded(members), hidden)


def _members(group: str, description: ConsumerGroupDescription) -> Iterator[Client]:
    for member in description.members:
        yield client_of(
            member.client_id or "",
            group=group,
            topics=(each.topic for each in member.assignment.topic_partitions),
            actions=(Action.CONSUME,),
        )


def _why(group: str, error: KafkaError) -> str:
    if error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
        return (
            f"Kafka does not allow the operator to describe group {group}; allow it Describe on "
            "the group"
        )
    return f"Kafka, asked to describe group {group}, answered {error.name()}"
