"""Open reviews of dead letters: those for which a worker may have to publish messages again."""

from dataclasses import dataclass

from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.metadata import is_terminating
from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review import DeadLetterReview, ReviewAction
from troth.trust.multimap import Multimap


@dataclass(frozen=True, slots=True)
class OpenRedrive:
    """Review that asks for redrives and has not ended."""

    policy: Ref
    approved: bool


def open_redrive(review: DeadLetterReview) -> OpenRedrive | None:
    """Return what a review may need, None if it redrives nothing, is withdrawn or has ended."""
    spec = review.spec
    ended = review.status.phase.ended or spec.withdrawal is not None or is_terminating(review)
    if ended or spec.action is not ReviewAction.REDRIVE:
        return None
    return OpenRedrive(review.policy, spec.approval is not None)


class Reviews:
    """Open redrives by review and by policy, and the namespaces whose reviews cannot be read."""

    def __init__(self) -> None:
        self.hidden: frozenset[str] = frozenset()
        self._open: dict[Ref, OpenRedrive] = {}
        self._by_policy = Multimap[Ref, Ref]()

    def put(self, review: Ref, declared: OpenRedrive | None) -> frozenset[Ref]:
        """Set what a review may need, None if nothing; return the policies for which it changed."""
        before = self._open.pop(review, None)
        if before is not None:
            self._by_policy.discard(before.policy, review)
        if declared is not None:
            self._open[review] = declared
            self._by_policy.add(declared.policy, review)
        if before == declared:
            return frozenset()
        return frozenset(each.policy for each in (before, declared) if each is not None)

    def note_hidden(self, namespace: str, *, hidden: bool) -> bool:
        """Set whether the reviews of a namespace cannot be read; return whether that changed.

        An empty namespace stands for all.
        """
        before = self.hidden
        self.hidden = before | {namespace} if hidden else before - {namespace}
        return self.hidden != before

    def are_hidden(self, namespace: str) -> bool:
        """Return whether the reviews of a namespace cannot be read."""
        return not self.hidden.isdisjoint({"", namespace})

    def redrive_may_run(self, policy: TopicPolicy) -> bool:
        """Return whether an open review of a policy has the approvals that the policy requires."""
        letters = policy.spec.dead_letter
        if letters is None or self.are_hidden(policy.ref.namespace):
            return False
        found = (self._open[each] for each in self._by_policy.of(policy.ref))
        return any(each.approved or not letters.approvals for each in found)
