"""Statuses of the reviews of one policy, as this process last wrote them or found them."""

import asyncio

import structlog

from troth.cluster.denials import logged
from troth.cluster.errors import ApiError
from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review import DeadLetterReview
from troth.resources.reviews.dead_letter_review_status import DeadLetterReviewStatus
from troth.review.objects.statuses import Object
from troth.review.parts import Parts
from troth.review.running.job import fault_of
from troth.review.state import Place, kept, moved

log = structlog.get_logger()


class ReviewStatuses:
    """Reads and writes the statuses of the reviews of one policy."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._known: dict[str, DeadLetterReviewStatus] = {}
        """Statuses as this process last wrote them, by the UID of the review."""

    def of(self, review: DeadLetterReview) -> DeadLetterReviewStatus:
        """Return the status of a review, as this process last wrote it or as it was found."""
        return self._known.get(review.metadata.uid, review.status)

    async def move(
        self, review: DeadLetterReview, status: DeadLetterReviewStatus, place: Place
    ) -> None:
        """Write a change of phase at once, and another reason of the same phase soon."""
        changed = moved(review, status, place, self._parts.now())
        if place.phase is status.phase:
            self.offer(review, changed)
        else:
            await self.put(review, changed)

    def offer(self, review: DeadLetterReview, status: DeadLetterReviewStatus) -> None:
        """Write a status soon."""
        self._known[review.metadata.uid] = status
        self._parts.statuses.offer(_object(review), status.manifest())

    async def put(
        self,
        review: DeadLetterReview,
        status: DeadLetterReviewStatus,
        *,
        version: str | None = None,
    ) -> bool:
        """Write a status at once; return whether the review still exists.

        With a version, it returns False too if the review has another one now.
        """
        self._parts.require()
        if version is None:
            self._known[review.metadata.uid] = status
        written = await self._parts.statuses.put(
            _object(review), status.manifest(), version=version
        )
        if written:
            self._known[review.metadata.uid] = status
        return written

    def waits(self, review: DeadLetterReview, error: Exception) -> None:
        """Say in a review why it cannot go on."""
        if isinstance(error, ApiError):
            log.warning("review waits", review=str(review.ref), **logged(error))
        status = self.of(review)
        if not status.phase.ended:
            place = Place(status.phase, *fault_of(error))
            self.offer(review, moved(review, status, place, self._parts.now(), **kept(status)))

    def keep(self, review: DeadLetterReview, status: DeadLetterReviewStatus) -> None:
        """Take in a status without writing it."""
        self._known[review.metadata.uid] = status

    def forget_deleted(self, policy: Ref) -> None:
        """Forget the statuses of reviews that no longer exist."""
        alive = {each.metadata.uid for each in self._parts.cache.of(policy)}
        for uid in self._known.keys() - alive:
            del self._known[uid]


async def offer_counts(parts: Parts, policy: Ref) -> None:
    """Write the numbers of a policy's letters to its status soon, if the policy exists."""
    manifest = parts.cache.policies.get(policy)
    if manifest is not None:
        counts = await asyncio.to_thread(parts.index.counts, policy)
        place = Object("TopicPolicy", policy, manifest["metadata"]["uid"])
        parts.statuses.offer(place, {"deadLetters": counts.manifest()})


def _object(review: DeadLetterReview) -> Object:
    return Object(review.kind, review.ref, review.metadata.uid)
