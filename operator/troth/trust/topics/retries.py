"""Checks of retry topics, on which one consumer alone receives messages again after a review."""

from troth.resources.messaging.topic_policy_status import GrantState
from troth.trust.declarations.topics.grant_entries import Purpose
from troth.trust.topics.candidate import GrantCandidate, GrantObstacle, both_sides


def retry_has_stream(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that a retry topic is in a stream if the dead letters of the policy are.

    Without a stream, nothing acknowledges a message that is published again, and a consumer that is
    not connected never receives it.
    """
    if candidate.entry.purpose is not Purpose.RETRY or candidate.stream:
        return None
    policy, broker = both_sides(candidate)
    letters = policy.spec.dead_letter
    if letters is None or letters.stream is None or not broker.spec.described.has_streams:
        return None
    message = (
        f"TopicPolicy {candidate.policy} stores its dead letters in a stream, but not what is "
        f"published again on {candidate.entry.topic}; set the stream of this retry topic"
    )
    return GrantObstacle(GrantState.REFUSED, "StreamMissing", message)
