"""Reviews of dead letters that nobody can carry out, because of their policy."""

from collections.abc import Mapping

from troth.cli.evaluation.finding import Severity
from troth.resources.faults import FaultyManifests
from troth.resources.manifests import Manifest, parse_resource
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review import DeadLetterReview

REVIEW = "DeadLetterReview"


def obstacle(
    manifest: Manifest, policies: Mapping[Ref, TopicPolicy]
) -> tuple[Severity, str, str] | None:
    """Return severity, reason and message of what prevents a review, None if nothing does.

    Faults of its form are reported elsewhere.
    """
    try:
        review = parse_resource(manifest)
    except FaultyManifests:
        return None
    assert isinstance(review, DeadLetterReview)
    policy = policies.get(review.policy)
    if policy is None:
        message = f"TopicPolicy {review.policy} does not exist; create it, or correct the name"
        return Severity.ERROR, "PolicyMissing", message
    if policy.spec.dead_letter is None:
        message = f"TopicPolicy {review.policy} has no deadLetter; add it, or name another policy"
        return Severity.ERROR, "NoDeadLetters", message
    if policy.spec.dead_letter.reviewer is None:
        message = (
            f"TopicPolicy {review.policy} names no deadLetter.reviewer, so nobody carries out the "
            "review; name the ServiceIdentity of troth review"
        )
        return Severity.WARNING, "ReviewerMissing", message
    return None
