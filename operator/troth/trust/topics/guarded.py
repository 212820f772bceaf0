"""Policies that no broker can enforce alone: producers and consumers must check each message."""

from troth.resources.messaging.topic_policy import TopicPolicy


def needs_guard(policy: TopicPolicy) -> bool:
    """Return whether a policy says anything of messages that only its clients can check."""
    return policy.spec.context is not None or policy.spec.schema_ is not None
