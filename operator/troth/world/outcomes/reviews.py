"""Outcome of reading DeadLetterReviews."""

from dataclasses import dataclass

from troth.resources.references import Ref
from troth.world.invalidation import invalidate
from troth.world.keys import Keys
from troth.world.state import WorldState


@dataclass(frozen=True, slots=True)
class ReviewsRead:
    """The API server lists the reviews of a namespace, or refuses to: then they are `hidden`.

    The namespace is empty for those of all namespaces.
    """

    namespace: str
    hidden: bool

    def take(self, world: WorldState) -> Keys:
        """Record it; return the affected keys. Nothing is redriven while reviews are hidden."""
        messaging = world.brokers.messaging
        if not messaging.reviews.note_hidden(self.namespace, hidden=self.hidden):
            return set()
        policies = {ref for ref in messaging.policies if self.namespace in {"", ref.namespace}}
        affected = world.brokers.around_policies(policies)
        ref = Ref(self.namespace, "")
        return invalidate(world, "DeadLetterReview", ref, affected, redeclared=False)
