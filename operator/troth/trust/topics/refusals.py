"""Checks that refuse a grant: what both sides declare, and what the broker's owner allows.

They depend on the grant alone. A grant that passes them is a claim, which a rival must respect.
"""

from troth.resources.identity.spec import ServiceIdentity
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.messaging.topic_policy_status import GrantState
from troth.resources.references import Ref
from troth.trust.declarations.registry import Registry
from troth.trust.declarations.topics.messaging import Messaging
from troth.trust.declarations.unlisted import UNLISTED, unlisted_message
from troth.trust.topics.candidate import (
    Check,
    GrantCandidate,
    GrantObstacle,
    admits,
    both_sides,
    consented,
)
from troth.trust.topics.groups import (
    consumer_has_stream,
    group_fits,
    group_is_owned,
    stream_is_known,
    stream_is_owned,
)
from troth.trust.topics.retries import retry_has_stream
from troth.trust.topics.reviewing import reviewer_has_no_other_role, reviewer_has_stream

BROKER_MISSING = "BrokerMissing"
"""Reason why a grant is refused whose broker does not exist."""


# References between policy and identity


def unlisted(ref: Ref) -> GrantObstacle:
    """Return that an object may exist in a namespace whose objects are not listed."""
    return GrantObstacle(GrantState.SUSPENDED, UNLISTED, unlisted_message(ref.namespace))


def is_unlisted(registry: Registry, messaging: Messaging, policy: Ref) -> bool:
    """Return whether a policy may exist in a namespace whose objects are not listed."""
    return policy.namespace in registry.unlisted and policy not in messaging.policies


def policy_exists(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that the policy exists. An unreadable one suspends the grant."""
    policy = candidate.policy
    if policy in candidate.messaging.invalid_policies:
        message = f"TopicPolicy {policy} cannot be read; correct it"
        return GrantObstacle(GrantState.SUSPENDED, "PolicyInvalid", message)
    if is_unlisted(candidate.registry, candidate.messaging, policy):
        return unlisted(policy)
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
    if identity in registry.identities or registry.is_unreadable(identity):
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
    if candidate.registry.is_unreadable(identity):
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
        environments = sorted({each.spec.environment for each in possible})
        if environments and policy.spec.environment not in environments:
            message = (
                f"TopicPolicy {candidate.policy} is for environment {policy.spec.environment}, "
                f"but namespace {namespace} belongs to {' or '.join(environments)}; messages never "
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
    if candidate.broker is None and policy.broker.namespace in candidate.registry.unlisted:
        return unlisted(policy.broker)
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


REFUSALS: tuple[Check, ...] = (
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
)


def refused(candidate: GrantCandidate) -> bool:
    """Return whether a grant is refused, or a side does not consent to it."""
    return any(check(candidate) is not None for check in REFUSALS)
