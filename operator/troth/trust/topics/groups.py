"""Checks of the groups and streams with which identities consume.

A consumer group, queue group or durable consumer belongs to one identity, unless the broker's owner
shares it. A member of a group takes messages that the others do not receive then.
"""

from troth.resources.messaging.brokers.description import Groups
from troth.resources.messaging.topic_policy_status import Action, GrantState
from troth.trust.topics.candidate import GrantCandidate, GrantObstacle, both_sides


def stream_is_known(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that only a policy at a broker with streams names one."""
    policy, broker = both_sides(candidate)
    named = _named_streams(candidate)
    if not named or broker.spec.described.has_streams:
        return None
    field = "topic.stream" if policy.spec.topic.stream is not None else f"the stream {named[0]}"
    message = (
        f"TopicPolicy {candidate.policy} sets {field}, but MessageBroker {broker.ref} has no "
        "streams; remove it"
    )
    return GrantObstacle(GrantState.REFUSED, "StreamNotKnown", message)


def stream_is_owned(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that the broker owns the streams that the policy names for its topic and the grant."""
    _, broker = both_sides(candidate)
    foreign = [each for each in _named_streams(candidate) if each not in broker.spec.owns.streams]
    if not foreign:
        return None
    stream = foreign[0]
    message = (
        f"MessageBroker {broker.ref} does not own stream {stream}; add it to its owns.streams, or "
        "name another stream"
    )
    return GrantObstacle(GrantState.REFUSED, "StreamNotOwned", message)


def _named_streams(candidate: GrantCandidate) -> list[str]:
    """Return the stream of the policy's own topic, and that of the grant's topic."""
    policy, _ = both_sides(candidate)
    named = (policy.spec.topic.stream, candidate.stream)
    return [each for each in dict.fromkeys(named) if each]


def consumer_has_stream(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that a consumer uses a stream if the broker owns any.

    JetStream sends a consumer's messages to whatever subject the consumer asks for. Where nobody
    subscribes to a topic itself, they reach nobody.
    """
    _, broker = both_sides(candidate)
    owning = broker.spec.described.has_streams and bool(broker.spec.owns.streams)
    if candidate.entry.action is not Action.CONSUME or candidate.stream or not owning:
        return None
    field = "topic.stream" if not candidate.entry.topic else "the stream of its retry topic"
    message = (
        f"MessageBroker {broker.ref} owns streams, whose consumers could have messages sent to "
        f"{candidate.identity}; set {field} in TopicPolicy {candidate.policy}, or use a "
        "MessageBroker whose account has no streams"
    )
    return GrantObstacle(GrantState.REFUSED, "StreamMissing", message)


def group_fits(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that a consumer has a group if the broker requires one, and none if it has none."""
    if candidate.entry.action is not Action.CONSUME:
        return None
    _, broker = both_sides(candidate)
    groups = broker.spec.described.groups
    # a stream is read by a durable consumer
    required = bool(candidate.stream) or groups is Groups.REQUIRED
    if not candidate.entry.group and required:
        message = (
            f"{candidate.identity} has no group among the consumers of TopicPolicy "
            f"{candidate.policy}, but MessageBroker {broker.ref} requires one; add a group"
        )
        return GrantObstacle(GrantState.REFUSED, "GroupMissing", message)
    if candidate.entry.group and groups is Groups.UNKNOWN:
        message = (
            f"{candidate.identity} has a group among the consumers of TopicPolicy "
            f"{candidate.policy}, but MessageBroker {broker.ref} has no groups; remove it"
        )
        return GrantObstacle(GrantState.REFUSED, "GroupNotKnown", message)
    return None


def group_is_owned(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that the consumer's group begins with a prefix that the broker owns."""
    _, broker = both_sides(candidate)
    group, owned = candidate.entry.group, broker.spec.owns.group_prefixes
    if not group or group.startswith(owned):
        return None
    choose = f"choose a group under {' or '.join(owned)}, or " if owned else ""
    message = (
        f"MessageBroker {broker.ref} owns no prefix of group {group}; {choose}add a prefix to its "
        "owns.groupPrefixes"
    )
    return GrantObstacle(GrantState.REFUSED, "GroupNotOwned", message)


def account_is_its_own(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that brokers with the same topics agree whether consumers use streams."""
    _, broker = both_sides(candidate)
    if candidate.entry.action is Action.PUBLISH or not broker.spec.described.has_streams:
        return None
    for other in candidate.messaging.found_at(broker.spec.topic_places):
        if bool(other.spec.owns.streams) != bool(broker.spec.owns.streams):
            message = (
                f"MessageBrokers {broker.ref} and {other.ref} share an account, and only one owns "
                "streams, whose consumers could have messages sent to subscribers of the other; "
                "use separate accounts"
            )
            return GrantObstacle(GrantState.SUSPENDED, "AccountShared", message)
    return None
