"""Begin of a review: the index has all letters, and the review is still as it was read."""

import asyncio

from troth.resources.reviews.dead_letter_review import DeadLetterReview
from troth.resources.reviews.dead_letter_review_status import DeadLetterReviewStatus
from troth.review.brokers import BrokerUnavailableError
from troth.review.index.feeder import Feeder
from troth.review.parts import Parts
from troth.review.review_statuses import ReviewStatuses
from troth.review.running.job import NotIndexedError
from troth.review.state import is_same

_ATTEMPTS = 5
"""Attempts to write that a review runs, while others write it."""


async def lag_of(feeder: Feeder, seconds: float) -> Exception | None:
    """Wait until the index has all letters; return why it lacks some if that takes longer."""
    try:
        async with asyncio.timeout(seconds):
            await feeder.caught_up()
    except BrokerUnavailableError as error:
        return error
    except TimeoutError:
        if feeder.fault is not None:
            return BrokerUnavailableError(feeder.fault)
        return NotIndexedError(
            f"the dead-letter topic of {feeder.policy} is being read; {feeder.lag} messages "
            "are left"
        )
    return None


async def is_unchanged(parts: Parts, review: DeadLetterReview) -> bool:
    """Return whether the API server still has a review as it was read; raises `ApiError`."""
    current = await parts.finalizers.current(review)
    return current is not None and is_same(current, review)


async def begin(
    parts: Parts,
    statuses: ReviewStatuses,
    review: DeadLetterReview,
    status: DeadLetterReviewStatus,
) -> bool:
    """Write that a review runs; return False if it was changed before that.

    From then on, the API server accepts no change of the review. Raises `ApiError`.
    """
    for _ in range(_ATTEMPTS):
        current = await parts.finalizers.current(review)
        if current is None or not is_same(current, review):
            return False
        version = current.metadata.resource_version
        if await statuses.put(review, status, version=version):
            return True
    return False
