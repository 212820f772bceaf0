"""Instructions for a running review: whether to stop, and where to write its progress."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from typing import Protocol

from troth.resources.metadata import is_terminating
from troth.resources.reviews.dead_letter_review import DeadLetterReview
from troth.resources.reviews.dead_letter_review_status import DeadLetterReviewStatus, ReviewPhase
from troth.review.objects.cache import ReviewCache
from troth.review.running.progress import Progress
from troth.review.state import Place, advanced, moved

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_LOOK = 0.5


class Owner(Protocol):
    """The worker of the review's policy."""

    stopping: bool


class RunDesk:
    """Desk of one running review."""

    def __init__(
        self,
        review: DeadLetterReview,
        status: DeadLetterReviewStatus,
        cache: ReviewCache,
        owner: Owner,
        *,
        require: Callable[[], None],
        now: Callable[[], datetime],
        offer: Callable[[DeadLetterReview, DeadLetterReviewStatus], None],
        put: Callable[[DeadLetterReview, DeadLetterReviewStatus], Awaitable[bool]],
    ) -> None:
        self.status = status
        self._review = review
        self._cache = cache
        self._owner = owner
        self._offer, self._put = offer, put
        self.require = require
        self.now = now
        self._waiting = False

    def stopped(self) -> bool:
        """Return whether the review was withdrawn or deleted, or the worker ends."""
        found = self._cache.reviews.get(self._review.ref)
        if found is None or found.metadata.uid != self._review.metadata.uid:
            return True
        return self._owner.stopping or found.spec.withdrawal is not None or is_terminating(found)

    async def pause(self, failures: int) -> None:
        """Wait after failures, each time twice as long, and less if the review is stopped."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(failures - 1, 8))
        was_stopped = self.stopped()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(ends):
                while was_stopped or not self.stopped():
                    self.require()
                    await asyncio.sleep(_LOOK)

    def waits(self, reason: str, message: str) -> None:
        """Say in the status why the review waits."""
        self._waiting = True
        self._move(reason, message)

    def advanced(self, progress: Progress) -> None:
        """Say in the status how far the review is."""
        self.status = advanced(self.status, progress)
        if self._waiting:
            self._waiting = False
            self._move("Running", "the review is carried out")
        else:
            self._offer(self._review, self.status)

    async def announce(self, progress: Progress) -> None:
        """Write the progress, and return once the API server has it."""
        self.status = advanced(self.status, progress)
        await self._put(self._review, self.status)

    def _move(self, reason: str, message: str) -> None:
        place = Place(ReviewPhase.RUNNING, reason, message)
        self.status = moved(self._review, self.status, place, self.now())
        self._offer(self._review, self.status)
