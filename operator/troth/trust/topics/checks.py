"""Grants at brokers: one identity, one action on one topic, and whether all sides consent.

Each check is a small pure function of one frozen input. The first check that fails decides the
state of the grant, and names the reason. The sides are the broker's owner (environment, namespaces,
owned prefixes), the policy and the identity.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from troth.resources.identity.spec import ServiceIdentity
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.messaging.topic_policy_status import Action, GrantState
from troth.trust.declarations.grant_entries import Purpose
from troth.trust.declarations.messaging import meet, topics_of
from troth.trust.declarations.unread import UNREAD
from troth.trust.topics.candidate import (
    GrantCandidate,
    GrantObstacle,
    admits,
    both_sides,
    consented,
)
from troth.trust.topics.groups import (
    account_is_its_own,
    consumer_has_stream,
    group_fits,
    group_is_its_own,
    group_is_owned,
    stream_is_known,
    stream_is_owned,
)
from troth.trust.topics.retries import retry_has_stream, retry_topic_is_its_own
from troth.trust.topics.reviewing import (
    letters_have_own_stream,
    redrive_is_approved,
    reviewer_has_no_other_role,
    reviewer_has_stream,
)

BROKER_MISSING = "BrokerMissing"
"""Reason why a grant is refused whose broker does not exist."""

Check = Callable[[GrantCandidate], GrantObstacle | None]


# References between policy and identity


def policy_exists(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that the policy exists. An unreadable one suspends the grant."""
    policy = candidate.policy
    if policy in candidate.messaging.invalid_policies:
        message = f"TopicPolicy {policy} cannot be read; correct it"
        return GrantObstacle(GrantState.SUSPENDED, "PolicyInvalid", message)
    if policy not in candidate.messaging.policies:
        advice = f"create it or remove it from the {candidate.consents} of {candidate.identity}"
        message = candidate.registry.watched.missing(TopicPolicy, policy, advice)
        return GrantObstacle(GrantState.AWAITING_POLICY, "PolicyMissing", message)
    return None


def policy_names_identity(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that the policy names the identity and the requested group."""
    if candidate.entry in candidate.messaging.entries(candidate.policy):
        return None
    how = {
        "publishes": "add it to its producers",
        "consumes": "add it to its consumers",
        "reviews": "set its deadLetter.reviewer",
    }[candidate.consents]
    message = f"{candidate.policy} does not name {candidate.identity}; {how}"
    return GrantObstacle(GrantState.AWAITING_POLICY, "IdentityNotNamed", message)


def identity_exists(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that the identity exists, readable or not."""
    identity, registry = candidate.identity, candidate.registry
    if identity in registry.identities or identity in registry.invalid_identities:
        return None
    if identity in registry.terminating_identities:
        message = f"ServiceIdentity {identity} is being deleted; remove the entry"
        return GrantObstacle(GrantState.AWAITING_IDENTITY, "IdentityTerminating", message)
    advice = "create it or remove the entry"
    message = registry.watched.missing(ServiceIdentity, identity, advice)
    return GrantObstacle(GrantState.AWAITING_IDENTITY, "IdentityMissing", message)


def identity_names_policy(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that the identity names the policy. This is unknown for an unreadable identity."""
    identity = candidate.identity
    if identity in candidate.registry.invalid_identities:
        return None
    if candidate.policy in consented(candidate.messaging.uses(identity), candidate.entry):
        return None
    message = f"{identity} does not name {candidate.policy}; add it to its {candidate.consents}"
    return GrantObstacle(GrantState.AWAITING_IDENTITY, "PolicyNotNamed", message)


# Limits of the broker's owner and of the environments


def namespaces_governed(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that the namespaces of policy and identity are governed, or disputed."""
    for namespace in (candidate.policy.namespace, candidate.identity.namespace):
        governance = candidate.registry.governance(namespace)
        if governance.domain is None and governance.settled:
            return GrantObstacle(GrantState.REFUSED, governance.reason, governance.message)
    return None


def namespaces_in_environment(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that the trust domains of policy and identity have the policy's environment.

    During a conflict over a namespace, one of those that may govern it must have it.
    """
    policy = candidate.declared
    assert policy is not None
    for namespace in (candidate.policy.namespace, candidate.identity.namespace):
        possible = candidate.registry.governance(namespace).possible or ()
        environments = [each.spec.environment for each in possible]
        if environments and policy.spec.environment not in environments:
            message = (
                f"TopicPolicy {candidate.policy} is for environment {policy.spec.environment}, "
                f"but namespace {namespace} belongs to {environments[0]}; messages never "
                "cross environments, so use the same environment for both"
            )
            return GrantObstacle(GrantState.REFUSED, "EnvironmentNotOfNamespace", message)
    return None


def broker_exists(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that the broker exists. An unreadable one suspends the grant."""
    policy = candidate.declared
    assert policy is not None
    if policy.broker in candidate.messaging.invalid_brokers:
        message = f"MessageBroker {policy.broker} cannot be read; correct it"
        return GrantObstacle(GrantState.SUSPENDED, "BrokerInvalid", message)
    if candidate.broker is None:
        advice = "create it or correct brokerRef"
        message = candidate.registry.watched.missing(MessageBroker, policy.broker, advice)
        return GrantObstacle(GrantState.REFUSED, BROKER_MISSING, message)
    return None


def broker_in_environment(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that the broker has the policy's environment."""
    policy, broker = both_sides(candidate)
    if broker.spec.environment == policy.spec.environment:
        return None
    message = (
        f"TopicPolicy {candidate.policy} is for environment {policy.spec.environment}, but "
        f"MessageBroker {broker.ref} is for {broker.spec.environment}; name a broker of the "
        "policy's environment"
    )
    return GrantObstacle(GrantState.REFUSED, "EnvironmentNotOfBroker", message)


def broker_admits(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that the namespaces of policy and identity may use the broker."""
    _, broker = both_sides(candidate)
    for namespace in (candidate.policy.namespace, candidate.identity.namespace):
        if not admits(broker, namespace, candidate.registry):
            message = (
                f"MessageBroker {broker.ref} does not admit namespace {namespace}; label the "
                "namespace so that allowedNamespaces selects it"
            )
            return GrantObstacle(GrantState.REFUSED, "NamespaceNotAllowed", message)
    return None


def topic_is_owned(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that all topics of the policy begin with a prefix that the broker owns."""
    _, broker = both_sides(candidate)
    topic = candidate.topic
    assert topic is not None
    owned = broker.spec.owns.topic_prefixes
    if topic.name.startswith(owned):
        return None
    message = (
        f"MessageBroker {broker.ref} owns no prefix of {topic.name}; choose a topic under "
        f"{' or '.join(owned)}, or add a prefix to its owns.topicPrefixes"
    )
    return GrantObstacle(GrantState.REFUSED, "TopicNotOwned", message)


# Capabilities of the broker


def identity_has_certificate(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that the identity has a certificate if the broker authenticates clients by theirs."""
    _, broker = both_sides(candidate)
    identity = candidate.registry.identities.get(candidate.identity)
    if identity is None or not broker.spec.by_certificate:
        return None
    if identity.spec.authentication.certificate is not None:
        return None
    message = (
        f"{candidate.identity} is gatewayOnly and has no certificate to present to MessageBroker "
        f"{broker.ref}; use mtls or token there"
    )
    return GrantObstacle(GrantState.REFUSED, "IdentityHasNoCertificate", message)


# Conditions that a person must resolve first


def governance_settled(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that the governance of the namespaces of policy and identity is settled."""
    for namespace in (candidate.policy.namespace, candidate.identity.namespace):
        governance = candidate.registry.governance(namespace)
        if not governance.settled:
            return GrantObstacle(GrantState.SUSPENDED, governance.reason, governance.message)
    return None


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


def environment_undisputed(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that no other admitted policy claims the topic for another environment."""
    policy, broker = both_sides(candidate)
    topic = candidate.topic
    assert topic is not None
    for other in candidate.messaging.found_at(broker.spec.topic_places):
        for rival in candidate.messaging.elsewhere(other.ref, policy.spec.environment):
            if admits(other, rival.ref.namespace, candidate.registry) and any(
                meet(topic, theirs) for theirs in topics_of(rival)
            ):
                message = (
                    f"TopicPolicy {rival.ref} claims {topic.name} for environment "
                    f"{rival.spec.environment}, but TopicPolicy {candidate.policy} claims it for "
                    f"{policy.spec.environment}; use different topics in each environment"
                )
                return GrantObstacle(GrantState.SUSPENDED, "EnvironmentDisputed", message)
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
    policy_exists,
    policy_names_identity,
    identity_exists,
    identity_names_policy,
    namespaces_governed,
    namespaces_in_environment,
    broker_exists,
    broker_in_environment,
    broker_admits,
    topic_is_owned,
    stream_is_known,
    stream_is_owned,
    consumer_has_stream,
    retry_has_stream,
    group_fits,
    group_is_owned,
    identity_has_certificate,
    reviewer_has_stream,
    reviewer_has_no_other_role,
    redrive_has_one_receiver,
    retry_topic_is_received,
    redrive_is_approved,
    governance_settled,
    declarations_read,
    identity_is_readable,
    nobody_shares,
    principals_are_its_own,
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
    principals_are_its_own,
    environment_undisputed,
)
"""Checks about a policy as a whole, in the same order."""


def obstacle_to(candidate: GrantCandidate) -> GrantObstacle | None:
    """Return why a grant is not live, None if it is live."""
    return next(filter(None, (check(candidate) for check in CHECKS)), None)
