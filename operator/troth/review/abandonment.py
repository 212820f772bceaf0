"""Reviews that end without their topic: what an earlier process perhaps delivered is reported."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import cast

from troth.resources.reviews.dead_letter_review import DeadLetterReview
from troth.resources.reviews.dead_letter_review_status import DeadLetterReviewStatus, ReviewPhase
from troth.review.brokers import BrokerUnavailableError, DeadLetterTopic, Stored
from troth.review.equipment import Equipment
from troth.review.letters.letter import Letter, Position
from troth.review.parts import Parts
from troth.review.running.job import Job
from troth.review.running.progress import Progress
from troth.review.selection import created_at
from troth.review.state import advanced, was_stopped


def is_abandoned(status: DeadLetterReviewStatus) -> bool:
    """Return whether a process perhaps ended within a batch of a review."""
    return status.phase is ReviewPhase.RUNNING and not was_stopped(status)


async def abandon(
    parts: Parts, review: DeadLetterReview, status: DeadLetterReviewStatus
) -> DeadLetterReviewStatus:
    """Report the letters that are perhaps delivered, and return the status with them.

    The index may lack them, if this process never read the topic: then they are only counted.
    Raises what `Parts.require` raises.
    """
    selection = status.selection
    if not is_abandoned(status) or selection is None:
        return status
    job = Job(review, review.metadata.uid, created_at(review), selection, uncertain=True)
    nobody = _Nobody(parts, status)
    topic = cast("DeadLetterTopic", nobody)  # an abandoned run publishes nothing
    runner = Equipment(str(review.policy), parts).runner(job, nobody, topic, nobody)
    await runner.abandon()
    return advanced(status, runner.progress)


class _Nobody:
    """Desk and source of a review that does not go on."""

    def __init__(self, parts: Parts, status: DeadLetterReviewStatus) -> None:
        self.status = status
        self.require = parts.require
        self._now = parts.now

    def stopped(self) -> bool:
        return True

    def now(self) -> datetime:
        return self._now()

    async def pause(self, failures: int) -> None:
        """Nothing is tried again."""

    def waits(self, reason: str, message: str) -> None:
        """Nothing waits."""

    def advanced(self, progress: Progress) -> None:
        """The caller writes the progress."""

    async def announce(self, progress: Progress) -> None:
        """The caller writes the progress."""

    async def fetch(self, letters: Sequence[Letter]) -> Mapping[Position, Stored]:  # noqa: ARG002 - a source's method
        raise BrokerUnavailableError("nobody reviews the topic")
