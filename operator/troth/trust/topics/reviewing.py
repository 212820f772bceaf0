"""Checks of the grants of a policy's reviewer, the worker that carries out reviews."""

from troth.resources.messaging.topic_policy_status import Action, GrantState
from troth.resources.references import Ref
from troth.trust.declarations.topics.grant_entries import Purpose
from troth.trust.declarations.topics.messaging import meet, retry_topics_of, topic_for, topic_of
from troth.trust.topics.candidate import (
    GrantCandidate,
    GrantObstacle,
    both_sides,
    consented,
)


def reviewer_has_stream(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that the dead letters are in a stream if the broker stores messages nowhere else."""
    if candidate.entry.purpose is not Purpose.REVIEW or candidate.stream:
        return None
    _, broker = both_sides(candidate)
    if not broker.spec.described.has_streams:
        return None
    message = (
        f"MessageBroker {broker.ref} stores messages in streams only, and TopicPolicy "
        f"{candidate.policy} names none for its dead letters; set deadLetter.stream"
    )
    return GrantObstacle(GrantState.REFUSED, "StreamMissing", message)


def reviewer_has_no_other_role(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that the reviewer is neither a producer nor a consumer of the policy.

    A producer may publish without an approval, also one by another policy of the topic. A consumer
    would review its own rejections.
    """
    if not candidate.entry.purpose.is_of_reviewer:
        return None
    entries = candidate.messaging.entries(candidate.policy)
    others = (each for each in entries if not each.purpose.is_of_reviewer)
    if any(each.identity == candidate.identity for each in others):
        message = (
            f"{candidate.identity} is the reviewer of TopicPolicy {candidate.policy} and also one "
            "of its producers or consumers; name another ServiceIdentity as deadLetter.reviewer"
        )
        return GrantObstacle(GrantState.REFUSED, "DutiesNotSeparate", message)
    elsewhere = _policy_to_publish(candidate)
    if elsewhere is None:
        return None
    message = (
        f"{candidate.identity} is the reviewer of TopicPolicy {candidate.policy} and may always "
        f"publish to its topic or a retry topic by TopicPolicy {elsewhere}; name another "
        "ServiceIdentity as deadLetter.reviewer"
    )
    return GrantObstacle(GrantState.REFUSED, "DutiesNotSeparate", message)


def _policy_to_publish(candidate: GrantCandidate) -> Ref | None:
    """Return another policy by which a reviewer may publish what it redrives, None for none.

    Only a policy to which the identity has consented counts. Otherwise anybody could end a review.
    """
    policy, broker = both_sides(candidate)
    messaging, identity = candidate.messaging, candidate.identity
    uses = messaging.uses(identity)
    places = {each.ref for each in messaging.found_at(broker.spec.topic_places)}
    redriven = (topic_of(policy), *retry_topics_of(policy))
    for ref in sorted((uses.publishes | uses.consumes) - {candidate.policy}):
        other = messaging.policies.get(ref)
        if other is None or other.broker not in places:
            continue
        for entry in messaging.entries(ref):
            publishes = (entry.identity, entry.action) == (identity, Action.PUBLISH)
            topic = topic_for(other, entry)
            if (
                publishes
                and topic is not None
                and ref in consented(uses, entry)
                and any(meet(topic, each) for each in redriven)
            ):
                return ref
    return None


def redrive_is_approved(candidate: GrantCandidate) -> GrantObstacle | None:
    """Check that a grant to publish again is needed for an approved review that has not ended."""
    if candidate.entry.purpose is not Purpose.REDRIVE:
        return None
    policy, _ = both_sides(candidate)
    reviews = candidate.messaging.reviews
    if reviews.redrive_may_run(policy):
        return None
    if reviews.are_hidden(policy.ref.namespace):
        message = (
            "Troth cannot read DeadLetterReviews, so it grants no redrive; install the CRD and "
            "give the operator the right to list and watch it, as the chart does"
        )
        return GrantObstacle(GrantState.INACTIVE, "ReviewsNotReadable", message)
    message = f"no approved DeadLetterReview of TopicPolicy {candidate.policy} redrives messages"
    return GrantObstacle(GrantState.INACTIVE, "NoApprovedReview", message)
