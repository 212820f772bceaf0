"""Grants at brokers: one identity, one action on one topic, and whether all agree to it.

Every question about a grant is a small pure function over one frozen input; the first that fails
decides, and its name is the reason. What agrees is the broker's owner (environment, namespaces,
owned prefixes), the policy and the identity.
"""

from collections.abc import Callable

from troth.resources.messaging.brokers.description import Groups
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.messaging.topic_policy_status import Action, GrantState
from troth.trust.messaging import meet, topics_of
from troth.trust.registry import Registry
from troth.trust.selectors import matches
from troth.trust.topic_question import Obstacle, Question

BROKER_MISSING = "BrokerMissing"
"""Why a grant is refused that policy and identity agree to, while its broker is not there."""

Check = Callable[[Question], Obstacle | None]


# Who names whom


def policy_exists(question: Question) -> Obstacle | None:
    """The policy is there; one that cannot be read keeps the grant as it is."""
    policy = question.policy
    if policy in question.messaging.invalid_policies:
        message = f"TopicPolicy {policy} cannot be read; mend it"
        return Obstacle(GrantState.SUSPENDED, "PolicyInvalid", message)
    if policy not in question.messaging.policies:
        message = (
            f"TopicPolicy {policy} does not exist; create it or remove it from the "
            f"{question.consents} of {question.identity}"
        )
        return Obstacle(GrantState.AWAITING_POLICY, "PolicyMissing", message)
    return None


def policy_names_identity(question: Question) -> Obstacle | None:
    """The policy names the identity, and the group that is asked for."""
    if question.asked in question.messaging.asked(question.policy):
        return None
    role = "producers" if question.consents == "publishes" else "consumers"
    message = f"{question.policy} does not name {question.identity}; add it to its {role}"
    return Obstacle(GrantState.AWAITING_POLICY, "IdentityNotNamed", message)


def identity_exists(question: Question) -> Obstacle | None:
    """The identity is there, readable or not."""
    identity, registry = question.identity, question.registry
    if identity in registry.identities or identity in registry.invalid_identities:
        return None
    if identity in registry.terminating_identities:
        message = f"ServiceIdentity {identity} is being deleted; remove the entry"
        return Obstacle(GrantState.AWAITING_IDENTITY, "IdentityTerminating", message)
    message = f"ServiceIdentity {identity} does not exist; create it or remove the entry"
    return Obstacle(GrantState.AWAITING_IDENTITY, "IdentityMissing", message)


def identity_names_policy(question: Question) -> Obstacle | None:
    """The identity names the policy; of one that cannot be read that is not known."""
    identity = question.identity
    if identity in question.registry.invalid_identities:
        return None
    uses = question.messaging.uses(identity)
    named = uses.consumes if question.consents == "consumes" else uses.publishes
    if question.policy in named:
        return None
    message = f"{identity} does not name {question.policy}; add it to its {question.consents}"
    return Obstacle(GrantState.AWAITING_IDENTITY, "PolicyNotNamed", message)


# What the broker's owner and the environments allow


def namespaces_governed(question: Question) -> Obstacle | None:
    """The namespaces of policy and identity belong to a trust domain, or it is in dispute which."""
    for namespace in (question.policy.namespace, question.identity.namespace):
        governance = question.registry.governance(namespace)
        if governance.domain is None and governance.settled:
            return Obstacle(GrantState.REFUSED, governance.reason, governance.message)
    return None


def namespaces_in_environment(question: Question) -> Obstacle | None:
    """The trust domains of policy and identity are of the policy's environment."""
    policy = question.declared
    assert policy is not None
    for namespace in (question.policy.namespace, question.identity.namespace):
        domain = question.registry.governance(namespace).domain
        if domain is not None and domain.spec.environment != policy.spec.environment:
            message = (
                f"{question.policy} is for the environment {policy.spec.environment} and namespace "
                f"{namespace} belongs to {domain.spec.environment}; messages do not leave their "
                "environment"
            )
            return Obstacle(GrantState.REFUSED, "EnvironmentNotOfNamespace", message)
    return None


def broker_exists(question: Question) -> Obstacle | None:
    """The broker is there; one that cannot be read keeps the grant as it is."""
    policy = question.declared
    assert policy is not None
    if policy.broker in question.messaging.invalid_brokers:
        message = f"MessageBroker {policy.broker} cannot be read; mend it"
        return Obstacle(GrantState.SUSPENDED, "BrokerInvalid", message)
    if question.broker is None:
        message = f"MessageBroker {policy.broker} does not exist; create it or correct brokerRef"
        return Obstacle(GrantState.REFUSED, BROKER_MISSING, message)
    return None


def broker_in_environment(question: Question) -> Obstacle | None:
    """The broker is of the policy's environment."""
    policy, broker = _declared(question)
    if broker.spec.environment == policy.spec.environment:
        return None
    message = (
        f"{question.policy} is for the environment {policy.spec.environment} and MessageBroker "
        f"{broker.ref} for {broker.spec.environment}; name a broker of the policy's environment"
    )
    return Obstacle(GrantState.REFUSED, "EnvironmentNotOfBroker", message)


def broker_admits(question: Question) -> Obstacle | None:
    """The broker may be used from the namespaces of policy and identity."""
    _, broker = _declared(question)
    for namespace in (question.policy.namespace, question.identity.namespace):
        if not _admits(broker, namespace, question.registry):
            message = (
                f"MessageBroker {broker.ref} does not admit namespace {namespace}; label the "
                "namespace as its allowedNamespaces ask"
            )
            return Obstacle(GrantState.REFUSED, "NamespaceNotAllowed", message)
    return None


def topic_is_owned(question: Question) -> Obstacle | None:
    """The topic begins with a prefix that the broker owns, and so does all that its own prefix
    covers.
    """
    _, broker = _declared(question)
    topic = question.topic
    assert topic is not None
    owned = broker.spec.owns.topic_prefixes
    if topic.name.startswith(owned):
        return None
    message = (
        f"MessageBroker {broker.ref} owns nothing that {topic.name} begins with; choose a topic "
        f"under {' or '.join(owned)}, or add to its owns.topicPrefixes"
    )
    return Obstacle(GrantState.REFUSED, "TopicNotOwned", message)


# Whether the broker can do it


def stream_is_known(question: Question) -> Obstacle | None:
    """A policy names the stream that keeps its messages only where the broker has streams."""
    policy, broker = _declared(question)
    if policy.spec.topic.stream is None or broker.spec.described.has_streams:
        return None
    message = f"remove topic.stream from {question.policy}; {broker.ref} has no streams"
    return Obstacle(GrantState.REFUSED, "StreamNotKnown", message)


def group_fits(question: Question) -> Obstacle | None:
    """A consumer has a group where the broker asks for one, and none where it knows none."""
    if question.asked.action is not Action.CONSUME:
        return None
    policy, broker = _declared(question)
    groups = broker.spec.described.groups
    stored = policy.spec.topic.stream is not None  # a stream is read by a durable consumer
    if not question.asked.group and (stored or groups is Groups.REQUIRED):
        message = (
            f"give {question.identity} a group among the consumers of {question.policy}; at "
            f"{broker.ref} nobody consumes without one"
        )
        return Obstacle(GrantState.REFUSED, "GroupMissing", message)
    if question.asked.group and groups is Groups.UNKNOWN:
        message = (
            f"remove the group of {question.identity} among the consumers of {question.policy}; "
            f"{broker.ref} has no groups"
        )
        return Obstacle(GrantState.REFUSED, "GroupNotKnown", message)
    return None


def identity_has_certificate(question: Question) -> Obstacle | None:
    """The identity has a certificate, where the broker knows its clients by theirs."""
    _, broker = _declared(question)
    identity = question.registry.identities.get(question.identity)
    if identity is None or not broker.spec.by_certificate:
        return None
    if identity.spec.authentication.certificate is not None:
        return None
    message = (
        f"{question.identity} is gatewayOnly and has no certificate to show to {broker.ref}; use "
        "mtls or token there"
    )
    return Obstacle(GrantState.REFUSED, "IdentityHasNoCertificate", message)


# What must be mended before anything can be told


def governance_settled(question: Question) -> Obstacle | None:
    """It can be told which trust domain governs the namespaces of policy and identity."""
    for namespace in (question.policy.namespace, question.identity.namespace):
        governance = question.registry.governance(namespace)
        if not governance.settled:
            return Obstacle(GrantState.SUSPENDED, governance.reason, governance.message)
    return None


def identity_is_readable(question: Question) -> Obstacle | None:
    """The identity can be read; one that cannot keeps the grant as it is."""
    if question.identity not in question.registry.invalid_identities:
        return None
    message = f"ServiceIdentity {question.identity} cannot be read; mend it"
    return Obstacle(GrantState.SUSPENDED, "IdentityInvalid", message)


def nobody_shares(question: Question) -> Obstacle | None:
    """The identity shares its ServiceAccount or its pods with no other."""
    shared = question.registry.shared_identity(question.identity)
    if shared is None:
        return None
    return Obstacle(GrantState.SUSPENDED, "SharedIdentity", shared.message)


def principals_are_its_own(question: Question) -> Obstacle | None:
    """No other broker that knows the same principals could give one of its own the same name."""
    _, broker = _declared(question)
    mine = broker.spec.owns.principal_prefix
    for other in question.messaging.found_at(broker.spec.principal_places):
        theirs = other.spec.owns.principal_prefix
        if other.ref != broker.ref and (mine.startswith(theirs) or theirs.startswith(mine)):
            message = (
                f"MessageBrokers {broker.ref} and {other.ref} are at the same servers and one's "
                "principalPrefix begins with the other's; give each its own"
            )
            return Obstacle(GrantState.SUSPENDED, "PrincipalsShared", message)
    return None


def group_is_its_own(question: Question) -> Obstacle | None:
    """No identity of another namespace consumes by the same group, where that would give it a say
    in what this one is given.
    """
    _, broker = _declared(question)
    group = question.asked.group
    if not group or not broker.spec.described.groups_span_topics:
        return None
    for other in question.messaging.found_at(broker.spec.topic_places):
        for policy, identity in sorted(question.messaging.by_group(other.ref, group)):
            if identity.namespace != question.identity.namespace and _admits(
                other, policy.namespace, question.registry
            ):
                message = (
                    f"{question.identity} and {identity} consume by one group, {group}, and each "
                    "could keep the other from its messages; give each its own"
                )
                return Obstacle(GrantState.SUSPENDED, "GroupShared", message)
    return None


def environment_undisputed(question: Question) -> Obstacle | None:
    """No other policy claims the topic for another environment, as far as its broker admits it."""
    policy, broker = _declared(question)
    topic = question.topic
    assert topic is not None
    for other in question.messaging.found_at(broker.spec.topic_places):
        for rival in question.messaging.elsewhere(other.ref, policy.spec.environment):
            if _admits(other, rival.ref.namespace, question.registry) and any(
                meet(topic, theirs) for theirs in topics_of(rival)
            ):
                message = (
                    f"TopicPolicy {rival.ref} claims {topic.name} for the environment "
                    f"{rival.spec.environment} and {question.policy} for "
                    f"{policy.spec.environment}; give each environment topics of its own"
                )
                return Obstacle(GrantState.SUSPENDED, "EnvironmentDisputed", message)
    return None


# Refusals come before suspensions: what is refused closes, whatever else is unsettled.
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
    group_fits,
    identity_has_certificate,
    governance_settled,
    identity_is_readable,
    nobody_shares,
    principals_are_its_own,
    group_is_its_own,
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
    governance_settled,
    principals_are_its_own,
    environment_undisputed,
)
"""Those that decide about a policy as a whole, in the same order."""


def obstacle_to(question: Question) -> Obstacle | None:
    """Return why a grant is not live, None for one that is."""
    return next(filter(None, (check(question) for check in CHECKS)), None)


def _declared(question: Question) -> tuple[TopicPolicy, MessageBroker]:
    policy, broker = question.declared, question.broker
    assert policy is not None
    assert broker is not None
    return policy, broker


def _admits(broker: MessageBroker, namespace: str, registry: Registry) -> bool:
    labels = registry.namespaces.get(namespace)
    return labels is not None and matches(broker.spec.allowed_namespaces, labels)
