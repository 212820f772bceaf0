"""Grants at brokers: one identity, one action on one topic, and whether all sides consent.

Each check is a small pure function of one frozen input. The first check that fails decides the
state of the grant, and names the reason. The sides are the broker's owner (environment, namespaces,
owned prefixes), the policy and the identity.
"""

from collections.abc import Iterator
from dataclasses import replace

from troth.resources.messaging.topic_policy_status import Action, GrantState
from troth.trust.declarations.topics.grant_entries import Purpose
from troth.trust.declarations.unread import UNREAD
from troth.trust.topics.candidate import Check, GrantCandidate, GrantObstacle, both_sides
from troth.trust.topics.groups import account_is_its_own, stream_is_known, stream_is_owned
from troth.trust.topics.refusals import (
    REFUSALS,
    broker_admits,
    broker_exists,
    broker_in_environment,
    namespaces_governed,
    namespaces_in_environment,
    policy_exists,
    topic_is_owned,
    unlisted,
)
from troth.trust.topics.reviewing import redrive_is_approved
from troth.trust.topics.rivals import (
    claims_are_readable,
    environment_undisputed,
    group_is_its_own,
    letters_have_own_stream,
    retry_topic_is_its_own,
)

# Conditions that a person must resolve first


def governance_settled(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that the governance of the namespaces of policy and identity is settled."""
    for namespace in (candidate.policy.namespace, candidate.identity.namespace):
        governance = candidate.registry.governance(namespace)
        if not governance.settled:
            return GrantObstacle(GrantState.SUSPENDED, governance.reason, governance.message)
    return None


def broker_is_listed(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that the namespace of the broker has a list, because nothing is planned in another."""
    _, broker = both_sides(candidate)
    return unlisted(broker.ref) if broker.ref.namespace in candidate.registry.unlisted else None


def declarations_read(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that everything that declares the grant was read lately. Otherwise suspend it."""
    _, broker = both_sides(candidate)
    why = candidate.registry.unread.about_grant(
        candidate.policy.namespace, candidate.identity.namespace, broker.ref.namespace
    )
    return GrantObstacle(GrantState.SUSPENDED, UNREAD, why) if why else None


def identity_is_readable(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that the identity is readable. An unreadable one suspends the grant."""
    if candidate.identity not in candidate.registry.invalid_identities:
        return None
    message = f"ServiceIdentity {candidate.identity} cannot be read; correct it"
    return GrantObstacle(GrantState.SUSPENDED, "IdentityInvalid", message)


def nobody_shares(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that the identity shares its ServiceAccount and its pods with no other."""
    shared = candidate.registry.shared_identity(candidate.identity)
    if shared is None:
        return None
    return GrantObstacle(GrantState.SUSPENDED, "SharedIdentity", shared.message)


def principals_are_its_own(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that no other broker with the same principals could use the same principal name."""
    _, broker = both_sides(candidate)
    mine = broker.spec.owns.principal_prefix
    for other in candidate.messaging.found_at(broker.spec.principal_places):
        theirs = other.spec.owns.principal_prefix
        if other.ref != broker.ref and (mine.startswith(theirs) or theirs.startswith(mine)):
            message = (
                f"MessageBrokers {broker.ref} and {other.ref} share servers, and one's "
                "principalPrefix begins with the other's; give each its own principalPrefix"
            )
            return GrantObstacle(GrantState.SUSPENDED, "PrincipalsShared", message)
    return None


# Redrives


def redrive_has_one_receiver(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that messages on the policy's own topic reach one consumer only.

    With several consumers, the others would receive again what only one of them rejected.
    """
    if candidate.entry.purpose is not Purpose.REDRIVE or candidate.entry.topic:
        return None
    if sum(obstacle_to(each) is None for each in _beside(candidate, Purpose.MESSAGES)) <= 1:
        return None
    message = (
        f"several consumers receive the topic of TopicPolicy {candidate.policy}; set "
        "consumers[].retry for each whose messages are to be delivered again"
    )
    return GrantObstacle(GrantState.INACTIVE, "RetryTopicMissing", message)


def retry_topic_is_received(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that the consumer of a retry topic may read it.

    A message that nobody receives would be lost, and its review would count it as redriven.
    """
    topic = candidate.entry.topic
    if candidate.entry.purpose is not Purpose.REDRIVE or not topic:
        return None
    for each in _beside(candidate, Purpose.RETRY):
        obstacle = obstacle_to(each) if each.entry.topic == topic else None
        if obstacle is not None:
            message = (
                f"{each.identity} has no grant to consume {topic}, so messages there would be "
                f"lost ({obstacle.reason}: {obstacle.message})"
            )
            return GrantObstacle(GrantState.INACTIVE, "RetryTopicNotReceived", message)
    return None


def _beside(candidate: GrantCandidate, purpose: Purpose) -> Iterator[GrantCandidate]:
    """Yield the grants to consume of the same policy for a purpose, sorted."""
    for each in sorted(candidate.messaging.entries(candidate.policy)):
        if (each.action, each.purpose) == (Action.CONSUME, purpose):
            yield replace(candidate, entry=each)


# Refusals come before suspensions, so a refused grant ends even if something else is unsettled.
CHECKS: tuple[Check, ...] = (
    *REFUSALS,
    redrive_has_one_receiver,
    retry_topic_is_received,
    redrive_is_approved,
    governance_settled,
    broker_is_listed,
    declarations_read,
    identity_is_readable,
    nobody_shares,
    principals_are_its_own,
    claims_are_readable,
    group_is_its_own,
    letters_have_own_stream,
    retry_topic_is_its_own,
    account_is_its_own,
    environment_undisputed,
)
OF_ALL: tuple[Check, ...] = (
    policy_exists,
    namespaces_governed,
    namespaces_in_environment,
    broker_exists,
    broker_in_environment,
    broker_admits,
    topic_is_owned,
    stream_is_known,
    stream_is_owned,
    governance_settled,
    broker_is_listed,
    principals_are_its_own,
    environment_undisputed,
)
"""Checks about a policy as a whole, in the same order."""


def obstacle_to(candidate: GrantCandidate) -> GrantObstacle | None:
    """Return why a grant is not live, None if it is live."""
    return next(filter(None, (check(candidate) for check in CHECKS)), None)
