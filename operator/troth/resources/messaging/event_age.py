"""Maximum age of events, which bounds how long retired roots verify them."""

from datetime import timedelta

from troth.resources.messaging.topic_policy import MAX_AGE, TopicPolicy

DEFAULT_AGE = MAX_AGE
"""Maximum age of an event if the policy sets none. No trust bundle for events keeps less."""
LONGEST_AGE = timedelta(hours=2160)
"""Longest maximum age that a policy can set."""


def event_age(policy: TopicPolicy) -> timedelta:
    """Return the maximum age of a policy's events."""
    context = policy.spec.context
    return context.max_age if context is not None else DEFAULT_AGE


def namespaces_of(policy: TopicPolicy) -> frozenset[str]:
    """Return the namespaces of a policy and of its producers and consumers."""
    here = policy.ref.namespace
    named = (
        *(each.identity for each in policy.spec.producers),
        *(each.identity for each in policy.spec.consumers),
    )
    return frozenset({here, *(each.seen_from(here).namespace for each in named)})
