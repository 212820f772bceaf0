"""Ends of a review: completed, withdrawn or refused. Each is in the audit log first."""

from troth.resources.reviews.dead_letter_review import DeadLetterReview
from troth.resources.reviews.dead_letter_review_status import DeadLetterReviewStatus, ReviewPhase
from troth.review.four_eyes import Verdict
from troth.review.parts import Parts
from troth.review.review_statuses import ReviewStatuses
from troth.review.running.job import Job, about
from troth.review.running.progress import Progress
from troth.review.state import Place, moved
from troth.review.trail import decisions


class Endings:
    """Ends the reviews of one policy."""

    def __init__(self, parts: Parts, statuses: ReviewStatuses) -> None:
        self._parts = parts
        self._statuses = statuses

    async def complete(self, job: Job, status: DeadLetterReviewStatus, progress: Progress) -> None:
        """End a review that has carried out each of its letters."""
        number = await self._parts.audit.append(decisions.Ended(job.about, progress.numbers()))
        counts = ", ".join(f"{count} {name}" for name, count in progress.numbers().items() if count)
        place = Place(ReviewPhase.COMPLETED, "Completed", counts or "no letter was selected")
        review = job.review
        await self._statuses.put(
            review, moved(review, status, place, self._parts.now(), audit_entry=number)
        )
        await self._parts.recorder.post(review, "Completed", place.message)
        await self._parts.finalizers.remove(review)

    async def withdraw(
        self, review: DeadLetterReview, status: DeadLetterReviewStatus, verdict: Verdict
    ) -> None:
        """End a review that was withdrawn or deleted."""
        self._parts.require()
        withdrawal = review.spec.withdrawal
        number = await self._parts.audit.append(
            decisions.Withdrawn(
                about(review, review.metadata.uid),
                withdrawal.withdrawn_by if withdrawal else None,
                withdrawal.reason if withdrawal else None,
            )
        )
        place = Place(ReviewPhase.WITHDRAWN, verdict.reason, verdict.message)
        await self._statuses.put(
            review, moved(review, status, place, self._parts.now(), audit_entry=number)
        )
        await self._parts.recorder.post(review, "Withdrawn", verdict.message)
        await self._parts.finalizers.remove(review)

    async def refuse(
        self, review: DeadLetterReview, status: DeadLetterReviewStatus, reason: str, message: str
    ) -> None:
        """End a review that may not be carried out; the reason is in CamelCase."""
        self._parts.require()
        number = await self._parts.audit.append(
            decisions.Refused(about(review, review.metadata.uid), reason)
        )
        place = Place(ReviewPhase.REFUSED, reason, message)
        await self._statuses.put(
            review, moved(review, status, place, self._parts.now(), audit_entry=number)
        )
        await self._parts.recorder.post(review, reason, message, "Warning")
        await self._parts.finalizers.remove(review)
