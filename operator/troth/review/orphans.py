"""Reviews whose policy nobody reviews: they say so, and their deletion is not held up."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress

import structlog

from troth.cluster.denials import logged
from troth.cluster.errors import ApiError
from troth.resources.metadata import is_terminating
from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review import DeadLetterReview
from troth.resources.reviews.dead_letter_review_status import DeadLetterReviewStatus, ReviewPhase
from troth.review.abandonment import abandon
from troth.review.objects.cache import reviewers
from troth.review.objects.statuses import Object
from troth.review.parts import Parts
from troth.review.running import job
from troth.review.state import Place, kept, moved
from troth.review.trail import decisions

LOOK_SECONDS = 10.0

log = structlog.get_logger()


class Orphans:
    """Follows the reviews whose policy this worker does not review.

    Another worker may review it: then this one writes nothing. A running review whose policy was
    deleted is refused only by a worker that has reviewed the policy.
    """

    def __init__(self, parts: Parts, served: Callable[[], Collection[Ref]]) -> None:
        self._parts = parts
        self._served = served
        self._wake = asyncio.Event()
        self._mine: set[Ref] = set()
        """Policies that this process has reviewed."""
        self._abandoned: dict[str, DeadLetterReviewStatus] = {}
        """Status of the review that ended last, by its UID, until the API server has it."""

    def wake(self) -> None:
        """Look at the reviews again."""
        self._wake.set()

    async def run(self) -> None:
        """Follow them until cancelled."""
        while True:
            self._wake.clear()
            served = self._served()
            self._mine |= set(served)
            for review in list(self._parts.cache.reviews.values()):
                if review.policy not in served:
                    try:
                        await self.step(review)
                    except ApiError as error:
                        log.warning("review waits", review=str(review.ref), **logged(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._wake.wait()
            await asyncio.sleep(1)

    async def step(self, review: DeadLetterReview) -> None:
        """Bring one review forward; raises `ApiError`."""
        place = self._place(review)
        if place is None:
            return
        self._parts.require()
        ends = place.phase.ended or is_terminating(review)
        if not review.status.phase.ended and not _says(review, place):
            await self._say(review, place, ends=ends)
        if ends:
            await self._parts.finalizers.remove(review)

    async def _say(self, review: DeadLetterReview, place: Place, *, ends: bool) -> None:
        status = self._abandoned.get(review.metadata.uid, review.status)
        if ends and review.metadata.uid not in self._abandoned:
            status = await abandon(self._parts, review, status)
            self._abandoned = {review.metadata.uid: status}
        if place.phase is ReviewPhase.REFUSED:
            named = job.about(review, review.metadata.uid)
            await self._parts.audit.append(decisions.Refused(named, place.reason))
        status = moved(review, status, place, self._parts.now(), **kept(status))
        target = Object(review.kind, review.ref, review.metadata.uid)
        await self._parts.statuses.put(target, status.manifest())

    def _place(self, review: DeadLetterReview) -> Place | None:
        """Return the phase of a review, None if another worker decides that."""
        name = f"TopicPolicy {review.policy}"
        begun = review.status.phase is ReviewPhase.RUNNING
        waiting = ReviewPhase.RUNNING if begun else ReviewPhase.PENDING
        policy = self._parts.cache.policies.get(review.policy)
        if policy is None:
            if begun and review.policy in self._mine:
                gone = f"{name} was deleted while the review was carried out"
                return Place(ReviewPhase.REFUSED, "PolicyNotFound", gone)
            missing = f"{name} does not exist; create it, or delete the review"
            return Place(waiting, "PolicyNotFound", missing)
        if not any(reviewers(policy)):
            nobody = f"{name} names no worker; set deadLetter.reviewer"
            return Place(waiting, "ReviewerMissing", nobody)
        if review.policy in self._mine:
            lost = f"the identity of the worker may no longer review {name}; see its conditions"
            return Place(waiting, "ReviewerNotGranted", lost)
        return None


def _says(review: DeadLetterReview, place: Place) -> bool:
    """Return whether the status of a review says all of a place already."""
    ready = next((each for each in review.status.conditions if each.type == "Ready"), None)
    return (
        ready is not None
        and review.status.phase is place.phase
        and (ready.reason, ready.message) == (place.reason, place.message)
    )
