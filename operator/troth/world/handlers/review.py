"""Handler of DeadLetterReviews, which the operator reads and never writes."""

from troth.resources.reviews.dead_letter_review import DeadLetterReview
from troth.trust.declarations.topics.reviews import open_redrive
from troth.world.change import Change
from troth.world.keys import Keys
from troth.world.observation.resources import parsed
from troth.world.state import WorldState


def take_review(world: WorldState, change: Change) -> Keys:
    """Take in the current state of a DeadLetterReview; return the affected keys.

    An unreadable one needs no redrive, so nothing is granted for it.
    """
    review, _ = parsed(change.manifest, DeadLetterReview)
    needed = open_redrive(review) if review is not None else None
    brokers = world.brokers
    return brokers.around_policies(brokers.messaging.reviews.put(change.ref, needed))
